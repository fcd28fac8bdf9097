"""The program's methods on samples of known truth."""

import numpy as np
import pytest
from conftest import CPU

from microdeconv import quality
from microdeconv.baselines import automatic
from microdeconv.learnt.suite import CELLS, Case
from microdeconv.stack import Psf


@pytest.mark.parametrize("name", ["rl", "wiener"])
def test_photo_electrons_come_back(name):
    sample = Case(CELLS["2d-seen"], 2).sample()
    image = automatic(name, CPU)(sample)
    truth = quality.inner(sample.truth)
    assert image.shape == sample.light.shape
    assert quality.inner(image).sum() == pytest.approx(truth.sum(), rel=0.1)
    raw = sample.light - sample.background
    assert quality.psnr(quality.inner(image), truth, rescale=False) > quality.psnr(
        quality.inner(raw), truth, rescale=False
    )


def test_the_background_that_is_known_is_used():
    from dataclasses import replace

    sample = Case(CELLS["2d-empty"], 0).sample()
    point = Psf(np.ones((1, 1, 1), np.float32), None, None, "")
    lit = replace(sample, background=sample.background / 2, psf=point)
    assert automatic("rl", CPU)(lit).mean() == pytest.approx(sample.background / 2, rel=0.1)
