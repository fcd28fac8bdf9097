"""Known answers of the guard: whom unused counts believe, and what it measures."""

import numpy as np
import pytest

from microdeconv.learnt.card import shipped
from microdeconv.learnt.guard import (
    LIKELIER,
    chi_square,
    flux_ratio,
    outside_support,
    steadied,
    trust_map,
    wider_is_likelier,
)
from microdeconv.psf.fit import scaled, split_counts
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

SHAPE = (1, 96, 96)


@pytest.fixture(name="models")
def _models():
    rng = np.random.default_rng(0)
    right = np.float32(5) + 40 * np.float32(rng.random(SHAPE, dtype=np.float32))
    wrong = right * np.float32(1 + 0.3 * rng.standard_normal(SHAPE, dtype=np.float32)).clip(0.3)
    held = rng.poisson(right).astype(np.float32)
    return held, right, wrong


def test_the_right_model_is_trusted(models):
    held, right, wrong = models
    assert trust_map(held, wrong, right).min() > 0.9


def test_the_wrong_model_is_not(models):
    held, right, wrong = models
    assert trust_map(held, right, wrong).max() < 0.05


def test_half_way_models_are_blended():
    rng = np.random.default_rng(1)
    right = np.full(SHAPE, 50, np.float32)
    off = (5 * rng.standard_normal(SHAPE)).astype(np.float32)
    held = rng.poisson(right).astype(np.float32)
    assert trust_map(held, right - off, right + off).mean() == pytest.approx(0.5, abs=0.1)


def test_trust_is_local(models):
    held, right, wrong = models
    classical, network = right.copy(), wrong.copy()
    classical[:, :, 48:], network[:, :, 48:] = wrong[:, :, 48:], right[:, :, 48:]
    trust = trust_map(held, classical, network)
    assert trust[:, :, :20].mean() < 0.15
    assert trust[:, :, -20:].mean() > 0.7


def test_where_counts_cannot_tell_the_classical_result_stays():
    rng = np.random.default_rng(2)
    dim = np.full(SHAPE, 0.01, np.float32)
    trust = trust_map(rng.poisson(dim).astype(np.float32), dim, dim * np.float32(1.02))
    assert trust.max() == 0


def test_equal_results_need_no_trust():
    same = np.ones(SHAPE, np.float32)
    assert trust_map(same, same, same).max() == 0


def test_chi_square_of_poisson_counts_is_one(models):
    held, right, wrong = models
    assert chi_square(held, right) == pytest.approx(1, abs=0.05)
    assert chi_square(held, wrong) > 1.5


def test_light_that_the_network_adds_is_bounded():
    classical = np.full(SHAPE, 10, np.float32)
    whole, light = np.ones(SHAPE, np.float32), float(classical.sum())
    little, much = classical * np.float32(1.01), classical * np.float32(1.1)
    assert flux_ratio(classical, much) == pytest.approx(1.1)
    np.testing.assert_array_equal(steadied(whole, classical, little, 0.0), whole)
    trust = steadied(whole, classical, much, 0.0)
    assert float((trust * (much - classical)).sum()) == pytest.approx(0.02 * light, rel=1e-3)
    np.testing.assert_array_equal(steadied(whole, classical, much, light**2), whole)  # all within the noise


def test_what_the_otf_cannot_pass_lies_outside():
    psf = Psf(gaussian_psf((0, 2, 2)), None, None, "")
    y, x = np.mgrid[:96, :96]
    coarse = np.sin(2 * np.pi * x / 24).astype(np.float32)[None]
    fine = np.where((x + y) % 2, 1, -1).astype(np.float32)[None]
    assert outside_support(coarse, psf) < 0.01
    assert outside_support(fine, psf) > 0.99
    assert outside_support(np.zeros(SHAPE, np.float32), psf) == 0


@pytest.mark.skipif("small" not in shipped(), reason="no network is shipped")
def test_a_psf_that_is_too_narrow_is_told_from_the_right_one():
    psf = Psf(gaussian_psf((0, 2.0, 2.0)), None, None, "Gaussian")
    scene = simulate("mixed", (1, 128, 128), psf.pixels, Exposure(300, 20, 0, read_noise=0), seed=4)
    split = split_counts(scene.counts.astype(np.float32), 20.0)
    assert wider_is_likelier(split, scaled(psf, Zyx(1, 0.8, 0.8))) > LIKELIER
    assert wider_is_likelier(split, psf) < 0
