"""The Python interface."""

import numpy as np
import pytest

import microdeconv as md
from microdeconv.errors import DataError, UsageError


def test_arrays_in_arrays_out(scene, psf):
    sharp = md.deconvolve(scene.counts, psf.pixels * 7, iterations=5, background=120, offset=100, gain=1, device="cpu")
    assert sharp.shape == scene.counts.shape
    assert sharp.dtype == np.float32
    same = md.deconvolve(scene.counts, psf, iterations=5, background=120, offset=100, gain=1, device="cpu", tile="off")
    np.testing.assert_allclose(sharp, same, rtol=0.03, atol=0.02 * same.max())


def test_two_dimensions_and_identity(scene, psf):
    plane = scene.counts[10]
    assert md.deconvolve(plane, psf.pixels.sum(0), method="wiener", noise_to_signal=0.01).shape == plane.shape
    np.testing.assert_array_equal(md.deconvolve(plane, None, method="identity"), plane)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"iteration": 5}, "did you mean iterations"), ({"method": "lr"}, "no method"), ({"iterations": -1}, "below 1"),
     ({"method": "wiener", "acceleration": "none"}, "no option of method wiener")],
)  # fmt: skip
def test_wrong_options_are_named(scene, psf, options, words):
    with pytest.raises(UsageError, match=words):
        md.deconvolve(scene.counts, psf, **options)


def test_wrong_arrays_are_named(psf):
    with pytest.raises(DataError, match="shape"):
        md.deconvolve(np.ones((2, 2, 2, 2)), psf)
    with pytest.raises(DataError, match="finite"):
        md.deconvolve(np.full((4, 4, 4), np.nan), psf)
    with pytest.raises(UsageError, match="needs a PSF"):
        md.deconvolve(np.ones((4, 9, 9)), None)


def test_names_are_late_and_listed():
    assert "deconvolve" in dir(md)
    assert md.Zyx(1, 2, 3).x == 3
    with pytest.raises(AttributeError, match="nothing"):
        md.nothing  # noqa: B018
