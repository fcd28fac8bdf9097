"""The least of a function of two numbers: found along a curved valley, within bounds, from few looks."""

import numpy as np
import pytest

from microdeconv.psf.valley import lowest

NONE = np.full(2, 1e-3)
STEPS, BOUNDS = np.array([0.12, 0.25]), np.array([[-0.5, 0.6], [-2.0, 2.0]])


def test_the_least_of_a_long_valley():
    looks = []

    def cost(point):
        looks.append(point)
        a, b = point[0] - 0.21, point[1] - 0.63
        return 400 * (a + b / 3) ** 2 + 30 * (a - b / 3) ** 2

    found = lowest(cost, np.array([-0.1, 0.8]), STEPS, BOUNDS, (1, 0.5), NONE)
    assert found.point == pytest.approx([0.21, 0.63], abs=0.01)
    assert found.cost == cost(found.point)
    assert len(looks) < 40


def test_errors_are_those_of_the_surface():
    found = lowest(
        lambda p: float(((p - 0.1) ** 2 / [0.02**2, 0.3**2]).sum() / 2), np.zeros(2), STEPS, BOUNDS, (1,), NONE
    )
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([0.02, 0.3], rel=0.01)


def test_bounds_hold():
    found = lowest(lambda p: float(-p[0] + p[1] ** 2), np.zeros(2), STEPS, BOUNDS, (1, 0.5), NONE)
    assert np.all(found.point <= BOUNDS[:, 1])


def test_a_flat_or_hollow_cost_is_known_to_bend_by_its_known_part():
    known = np.array([1 / 0.2**2, 1 / 0.7**2])
    found = lowest(
        lambda p: float((known * p**2).sum() / 2 - 0.3 * p[0] ** 2), np.zeros(2), STEPS, 3 * BOUNDS, (1,), known
    )
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([0.2, 0.7], rel=0.01)


def test_a_curved_valley():
    found = lowest(
        lambda p: 300 * (p[0] - 0.3 + 0.4 * p[1] ** 2) ** 2 + 20 * (p[1] - 0.6) ** 2,
        np.array([0.2, 0.1]), STEPS, BOUNDS, (1, 0.5, 0.25), NONE,
    )  # fmt: skip
    assert found.point == pytest.approx([0.156, 0.6], abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_of_a_flat_valley_the_middle_is_given_not_the_least_of_the_noise(seed):
    """From -0.25 to 0.35 along the valley, nothing but the looks' noise and a weak prior tells points apart."""
    noise = np.random.default_rng(seed)

    def cost(point):
        along, across = point[0], point[1] - 0.6 + 0.25 * point[0]
        walls = 400 * max(along - 0.35, -0.25 - along, 0) ** 2
        return 300 * across**2 + walls + noise.uniform(-0.3, 0.3)

    found = lowest(cost, np.array([-0.2, 0.6]), STEPS, BOUNDS, (1, 0.5), np.array([1 / 0.2**2, 1 / 0.7**2]))
    assert found.point == pytest.approx([0.05, 0.59], abs=0.17)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(0.6 / 12**0.5, rel=0.4)
