"""Figures of many samples against each other: means with intervals, the worst, the share that is worse, the aims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLED = 10_000  # times, for an interval
SEED = 7
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better one method is than another over a cell, in a metric's unit.

    Attributes
    ----------
    n
        Samples.
    mean, error
        Of the differences, and its standard error.
    low, high
        95 % interval of the mean, from resampled pairs.
    fifth, worst
        5th percentile and least of the differences.
    worse
        Share of samples that are worse.
    """

    n: int
    mean: float
    error: float
    low: float
    high: float
    fifth: float
    worst: float
    worse: float

    def told(self) -> dict[str, float | None]:
        """As JSON has it, rounded; of one sample the error is not known."""
        return {key: None if math.isnan(value) else round(value, 5) for key, value in asdict(self).items()}


def compare(better: Sequence[float] | NDArray[np.float64], base: Sequence[float] | NDArray[np.float64]) -> Comparison:
    """Compare paired figures of which more is better.

    Parameters
    ----------
    better, base
        Of the same samples, in order, at least one.

    References
    ----------
    B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals.
    """
    off = np.asarray(better, np.float64) - np.asarray(base, np.float64)
    n = off.size
    drawn = np.random.default_rng(SEED).integers(0, n, (RESAMPLED, n))
    low, high = np.quantile(off[drawn].mean(1), (0.025, 0.975))
    error = float(off.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return Comparison(
        n, float(off.mean()), error, float(low), float(high), float(np.quantile(off, 0.05)), float(off.min()),
        float((off < 0).mean()),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aim:
    """What a method has to reach in a cell, against another.

    Attributes
    ----------
    cell, method, base, metric
        What is compared.
    figure
        A field of `Comparison`.
    least
        That figure must be at least this.
    """

    cell: str
    method: str
    base: str
    metric: str
    figure: str
    least: float


@dataclass(frozen=True, slots=True)
class Reached:
    """An aim, what was measured, and whether it is reached."""

    aim: Aim
    value: float

    @property
    def good(self) -> bool:
        """Whether it is reached."""
        return self.value >= self.aim.least

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self.aim), "value": round(self.value, 5), "reached": self.good}


NETWORK, GUARDED, GUESS, AUTOMATIC = "network", "guarded", "guess", "rl"
ORACLE, ORACLE_SEEN = "rl-best", "rl-best-seen"  # as it is, and at the truth's resolution
GAINS = {"2d-seen": 0.8, "2d-structure": 0.5, "2d-psf": 0.8, "2d-both": 0.4}
RIGHT = tuple(f"{d}-{kind}" for d in ("2d", "3d") for kind in ("seen", "structure", "psf", "both"))
WRONG = tuple(f"{d}-{kind}" for d in ("2d", "3d") for kind in ("narrow", "wide", "spherical"))
AIMS = (
    *(Aim(cell, NETWORK, ORACLE, "psnr", "mean", gain) for cell, gain in GAINS.items()),
    *(Aim(cell, NETWORK, ORACLE, "psnr", "low", 0.0) for cell in RIGHT),
    *(Aim(cell, NETWORK, ORACLE_SEEN, "psnr", "low", 0.0) for cell in RIGHT),
    *(Aim(cell, NETWORK, ORACLE, "ssim", "mean", 0.02) for cell in RIGHT),
    *(Aim(cell, NETWORK, ORACLE, "correlation", "mean", 0.015) for cell in RIGHT),
    *(Aim(cell, GUARDED, AUTOMATIC, "psnr", "fifth", -0.05) for cell in RIGHT),
    *(Aim(cell, GUARDED, AUTOMATIC, "psnr", "worst", -0.15) for cell in RIGHT),
    *(Aim(cell, GUARDED, AUTOMATIC, "psnr", "worst", -0.5) for cell in WRONG),
    Aim("2d-photographs", GUARDED, AUTOMATIC, "psnr", "mean", 0.0),
    *(Aim(f"{d}-empty", GUARDED, AUTOMATIC, "calm", "least", -3.0) for d in ("2d", "3d")),
    *(Aim(f"{d}-{kind}", GUARDED, AUTOMATIC, "few", "mean", 0.0) for d in ("2d", "3d") for kind in ("spots", "empty")),
    *(
        Aim(f"{d}-{kind}", GUESS, base, "psnr", "low", 0.0)
        for d in ("2d", "3d") for kind in ("psf", "both") for base in ("raw", "unsharp")
    ),
)  # fmt: skip


def pairs(rows: Sequence[Row], cell: str, method: str, metric: str) -> dict[int, float]:
    """A metric's figures of one method in one cell, by the sample's number; those that have it."""
    return {
        row["number"]: row[metric] for row in rows if row["cell"] == cell and row["method"] == method and metric in row
    }


def comparison(rows: Sequence[Row], cell: str, method: str, base: str, metric: str) -> Comparison | None:
    """Compare two methods in a cell; nothing when there is no sample of both."""
    one, other = pairs(rows, cell, method, metric), pairs(rows, cell, base, metric)
    shared = sorted(one.keys() & other.keys())
    return compare([one[n] for n in shared], [other[n] for n in shared]) if shared else None


def reached(rows: Sequence[Row]) -> list[Reached]:
    """Measure the aims that the rows speak of."""
    found = []
    for aim in AIMS:
        if aim.figure == "least":
            values = pairs(rows, aim.cell, aim.method, aim.metric)
            if values:
                found.append(Reached(aim, min(values.values())))
        elif one := comparison(rows, aim.cell, aim.method, aim.base, aim.metric):
            found.append(Reached(aim, getattr(one, aim.figure)))
    return found


def means(rows: Sequence[Row], cell: str, method: str) -> dict[str, float]:
    """Mean of every metric of a method in a cell."""
    mine = [row for row in rows if row["cell"] == cell and row["method"] == method]
    metrics = dict.fromkeys(key for row in mine for key, value in row.items() if isinstance(value, float))
    return {m: float(np.mean([row[m] for row in mine if m in row])) for m in metrics if m != "photons"}
