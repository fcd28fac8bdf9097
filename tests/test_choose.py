"""The stop found from split counts: repeatable, rather early than late, untouched by what lies at a border."""

import numpy as np
import pytest
from conftest import problem_of

from microdeconv.choose import choose
from microdeconv.methods import METHODS
from microdeconv.simulate import Exposure, simulate

RL = METHODS["rl"]


def chosen(counts, psf, cap=200):
    return choose(problem_of(counts.astype(np.float32) - 100, psf, 20.0), RL, RL.parameters(), cap)


@pytest.mark.parametrize("kind", ["tissue", "nuclei", "mixed"])
def test_the_stop_is_the_same_again_and_has_almost_the_least_risk(kind, psf):
    counts = simulate(kind, (12, 56, 56), psf.pixels, Exposure(100, 20, 100), seed=4).counts
    found = chosen(counts, psf)
    assert found == chosen(counts, psf)
    risk = dict(found.risk)
    best = min(risk, key=risk.get)
    assert best / 1.5 < found.iterations <= best
    assert risk[found.iterations] - risk[best] < 0.1 * (risk[1] - risk[best])
    assert not found.capped


def test_a_cap_below_the_best_step_is_told(psf):
    counts = simulate("mixed", (12, 56, 56), psf.pixels, Exposure(100, 20, 100), seed=4).counts
    found = chosen(counts, psf, 6)
    assert found.capped
    assert found.iterations <= 6


def test_a_bright_point_at_the_border_does_not_decide(psf):
    """Points deserve many steps, tissue few."""
    counts = simulate("tissue", (12, 64, 64), psf.pixels, Exposure(30, 20, 100), seed=4).counts
    y, x = np.mgrid[:64, :64]
    point = 3000 * np.exp(-0.5 * ((y - 2) ** 2 + (x - 2) ** 2) / 1.2**2)
    with_point = counts + np.random.default_rng(0).poisson(np.broadcast_to(point, counts.shape)).astype(np.uint16)
    assert chosen(with_point, psf).iterations == pytest.approx(chosen(counts, psf).iterations, abs=2)
