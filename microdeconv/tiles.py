"""Tiles: a field cut in y and x to fit a memory budget, read with a halo, joined by short ramps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Tiling:
    """A field cut into tiles, row by row; a tile is made when it is asked for, so that there may be a million.

    Attributes
    ----------
    rows, columns
        Core and read of the tiles along y and along x.
    ramp
        Of each tile.
    """

    rows: list[tuple[Span, Span]]
    columns: list[tuple[Span, Span]]
    ramp: tuple[int, int]

    @classmethod
    def of(cls, field: Shape, edge: int, halo: tuple[int, int], align: int = 1, *, exact: bool = False) -> Tiling:
        """Cut a field, see `tiles_of`."""
        rows, columns = (_spans(n, edge, h, align, exact) for n, h in zip(field[1:], halo, strict=True))
        return cls(rows, columns, (min(RAMP, halo[0]), min(RAMP, halo[1])))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows) * len(self.columns)

    def __getitem__(self, number: int) -> Tile:
        """Give one of them."""
        (core_y, read_y), (core_x, read_x) = (
            along[n] for along, n in zip((self.rows, self.columns), divmod(number, len(self.columns)), strict=True)
        )
        return Tile((core_y, core_x), (read_y, read_x), self.ramp)

    def around(self, number: int) -> list[int]:
        """Give a tile and those that touch it, in their order."""
        row, column = divmod(number, len(self.columns))
        rows = range(max(0, row - 1), min(len(self.rows), row + 2))
        columns = range(max(0, column - 1), min(len(self.columns), column + 2))
        return [y * len(self.columns) + x for y in rows for x in columns]


def tiles_of(field: Shape, edge: int, halo: tuple[int, int], align: int = 1, *, exact: bool = False) -> list[Tile]:
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
    exact
        Cores begin at multiples of `edge`, so that only the last may be narrower; else all are about as wide.
    """
    tiling = Tiling.of(field, edge, halo, align, exact=exact)
    return [tiling[number] for number in range(len(tiling))]


def _spans(size: int, edge: int, halo: int, align: int, exact: bool) -> list[tuple[Span, Span]]:
    number = -(-size // edge)
    bounds = [min(i * edge, size) if exact else round(i * size / number) for i in range(number + 1)]
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
        edge = max(SMALLEST, int(edge * 0.8))


def kept(tile: Tile, field: tuple[int, ...]) -> tuple[Span, Span]:
    """What of a tile's result is used, in y and x: its core, and the ramp to each side where another tile lies."""
    y, x = (
        Span(core.start - (ramp if core.start > 0 else 0), min(core.stop + ramp, size))
        for core, ramp, size in zip(tile.core, tile.ramp, field[1:], strict=True)
    )
    return y, x


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
    blend(whole, (0, 0), tile, part, (tile.read[0].start, tile.read[1].start), whole.shape)


def blend(
    target: NDArray[np.generic], corner: tuple[int, int], tile: Tile, source: NDArray[np.generic],
    origin: tuple[int, int], field: tuple[int, ...],
) -> None:  # fmt: skip
    """Do what `join` does for a part of the field, with a part of the tile's result.

    Parameters
    ----------
    target
        (z, y, x), zeros at first; written to.
    corner
        Where in the field it begins, y and x.
    tile
        The tile.
    source
        A part of its result; only where it and the target overlap anything is done.
    origin
        Where in the field that begins.
    field
        Sizes (z, y, x).
    """
    into, weights, of = [], [], []
    for axis, (start, stop) in enumerate(kept(tile, field)):
        first = max(start, corner[axis], origin[axis])
        last = min(stop, corner[axis] + target.shape[axis + 1], origin[axis] + source.shape[axis + 1])
        if first >= last:
            return
        core, wide, place = tile.core[axis], tile.ramp[axis], np.arange(first, last)
        ramp = (place - core.start + wide + 0.5) / (2 * wide) if start < core.start else np.ones(place.size)
        weights.append(np.clip(ramp, 0, 1).astype(target.dtype if target.dtype.kind == "f" else np.float32))
        into.append(slice(first - corner[axis], last - corner[axis]))
        of.append(slice(first - origin[axis], last - origin[axis]))
    weight = weights[0][:, None] * weights[1][None, :]
    for plane, new in zip(target[:, into[0], into[1]], source[:, of[0], of[1]], strict=True):
        plane += weight * (new - plane)
