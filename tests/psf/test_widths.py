"""Widths of PSFs against known ones."""

import math

import numpy as np
import pytest

from microdeconv.psf.widths import fwhm, lopsided
from microdeconv.simulate import gaussian_psf

FWHM = 2 * math.sqrt(2 * math.log(2))


@pytest.mark.parametrize("sigma", [(2, 1.5, 1.2), (4, 2, 2), (1, 0.8, 0.9)])
def test_a_gaussian_has_its_textbook_width(sigma):
    assert fwhm(gaussian_psf(sigma)) == pytest.approx([FWHM * s for s in sigma], rel=0.02)


def test_a_shift_below_a_voxel_does_not_matter():
    z, y, x = np.mgrid[-9:10, -9:10, -9:10]
    spot = np.exp(-0.5 * (((z - 0.4) / 2) ** 2 + ((y + 0.3) / 1.5) ** 2 + ((x - 0.2) / 1.5) ** 2))
    assert fwhm(spot) == pytest.approx([FWHM * s for s in (2, 1.5, 1.5)], rel=0.02)


def test_planes_and_profiles_that_do_not_fall():
    flat = fwhm(gaussian_psf((0, 2, 2)))
    assert math.isnan(flat.z)
    assert flat.x == pytest.approx(2 * FWHM, rel=0.02)
    assert fwhm(np.ones((5, 9, 9))).y == math.inf


def test_lopsided():
    even = lopsided(gaussian_psf((2, 1.5, 1.5)))
    assert even.lateral == pytest.approx(1)
    assert even.axial == pytest.approx(0, abs=1e-6)
    comet = gaussian_psf((2, 1.5, 3.0))
    comet[: comet.shape[0] // 2] *= 0.5
    told = lopsided(comet)
    assert told.lateral == pytest.approx(0.5, rel=0.03)
    assert told.axial > 0.2
