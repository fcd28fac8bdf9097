"""What tiles have near their seams: kept when a tile is done, blended when all are, as `tiles.join` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microdeconv.tiles import Span, Tile, blend, kept


class Box(NamedTuple):
    """A rectangle of the field, in y and x."""

    y: Span
    x: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Its sizes."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start

    @property
    def corner(self) -> tuple[int, int]:
        """Where it begins."""
        return self.y.start, self.x.start

    def within(self, other: Box) -> Box | None:
        """What it shares with another; None: nothing."""
        y, x = (Span(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self, other, strict=True))
        return Box(y, x) if y.start < y.stop and x.start < x.stop else None


def strips(tile: Tile, field: tuple[int, ...]) -> list[Box]:
    """Give the strips of a tile's result that its neighbours, or itself, are blended from."""
    return list(_along_seams(tile, field, Box(*kept(tile, field))))


def bands(tile: Tile, field: tuple[int, ...]) -> list[Box]:
    """Give the parts of a tile's core that are blended."""
    return list(_along_seams(tile, field, Box(*tile.core)))


def _along_seams(tile: Tile, field: tuple[int, ...], around: Box) -> Iterator[Box]:
    for axis in (0, 1):
        core, ramp, size = tile.core[axis], tile.ramp[axis], field[1 + axis]
        ends = []
        if core.start > 0:
            ends.append(Span(around[axis].start, min(core.start + ramp, around[axis].stop)))
        if core.stop < size:
            ends.append(Span(max(core.stop - ramp, around[axis].start), around[axis].stop))
        for span in ends:
            yield Box(span, around.x) if axis == 0 else Box(around.y, span)


def frame_of(result: NDArray[Any], tile: Tile, field: tuple[int, ...]) -> bytes:
    """Give the strips of a tile's result (on all it read), one after the other."""
    top, left = tile.read[0].start, tile.read[1].start
    return b"".join(
        np.ascontiguousarray(result[:, y.start - top : y.stop - top, x.start - left : x.stop - left]).tobytes()
        for y, x in strips(tile, field)
    )


class Frame:
    """The strips of a tile, as they lie on the disk; read where they are asked for.

    Parameters
    ----------
    path
        Of what `frame_of` gave.
    tile, field
        The tile, and sizes (z, y, x) of the field.
    dtype
        Of the values.
    """

    def __init__(self, path: Path, tile: Tile, field: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.tile, self.field = tile, field
        self.strips: list[tuple[Box, NDArray[Any]]] = []
        offset = 0
        for box in strips(tile, field):
            shape = (field[0], *box.shape)
            self.strips.append((box, np.memmap(path, dtype, "r", offset, shape)))
            offset += int(np.prod(shape)) * dtype.itemsize

    def into(self, target: NDArray[Any], box: Box, planes: slice) -> None:
        """Blend what the tile has of a box into it, as far as its result goes there."""
        shared = box.within(Box(*kept(self.tile, self.field)))
        if shared is None:
            return
        where, values = next((one, values) for one, values in self.strips if shared.within(one) == shared)
        blend(target, box.corner, self.tile, values[planes], where.corner, self.field)
