"""Resolution of single images of known band."""

import math

import numpy as np
import pytest

from microdeconv.compare.decorrelation import decorrelation_resolution


def banded(cutoff: float, noise: float, shape=(256, 240), seed=0) -> np.ndarray:
    """White noise cut off sharply at a frequency, with a little white noise on it."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    image = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * (f < cutoff), shape)
    return image / image.std() + noise * rng.normal(size=shape)


@pytest.mark.parametrize("cutoff", [0.1, 0.2, 0.35])
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_the_cut_off_is_found(cutoff, noise):
    assert decorrelation_resolution(banded(cutoff, noise)) == pytest.approx(1 / cutoff, rel=0.06)


def test_nothing_is_found_where_there_is_nothing():
    assert math.isnan(decorrelation_resolution(np.ones((64, 64))))
    assert math.isnan(decorrelation_resolution(np.zeros((64, 64))))
