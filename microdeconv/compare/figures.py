"""All that is measured of a case's results: figures for a table, curves and maps for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microdeconv.compare.blind import blind_figures, chi_square_map
from microdeconv.compare.curves import Curves
from microdeconv.compare.thinned import curves_of_halves, thinned_figures
from microdeconv.compare.truth import beside_truth, curves_to_truth, truth_figures
from microdeconv.compare.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.case import Case, Figure
    from microdeconv.stack import Psf, PsfSet

    Image = NDArray[np.float32]

PASSED = 0.02  # of its maximum: the OTF's modulus at the edge of its support
FADED = 1e-12  # of a spectrum's top: less is not told from nothing


def figures_of(case: Case, view: View | None = None) -> tuple[Figure, ...]:
    """Measure all results of a case: against the truth if there is one, from halves of the counts, from the image.

    Parameters
    ----------
    case
        See `Case`.
    view
        `View.of(case)`, to be given to `curves_of` as well: it keeps what both need.
    """
    view = view or View.of(case)
    found = [*truth_figures(view, beside_truth(view)), *thinned_figures(view), *blind_figures(view)]
    return tuple(one for one in found if one is not None)


def curves_of(case: Case, view: View | None = None) -> Curves:
    """Find the curves and maps of a case.

    Parameters
    ----------
    case, view
        See `figures_of`.
    """
    view = view or View.of(case)
    voxel = case.voxel_um
    step = 1.0 if voxel is None else voxel.x
    ratio = 1.0 if voxel is None else voxel.y / voxel.x
    raw = case.raw[view.box].astype(np.float32) - np.float32(case.background)
    maps = {e.name: chi_square_map(view, e) for e in case.entries}
    psf = case.psf or next((e.psf for e in case.entries if e.psf is not None), None)
    return Curves(
        "voxel" if voxel is None else "µm",
        curves_to_truth(view, beside_truth(view)),
        curves_of_halves(view),
        {e.name: _lateral_power(e.image[view.box], ratio, step) for e in case.entries},
        _lateral_power(raw, ratio, step),
        None if psf is None else _support(psf, ratio) / step,
        {name: one for name, one in maps.items() if one is not None},
        view.box,
    )


def _rings(shape: tuple[int, ...], ratio: float) -> NDArray[np.float64]:
    """Lateral frequencies of a half spectrum, cycles per column; rows are `ratio` columns high."""
    return np.asarray(np.hypot(np.fft.fftfreq(shape[-2])[:, None] / ratio, np.fft.rfftfreq(shape[-1])[None, :]))


def _lateral_power(image: Image, ratio: float, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.fft import rfft2

    y, x = image.shape[1:]
    window = np.outer(np.hanning(y + 2)[1:-1], np.hanning(x + 2)[1:-1]).astype(np.float32)
    power = np.mean([np.abs(rfft2((plane - plane.mean()) * window)) ** 2 for plane in image], axis=0)
    number = max(x // 2, 1)
    ring = np.rint(_rings(image.shape, ratio) * 2 * number).astype(int).ravel()
    sums = np.bincount(ring, power.ravel().astype(np.float64), number + 1)[1 : number + 1]
    held = np.bincount(ring, minlength=number + 1)[1 : number + 1]
    mean = sums / np.maximum(held, 1)
    top = float(mean.max()) or 1.0
    return np.arange(1, number + 1) / (2 * number * step), np.maximum(mean / top, FADED)


def _support(psf: Psf | PsfSet, ratio: float) -> float:
    """Largest lateral frequency at which the OTF's modulus, at any axial one, is above a fiftieth; per column."""
    from scipy.fft import rfftn

    kernel = psf.parts[len(psf.parts) // 2].pixels
    sizes = (kernel.shape[0], *(1 if n == 1 else max(n, 128) for n in kernel.shape[1:]))
    passed = np.abs(rfftn(kernel, sizes)).max(axis=0) > PASSED
    return float(_rings(sizes, ratio)[passed].max(initial=0.0))
