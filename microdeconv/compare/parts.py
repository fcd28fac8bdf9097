"""Figures with their noise: what they would be if a part of the image were missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv.compare.case import Figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

ALONG = 6  # parts along y and x, at most, and
WIDE = 16  # pixels at least
FEWEST = 4  # parts that tell a noise


class Parted(NamedTuple):
    """A figure of one result.

    Attributes
    ----------
    value
        Of the whole.
    without
        The figure without each part of the image in turn, float64 (parts,); empty where parts are too small.
    """

    value: float
    without: Values

    @property
    def known(self) -> bool:
        """Whether it is a number."""
        return math.isfinite(self.value)


def sums_over_parts(values: NDArray[np.generic]) -> Values:
    """Sums over parts of the image, columns through all planes, float64 (parts,).

    Parameters
    ----------
    values
        (z, y, x).
    """
    flat = values.sum(axis=0, dtype=np.float64)
    for axis in (0, 1):
        n = flat.shape[axis]
        edges = np.linspace(0, n, min(ALONG, max(n // WIDE, 1)) + 1).astype(int)[:-1]
        flat = np.add.reduceat(flat, edges, axis)
    return np.asarray(flat.ravel(), np.float64)


def parted(figure: Callable[..., float], *terms: NDArray[np.generic]) -> Parted:
    """Find a figure that is a function of sums over the image, and what it is without each part.

    Parameters
    ----------
    figure
        Of one number for each term: its sum over the voxels; the last one is how many voxels there are.
    terms
        (z, y, x), all of one shape.
    """
    sums = [sums_over_parts(term) for term in terms]
    sums.append(sums_over_parts(np.ones(terms[0].shape, np.float32)))
    totals = [float(s.sum()) for s in sums]
    number = sums[0].size if sums[0].size >= FEWEST else 0
    without = [figure(*(t - float(s[i]) for t, s in zip(totals, sums, strict=True))) for i in range(number)]
    return Parted(figure(*totals), np.array(without))


def moments(y: Values, m: Values) -> tuple[Values, ...]:
    """Terms for `parted` whose sums give line fit and correlation; centre them first, so that rounding is small."""
    return y, m, y * y, m * m, y * m


def spreads(y: float, m: float, yy: float, mm: float, ym: float, voxels: float) -> tuple[float, float, float]:
    """Σ (y − ȳ)², Σ (m − m̄)² and Σ (y − ȳ)(m − m̄) from the sums of `moments`."""
    return yy - y * y / voxels, mm - m * m / voxels, ym - y * m / voxels


def pearson(*sums: float) -> float:
    """Pearson's correlation from the sums of `moments`; NaN where either is flat."""
    yy, mm, ym = spreads(*sums)
    return ym / math.sqrt(yy * mm) if yy > 0 and mm > 0 else math.nan


def of_quarters(figure: Callable[..., float], *images: NDArray[np.generic], least: int = 48) -> Parted:
    """Find a figure that is no sum, and from that of four quarters of the field how much it varies.

    Parameters
    ----------
    figure
        Of images (z, y, x).
    images
        All of one shape.
    least
        Pixels that a quarter needs along y and x.
    """
    y, x = images[0].shape[1:]
    value = figure(*images)
    if min(y, x) < 2 * least:
        return Parted(value, np.zeros(0))
    rows, columns = (slice(0, y // 2), slice(y // 2, y)), (slice(0, x // 2), slice(x // 2, x))
    each = np.array([figure(*(i[:, r, c] for i in images)) for r in rows for c in columns])
    return Parted(value, (each.sum() - each) / (len(each) - 1))


def error_of_difference(one: Parted, other: Parted) -> float | None:
    """Standard error of the difference of two results' figures: the jackknife over parts, which both share.

    References
    ----------
    B. Efron, C. Stein, Ann. Stat. 9, 586 (1981).
    """
    n = one.without.size
    if n < FEWEST or n != other.without.size:
        return None
    apart = one.without - other.without
    error = math.sqrt((n - 1) / n * float(np.square(apart - apart.mean()).sum()))
    return error if math.isfinite(error) else None


def ranked(values: Mapping[str, float], better: str) -> list[str]:
    """Names of the entries, the best first; as they come where neither is better."""
    sign = {"higher": -1.0, "lower": 1.0}
    if better == "near one":
        return sorted(values, key=lambda name: abs(math.log(max(values[name], 1e-12))))
    return sorted(values, key=lambda name: sign.get(better, 0.0) * values[name])


def figure(
    key: str, label: str, meaning: str, better: str, unit: str, found: Iterable[tuple[str, Parted | None]]
) -> Figure | None:
    """Put a figure together; its noise is that of the difference between the best two. None without any value."""
    known = {name: one for name, one in found if one is not None and one.known}
    if not known:
        return None
    values = {name: one.value for name, one in known.items()}
    between = dict[str, dict[str, float]]()
    for a, b in permutations(known, 2):
        error = error_of_difference(known[a], known[b])
        if error is not None:
            between.setdefault(a, {})[b] = error
    best = ranked(values, better)[:2]
    noise = between.get(best[0], {}).get(best[-1])
    return Figure(key, label, meaning, better, unit, values, noise, between)
