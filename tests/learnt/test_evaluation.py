"""What is measured, on samples where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from microdeconv import quality
from microdeconv.learnt import evaluation
from microdeconv.learnt.evaluation import (
    best_possible,
    evaluate,
    figures_of,
    figures_of_nothing,
    figures_of_spots,
    raw,
    unguarded,
    unsharp,
)
from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.suite import CELLS, Case


@pytest.fixture(scope="module")
def sample():
    return Case(CELLS["2d-structure"], 1).sample()


def test_the_truth_itself(sample):
    figures = figures_of(sample.truth + np.float32(1e-3), sample)
    assert figures["psnr"] > 60
    assert figures["ssim"] == pytest.approx(1, abs=1e-3)
    assert figures["correlation"] == pytest.approx(1, abs=1e-3)
    assert figures["period"] == pytest.approx(2, abs=0.05)


def test_intensities_count(sample):
    assert figures_of(2 * sample.truth, sample)["nrmse"] == pytest.approx(1)
    assert figures_of(2 * sample.truth, sample)["correlation"] == pytest.approx(1)
    assert figures_of(2 * sample.truth, sample)["light"] == pytest.approx(2)


def test_bands_share_the_error_out(sample):
    noise = np.random.default_rng(0).normal(0, 0.1, sample.truth.shape).astype(np.float32)
    figures = figures_of(sample.truth + noise * sample.truth.std(), sample)
    whole = np.hypot(figures["in_band"], figures["out_of_band"])
    assert whole == pytest.approx(figures["nrmse"], rel=0.1)
    passed = evaluation._transfer(sample, quality.inner(sample.truth).shape) > evaluation.PASSED
    assert figures["in_band"] ** 2 / whole**2 == pytest.approx(passed.mean(), rel=0.1)


def test_the_otf_of_a_field_smaller_than_the_psf():
    volume = Case(CELLS["3d-seen"], 0).sample()
    transfer = evaluation._transfer(volume, (10, 52, 52))
    assert transfer.flat[0] == pytest.approx(1, abs=1e-3)
    assert transfer.max() <= 1 + 1e-3


@pytest.mark.parametrize("acceleration", ["preconditioned", "momentum", "none"])
def test_no_stop_is_better_than_the_best_possible(sample, acceleration):
    from itertools import islice

    from scipy.ndimage import gaussian_filter

    from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy

    images, own = best_possible(sample)
    best, smooth = (figures_of(images[name], sample) for name in ("rl-best", "rl-best-seen"))
    problem = sample.problem()
    truth = quality.inner(sample.truth)
    with torch.inference_mode():
        for iterate in islice(richardson_lucy(problem, RichardsonLucy(acceleration)), 60):
            one = quality.inner(problem.blur.crop(iterate.image).numpy())
            assert quality.psnr(one, truth, rescale=False) <= best["psnr"] + 1e-3
            seen = quality.inner(gaussian_filter(problem.blur.crop(iterate.image).numpy(), (0, 0.5, 0.5), truncate=3))
            assert quality.psnr(seen, truth, rescale=False) <= smooth["psnr"] + 1e-3
    assert own["ssim_own"] >= 0.98 * best["ssim"]
    assert own["correlation_own"] >= 0.98 * best["correlation"]


def test_what_appears_on_an_empty_field():
    empty = Case(CELLS["2d-empty"], 0).sample()
    flat = np.zeros_like(empty.light)
    assert figures_of_nothing(flat, empty, flat) == {"calm": 0, "few": 0}
    spot = flat.copy()
    spot[0, 50, 50] = 7 * np.sqrt(empty.background)
    figures = figures_of_nothing(spot, empty, flat)
    assert figures["calm"] == pytest.approx(-7)
    assert figures["few"] == pytest.approx(-1e4 / spot.size)


def test_spots_of_the_truth_are_the_true_ones():
    sample = Case(CELLS["2d-spots"], 0).sample()
    assert figures_of_spots(sample.truth, sample) == {"f1": 1, "few": 0}
    one_more = sample.truth.copy()
    place = np.unravel_index(np.argmin(sample.light), sample.light.shape)
    one_more[place] = sample.truth.max()
    figures = figures_of_spots(one_more, sample)
    assert figures["f1"] < 1
    assert figures["few"] == pytest.approx(-1e4 / one_more.size)


@pytest.mark.parametrize("voxel", [False, True])
def test_a_tiny_evaluation_of_an_untrained_network(voxel):
    torch.manual_seed(0)
    network = IRDNet(Architecture(widths=(4, 4, 4), stages=1, voxel=voxel))
    cases = [Case(CELLS[name], 0) for name in ("2d-seen", "2d-empty", "2d-spots", "3d-seen")]
    done = []
    rows = list(evaluate(cases, {"raw": raw, "rl": unsharp, "network": unguarded(network)}, done.append))
    assert done == [1, 2, 3, 4]
    assert all(row["frozen"] for row in rows)
    assert [row["method"] for row in rows[:8]] == [
        "raw", "rl", "network", "rl-best", "rl-best-seen", "raw", "rl", "network",
    ]  # fmt: skip
    assert all(np.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))
    assert {"psnr", "ssim_own"} <= set(rows[3])
    assert "psnr" not in rows[5]
    assert {"f1", "few", "psnr"} <= set(rows[8])


def test_the_simple_ones(sample):
    assert raw(sample).mean() == pytest.approx(sample.light.mean() - sample.background, abs=1e-3)
    assert unsharp(sample).std() > raw(sample).std()
    flat = replace(sample, light=np.full_like(sample.light, 7))
    assert unsharp(flat) == pytest.approx(raw(flat))
