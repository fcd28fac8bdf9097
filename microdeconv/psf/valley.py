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
OWN = 0.0  # in the place of a factor on the steps: as long as the errors are, along their axes
WIDE = 2.0  # standard errors: so far the cost rises by more than its own noise
SHORTEST = 0.08  # of the longest such step: nearer looks differ by noise
MOST_ERRORS, RISEN = 5, 8.0  # to each side along the flattest axis, and above the least: there the mean is told
TINY = 1e-6  # a variance that is none
ALONG_AXES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [-0.7, -0.7]])
AS_LOW = 1.0  # above the least look: the surface's least is as good, and less noisy


class Least(NamedTuple):
    """Where a function is least.

    Attributes
    ----------
    point
        (2,): the mean along the axis of the largest error, as of a negative logarithm of a probability.
    cost
        There.
    covariance
        (2, 2): the inverse of how sharply the cost bends there, with the spread along that axis; zero if too few looks
        tell.
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
        Factors on the steps, one after another; at last steps are as long as the errors that were found, along the axes
        of these: far in a flat valley, near where little is left to be known.
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
    for factor in (*shrinks, OWN):
        if factor != OWN:
            frame, around = np.diag(steps * factor), _along_valley(middle)
        elif covariance.any():
            frame, around = _axes_of(covariance, 2 * steps), ALONG_AXES
        for _ in range(MOVES):
            for one in around:
                look(np.array(middle) + frame @ one)
            least = min(tried, key=tried.__getitem__)
            to, covariance = _vertex(tried, np.array(least), frame, bend)
            vertex = look(to)
            before, middle = middle, min(tried, key=tried.__getitem__)
            if np.abs(np.linalg.solve(frame, np.array(middle) - before)).max() <= SETTLED:
                break
    if tried[vertex] < tried[middle] + AS_LOW:
        middle = vertex
    mean, covariance = _along_flattest(lambda point: tried[look(point)], np.array(middle), covariance, bounds)
    middle = look(mean)
    return Least(np.array(middle), tried[middle], covariance)


def _along_flattest(
    cost: Callable[[NDArray[np.float64]], float], middle: NDArray[np.float64], covariance: NDArray[np.float64],
    bounds: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """The mean along the axis of the largest error, until the cost has risen on both sides, and the covariance then.

    Where hardly anything tells points apart, the least of the looks is that of their noise; the mean is not.
    """
    variances, axes = np.linalg.eigh(covariance)
    if variances[-1] <= TINY:
        return middle, covariance
    error, axis = float(np.sqrt(variances[-1])), axes[:, -1]
    found = {0.0: cost(middle)}
    for side in (1, -1):
        for number in range(1, MOST_ERRORS + 1):
            place = side * number * error
            point = middle + place * axis
            if np.any(point < bounds[:, 0]) or np.any(point > bounds[:, 1]):
                break
            found[place] = cost(point)
            if found[place] > min(found.values()) + RISEN:
                break
    along, costs = np.array(list(found)), np.array(list(found.values()))
    weights = np.exp(costs.min() - costs)
    mean = float(weights @ along / weights.sum())
    spread = float(weights @ (along - mean) ** 2 / weights.sum())
    return middle + mean * axis, covariance + (max(spread, (error / 2) ** 2) - variances[-1]) * np.outer(axis, axis)


def _along_valley(middle: tuple[float, ...]) -> NDArray[np.float64]:
    """Six looks in steps: along both, and along the valley, where one grows as the other's size falls."""
    along = -1.0 if middle[1] >= 0 else 1.0
    return np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, along], [-1, -along]])


def _axes_of(covariance: NDArray[np.float64], most: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions, as columns, in which errors are independent, as long as `WIDE` of them, within bounds."""
    variances, axes = np.linalg.eigh(covariance)
    columns = axes * (WIDE * np.sqrt(variances.clip(TINY)))
    parts = (np.abs(columns) / most[:, None]).max(axis=0)  # of the longest
    return np.asarray(columns * (np.clip(parts, SHORTEST, 1) / parts))


def _vertex(
    tried: dict[tuple[float, ...], float], least: NDArray[np.float64], frame: NDArray[np.float64],
    bend: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Where the quadratic surface through the looks near the least one has its own, and the inverse of its bend."""
    away = np.linalg.solve(frame, (np.array(list(tried)) - least).T).T
    far = np.abs(away).max(axis=1)
    near = np.argsort(far, kind="stable")[: max(np.count_nonzero(far <= NEAR), FEWEST)]
    a, b = away[near].T
    if a.size < FEWEST:
        return least, np.zeros((2, 2))
    values = np.array(list(tried.values()))[near]
    parts = np.stack([np.ones_like(a), a, b, a * a / 2, b * b / 2, a * b], axis=1)
    _, da, db, aa, bb, ab = np.linalg.lstsq(parts, values - values.min(), rcond=None)[0]
    known = frame.T @ np.diag(bend) @ frame
    bends, axes = np.linalg.eigh(np.array([[aa, ab], [ab, bb]]) - known)
    covariance = np.linalg.inv(axes * np.maximum(bends, 0) @ axes.T + known)
    to = np.clip(-covariance @ np.array([da, db]), -FAR, FAR)
    return least + frame @ to, frame @ covariance @ frame.T
