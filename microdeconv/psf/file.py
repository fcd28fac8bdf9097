"""A PSF from a file or an array, made ready: checked, background taken off, centred, cropped, resampled, normalised."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from microdeconv.errors import DataError
from microdeconv.extent import support
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack
from microdeconv.io.writer import RECORD_HEADING, write_stack
from microdeconv.optics import Optics
from microdeconv.stack import Channel, Header, Psf, Zyx

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NEGATIVE = 1e-3  # of the peak: values further below zero are no noise
BACKGROUND = 1e-4  # of the peak: less is not worth taking off
LOST = 1e-3  # of the energy, cut away: worth a word
MOSTLY_LOST = 0.5  # of the energy, to all sides: this is no PSF of such an image
BORDER = 0.05  # of the energy at the lateral border: the PSF is cut off
ENDING = 0.2  # of the middle plane's energy in the last plane: the PSF is cut off in z
LOBES = 3  # bright spots side by side, and
FILLED = 0.12  # share of the plane that is bright: from these on it is an image, no PSF
SMALL = 32  # pixels across, below which a tight crop may well be filled
SAME_VOXEL = 0.01  # relative difference that is none
UNLIKE_VOXEL = 10  # ratio of voxel sizes that is no sampling but a wrong unit
OFF_CENTRE = 0.5  # voxels off the middle: worth a warning
TOLD_SHIFT = 0.05  # voxels, below which a shift is not worth a word
SUBVOXEL = 0.015  # shifts below are not worth an interpolation: PSFs are centred to a fiftieth of a voxel
Centre = Literal["peak", "centroid", "none"]


def load_psf(
    path: Path,
    voxel_um: Zyx | None,
    field: tuple[int, int, int],
    *,
    centre: Centre = "peak",
    background: bool = True,
    channel: int | None = None,
) -> Psf:
    """Read a PSF and make it ready for a stack.

    A file that `write_psf` wrote is centred and free of background already: its middle voxel stays, whatever `centre`
    and `background` say.

    Parameters
    ----------
    path
        TIFF. Time points without planes are taken for planes: some programs save them so.
    voxel_um
        The stack's voxel size; nan or None where unknown.
    field
        The stack's sizes (z, y, x).
    centre, background
        See `ready`.
    channel
        Which one, of a file of several.

    Returns
    -------
    Psf
        Its source tells what was done, its notes what is wrong with it.

    Raises
    ------
    DataError
        When it is no PSF, or none for this stack; or of several channels and none is picked.
    """
    stack = open_stack(path)
    if stack.header.axes == "TYX" and field[0] > 1:
        stack = open_stack(path, Selection(axes="ZYX"))
    header = stack.header
    if header.size("T") > 1 or (channel is None and header.size("C") > 1):
        raise DataError(f"{path}: {header.describe()} is not one PSF", "give a file of one channel and one time point")
    if channel is not None and channel >= header.size("C"):
        raise DataError(f"{path}: {header.describe()} has no channel {channel}", "count channels from 0")
    record = _record_in(header)
    if record is not None:
        centre, background = "none", False
    pixels = stack.read(0, channel or 0)
    source = f"from {path.name}" + (f" ({record['psf']})" if record else "")
    psf = ready(
        pixels, header.voxel_um, field, voxel_um,
        centre=centre, background=background, name=str(path), source=source,
    )  # fmt: skip
    told = header.channels[channel or 0].optics
    return replace(psf, optics=_optics_of(record) if record else told if told != Optics() else None)


def ready(
    pixels: NDArray[Any],
    own_voxel_um: Zyx | None,
    field: tuple[int, int, int],
    voxel_um: Zyx | None = None,
    *,
    centre: Centre = "peak",
    background: bool = True,
    name: str = "the PSF",
    source: str = "measured",
) -> Psf:
    """Make an array into a PSF for a field: checked, centred to sub-voxel, cropped, resampled, sum one, sizes odd.

    Shift and change of voxel size are one interpolation by cubic splines, after averaging where pixels grow. What lies
    outside the array is taken for dark.

    Parameters
    ----------
    pixels
        (z, y, x) or (y, x), any scale.
    own_voxel_um
        Its voxel size in µm, if known.
    field
        Sizes (z, y, x) of the image.
    voxel_um
        The image's voxel size; the PSF is resampled to it where both are known and differ by more than 1 %.
    centre
        What comes into the middle voxel: "peak" (top of a quadric through the logarithms of the brightest voxel and its
        neighbours), "centroid" of all light, or "none": the voxel n // 2 as it is.
    background
        Take off the constant that the border shows (the lowest decile of its darkest side) if it is more than 0.01 %
        of the peak. More would be light: cones reach the border.
    name
        For messages.
    source
        Where it comes from; what is done to it is added.

    Returns
    -------
    Psf
        Its source tells what was done, its notes what is wrong with it.

    Raises
    ------
    DataError
        For zeros, NaN, negative values beyond 0.1 % of the peak, 2-D on 3-D or the reverse, what looks like an image,
        light that falls between the image's voxels.
    """
    volume = pixels[None] if pixels.ndim == 2 else pixels
    notes: list[str] = []
    done: list[str] = []
    _check_values(volume, name)
    _check_kind(volume, field, name)
    volume = np.ldexp(volume.astype(np.float64), -int(np.frexp(volume.max())[1]))  # no sum overflows now
    if volume.min() < -1e-6 * volume.max():
        notes.append(f"negative values down to {-100 * volume.min() / volume.max():.2g} % of its peak set to zero")
    volume = np.clip(volume, 0, None)
    if background:
        volume = _without_background(volume, done)
    _check_lobes(volume, name, notes)
    middle = _middle_of(volume, centre)
    off = None if centre == "none" else _off_middle(volume, middle)
    ratios = _ratios(volume.shape, own_voxel_um, voxel_um, name)
    if (ratios != 1).any():
        done.append(f"resampled from voxels of {_sizes(own_voxel_um)} to the stack's {_sizes(voxel_um)} (z y x)")
    _tell_unknown(volume.shape, own_voxel_um, voxel_um, notes)
    _tell_offset(off, centre, done, notes)
    _tell_loss(volume, middle, (np.array(field) - 0.5) * ratios, name, notes)
    _tell_cut_off(volume, int((2 * field[0] - 1) * ratios[0]), notes)
    volume = _sampled(volume, middle, ratios, np.array(field) - 1)
    if not volume.any():
        raise DataError(f"{name}: its light falls between the stack's voxels", "is its voxel size right?")
    told = "".join(f", {what}" for what in done)
    pixels = (volume / volume.sum()).astype(np.float32)
    psf = Psf(pixels, voxel_um or own_voxel_um, None, source + told, tuple(notes), off)
    return _without_dark_rims(psf)


def _check_values(volume: NDArray[Any], name: str) -> None:
    if volume.ndim != 3:
        raise DataError(f"{name}: a PSF has two or three axes, not {volume.ndim}", "give one channel and time point")
    if volume.size == 0 or volume.dtype.kind not in "buif":
        raise DataError(f"{name}: {volume.size} voxels of {volume.dtype} are no PSF", "give real numbers")
    bad = volume.size - int(np.count_nonzero(np.isfinite(volume)))
    if bad:
        raise DataError(f"{name}: {bad} voxels are NaN or infinite", "measure the PSF anew")
    peak, least = float(volume.max()), float(volume.min())
    if peak <= 0:
        raise DataError(f"{name}: holds no light, no voxel is above zero", "give another PSF")
    if least < -NEGATIVE * peak:
        raise DataError(f"{name}: negative values, down to {least:g} at a peak of {peak:g}", "clip or measure it anew")


def _check_kind(volume: NDArray[Any], field: tuple[int, int, int], name: str) -> None:
    if (volume.shape[0] > 1) == (field[0] > 1) or volume.size == 1:
        return
    kinds = ("2-D", "3-D")
    wider = volume.shape[1] > field[1] and volume.shape[2] > field[2]
    hint = "are stack and PSF swapped?" if wider else "give a PSF with as many dimensions as the image"
    raise DataError(f"{name}: a {kinds[volume.shape[0] > 1]} PSF for a {kinds[field[0] > 1]} image", hint)


def _check_lobes(volume: NDArray[np.float64], name: str, notes: list[str]) -> None:
    """Refuse what shows many bright things side by side, or one large: an image. Noise is smoothed over."""
    from scipy.ndimage import gaussian_filter, label

    if min(volume.shape[1:]) < SMALL:
        return
    seen = gaussian_filter(volume.max(axis=0), 1)
    dark = float(np.median(seen))
    lobes, n_lobes = label(seen > (dark + seen.max()) / 2)
    filled = np.count_nonzero(lobes) / lobes.size
    if n_lobes >= LOBES or filled > FILLED:
        what = f"{n_lobes} bright spots side by side" if n_lobes >= LOBES else f"{100 * filled:.0f} % of it is bright"
        raise DataError(f"{name}: does not look like a PSF, {what}", "are stack and PSF swapped? else cut out one bead")
    if n_lobes > 1:
        notes.append(f"{n_lobes} bright spots side by side: is it one PSF?")


def _without_background(volume: NDArray[np.float64], done: list[str]) -> NDArray[np.float64]:
    """Take off what the darkest side of the lateral rim shows."""
    sides = (volume[:, 0, :], volume[:, -1, :], volume[:, :, 0], volume[:, :, -1])
    level = min(float(np.quantile(side, 0.1)) for side in sides)
    peak = float(volume.max())
    if min(volume.shape[1:]) <= 8 or not BACKGROUND * peak < level < peak:
        return volume
    done.append(f"a background of {100 * level / peak:.2g} % of its peak taken off")
    return np.clip(volume - level, 0, None)


def _middle_of(volume: NDArray[np.float64], centre: Centre) -> NDArray[np.float64]:
    """Where the PSF's centre is, in voxels."""
    if centre == "none":
        return np.array([n // 2 for n in volume.shape], dtype=float)
    if centre == "centroid":
        profiles = (volume.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3))
        return np.array([float(np.average(np.arange(p.size), weights=p)) for p in profiles])
    return top_of(volume)


def top_of(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """Top of the quadric through the logarithms round the brightest voxel: a Gaussian's, slanted or not.

    Along a ridge that runs askew nothing tells the top: the nearest point of the ridge serves.
    """
    peak = np.array(np.unravel_index(int(np.argmax(volume)), volume.shape))
    free = [a for a, n in enumerate(volume.shape) if 0 < peak[a] < n - 1]
    steps = np.eye(3, dtype=int)

    def level(step: NDArray[np.int_]) -> float:
        return math.log(max(float(volume[tuple(peak + step)] / volume[tuple(peak)]), 1e-3))

    slope = np.array([level(steps[a]) - level(-steps[a]) for a in free]) / 2
    bend = np.diag([level(steps[a]) + level(-steps[a]) for a in free])
    for i, j in combinations(range(len(free)), 2):
        a, b = steps[free[i]], steps[free[j]]
        bend[i, j] = bend[j, i] = (level(a + b) + level(-a - b) - level(a - b) - level(b - a)) / 4
    scale = np.sqrt(np.maximum(-np.diag(bend), 1e-9))
    move = -np.linalg.pinv(bend / np.outer(scale, scale), rcond=0.1, hermitian=True) @ (slope / scale) / scale
    place = peak.astype(float)
    place[free] += np.clip(move, -0.5, 0.5)
    return place


def _ratios(shape: tuple[int, ...], own: Zyx | None, wanted: Zyx | None, name: str) -> NDArray[np.float64]:
    """How many of the PSF's voxels a voxel of the stack takes, along each axis; 1 where they agree or nobody knows."""
    ratios = np.ones(3)
    if own is None or wanted is None:
        return ratios
    known = np.isfinite(own) & np.isfinite(wanted) & (np.array(shape) > 1)
    ratios[known] = (np.array(wanted) / np.array(own))[known]
    if not 1 / UNLIKE_VOXEL <= ratios.min() <= ratios.max() <= UNLIKE_VOXEL:
        differ = f"its voxels of {_sizes(own)} and the stack's of {_sizes(wanted)} are too unlike"
        raise DataError(f"{name}: {differ}", "is a unit wrong? --voxel gives the stack's")
    ratios[np.abs(ratios - 1) <= SAME_VOXEL] = 1.0
    return ratios


def _sizes(voxel_um: Zyx | None) -> str:
    return " x ".join(f"{size:.4g}" for size in voxel_um or ()) + " µm"


def _tell_unknown(shape: tuple[int, ...], own: Zyx | None, wanted: Zyx | None, notes: list[str]) -> None:
    """Say that only one of PSF and stack knows its voxel size: nothing is resampled then, which may be wrong."""
    used = np.array(shape) > 1
    own_known, wanted_known = (v is not None and bool(np.isfinite(v)[used].all()) for v in (own, wanted))
    if own_known and not wanted_known:
        notes.append(
            f"its voxels have {_sizes(own)} (z y x), the stack's are not known: taken to be the same, see --voxel"
        )
    elif wanted_known and not own_known:
        notes.append(f"its voxel size is not known: taken to be the stack's {_sizes(wanted)} (z y x), see --voxel")


def _off_middle(volume: NDArray[np.float64], middle: NDArray[np.float64]) -> Zyx:
    """How far the centre is from the middle: of even sizes, either voxel in the middle or the point between."""
    sizes = np.array(volume.shape)
    middles = np.stack([(sizes - 1) / 2, sizes // 2, (sizes - 1) // 2])
    nearest = np.abs(middle - middles).argmin(axis=0)
    return Zyx(*(float(o) for o in middle - np.take_along_axis(middles, nearest[None], axis=0)[0]))


def _tell_offset(off: Zyx | None, centre: Centre, done: list[str], notes: list[str]) -> None:
    """Say how far the centre was from the middle."""
    if off is None:
        return
    told = f"({', '.join(f'{o:+.1f}' for o in np.round(off, 1) + 0.0)}) voxels (z y x) off the middle"
    if max(map(abs, off)) >= TOLD_SHIFT:
        done.append(f"centred: its {centre} was {told}")
    if max(map(abs, off)) > OFF_CENTRE:
        notes.append(f"its {centre} was {told}: it was moved there, see --psf-centre")


def _tell_loss(
    volume: NDArray[np.float64], middle: NDArray[np.float64], reach: NDArray[np.float64], name: str, notes: list[str]
) -> None:
    """Say what is lost beyond the reach (voxels) that can act within the field."""
    inside = volume
    for axis, n in enumerate(volume.shape):
        inside = inside.compress(np.abs(np.arange(n) - middle[axis]) <= reach[axis], axis=axis)
    lost = 1 - float(inside.sum() / volume.sum())
    if lost > MOSTLY_LOST and all(n > 2 * r + 1 for n, r in zip(volume.shape[1:], reach[1:], strict=True)):
        raise DataError(f"{name}: {100 * lost:.0f} % of it lies outside the image", "are stack and PSF swapped?")
    if lost > LOST:
        notes.append(f"larger than the stack can use: cropped, {100 * lost:.2g} % of its energy lost")


def _tell_cut_off(volume: NDArray[np.float64], usable_planes: int, notes: list[str]) -> None:
    """Say that the PSF ends where it is bright still: at the sides, or in z if the stack has use for more."""
    if min(volume.shape[1:]) > 4:
        border = 1 - float(volume[:, 1:-1, 1:-1].sum() / volume.sum())
        if border > BORDER:
            notes.append(f"{100 * border:.0f} % of its energy lies at its border: it is cut off, a wider one is better")
    planes = volume.sum(axis=(1, 2))
    ending = float(max(planes[0], planes[-1]) / planes.max())
    if 1 < planes.size < usable_planes - 1 and ending > ENDING:
        notes.append(f"its last plane is {100 * ending:.0f} % as bright as the brightest: {usable_planes} would serve")


def _sampled(
    volume: NDArray[np.float64], middle: NDArray[np.float64], ratios: NDArray[np.float64], usable: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Sample round the middle, every `ratios` voxels, `usable` samples to each side at most."""
    from scipy.ndimage import affine_transform, gaussian_filter

    whole = (ratios == 1) & (np.abs(middle - np.round(middle)) < SUBVOXEL)
    middle = np.where(whole, np.round(middle), middle)
    farthest = np.maximum(middle, np.array(volume.shape) - 1 - middle)
    half = np.minimum((farthest / ratios + 0.5).astype(int), usable)
    # a camera averages over the larger pixel, whose box has (r² − 1) / 12 more variance; planes are thin as ever
    smooth = gaussian_filter(volume, np.sqrt(np.maximum(ratios**2 - 1, 0) / 12) * (0, 1, 1))
    shape, start = tuple(int(n) for n in 2 * half + 1), middle - half * ratios
    order: Literal[0, 3] = 0 if whole.all() else 3
    sampled = affine_transform(smooth, ratios, start, output_shape=shape, order=order, mode="grid-constant")
    return np.clip(np.asarray(sampled, np.float64), 0, None)


def _without_dark_rims(psf: Psf) -> Psf:
    """Drop planes, rows and columns at the ends that hold no light."""
    half = support(psf, 1 - 1e-9)
    inner = (slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(psf.pixels.shape, half, strict=True))
    return replace(psf, pixels=np.ascontiguousarray(psf.pixels[tuple(inner)]))


def write_psf(path: Path, psf: Psf, *, overwrite: bool) -> None:
    """Write a PSF as ImageJ TIFF (float32), its voxel size and optics in it.

    Raises
    ------
    WriteError, CannotCreateError
        See `microdeconv.io.atomic`.
    """
    optics = psf.optics or Optics()
    header = Header(
        None, "ZYX", psf.pixels.shape, np.dtype("float32"), psf.voxel_um, (Channel(optics=optics),), "imagej", {}
    )
    record = {"psf": psf.source, "optics": {k: v for k, v in asdict(optics).items() if v is not None}}
    write_stack(path, header, [(0, 0, psf.pixels)], record, container="imagej", overwrite=overwrite)


def _record_in(header: Header) -> dict[str, Any] | None:
    """Find the record that `write_psf` put into a file."""
    _, heading, text = str(header.extras.get("Info", "")).partition(RECORD_HEADING)
    try:
        record = json.loads(text) if heading else None
    except ValueError:
        return None
    return record if isinstance(record, dict) and "psf" in record else None


def _optics_of(record: dict[str, Any]) -> Optics | None:
    try:
        return Optics(**record["optics"]) if record.get("optics") else None
    except TypeError:  # written by another version, with other fields
        return None
