"""What the network leaves unexplained is made up for, and noise is not."""

from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from conftest import problem_of
from scipy.ndimage import gaussian_filter

from microdeconv.classical.richardson_lucy import accelerated
from microdeconv.learnt.guard import chi_square
from microdeconv.learnt.reconciled import STEPS, WIDTHS, _noise, _smoothed, above_noise, reconciled, towards
from microdeconv.simulate import gaussian_psf
from microdeconv.stack import Psf


@pytest.mark.parametrize("shape", [(1, 160, 160), (16, 64, 64)])
def test_noise_stays_noise(shape):
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert above_noise(noise).std() < 0.12


@pytest.mark.parametrize("shape", [(1, 160, 160), (16, 64, 64)])
def test_what_is_more_than_noise_is_found(shape):
    rng = np.random.default_rng(1)
    wave = np.broadcast_to(3 * np.sin(np.arange(shape[2]) / 6), shape).astype(np.float32)
    found = above_noise(wave + rng.standard_normal(shape).astype(np.float32))
    inside = (..., slice(10, -10))
    assert np.sqrt(np.square(found - wave)[inside].mean()) < 0.5


def test_the_bands_noise_is_known():
    noise = np.random.default_rng(2).standard_normal((24, 96, 96)).astype(np.float32)
    middle = (slice(6, -6), slice(12, -12), slice(12, -12))
    for below, width in pairwise((0.0, *WIDTHS)):
        band = (_smoothed(noise, below) if below else noise) - _smoothed(noise, width)
        known = _noise(below, width, (False, False, False))
        assert np.square(band[middle]).mean() == pytest.approx(known, rel=0.1)


@pytest.fixture(scope="module", name="case")
def _case():
    """An object that is known beyond the field too, and its image."""
    psf = Psf(gaussian_psf((1.2, 1.5, 1.5)), None, None, "Gaussian")
    blank = problem_of(np.zeros((12, 64, 64), np.float32), psf, 40.0)
    rng = np.random.default_rng(5)
    rough = gaussian_filter(rng.standard_normal(blank.blur.object_shape), (1, 2, 2))
    truth = torch.from_numpy((300 * np.clip(rough / rough.std() + 0.3, 0, None)).astype(np.float32))
    image = torch.from_numpy(rng.poisson(blank.predict(truth).numpy()).astype(np.float32))
    return replace(blank, image=image, level=float(truth.mean())), truth


def chi_of(problem, x):
    return chi_square(problem.image.numpy(), problem.predict(x).numpy())


def test_an_object_that_is_off_comes_to_explain_the_image(case):
    problem, truth = case
    off = truth.clone()
    off[..., : off.shape[-1] // 2] *= 0.8
    before, found = off.clone(), reconciled(problem, off)
    assert torch.equal(off, before)
    assert chi_of(problem, off) > 1.5
    assert 0.9 < chi_of(problem, found) < 1.1
    crop = problem.blur.crop
    error, was = (float((crop(x) - crop(truth)).square().mean()) for x in (found, off))
    assert error < was / 3
    assert float(crop(found).sum()) == pytest.approx(float(crop(truth).sum()), rel=0.02)


def test_steps_come_sooner_to_an_image_without_noise_than_richardson_lucys(case):
    """Where most of the light is background, too."""
    problem, truth = case
    for background in (problem.background, 20 * problem.level):
        hazy = replace(problem, background=background)
        clean = replace(hazy, image=hazy.predict(truth))
        off = truth.clamp_min(1e-3 * problem.level)
        off[..., : off.shape[-1] // 2] *= 0.8
        *_, plain = islice(accelerated(clean, preconditioned=False, start=off), STEPS)
        missed, before = chi_of(clean, plain.image), chi_of(clean, off)
        assert chi_of(clean, towards(clean, off)) < min(0.5 * missed, 0.02 * before)


def test_an_object_that_explains_the_image_stays(case):
    problem, truth = case
    crop = problem.blur.crop
    change = crop(reconciled(problem, truth)) - crop(truth)
    assert float(change.square().mean().sqrt()) < 0.05 * float(crop(truth).square().mean().sqrt())
