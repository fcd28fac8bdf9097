"""Wiener against scikit-image, and its borders."""

import numpy as np
import pytest
from conftest import problem_of
from scipy.signal import fftconvolve
from skimage.restoration import wiener as reference

from microdeconv.choose import choose
from microdeconv.classical.wiener import RATIOS, Wiener
from microdeconv.methods import METHODS
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import solve
from microdeconv.stack import Psf


@pytest.mark.parametrize("shape", [(1, 64, 60), (40, 40, 40)])
def test_equals_scikit_image_inside(shape):
    """With an object far from the border, so that neither boundary matters."""
    psf = Psf(gaussian_psf((1.0 if shape[0] > 1 else 0, 1.2, 1.2)), None, None, "")
    image = np.zeros(shape, np.float32)
    middle = tuple(slice(n // 2 - 3, n // 2 + 3) if n > 1 else slice(None) for n in shape)
    image[middle] = np.random.default_rng(0).uniform(50, 100, image[middle].shape)
    blurred = fftconvolve(image, psf.pixels, mode="same").astype(np.float32).clip(0)
    ours = solve(problem_of(blurred, psf, 0.0, 1.0), METHODS["wiener"], Wiener(0.05, "laplacian"), 1).image
    theirs = reference(blurred.squeeze().astype(float), psf.pixels.squeeze().astype(float), 0.05, clip=False)
    assert np.abs(ours.squeeze() - theirs.clip(0)).max() < 1e-4 * theirs.max()


def test_no_ringing_at_bright_borders(psf):
    scene = simulate("filled", (12, 60, 60), psf.pixels, Exposure(400, 5, 0), seed=1)
    image = solve(problem_of(scene.counts, psf, 5.0, 1.0), METHODS["wiener"], Wiener(0.01), 1).image
    rim = np.concatenate(
        [image[:, :2].ravel(), image[:, -2:].ravel(), image[:, :, :2].ravel(), image[:, :, -2:].ravel()]
    )
    assert rim.std() < 1.6 * image[:, 10:-10, 10:-10].std()


def test_noisier_images_get_more_regularisation(psf):
    chosen = []
    for photons in (20, 2000):
        scene = simulate("tissue", (12, 60, 60), psf.pixels, Exposure(photons, photons / 10, 0), seed=1)
        problem = problem_of(scene.counts, psf, photons / 10, 1.0)
        chosen.append(choose(problem, METHODS["wiener"], Wiener(), 1).parameters.noise_to_signal)
    assert chosen[0] > chosen[1]
    assert set(chosen) <= set(RATIOS)
