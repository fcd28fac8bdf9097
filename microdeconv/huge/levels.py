"""From done tiles to a whole image: seams are blended, then each level is made from the one before, part by part."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.batch.journal import short_digest
from microdeconv.errors import DataError
from microdeconv.huge.scheme import Scheme
from microdeconv.huge.seams import Frame, bands
from microdeconv.huge.unit import ranges_of, write_part
from microdeconv.io.zarr_chunks import Grid, read_grid
from microdeconv.io.zarr_read import read_region
from microdeconv.io.zarr_write import Sizes, shrunk
from microdeconv.pipeline import as_type


def check_frame(scheme: Scheme, unit: int, digest: str) -> dict[str, Any]:
    """Compare what a tile kept for its seams with its digest in the journal.

    Raises
    ------
    DataError
        When it is missing or changed.
    """
    if len(scheme.tiling) > 1:
        path = scheme.frame(unit)
        try:
            found = short_digest(hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError:
            found = "missing"
        if found != digest:
            raise DataError(f"{path}: missing or changed")
    return {}


def join_unit(scheme: Scheme, unit: int) -> dict[str, Any]:
    """Blend a tile with its neighbours, where it has any; every voxel of it is read.

    Returns
    -------
    dict
        Its smallest and largest values.

    Raises
    ------
    DataError
        When a chunk is missing or damaged.
    """
    place = scheme.place(unit)
    tile, field = place.tile, scheme.field
    dtype = np.dtype(np.float64 if scheme.method.keeps_counts else np.float32)
    seams = bands(tile, field)
    frames = [Frame(scheme.frame(one), scheme.place(one).tile, field, dtype) for one in scheme.around(unit) if seams]
    low, high = math.inf, -math.inf
    step = _planes(scheme)
    y, x = tile.core
    for start in range(0, field[0], step):
        planes = slice(start, min(start + step, field[0]))
        corner = (start, y.start, x.start)
        shape = (planes.stop - start, y.stop - y.start, x.stop - x.start)
        part = _read(scheme, 0, place.t, place.c, corner, shape)
        for box in seams:
            blended = np.zeros((shape[0], *box.shape), dtype)
            for frame in frames:
                frame.into(blended, box, planes)
            into = (
                slice(None),
                *(slice(s.start - c.start, s.stop - c.start) for s, c in zip(box, (y, x), strict=True)),
            )
            part[into] = as_type(blended, scheme.dtype)[0]
        if seams:
            write_part(scheme, 0, place.t, place.c, part, corner)
        low, high = min(low, float(np.fmin.reduce(part, None))), max(high, float(np.fmax.reduce(part, None)))
    return {"c": place.c, "low": low, "high": high}


def parts_of(scheme: Scheme, level: int) -> int:
    """How many parts a level is made in: whole shards, of all volumes."""
    return len(scheme.told["times"]) * len(scheme.told["channels"]) * math.prod(_counts(scheme, level))


def make_part(scheme: Scheme, level: int, number: int) -> dict[str, Any]:
    """Make a part of a level, one shard or chunk, from the level before."""
    counts = _counts(scheme, level)
    volume, rest = divmod(number, math.prod(counts))
    t, c = divmod(volume, len(scheme.told["channels"]))
    shape, before = scheme.told["levels"][level], scheme.told["levels"][level - 1]
    sizes = _sizes(scheme, read_grid(scheme.image / str(level)))
    along = np.unravel_index(rest, counts)
    corner = [int(n) * size for n, size in zip(along, sizes, strict=True)]
    wanted = [min(size, n - start) for size, n, start in zip(sizes, shape, corner, strict=True)]
    halved = [2 if a < b else 1 for a, b in zip(shape, before, strict=True)]
    source = [start * h for start, h in zip(corner, halved, strict=True)]
    taken = [min(n * h, b - s) for n, h, b, s in zip(wanted, halved, before, source, strict=True)]
    values = _read(scheme, level - 1, t, c, (source[0], source[1], source[2]), (taken[0], taken[1], taken[2]))
    part = shrunk(values, (wanted[0], wanted[1], wanted[2]))
    write_part(scheme, level, t, c, part, (corner[0], corner[1], corner[2]))
    return {}


def _counts(scheme: Scheme, level: int) -> tuple[int, int, int]:
    sizes = _sizes(scheme, read_grid(scheme.image / str(level)))
    z, y, x = (-(-n // size) for n, size in zip(scheme.told["levels"][level], sizes, strict=True))
    return z, y, x


def _sizes(scheme: Scheme, grid: Grid) -> Sizes:
    along = dict(zip(scheme.axes, grid.chunk, strict=True))
    return along.get("Z", 1), along["Y"], along["X"]


def _planes(scheme: Scheme) -> int:
    return _sizes(scheme, read_grid(scheme.image / "0"))[0]


def _read(scheme: Scheme, level: int, t: int, c: int, corner: Sizes, shape: Sizes) -> NDArray[Any]:
    grid = read_grid(scheme.image / str(level))
    return read_region(scheme.image, grid, ranges_of(scheme, t, c, corner, shape)).reshape(shape)
