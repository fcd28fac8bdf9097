"""The least of a costly function of two numbers that stand in for one another: where quadratic surfaces have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NEAR = 1.6  # steps from the least: looks that near shape the surface
FEWEST = 7  # looks that shape it, those further away as well if there are no others
FAR = 1.5  # steps that the surface is followed, at most
MOVES = 3  # of the middle, before the steps shrink anyway
SETTLED = 0.75  # steps: a middle that moves less is near enough
AS_LOW = 1.0  # above the least look: the surface's least is as good, and less noisy


class Least(NamedTuple):
    """Where a function is least.

    Attributes
    ----------
    point
        (2,).
    cost
        There.
    covariance
        (2, 2): the inverse of how sharply the cost bends there; zero if too few looks tell.
    """

    point: NDArray[np.float64]
    cost: float
    covariance: NDArray[np.float64]


def lowest(
    cost: Callable[[NDArray[np.float64]], float],
    start: NDArray[np.float64],
    steps: NDArray[np.float64],
    bounds: NDArray[np.float64],
    shrinks: Sequence[float],
    bend: NDArray[np.float64],
) -> Least:
    """Find where a function is least: looks around a middle, a quadratic surface through them, on to its least.

    Parameters
    ----------
    cost
        Of a point (2,).
    start, steps
        (2,): the first middle, and how far around it looks are.
    bounds
        (2, 2): least and greatest values of both.
    shrinks
        Factors on the steps, one after another.
    bend
        (2,): second derivatives of the part of the cost that is known; the rest is taken to bend no less than not.

    References
    ----------
    M. J. D. Powell, Math. Program. 92, 555 (2002), for quadratic models in trust regions.
    """
    tried: dict[tuple[float, ...], float] = {}

    def look(point: NDArray[np.float64]) -> tuple[float, ...]:
        key = tuple(float(v) for v in np.clip(point, bounds[:, 0], bounds[:, 1]).round(4))
        if key not in tried:
            tried[key] = cost(np.array(key))
        return key

    middle = vertex = look(start)
    covariance = np.zeros((2, 2))
    for factor in shrinks:
        step = steps * factor
        for _ in range(MOVES):
            for around in _around(middle):
                look(np.array(middle) + step * around)
            least = min(tried, key=tried.__getitem__)
            to, covariance = _vertex(tried, np.array(least), step, bend)
            vertex = look(to)
            before, middle = middle, min(tried, key=tried.__getitem__)
            if np.abs((np.array(middle) - before) / step).max() <= SETTLED:
                break
    if tried[vertex] < tried[middle] + AS_LOW:
        middle = vertex
    return Least(np.array(middle), tried[middle], covariance)


def _around(middle: tuple[float, ...]) -> NDArray[np.float64]:
    """Six looks in steps: along both, and along the valley, where one grows as the other's size falls."""
    along = -1.0 if middle[1] >= 0 else 1.0
    return np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, along], [-1, -along]])


def _vertex(
    tried: dict[tuple[float, ...], float], least: NDArray[np.float64], step: NDArray[np.float64],
    bend: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Where the quadratic surface through the looks near the least one has its own, and the inverse of its bend."""
    away = (np.array(list(tried)) - least) / step
    far = np.abs(away).max(axis=1)
    near = np.argsort(far, kind="stable")[: max(np.count_nonzero(far <= NEAR), FEWEST)]
    a, b = away[near].T
    if a.size < FEWEST:
        return least, np.zeros((2, 2))
    values = np.array(list(tried.values()))[near]
    parts = np.stack([np.ones_like(a), a, b, a * a / 2, b * b / 2, a * b], axis=1)
    _, da, db, aa, bb, ab = np.linalg.lstsq(parts, values - values.min(), rcond=None)[0]
    known = np.diag(bend * step**2)
    bends, axes = np.linalg.eigh(np.array([[aa, ab], [ab, bb]]) - known)
    covariance = np.linalg.inv(axes * np.maximum(bends, 0) @ axes.T + known)
    to = np.clip(-covariance @ np.array([da, db]), -FAR, FAR)
    return least + step * to, covariance * np.outer(step, step)
