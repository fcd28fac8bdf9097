"""Richardson-Lucy against scikit-image, a dense matrix and its own promises."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from conftest import computed_plane, problem_of
from skimage.restoration import richardson_lucy as reference

from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.methods import METHODS
from microdeconv.problem import poisson_deviance
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import solve
from microdeconv.stack import Psf


def test_plain_steps_equal_scikit_image():
    """With an object that ends far from the border, where both are defined alike."""
    psf = Psf(gaussian_psf((1.0, 1.3, 1.3)), None, None, "")
    image = np.zeros((18, 40, 40), np.float32)
    image[8:11, 17:24, 18:22] = np.random.default_rng(0).poisson(200, (3, 7, 4))
    ours = solve(problem_of(image, psf, 0.0), METHODS["rl"], RichardsonLucy("none"), 15).image
    theirs = reference(image.astype(np.float64), psf.pixels.astype(np.float64), 15, clip=False)
    assert np.abs(ours - theirs).max() < 1e-4 * theirs.max()


def test_one_step_equals_a_dense_matrix():
    psf = Psf(gaussian_psf((0, 0.8, 0.8)), None, None, "")
    light = np.random.default_rng(1).poisson(30, (1, 7, 6)).astype(np.float32)
    problem = problem_of(light, psf, 2.0)
    n = int(np.prod(problem.blur.object_shape))
    h = np.stack([problem.blur.forward(e.reshape(problem.blur.object_shape)).numpy().ravel() for e in torch.eye(n)], 1)
    h = h.astype(np.float64)
    x = np.full(n, problem.level)
    seen = h.sum(0)
    expected = np.where(seen > 0.05, x * (h.T @ (light.ravel() / (h @ x + 2.0))) / np.maximum(seen, 1e-9), 0)
    step = next(richardson_lucy(problem, RichardsonLucy("none")))
    np.testing.assert_allclose(step.image.numpy().ravel(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("acceleration", ["preconditioned", "momentum"])
@pytest.mark.parametrize("kind", ["spots", "tissue"])
def test_never_diverges(acceleration, kind):
    """Four hundred steps on sparse and on filling objects: the fit only gets better."""
    psf = Psf(gaussian_psf((1.5, 1.5, 1.5)), None, None, "")
    scene = simulate(kind, (12, 40, 40), psf.pixels, Exposure(2000, 5, 0), seed=3)
    problem = problem_of(scene.counts, psf, 5.0)
    deviances = []
    for step, iterate in enumerate(richardson_lucy(problem, RichardsonLucy(acceleration))):
        deviances.append(poisson_deviance(problem.image, iterate.predicted))
        if step == 400:
            break
    assert bool(torch.isfinite(iterate.image).all())
    assert deviances[-1] <= min(deviances) * (1 + 1e-3)
    assert deviances[-1] < 0.5 * deviances[0]


@pytest.mark.parametrize("widths", [(0, 1.0, 1.0), (0, 2.5, 2.5), "confocal"])
@pytest.mark.parametrize("kind", ["mixed", "spots"])
def test_no_step_fits_worse(kind, widths):
    """Sharpened steps need not fit better each time, but do, whatever the PSF's array holds beside its light."""
    psf = computed_plane() if widths == "confocal" else Psf(gaussian_psf(widths), None, None, "Gaussian")
    scene = simulate(kind, (1, 160, 160), psf.pixels, Exposure(3000, 20, 0), seed=2)
    problem = problem_of(scene.counts, psf, 20.0)
    iterates = islice(richardson_lucy(problem, RichardsonLucy()), 40)
    fits = [poisson_deviance(problem.image, one.predicted) for one in iterates]
    assert max(b / a for a, b in pairwise(fits)) < 1.005


@pytest.mark.parametrize("acceleration", ["preconditioned", "wiener-butterworth"])
def test_light_beyond_the_border_does_not_run_away(acceleration):
    """Forces that leak into the margin, where little is seen, drove it beyond all bounds within sixty steps."""
    psf = Psf(gaussian_psf((0, 1.8, 1.8)), None, None, "")
    counts = simulate("mixed", (1, 180, 180), psf.pixels, Exposure(2000, 5, 0), seed=5).counts
    counts[:, :, 60:90] += np.random.default_rng(0).poisson(1000, (1, 180, 30)).astype(counts.dtype)
    problem = problem_of(counts[:, 20:150, 70:160], psf, 5.0)  # a bright band is cut by the border
    fits = []
    for iterate in islice(richardson_lucy(problem, RichardsonLucy(acceleration)), 300):
        fits.append(poisson_deviance(problem.image, iterate.predicted))
    assert max(b / a for a, b in pairwise(fits)) < 1.1
    assert fits[-1] == min(fits)
    assert float(iterate.image.max()) < 50 * float(problem.image.max())


def test_acceleration_reaches_the_same_likelihood_sooner(problem):
    def deviance_after(acceleration, steps):
        for step, iterate in enumerate(richardson_lucy(problem, RichardsonLucy(acceleration))):
            if step == steps:
                return poisson_deviance(problem.image, iterate.predicted)
        raise AssertionError

    assert deviance_after("momentum", 20) < deviance_after("none", 30)
    assert deviance_after("preconditioned", 5) < deviance_after("momentum", 5) < deviance_after("none", 5)


def test_flux_is_kept_without_background(psf):
    scene = simulate("spots", (12, 40, 40), psf.pixels, Exposure(500, 0, 0, read_noise=0), seed=5)
    light = scene.counts.astype(np.float32)
    light[:4] = light[-4:] = 0
    light[:, :8] = light[:, -8:] = 0
    light[:, :, :8] = light[:, :, -8:] = 0
    image = solve(problem_of(light, psf, 0.0), METHODS["rl"], RichardsonLucy("none"), 10).image
    assert image.sum() == pytest.approx(light.sum(), rel=1e-3)


def test_a_hot_voxel_keeps_its_light(psf):
    """No object looks like it: sharpened steps whose light is not held have half as much again."""
    light = np.zeros((9, 31, 31), np.float32)
    light[4, 15, 15] = 1000
    for steps in (5, 20):
        image = solve(problem_of(light, psf, 0.0), METHODS["rl"], RichardsonLucy(), steps).image
        assert image.sum() == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(("steps", "most"), [(10, 0.005), (60, 0.0005)])
def test_sharpened_steps_keep_the_flux(steps, most, psf):
    """Light against Σ y H x / (H x + b), which a plain step would have."""
    scene = simulate("mixed", (12, 60, 60), psf.pixels, Exposure(300, 10, 0), seed=5)
    problem = problem_of(scene.counts, psf, 10.0)
    *_, iterate = islice(richardson_lucy(problem, RichardsonLucy()), steps)
    light = float((iterate.image * problem.blur.normalisation).sum())
    told = float((problem.image * (1 - problem.background / problem.predict(iterate.image))).sum())
    assert light == pytest.approx(told, rel=most)


def test_light_from_outside_the_field_is_put_there(psf):
    """A bright object beyond the border must not become an edge glow inside."""
    wide = np.zeros((12, 60, 40), np.float32)
    wide[:, :9] = 400
    wide += 20
    from scipy.signal import fftconvolve

    blurred = np.clip(fftconvolve(wide, psf.pixels, mode="same"), 0, None)
    field = blurred[2:-2, 10:50, 6:-6]  # the object ends one voxel before the field begins
    image = solve(problem_of(field, psf, 0.0), METHODS["rl"], RichardsonLucy(), 40).image
    assert image[2:-2, 3:8, 3:-3].max() < 60  # measured 45; the light outside is 420
