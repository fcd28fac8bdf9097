"""Stacks as pictures of 8 bits that a browser can show: projections and planes within a number of bytes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.case import Case

WIDEST = 1024  # pixels of a picture's longer side
CLIPPED = 99.99  # percentile of the xy projection that the highest of the 256 levels stands for
DARKEST = 0.1  # percentile of the volume that the lowest stands for
LOOKED_AT = 200_000  # voxels, about, from which percentiles of a volume are taken
VIEWS: Mapping[str, int] = {"xy": 0, "xz": 1, "yz": 2}  # and the axis along which each projects
MARGIN = 1.1  # planes not tried may take more bytes than those that were


class Way(NamedTuple):
    """How planes are kept.

    Attributes
    ----------
    quality
        Of lossy WebP, 1 to 100; None: lossless.
    step
        Every so many planes are kept.
    shrink
        Pixels along y and along x that are averaged to one.
    """

    quality: int | None
    step: int
    shrink: int


class Volume(NamedTuple):
    """A stack to be shown: (pixels − offset) · scale are counts above the background."""

    name: str
    pixels: NDArray[Any]
    offset: float
    scale: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One stack, coded: a level v from 0 to 255 stands for low + (high − low) (v / 255)².

    Attributes
    ----------
    name
        As people call it.
    low, high
        Counts above the background; what lies beyond is cut off.
    windows
        (black, white) in counts at which it is shown first, for "max" and for "plane".
    views
        Maximum projections along z, y and x as data addresses: "xy", "xz" (z down), "yz" (z down); xy alone in 2-D.
    planes
        xy planes as data addresses, in the order of `Gallery.planes`.
    """

    name: str
    low: float
    high: float
    windows: Mapping[str, tuple[float, float]]
    views: Mapping[str, str]
    planes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """All stacks of a case.

    Attributes
    ----------
    pictures
        The image first, then the truth if there is one, then the entries.
    planes
        Numbers of the planes kept, from 0; empty in 2-D.
    shrink
        Pixels averaged to one in (projections, planes).
    notes
        What was left out or changed, for a person.
    """

    pictures: tuple[Picture, ...]
    planes: tuple[int, ...]
    shrink: tuple[int, int]
    notes: tuple[str, ...]


def gallery_of(case: Case, budget: int) -> Gallery:
    """Code the image, the truth and all results.

    Projections are kept without loss. Planes are kept so too if they fit, then with loss, then every second, fourth …,
    then smaller. The truth is brought to the light of the image, for the same contrast to suit both.

    Parameters
    ----------
    case
        See `Case`.
    budget
        Bytes that all pictures may take as data addresses.
    """
    volumes, notes = _volumes(case)
    depth, height, width = case.raw.shape
    first = max(1, math.ceil(max(height, width) / WIDEST))
    coded = [_projections(volume, first) for volume in volumes]
    left = budget - sum(len(address) for _, views in coded for address in views.values())
    kept: Sequence[int] = ()
    planes: list[tuple[str, ...]] = [() for _ in volumes]
    way = Way(None, 1, first)
    if depth > 1:
        way, planes = _planes(volumes, [scale for scale, _ in coded], left, first)
        kept = range(0, depth, way.step)
    pictures = tuple(
        Picture(volume.name, scale.low, scale.high, scale.windows, views, shown)
        for volume, (scale, views), shown in zip(volumes, coded, planes, strict=True)
    )
    return Gallery(pictures, tuple(kept), (first, way.shrink), (*notes, *_told(way, first, depth)))


class _Scale(NamedTuple):
    low: float
    high: float
    windows: dict[str, tuple[float, float]]


def _volumes(case: Case) -> tuple[list[Volume], list[str]]:
    """What is shown, and what was done to it."""
    background = case.background
    volumes, notes = [Volume("image", case.raw, background, 1.0)], []
    if background:
        notes.append(f"The image is shown above its background of {background:.4g} counts, as the results are.")
    if case.truth is not None:
        light, true = float(case.raw.mean(dtype=np.float64)) - background, float(case.truth.mean(dtype=np.float64))
        scale = light / true if light > 0 and true > 0 else 1.0
        volumes.append(Volume("truth", case.truth, 0.0, scale))
        if abs(scale - 1) > 0.01:
            notes.append(f"The truth is shown times {scale:.4g}, so that it holds the light of the image.")
    volumes += [Volume(entry.name, entry.image, 0.0, 1.0) for entry in case.entries]
    return volumes, notes


def _projections(volume: Volume, shrink: int) -> tuple[_Scale, dict[str, str]]:
    """The volume's range and its maximum projections."""
    pixels = volume.pixels
    flat = {
        view: _counts(volume, pixels.max(axis=axis))
        for view, axis in VIEWS.items()
        if view == "xy" or pixels.shape[0] > 1
    }
    step = max(1, round((pixels.size / LOOKED_AT) ** 0.5))
    some = _counts(volume, pixels[:, ::step, ::step])
    dark, black, white = (float(v) for v in np.percentile(some, (DARKEST, 1, 99.9)))
    least, most, top = (float(v) for v in np.percentile(flat["xy"], (1, 99.8, CLIPPED)))
    top = top if top > dark else dark + 1
    scale = _Scale(dark, top, {"max": _open(least, most), "plane": _open(black, white)})
    sizes = {"xy": (shrink, shrink), "xz": (1, shrink), "yz": (1, shrink)}
    return scale, {view: _address(_levels(_shrunk(p, sizes[view]), scale), None) for view, p in flat.items()}


def _counts(volume: Volume, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Counts above the background; what is no number becomes zero."""
    counts = (pixels.astype(np.float32) - np.float32(volume.offset)) * np.float32(volume.scale)
    return np.asarray(np.nan_to_num(counts, copy=False, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


def _open(low: float, high: float) -> tuple[float, float]:
    return low, high if high > low else low + 1


def _planes(volumes: list[Volume], scales: list[_Scale], budget: int, first: int) -> tuple[Way, list[tuple[str, ...]]]:
    """The best way that fits, and the planes."""
    depth, height, width = volumes[0].pixels.shape
    tries = sorted({depth // 4, depth // 2, (3 * depth) // 4})
    ways = [Way(None, 1, first), Way(90, 1, first), Way(80, 1, first)]
    while ways[-1].step < depth or min(height, width) // ways[-1].shrink > 64:
        _, step, shrink = ways[-1]
        narrow = step >= max(4, 2 * shrink // first * 2) or step >= depth
        ways.append(Way(80, step, 2 * shrink) if narrow else Way(80, min(2 * step, depth), shrink))
    for way in ways:
        last = way == ways[-1]
        expected = sum(len(_plane(v, s, z, way)) for v, s in zip(volumes, scales, strict=True) for z in tries) * (
            math.ceil(depth / way.step) / len(tries)
        )
        if expected * MARGIN > budget and not last:
            continue
        planes = [
            tuple(_plane(v, s, z, way) for z in range(0, depth, way.step)) for v, s in zip(volumes, scales, strict=True)
        ]
        if last or sum(len(address) for shown in planes for address in shown) <= budget:
            return way, planes
    raise AssertionError("the last way is taken")


def _plane(volume: Volume, scale: _Scale, z: int, way: Way) -> str:
    return _address(_levels(_shrunk(_counts(volume, volume.pixels[z]), (way.shrink, way.shrink)), scale), way.quality)


def _shrunk(plane: NDArray[np.float32], factors: tuple[int, int]) -> NDArray[np.float32]:
    """Means over blocks; what does not fill a block at the far edges is left out, if it is not all."""
    fy, fx = (min(f, n) for f, n in zip(factors, plane.shape, strict=True))
    if fy == fx == 1:
        return plane
    height, width = plane.shape[0] // fy, plane.shape[1] // fx
    blocks = plane[: height * fy, : width * fx].reshape(height, fy, width, fx)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _levels(plane: NDArray[np.float32], scale: _Scale) -> NDArray[np.uint8]:
    """Square-root levels: as noise grows with the light, all of it is coded about equally finely."""
    share = np.clip((plane - scale.low) / (scale.high - scale.low), 0, 1)
    return np.asarray(np.rint(255 * np.sqrt(share)), np.uint8)


def _address(levels: NDArray[np.uint8], quality: int | None) -> str:
    """A grey picture as a data address."""
    from PIL import Image

    file = io.BytesIO()
    how = {"lossless": True, "method": 2} if quality is None else {"quality": quality, "method": 0}
    Image.fromarray(levels).save(file, format="WEBP", **how)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _told(way: Way, first: int, depth: int) -> list[str]:
    """What was left out, for a person."""
    notes = []
    if first > 1:
        notes.append(f"Projections are averaged over {first} x {first} pixels.")
    if depth == 1:
        return notes
    if way.step > 1:
        notes.append(f"Of the {depth} planes every {_ordinal(way.step)} is in this page.")
    if way.shrink > 1:
        notes.append(f"Planes are averaged over {way.shrink} x {way.shrink} pixels.")
    if way.quality:
        notes.append(
            f"Planes are compressed with a small loss (WebP, quality {way.quality}); projections have none. "
            "Figures and curves are from the whole data."
        )
    return notes


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
