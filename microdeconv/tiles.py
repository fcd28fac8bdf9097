"""Tiles: a field cut in y and x to fit a memory budget, read with a halo, joined by short ramps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import MemoryShortError

Shape = tuple[int, int, int]
RAMP = 4  # voxels to each side of a seam over which two tiles are blended, if the halo is as wide
SMALLEST = 16  # voxels along the edge of a core


class Span(NamedTuple):
    """A half-open range along one axis."""

    start: int
    stop: int


class Tile(NamedTuple):
    """A part of a field: its own core, and what is read for it, in y and x; z is never cut.

    Cores partition the field; reads of one plan have equal sizes; seams are blended over `ramp` voxels to each side.
    """

    core: tuple[Span, Span]
    read: tuple[Span, Span]
    ramp: tuple[int, int]

    def cut(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """What is read of a volume (z, y, x)."""
        y, x = self.read
        return volume[:, y.start : y.stop, x.start : x.stop]


def tiles_of(field: Shape, edge: int, halo: tuple[int, int], align: int = 1) -> list[Tile]:
    """Cut a field into tiles whose cores are at most `edge` wide in y and x.

    Parameters
    ----------
    field
        Sizes (z, y, x).
    edge
        Voxels.
    halo
        Voxels read beyond the core in y and in x; at the field's border a tile reads more on the other side.
    align
        Reads begin at multiples of it.
    """
    y, x = (_spans(n, edge, h, align) for n, h in zip(field[1:], halo, strict=True))
    ramp = min(RAMP, halo[0]), min(RAMP, halo[1])
    return [Tile((core_y, core_x), (read_y, read_x), ramp) for core_y, read_y in y for core_x, read_x in x]


def _spans(size: int, edge: int, halo: int, align: int) -> list[tuple[Span, Span]]:
    number = -(-size // edge)
    bounds = [round(i * size / number) for i in range(number + 1)]
    widest = max(b - a for a, b in pairwise(bounds))
    wide = min(size, widest + 2 * halo + 2 * (align - 1))
    wide = size if wide > size - align else wide - (wide - size) % align  # the last one is aligned as well
    spans = []
    for start, stop in pairwise(bounds):
        first = min(max(0, start - halo) // align * align, size - wide)
        spans.append((Span(start, stop), Span(first, first + wide)))
    return spans


def largest_edge(field: Shape, halo: tuple[int, int], fits: Callable[[Shape], bool], align: int = 1) -> int:
    """Give the largest edge whose tiles fit; the field's own when it need not be cut.

    Parameters
    ----------
    field, halo, align
        See `tiles_of`.
    fits
        Whether a tile that reads (z, y, x) voxels fits into memory.

    Raises
    ------
    MemoryShortError
        When not even the smallest tile fits.
    """
    edge = max(field[1:])
    while True:
        first = tiles_of(field, edge, halo, align)[0]
        read = (field[0], first.read[0].stop - first.read[0].start, first.read[1].stop - first.read[1].start)
        if fits(read):
            return edge
        if edge <= SMALLEST:
            raise MemoryShortError(
                f"even a tile of {read[0]} x {read[1]} x {read[2]} voxels does not fit into memory",
                "give more with --memory, or a smaller PSF",
            )
        edge = max(SMALLEST, edge // 2 if edge <= 64 else int(edge * 0.8))


def join(whole: NDArray[np.generic], tile: Tile, part: NDArray[np.generic]) -> None:
    """Put a tile's result into the whole, blended with what lies there before its core; equal values stay exact.

    Tiles come in the order of `tiles_of`.

    Parameters
    ----------
    whole
        (z, y, x), zeros at first; written to.
    tile
        The tile.
    part
        Result on what the tile read.
    """
    keep: list[Span] = []
    weights = []
    for core, ramp_width, size in zip(tile.core, tile.ramp, whole.shape[1:], strict=True):
        before = ramp_width if core.start > 0 else 0
        after = ramp_width if core.stop < size else 0
        keep.append(Span(core.start - before, core.stop + after))
        place = np.arange(keep[-1].start, keep[-1].stop)
        ramp = (place - core.start + before + 0.5) / (2 * before) if before else np.ones(place.size)
        weights.append(np.clip(ramp, 0, 1).astype(whole.dtype if whole.dtype.kind == "f" else np.float32))
    (y, x), (ry, rx) = keep, tile.read
    target = whole[:, y.start : y.stop, x.start : x.stop]
    source = part[:, y.start - ry.start : y.stop - ry.start, x.start - rx.start : x.stop - rx.start]
    weight = weights[0][:, None] * weights[1][None, :]
    for plane, new in zip(target, source, strict=True):
        plane += weight * (new - plane)
