"""The least of a costly function of two numbers that stand in for one another: where quadratic surfaces have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NEAR = 1.6  # steps from the least: looks that near shape the surface
FAR = 1.5  # steps that the surface is followed, at most
MOVES = 3  # of the middle, before the steps shrink anyway
SETTLED = 0.75  # steps: a middle that moves less is near enough
AS_LOW = 1.0  # above the least look: the surface's least is as good, and less noisy


def lowest(
    cost: Callable[[NDArray[np.float64]], float],
    start: NDArray[np.float64],
    steps: NDArray[np.float64],
    bounds: NDArray[np.float64],
    shrinks: Sequence[float],
) -> tuple[NDArray[np.float64], float]:
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

    Returns
    -------
    tuple
        The point and its cost.

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

    middle, vertex = look(start), look(start)
    for factor in shrinks:
        step = steps * factor
        for _ in range(MOVES):
            for around in _around(middle):
                look(np.array(middle) + step * around)
            least = min(tried, key=tried.__getitem__)
            vertex = look(_vertex(tried, np.array(least), step))
            before, middle = middle, min(tried, key=tried.__getitem__)
            if np.abs((np.array(middle) - before) / step).max() <= SETTLED:
                break
    if tried[vertex] < tried[middle] + AS_LOW:
        middle = vertex
    return np.array(middle), tried[middle]


def _around(middle: tuple[float, ...]) -> NDArray[np.float64]:
    """Six looks in steps: along both, and along the valley, where one grows as the other's size falls."""
    along = -1.0 if middle[1] >= 0 else 1.0
    return np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, along], [-1, -along]])


def _vertex(
    tried: dict[tuple[float, ...], float], least: NDArray[np.float64], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the quadratic surface through the looks near the least one has its own, if it has one."""
    away = (np.array(list(tried)) - least) / step
    near = np.abs(away).max(axis=1) <= NEAR
    a, b = away[near].T
    if a.size < 6:
        return least
    values = np.array(list(tried.values()))[near]
    parts = np.stack([np.ones_like(a), a, b, a * a / 2, b * b / 2, a * b], axis=1)
    _, da, db, aa, bb, ab = np.linalg.lstsq(parts, values - values.min(), rcond=None)[0]
    if aa <= 0 or aa * bb <= ab * ab:
        return least
    to = -np.linalg.solve(np.array([[aa, ab], [ab, bb]]), np.array([da, db]))
    return np.asarray(least + step * np.clip(to, -FAR, FAR))
