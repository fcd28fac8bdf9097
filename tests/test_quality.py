"""Figures with known answers."""

import numpy as np
import pytest

from microdeconv import quality


def test_scale_is_fitted_away():
    truth = np.random.default_rng(0).random((12, 20, 20))
    assert quality.nrmse(3 * truth, truth) == pytest.approx(0, abs=1e-12)
    assert quality.ssim(3 * truth, truth) == pytest.approx(1)


def test_known_answers():
    truth = np.zeros((1, 10, 10))
    truth[0, 0, :2] = 1
    result = truth.copy()
    result[0, 5, 5] = 1  # best scale 2/3
    error = 2 * (1 / 3) ** 2 + (2 / 3) ** 2
    assert quality.nrmse(result, truth) == pytest.approx(np.sqrt(error / 2))
    assert quality.psnr(result, truth) == pytest.approx(10 * np.log10(1 / (error / 100)))
    assert quality.inner(np.zeros((10, 20, 5))).shape == (8, 16, 5)
    assert quality.nrmse(np.zeros(4), np.ones(4)) == 1


def test_absolute_intensities_count_when_asked_for():
    truth = np.random.default_rng(0).random((12, 20, 20))
    assert quality.nrmse(3 * truth, truth, rescale=False) == pytest.approx(2)
    assert quality.psnr(truth + 0.1, truth, rescale=False) == pytest.approx(20 * np.log10(truth.max() / 0.1))
    assert quality.ssim(3 * truth, truth, rescale=False) < 0.9
