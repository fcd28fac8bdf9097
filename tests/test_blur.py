"""The forward model against its definition."""

import numpy as np
import pytest
import torch
from facts import adjointness
from scipy.signal import convolve, fftconvolve

from microdeconv.blur import Blur, plan_grids
from microdeconv.fft import Convolver, good_size
from microdeconv.stack import Psf

CASES = [
    ((8, 13, 9), (5, 7, 3)),
    ((1, 20, 21), (1, 9, 5)),
    ((6, 6, 6), (11, 11, 11)),  # a PSF larger than the field
    ((12, 10, 16), (1, 1, 1)),
    ((7, 9, 11), (13, 3, 9)),
]


def random_psf(shape, seed=0):
    pixels = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return Psf(pixels / pixels.sum(), None, None, "random")


@pytest.mark.parametrize(("field", "kernel"), CASES)
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_forward_is_linear_convolution(field, kernel, margin):
    psf = random_psf(kernel)
    blur = Blur(psf, field, margin=margin)
    x = np.random.default_rng(1).standard_normal(blur.object_shape).astype(np.float32)
    full = convolve(x, psf.pixels, mode="full", method="direct")
    corner = [m + k // 2 for m, k in zip(blur.margin, kernel, strict=True)]
    expected = full[tuple(slice(c, c + n) for c, n in zip(corner, field, strict=True))]
    got = blur.forward(torch.from_numpy(x)).numpy()
    assert np.abs(got - expected).max() <= 2e-6 * np.abs(expected).max()  # float32, measured 3e-7


@pytest.mark.parametrize(("field", "kernel"), CASES)
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_adjoint(field, kernel, margin):
    blur = Blur(random_psf(kernel), field, margin=margin)
    assert adjointness(blur.forward, blur.adjoint, blur.object_shape, field) < 2e-7


def test_against_fftconvolve_at_size():
    psf = random_psf((15, 21, 21))
    blur = Blur(psf, (30, 60, 50), margin=1.0)
    x = np.random.default_rng(2).random(blur.object_shape, dtype=np.float32)
    expected = fftconvolve(x, psf.pixels, mode="valid")
    assert np.abs(blur.forward(torch.from_numpy(x)).numpy() - expected).max() <= 1e-5 * expected.max()


def test_a_point_becomes_the_psf_at_its_place():
    psf = random_psf((5, 7, 9))
    blur = Blur(psf, (11, 13, 15))
    x = torch.zeros(blur.object_shape)
    x[tuple(m + p for m, p in zip(blur.margin, (5, 6, 7), strict=True))] = 1
    image = blur.forward(x).numpy()
    np.testing.assert_allclose(image[3:8, 3:10, 3:12], psf.pixels, atol=1e-7)
    assert image.sum() == pytest.approx(1, abs=1e-5)


def test_normalisation_is_the_share_of_light_seen():
    psf = random_psf((5, 7, 7))
    blur = Blur(psf, (12, 16, 16), margin=1.0)
    inside = blur.crop(blur.normalisation)
    assert float(inside[3:-3, 4:-4, 4:-4].sub(1).abs().max()) < 1e-5
    assert 0 < float(blur.normalisation[0, 0, 0]) < 0.05
    assert float(blur.inverse_normalisation()[0, 0, 0]) == 0


def test_filtered_adjoint_multiplies_the_spectrum():
    blur = Blur(random_psf((5, 7, 7)), (12, 16, 16))
    y = torch.rand(12, 16, 16)
    doubled = blur.adjoint(y, blur.filtered_otf(torch.full_like(blur.power(), 2.0)))
    torch.testing.assert_close(doubled, 2 * blur.adjoint(y), rtol=1e-5, atol=1e-6)


def test_frequencies_are_those_of_the_spectrum():
    sigma = 1.7
    axis = np.arange(-8, 9)
    line = np.exp(-0.5 * (axis / sigma) ** 2)
    kernel = (line[:, None, None] * line[None, :, None] * line[None, None, :]).astype(np.float32)
    convolver = Convolver(torch.from_numpy(kernel / kernel.sum()), (18, 20, 21))
    squared = sum(f**2 for f in convolver.frequencies())
    expected = torch.exp(-2 * np.pi**2 * sigma**2 * squared)  # transform of a Gaussian
    assert float((convolver.spectrum.abs() - expected).abs().max()) < 2e-5


def test_plan_leaves_no_way_round():
    margin, shape, grid = plan_grids((13, 11, 9), (20, 30, 40), 0.25)
    for m, s, g, k, n in zip(margin, shape, grid, (13, 11, 9), (20, 30, 40), strict=True):
        assert s == n + 2 * m
        assert g >= n + m + k // 2
    assert grid[1] % 2 == 0


@pytest.mark.parametrize("n", [1, 2, 97, 211, 1031])
def test_good_sizes(n):
    for even in (False, True):
        size = good_size(n, even=even)
        assert size >= n
        assert not even or size % 2 == 0
        for prime in (2, 3, 5, 7):
            while size % prime == 0:
                size //= prime
        assert size == 1


def test_a_kernel_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Convolver(torch.ones(5, 5, 5), (4, 8, 8))
