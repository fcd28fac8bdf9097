"""A PSF from a file or an array, made ready: checked, background taken off, resampled, centred, cropped, normalised."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import DataError
from microdeconv.io.tiff import open_stack
from microdeconv.io.writer import RECORD_HEADING, write_stack
from microdeconv.optics import Optics
from microdeconv.stack import Channel, Header, Psf, Zyx

NEGATIVE = 1e-3  # of the peak: values below are noise
LOST = 0.01  # of the energy, cut away: worth a warning
BORDER = 0.05  # of the energy at the border: the PSF is cut off
Centre = Literal["peak", "centroid", "none"]


def load_psf(
    path: Path, voxel_um: Zyx | None, field: tuple[int, int, int], *, centre: Centre = "peak", background: bool = True
) -> Psf:
    """Read a PSF and make it ready for a stack.

    Parameters
    ----------
    path
        TIFF of one channel.
    voxel_um
        The stack's voxel size; nan or None where unknown.
    field
        The stack's sizes (z, y, x).
    centre, background
        See `ready`.

    Returns
    -------
    Psf
        Its notes tell what was done.

    Raises
    ------
    DataError
        When it is no PSF, or none for this stack.
    """
    stack = open_stack(path)
    header = stack.header
    if header.size("C") * header.size("T") > 1:
        raise DataError(f"{path}: {header.describe()} is not one PSF", "give a file of one channel for each")
    optics = _optics_in(header)
    if optics:  # computed by us: centred, without background
        centre, background = "none", False
    psf = ready(
        stack.read(0, 0), header.voxel_um, field, voxel_um, centre=centre, background=background, name=str(path)
    )
    return replace(psf, optics=optics, source=f"from {path.name}")


def ready(
    pixels: NDArray[Any],
    own_voxel_um: Zyx | None,
    field: tuple[int, int, int],
    voxel_um: Zyx | None = None,
    *,
    centre: Centre = "peak",
    background: bool = True,
    name: str = "the PSF",
) -> Psf:
    """Make an array into a PSF for a field: checked, resampled, centred to sub-voxel, cropped, sum one, sizes odd.

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
        "peak" (parabola through the brightest voxel's neighbours), "centroid", or "none".
    background
        Take off the constant that the border shows, if it is more than 0.01 % of the peak.
    name
        For messages.

    Returns
    -------
    Psf
        Its notes tell what was done.

    Raises
    ------
    DataError
        For zeros, NaN, negative values, 2-D on 3-D or the reverse.
    """
    volume = pixels[None] if pixels.ndim == 2 else pixels
    _check(volume, field, name)
    notes: list[str] = []
    volume = volume.astype(np.float64)
    volume = _without_background(volume, notes) if background else np.clip(volume, 0, None)
    volume = _resampled(volume, own_voxel_um, voxel_um, notes)
    volume = _centred(volume, centre, notes)
    volume = _cropped(volume, field, notes)
    if min(volume.shape[1:]) > 4 and _border_share(volume) > BORDER:
        notes.append(f"{100 * _border_share(volume):.0f} % of its energy lies at its border: the PSF is cut off")
    volume /= volume.sum()
    return Psf(volume.astype(np.float32), voxel_um or own_voxel_um, None, "measured", tuple(notes))


def _check(volume: NDArray[Any], field: tuple[int, int, int], name: str) -> None:
    if volume.ndim != 3:
        raise DataError(f"{name}: a PSF has two or three axes, not {volume.ndim}", "give one channel and time point")
    if not np.isfinite(volume).all():
        raise DataError(f"{name}: {np.count_nonzero(~np.isfinite(volume))} voxels are NaN or infinite", "measure the PSF anew")
    peak, least = float(volume.max()), float(volume.min())
    if peak <= 0:
        raise DataError(f"{name}: holds no light, all voxels are zero", "give another PSF")
    if least < -NEGATIVE * peak:
        raise DataError(f"{name}: has negative values, down to {least:g} at a peak of {peak:g}", "clip or measure it anew")
    if (volume.shape[0] > 1) != (field[0] > 1):
        kinds = ("2-D", "3-D")
        hint = "are stack and PSF swapped?" if volume.size > np.prod(field) * 4 else "give a PSF with as many dimensions"
        raise DataError(f"{name}: a {kinds[volume.shape[0] > 1]} PSF for a {kinds[field[0] > 1]} image", hint)
    bright = np.count_nonzero(volume > 0.5 * peak)
    if bright > 0.25 * volume.size and volume.size > 27:
        raise DataError(f"{name}: {100 * bright / volume.size:.0f} % of it is bright: not a PSF", "are stack and PSF swapped?")


def _border(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxels of the lateral rim, all planes."""
    return np.concatenate([volume[:, [0, -1], :].ravel(), volume[:, :, [0, -1]].ravel()])


def _without_background(volume: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    """Take off the least mean that one side of the rim shows, but no light: wide-field cones may reach the rim."""
    sides = (volume[:, 0, :], volume[:, -1, :], volume[:, :, 0], volume[:, :, -1])
    level = min(float(np.quantile(side, 0.1)) for side in sides)
    peak = float(volume.max())
    if min(volume.shape[1:]) > 8 and level > 1e-4 * peak:
        notes.append(f"a background of {100 * level / peak:.2g} % of its peak taken off")
        volume = volume - level
    return np.clip(volume, 0, None)


def _resampled(
    volume: NDArray[np.float64], own: Zyx | None, wanted: Zyx | None, notes: list[str]
) -> NDArray[np.float64]:
    if own is None or wanted is None:
        return volume
    ratios = [
        w / o if n > 1 and math.isfinite(o) and math.isfinite(w) else 1.0
        for o, w, n in zip(own, wanted, volume.shape, strict=True)
    ]
    if all(abs(r - 1) <= 0.01 for r in ratios):
        return volume
    from scipy.ndimage import gaussian_filter, map_coordinates

    # averaging over the larger voxel before it is sampled: a box of r voxels has the variance (r² − 1) / 12
    smooth = gaussian_filter(volume, [math.sqrt(max(r * r - 1, 0) / 12) for r in ratios])
    middle = np.array(np.unravel_index(int(np.argmax(volume)), volume.shape), dtype=float)
    half = [
        (math.floor(m / r), math.floor((n - 1 - m) / r)) for m, n, r in zip(middle, volume.shape, ratios, strict=True)
    ]
    places = [m + r * np.arange(-a, b + 1) for m, (a, b), r in zip(middle, half, ratios, strict=True)]
    sampled = map_coordinates(smooth, np.meshgrid(*places, indexing="ij"), order=3, mode="nearest")
    sizes = " x ".join(f"{o:g}" for o in own)
    notes.append(f"resampled from voxels of {sizes} µm to the stack's")
    return np.clip(sampled, 0, None)


def _middle_of(volume: NDArray[np.float64], centre: Centre) -> NDArray[np.float64]:
    """Where the PSF's centre is, in voxels."""
    if centre == "none":
        return np.array([n // 2 for n in volume.shape], dtype=float)
    if centre == "centroid":
        grids = np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij")
        return np.array([float((g * volume).sum() / volume.sum()) for g in grids])
    peak = np.array(np.unravel_index(int(np.argmax(volume)), volume.shape))
    place = peak.astype(float)
    for axis, n in enumerate(volume.shape):
        if 0 < peak[axis] < n - 1:
            a, b, c = (float(volume[tuple(np.where(np.arange(3) == axis, peak + s, peak))]) for s in (-1, 0, 1))
            bend = a - 2 * b + c
            place[axis] += 0.5 * (a - c) / bend if bend < 0 else 0.0
    return place


def _centred(volume: NDArray[np.float64], centre: Centre, notes: list[str]) -> NDArray[np.float64]:
    """Shift the centre to the middle of an odd grid; a shift of less than 0.02 voxel is none."""
    from scipy.ndimage import shift

    place = _middle_of(volume, centre)
    whole = np.round(place).astype(int)
    part = whole - place
    off = place - (np.array(volume.shape) - 1) / 2
    if np.abs(off).max() > 1:
        notes.append(f"its {'middle' if centre == 'none' else centre} was {_voxels(off)} voxels off the middle: centred")
    if np.abs(part).max() > 0.02 and centre != "none":
        padded = np.pad(volume, [(2, 2) if n > 1 else (0, 0) for n in volume.shape], mode="edge")
        part = np.where(np.array(volume.shape) > 1, part, 0)
        moved = shift(padded, part, order=3, mode="nearest")
        volume = np.clip(moved[tuple(slice(2, -2) if n > 1 else slice(None) for n in volume.shape)], 0, None)
    half = [max(w, n - 1 - w) for w, n in zip(whole, volume.shape, strict=True)]
    return np.pad(volume, [(h - w, h - (n - 1 - w)) for h, w, n in zip(half, whole, volume.shape, strict=True)])


def _voxels(off: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{o:+.1f}" for o in off) + ")"


def _cropped(volume: NDArray[np.float64], field: tuple[int, int, int], notes: list[str]) -> NDArray[np.float64]:
    """Keep what can act within the field: at most its size less one to each side; drop empty rims."""
    half = [min(n // 2, f - 1) for n, f in zip(volume.shape, field, strict=True)]
    for axis in range(3):
        profile = volume.sum(axis=tuple(a for a in range(3) if a != axis))
        middle = volume.shape[axis] // 2
        outwards = np.abs(np.arange(profile.size) - middle)[profile > 1e-9 * profile.sum()]
        half[axis] = min(half[axis], int(outwards.max(initial=0)))
    kept = volume[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(volume.shape, half, strict=True))]
    lost = 1 - float(kept.sum() / volume.sum())
    if lost > 1e-4:
        words = "warning: " if lost > LOST else ""
        notes.append(f"{words}larger than the stack can use: cropped, {100 * lost:.2g} % of its energy lost")
    return kept


def _border_share(volume: NDArray[np.float64]) -> float:
    return float(_border(volume).sum() / volume.sum())


def support(psf: Psf, share: float) -> tuple[int, int, int]:
    """Half-widths (z, y, x) of the smallest centred slabs that each hold a share of the energy."""
    found = []
    for axis in range(3):
        profile = psf.pixels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        middle = profile.size // 2
        folded = profile[middle:].copy()
        folded[1:] += profile[:middle][::-1]
        found.append(int(np.searchsorted(np.cumsum(folded), share * folded.sum() * (1 - 1e-9))))
    z, y, x = found
    return z, y, x


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


def _optics_in(header: Header) -> Optics | None:
    """The optics that `write_psf` put into a file."""
    info = str(header.extras.get("Info", ""))
    if RECORD_HEADING not in info:
        return None
    try:
        told = json.loads(info.split(RECORD_HEADING)[1]).get("optics")
        return Optics(**told) if told else None
    except (ValueError, TypeError, AttributeError):
        return None
