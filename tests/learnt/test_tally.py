"""Statistics with known answers."""

import math

import numpy as np
import pytest

from microdeconv.learnt.tally import AIMS, Aim, Reached, compare, comparison, means, pairs, reached


def test_a_comparison():
    one = compare([2.0, 4.0, 6.0, 3.0], [1.0, 1.0, 1.0, 4.0])
    assert (one.n, one.mean, one.worst, one.worse) == (4, 2.0, -1.0, 0.25)
    assert one.error == pytest.approx(np.std([1, 3, 5, -1], ddof=1) / 2)
    assert one.low < one.mean < one.high
    assert one.fifth == pytest.approx(-0.7)
    assert math.isnan(compare([1.0], [0.0]).error)
    assert compare([1.0], [0.0]).told()["error"] is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [one.low <= 0.3 <= one.high for one in (compare(rng.normal(0.3, 1, 32), np.zeros(32)) for _ in range(100))]
    assert 0.85 <= np.mean(held) <= 1


def row(cell, number, method, **figures):
    return {"cell": cell, "number": number, "method": method, "photons": 9.0, "frozen": True, **figures}


def test_samples_are_paired_by_number():
    rows = [row("2d-seen", n, "rl-best", psnr=20.0 + n) for n in (2, 0, 1)]
    rows += [row("2d-seen", n, "network", psnr=21.0 + n) for n in (1, 2, 7)]
    one = comparison(rows, "2d-seen", "network", "rl-best", "psnr")
    assert (one.n, one.mean, one.error) == (2, 1.0, 0.0)
    assert comparison(rows, "2d-seen", "network", "rl-best", "ssim") is None
    assert comparison(rows, "2d-both", "network", "rl-best", "psnr") is None
    assert pairs(rows, "2d-seen", "network", "psnr") == {1: 22.0, 2: 23.0, 7: 28.0}
    assert means(rows, "2d-seen", "rl-best") == {"psnr": 21.0}


def test_aims():
    rows = [row("2d-seen", n, "rl-best", psnr=20.0, ssim=0.8) for n in range(4)]
    rows += [row("2d-seen", n, "network", psnr=20.9, ssim=0.81) for n in range(4)]
    found = {(one.aim.metric, one.aim.figure): one for one in reached(rows)}
    assert set(found) == {("psnr", "mean"), ("psnr", "low"), ("ssim", "mean")}
    assert found["psnr", "mean"].good
    assert not found["ssim", "mean"].good
    assert found["ssim", "mean"].told()["reached"] is False


def test_nothing_may_rise_on_empty_fields():
    rows = [row("2d-empty", n, "guarded", calm=calm) for n, calm in enumerate((-1.0, -3.5))]
    assert reached(rows) == [Reached(Aim("2d-empty", "guarded", "rl", "calm", "least", -3.0), -3.5)]
    assert not reached(rows)[0].good


def test_aims_are_of_cells_that_are():
    from microdeconv.learnt.suite import CELLS

    assert {aim.cell for aim in AIMS} <= set(CELLS)
