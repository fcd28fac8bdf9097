"""Figures of results against a known truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv import quality
from microdeconv.compare.parts import Parted, figure, of_quarters, parted
from microdeconv.compare.view import View, middle
from microdeconv.psf.register import shifted
from microdeconv.resolution import Curve, fourier_correlation
from microdeconv.spots import best_f1, find_spots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.case import Figure

    Image = NDArray[np.float32]

LEAST_SHIFT = 0.3  # voxels: less is left as it is
MOST_SHIFT = 0.05  # of an axis, or
FEW = 3.0  # voxels: more is no shift of one and the same thing
GAIN = 0.75  # of the squared error: a shift must bring it below, else it follows what a method does to the object
SNAP = 0.15  # voxels: so near to whole voxels nothing is interpolated
FINER = 10  # steps of a voxel in which a shift is found
BRIGHT = 0.1  # of the truth's 99.9th percentile: fainter spots do not count
COMPACT = 10.0, 40.0  # bright voxels to a spot, in 2-D and 3-D: with more the truth is not made of spots, nor
SPARSE = 0.02  # where more of its voxels are bright, nor where spots are
PLAIN = 3.0  # bright voxels, at least: fewer are plateaus
SPOTS = 5  # at least
ONE_SCALE = "each result first brought to the truth's scale by one factor"


class Against(NamedTuple):
    """A result beside the truth, both on the inner part of the view.

    Attributes
    ----------
    result
        float64 (z, y, x), laid on the truth where that was shifted, times the factor that is best.
    truth
        float64 (z, y, x).
    shift
        Voxels (z, y, x) by which the result was moved.
    """

    result: NDArray[np.float64]
    truth: NDArray[np.float64]
    shift: tuple[float, float, float]


def against(image: NDArray[np.generic], truth: NDArray[np.generic]) -> Against:
    """Lay a result on the truth and scale it.

    A shift is found by cross-correlation to a tenth of a voxel, and taken where it is larger than 0.3 voxels, not
    larger than a twentieth of the axis (or three voxels), and takes away a quarter of the squared error.

    Parameters
    ----------
    image, truth
        (z, y, x).

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008).
    """
    inner = middle(truth.shape)
    known = truth.astype(np.float64)[inner]
    here = quality.scaled(image[inner], known)
    by = _shift(image.astype(np.float64), truth.astype(np.float64))
    by = np.where(np.abs(by - np.rint(by)) < SNAP, np.rint(by), by)
    bounds = [max(FEW, MOST_SHIFT * n) if n > 1 else 0.0 for n in truth.shape]
    if max(abs(by)) >= LEAST_SHIFT and all(abs(s) <= most for s, most in zip(by, bounds, strict=True)):
        moved = quality.scaled(_moved(image.astype(np.float32), by)[inner], known)
        if np.square(moved - known).sum() < GAIN * np.square(here - known).sum():
            return Against(moved, known, (float(by[0]), float(by[1]), float(by[2])))
    return Against(here, known, (0.0, 0.0, 0.0))


def _shift(image: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    from skimage.registration import phase_cross_correlation

    window = [np.hanning(n + 2)[1:-1] if n > 1 else np.ones(1) for n in truth.shape]
    faded = [np.einsum("zyx,z,y,x->zyx", one - one.mean(), *window) for one in (truth, image)]
    if not all(np.any(one) for one in faded):
        return np.zeros(3)
    flat = [a for a, n in enumerate(truth.shape) if n == 1]
    found = np.zeros(3)
    told, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        *(one.squeeze(tuple(flat)) for one in faded), upsample_factor=FINER, normalization=None
    )
    found[[a for a in range(3) if a not in flat]] = told
    return found


def _moved(image: Image, by: NDArray[np.float64]) -> Image:
    """Whole voxels first, so that these interpolate nothing."""
    whole = np.rint(by)
    rolled = np.roll(image, tuple(int(s) for s in whole), (0, 1, 2))
    return shifted(rolled, by - whole)


def beside_truth(view: View) -> dict[str, Against]:
    """Each result beside the truth, by name; nothing where no truth is known."""
    truth = view.case.truth
    if truth is None:
        return {}
    return {e.name: against(e.image[view.box], truth[view.box]) for e in view.case.entries}


def curves_to_truth(view: View, pairs: dict[str, Against]) -> dict[str, Curve]:
    """Fourier correlation of each result with the truth, by name; cycles per µm, or per voxel."""
    voxel = view.case.voxel_um
    return {name: fourier_correlation(a.result, a.truth, voxel) for name, a in pairs.items()}


def truth_figures(view: View, pairs: dict[str, Against]) -> list[Figure | None]:
    """Figures of results beside the truth; nothing where there is none."""
    if not pairs:
        return []
    truth = next(iter(pairs.values())).truth
    voxel, top = view.case.voxel_um, float(truth.max())
    squares = {name: (np.square(a.result - a.truth), np.square(a.truth)) for name, a in pairs.items()}
    shifts = ((name, Parted(math.hypot(*a.shift), np.zeros(0))) for name, a in pairs.items())
    found = [
        figure(
            "psnr", "PSNR", f"peak of the truth over the root mean squared error, {ONE_SCALE}", "higher", "dB",
            ((n, parted(lambda e, _, c: _db(top**2 * c, e), *s)) for n, s in squares.items()),
        ),
        figure(
            "nrmse", "NRMSE", f"root mean squared error over the truth's root mean square, {ONE_SCALE}", "lower", "",
            ((n, parted(lambda e, t, _: math.sqrt(e / t) if t else math.nan, *s)) for n, s in squares.items()),
        ),
        figure(
            "ssim", "SSIM", f"likeness of the structure to the truth's, one at best, {ONE_SCALE}", "higher", "",
            ((n, parted(lambda s, c: s / c, _ssim_map(a))) for n, a in pairs.items()),
        ),
        figure(
            "frc_truth", "FRC to truth", "correlation with the truth, mean over all frequencies to Nyquist", "higher",
            "", ((n, of_quarters(lambda r, t: fourier_correlation(r, t, voxel).mean, a.result, a.truth))
                 for n, a in pairs.items()),
        ),
        _spots(pairs, truth),
        figure("shift", "shift", "by which the result was moved to lie on the truth", "", "voxels", shifts),
    ]  # fmt: skip
    return found


def _db(signal: float, error: float) -> float:
    return 10 * math.log10(signal / error) if error > 0 and signal > 0 else math.nan


def _ssim_map(pair: Against) -> NDArray[np.float64]:
    """Structural similarity voxel by voxel, as `quality.ssim` has it; plane by plane where planes are few."""
    from skimage.metrics import structural_similarity

    x, t = pair.result, pair.truth
    known = {"data_range": float(np.ptp(t)) or 1.0, "gaussian_weights": True, "full": True}
    if min(t.shape) >= quality.SSIM_WINDOW:
        return np.asarray(structural_similarity(x, t, **known)[1])  # type: ignore[no-untyped-call]
    if min(t.shape[1:]) < quality.SSIM_WINDOW:
        return np.full(t.shape, math.nan)
    return np.stack([structural_similarity(a, b, **known)[1] for a, b in zip(x, t, strict=True)])  # type: ignore[no-untyped-call]


def _spots(pairs: dict[str, Against], truth: NDArray[np.float64]) -> Figure | None:
    """F1 of spots, where the truth is made of spots."""
    least = BRIGHT * float(np.quantile(truth, 0.999))
    true = find_spots(truth, least) if least > 0 else np.zeros((0, 3), np.int64)
    bright = np.count_nonzero(truth > least)
    compact = PLAIN * len(true) <= bright <= COMPACT[truth.shape[0] > 1] * len(true)
    if len(true) < SPOTS or not compact or bright > SPARSE * truth.size:
        return None
    meaning = "spots found and true, harmonic mean of precision and recall, at the threshold best for each result"

    def score(result: NDArray[np.generic], known: NDArray[np.generic]) -> float:
        return best_f1(result, find_spots(known, least))

    return figure(
        "spot_f1",
        "spot F1",
        meaning,
        "higher",
        "",
        ((n, of_quarters(score, a.result, truth)) for n, a in pairs.items()),
    )
