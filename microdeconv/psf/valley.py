"""The least of a costly function of two numbers that stand in for one another: where quadratic surfaces have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NEAR = 1.6  # steps from the least: looks that near shape the surface
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
    errors
        (2,): how far each may move, the other following, before the cost grows by a half; zero if unknown.
    """

    point: NDArray[np.float64]
    cost: float
    errors: NDArray[np.float64]


def lowest(
    cost: Callable[[NDArray[np.float64]], float],
    start: NDArray[np.float64],
    steps: NDArray[np.float64],
    bounds: NDArray[np.float64],
    shrinks: Sequence[float],
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
    errors = np.zeros(2)
    for factor in shrinks:
        step = steps * factor
        for _ in range(MOVES):
            for around in _around(middle):
                look(np.array(middle) + step * around)
            least = min(tried, key=tried.__getitem__)
            to, errors = _vertex(tried, np.array(least), step)
            vertex = look(to)
            before, middle = middle, min(tried, key=tried.__getitem__)
            if np.abs((np.array(middle) - before) / step).max() <= SETTLED:
                break
    if tried[vertex] < tried[middle] + AS_LOW:
        middle = vertex
    return Least(np.array(middle), tried[middle], errors)


def _around(middle: tuple[float, ...]) -> NDArray[np.float64]:
    """Six looks in steps: along both, and along the valley, where one grows as the other's size falls."""
    along = -1.0 if middle[1] >= 0 else 1.0
    return np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, along], [-1, -along]])


def _vertex(
    tried: dict[tuple[float, ...], float], least: NDArray[np.float64], step: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the quadratic surface through the looks near the least one has its own, if it has one, and how sharply."""
    away = (np.array(list(tried)) - least) / step
    near = np.abs(away).max(axis=1) <= NEAR
    a, b = away[near].T
    flat = least, np.zeros(2)
    if a.size < 6:
        return flat
    values = np.array(list(tried.values()))[near]
    parts = np.stack([np.ones_like(a), a, b, a * a / 2, b * b / 2, a * b], axis=1)
    _, da, db, aa, bb, ab = np.linalg.lstsq(parts, values - values.min(), rcond=None)[0]
    if aa <= 0 or aa * bb <= ab * ab:
        return flat
    covariance = np.linalg.inv(np.array([[aa, ab], [ab, bb]]))
    to = np.clip(-covariance @ np.array([da, db]), -FAR, FAR)
    return np.asarray(least + step * to), np.asarray(step * np.sqrt(np.diag(covariance)))
