"""Results made elsewhere, and the truth: read, held against the stack they should belong to, laid on it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.errors import DataError
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack
from microdeconv.psf.file import SAME_VOXEL
from microdeconv.psf.from_counts import telling_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.stack import Header

    Image = NDArray[np.float32]

COMPARED = 2_000_000  # voxels, at most, on which a shift is sought
FARTHEST = 8  # voxels along an axis that a result may lie off and still be laid on the stack
BETTER = 0.005  # of the correlation, that a shift must bring
SAME_OBJECT = 0.2  # correlation below which a result does not show the same object
SAME_LIGHT = 0.1  # logarithm of a ratio of means that counts as none


class Beside(NamedTuple):
    """A result on the stack's voxels: float32 (z, y, x), and notes for a person."""

    image: Image
    notes: tuple[str, ...]


def read_beside(path: Path, header: Header, channel: int, time: int, what: str) -> Image:
    """Read a volume, float32 (z, y, x), that must have the stack's voxels.

    Parameters
    ----------
    path
        TIFF; of as many channels and time points as the stack the same one is taken, else it has just one.
    header
        The stack's.
    channel, time
        Which of the stack.
    what
        "truth" or "result", for messages.

    Raises
    ------
    NoInputError, DataError, UnavailableError, RefusedError
        When it cannot be read, has another shape or voxel size, holds what is no number, or is blank.
    """
    stack = open_stack(path, Selection())
    own = stack.header
    numbers = []
    for axis, number, word in (("T", time, "time points"), ("C", channel, "channels")):
        if own.size(axis) not in (1, header.size(axis)):
            raise DataError(
                f"{path}: {own.size(axis)} {word}, {header.path} has {header.size(axis)}", "give a file of just the one"
            )
        numbers.append(number if own.size(axis) > 1 else 0)
    if own.volume_shape != header.volume_shape:
        mine, its = (" x ".join(str(n) for n in shape) for shape in (own.volume_shape, header.volume_shape))
        raise DataError(
            f"{path}: the {what} has {mine} voxels (z y x), the stack {its}",
            "crop or resample it to the stack's voxels",
        )
    if own.voxel_um and header.voxel_um:
        pairs = [(a, b) for a, b in zip(own.voxel_um, header.voxel_um, strict=True) if a == a and b == b]
        if any(abs(a / b - 1) > SAME_VOXEL for a, b in pairs):
            raise DataError(
                f"{path}: the {what} has voxels of {own.describe_voxel()}, the stack of {header.describe_voxel()}",
                "resample it, or give the true size with --voxel",
            )
    image = np.asarray(stack.read(*numbers), np.float32)
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        raise DataError(f"{path}: {bad} voxels of the {what} are NaN or infinite", "write it anew without them")
    if image.min() == image.max():
        raise DataError(f"{path}: the {what} is blank, every voxel has the same value", "give the right file")
    return image


class _Fit(NamedTuple):
    """How two volumes lie: the shift in voxels that fits best, and the correlation without and with it."""

    shift: tuple[int, ...]
    as_it_is: float
    moved: float

    @property
    def words(self) -> str:
        """The shift for a person."""
        return ", ".join(f"{axis} {n:+d}" for axis, n in zip("zyx", self.shift, strict=True) if n)

    @property
    def farthest(self) -> int:
        """Voxels of the shift along any axis; none where it brings nothing."""
        return max(abs(s) for s in self.shift) if self.moved >= self.as_it_is + BETTER else 0


def refuse_other(path: Path, image: Image, raw: NDArray[Any], background: float, reach: int) -> None:
    """Refuse a result that does not show what the image shows, or lies farther off than any PSF could have moved it.

    Parameters
    ----------
    path
        For messages.
    image
        float32 (z, y, x).
    raw
        Counts (z, y, x).
    background
        Counts.
    reach
        Voxels of half the PSF.

    Raises
    ------
    DataError
        When it is so.
    """
    fit = _fit(image, raw, background)
    if max(fit.as_it_is, fit.moved) < SAME_OBJECT:
        raise DataError(
            f"{path}: does not show what the stack shows (correlation {max(fit.as_it_is, fit.moved):.2g})",
            "give the result of this stack, on its voxels and not turned or mirrored",
        )
    if fit.farthest > max(FARTHEST, reach):
        raise DataError(f"{path}: lies {fit.words} voxels off the stack", "lay it on the stack, or crop both alike")


def laid_on(path: Path, image: Image, reference: NDArray[Any], background: float, *, to: str) -> Beside:
    """Lay a result on a reference where it lies some whole voxels off.

    Parameters
    ----------
    path
        For messages.
    image
        float32 (z, y, x).
    reference
        Of the same shape: a result of ours, or the image.
    background
        Of the reference.
    to
        What the reference is, for notes.

    Raises
    ------
    DataError
        When it lies too far off.

    References
    ----------
    M. Guizar-Sicairos et al., Opt. Lett. 33, 156 (2008), in scikit-image.
    """
    fit = _fit(image, reference, background)
    if fit.farthest > FARTHEST:
        raise DataError(f"{path}: lies {fit.words} voxels off {to}", "lay it on the stack, or crop both alike")
    if not fit.farthest:
        return Beside(image, ())
    note = f"lay off {to}: moved by {fit.words} voxels (correlation {fit.moved:.3f}, before {fit.as_it_is:.3f})"
    return Beside(_moved(image, fit.shift), (note,))


def _fit(image: Image, reference: NDArray[Any], background: float) -> _Fit:
    from skimage.registration import phase_cross_correlation

    box = telling_box(reference, background, COMPARED)
    one, other = (np.asarray(v[box] - v[box].mean(dtype=np.float64), np.float32) for v in (reference, image))
    padded = (np.pad(v, [(0, FARTHEST if n > 1 else 0) for n in v.shape]) for v in (one, other))
    found = phase_cross_correlation(*padded, normalization=None)[0]  # type: ignore[no-untyped-call]
    as_it_is = _correlation(one, other)
    first = tuple(round(float(s)) for s in found)
    best: tuple[tuple[int, ...], float] = first, _correlation(one, _moved(other, first))
    if as_it_is >= best[1]:
        best = (0, 0, 0), as_it_is
    while True:  # what lies beyond the border draws the shift of such transforms towards none: climb from there
        near = _neighbours(best[0], one.shape)
        nearer = max(((s, _correlation(one, _moved(other, s))) for s in near), key=lambda pair: pair[1])
        if nearer[1] <= best[1]:
            return _Fit(best[0], as_it_is, best[1])
        best = nearer


def _neighbours(shift: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shifts by one voxel more or less, along axes that are longer than one."""
    steps = [(axis, by) for axis, size in enumerate(shape) if size > 1 for by in (-1, 1)]
    return [tuple(s + (by if a == axis else 0) for a, s in enumerate(shift)) for axis, by in steps]


def _correlation(one: Image, other: Image) -> float:
    a, b = (np.asarray(v, np.float64).ravel() for v in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def _moved(image: Image, shift: tuple[int, ...]) -> Image:
    """Move by whole voxels; what comes in is the border's value."""
    padded = np.pad(image, [(max(s, 0), max(-s, 0)) for s in shift], mode="edge")
    return padded[tuple(slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(shift, image.shape, strict=True))]


def above_background(image: Image, raw: NDArray[Any], background: float) -> Beside:
    """Take the background off a result whose mean light tells that it is still in it; tell the scale, do not apply it.

    Parameters
    ----------
    image
        float32 (z, y, x).
    raw
        Counts (z, y, x).
    background
        Counts.
    """
    mean, counts = float(image.mean(dtype=np.float64)), float(raw.mean(dtype=np.float64))
    light = counts - background
    if mean <= 0 or light <= 0:
        return Beside(image, ())
    whole, own = (abs(math.log(mean / total)) for total in (counts, light))
    if whole < SAME_LIGHT and own > 2 * max(whole, 1e-3):
        note = f"its mean is the image's with the background, {background:.5g} counts, which was taken off"
        return Beside(image - np.float32(background), (note,))
    if own > SAME_LIGHT:
        return Beside(image, (f"its light is {mean / light:.3g} times the image's: it was not scaled",))
    return Beside(image, ())


def scale_note(image: Image, reference: Image, to: str) -> str:
    """The factor that brings a result nearest to a reference, in words; it is told, not applied."""
    own = float(np.sum(image * image, dtype=np.float64))
    factor = float(np.sum(image * reference, dtype=np.float64)) / own if own > 0 else math.nan
    return f"{factor:.4g} times it is nearest to {to} (told, not applied)"
