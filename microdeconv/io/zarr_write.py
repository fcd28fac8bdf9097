"""Writing OME-Zarr (0.4 and 0.5): every chunk is written, with a checksum; levels are area means of the one before."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microdeconv.io.atomic import atomic_output
from microdeconv.io.ngff import NEWEST, describe
from microdeconv.io.writer import Volumes
from microdeconv.io.zarr_read import zarr_library
from microdeconv.signals import undisturbed
from microdeconv.stack import Header

Sizes = tuple[int, int, int]
CHUNK: Sizes = (16, 256, 256)  # z, y, x; about a million voxels
PLANE_CHUNK: Sizes = (1, 512, 512)
SHARD: Sizes = (2, 4, 4)  # chunks of one
MANY = 2000  # chunks of a level, beyond which they are put into shards
SMALLEST = 256  # a level whose rows and columns are no longer than this is the last
ISOTROPIC = 1.5  # z is halved too where its step is less than this many pixels
ZSTD = 3  # level; 10 % smaller than 1 and a third slower, beyond it nothing is gained
ZLIB = 1  # level; half as quick as Zstd, level 4 a quarter


class Level(NamedTuple):
    """One level of the pyramid: its sizes (z, y, x), and how many voxels of the first one its voxels span."""

    shape: Sizes
    factor: Sizes


def plan_levels(header: Header) -> list[Level]:
    """Settle the levels: y and x are halved each time, z where voxels are nearly cubes by then."""
    voxel = header.voxel_um
    ratio = voxel.z / voxel.x if voxel is not None else math.nan
    levels = [Level(header.volume_shape, (1, 1, 1))]
    while max(levels[-1].shape[1:]) > SMALLEST:
        shape, factor = levels[-1]
        flat = ratio * factor[0] / factor[2] < ISOTROPIC and shape[0] > 1
        halve = (2 if flat else 1, 2 if shape[1] > 1 else 1, 2 if shape[2] > 1 else 1)
        levels.append(Level(_triple(-(-n // h) for n, h in zip(shape, halve, strict=True)),
                            _triple(f * h for f, h in zip(factor, halve, strict=True))))  # fmt: skip
    return levels


def plan_chunks(shape: Sizes, volumes: int, version: str, edge: int | None = None) -> tuple[Sizes, Sizes | None]:
    """Settle a level's chunks (z, y, x), and its shards where it would have too many files.

    Parameters
    ----------
    shape
        Of a volume.
    volumes
        How many there are.
    version
        Of NGFF; 0.4 knows no shards.
    edge
        Of tiles in y and x that are to be made of whole chunks and shards, a multiple of 2; None: nobody asks.
    """
    usual = CHUNK if shape[0] > 1 else PLANE_CHUNK
    per_shard = SHARD
    if edge is not None:
        most = usual[1]
        side = next(n for n in range(min(most, edge), 0, -1) if edge % n == 0 and n % 2 == 0)
        several = next(n for n in range(SHARD[1], 0, -1) if edge // side % n == 0)
        usual, per_shard = (usual[0], side, side), (SHARD[0], several, several)
    chunk = _triple(min(a, b) for a, b in zip(usual, shape, strict=True))
    counts = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    if version == "0.4" or volumes * math.prod(counts) <= MANY or math.prod(counts) == 1:
        return chunk, None
    return chunk, _triple(c * min(n, s) for c, n, s in zip(chunk, counts, per_shard, strict=True))


def create_levels(folder: Path, header: Header, levels: Sequence[Level], edge: int | None = None) -> list[Any]:
    """Make the arrays of all levels, with no chunk yet.

    Parameters
    ----------
    folder
        Of the image.
    header
        As for `write_zarr`.
    levels
        From `plan_levels`.
    edge
        Of tiles that the first level's chunks and shards are to fit, see `plan_chunks`.
    """
    version = str(header.extras.get("ngff", NEWEST))
    edges = [edge, *[None] * (len(levels) - 1)]
    return [
        _create(folder / str(n), header, level.shape, version, side)
        for n, (level, side) in enumerate(zip(levels, edges, strict=True))
    ]


def write_zarr(path: Path, header: Header, volumes: Volumes, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a stack as OME-Zarr, one volume at a time.

    Parameters
    ----------
    path
        The folder; it is whole or absent.
    header
        As for `write_stack`; its extra `ngff` is the version, the newest if it has none.
    volumes
        (t, c, volume), each once.
    record
        How the stack was made, kept in the attribute `microdeconv`.
    overwrite
        Whether an existing output may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    UnavailableError
        When the extra `zarr` is missing.
    """
    zarr_library()
    version = str(header.extras.get("ngff", NEWEST))
    levels = plan_levels(header)
    limits = [(math.inf, -math.inf)] * header.size("C")
    with atomic_output(path, overwrite=overwrite, tree=True) as partial:
        arrays = create_levels(partial, header, levels)
        for t, c, volume in volumes:
            lowest, highest = (float(f.reduce(volume, axis=None)) for f in (np.fmin, np.fmax))
            limits[c] = (min(limits[c][0], lowest), max(limits[c][1], highest))
            for number, (array, level) in enumerate(zip(arrays, levels, strict=True)):
                if number:
                    volume = shrunk(volume, level.shape)
                store(array, header.axes, t, c, volume)
        attributes = describe(header, [level.factor for level in levels], limits, record, version)
        write_group(partial, attributes, version)


def _triple(numbers: Any) -> Sizes:
    z, y, x = numbers
    return z, y, x


def _create(folder: Path, header: Header, shape: Sizes, version: str, edge: int | None) -> Any:
    """Make the array of a level, with no chunk yet; a hole that somebody tore later shows as NaN where it can."""
    chunk, shard = plan_chunks(shape, header.size("T") * header.size("C"), version, edge)
    sizes, chunks, shards = (
        tuple(dict(zip("ZYX", s, strict=True)).get(a, n) for a in header.axes)
        for s, n in ((shape, 0), (chunk, 1), (shard or chunk, 1))
    )
    old = version == "0.4"
    with undisturbed():
        return zarr_library().create_array(
            store=str(folder),
            shape=tuple(n or header.size(a) for n, a in zip(sizes, header.axes, strict=True)),
            dtype=header.dtype,
            chunks=chunks,
            shards=shards if shard else None,
            compressors=_compressor(old),
            fill_value=math.nan if header.dtype.kind == "f" else 0,
            zarr_format=2 if old else 3,
            chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
            dimension_names=None if old else [a.lower() for a in header.axes],
            config={"write_empty_chunks": True},
        )


def _compressor(old: bool) -> Any:
    """A codec with a checksum: Zstd, or zlib (Adler-32) where readers in Java and tensorstore refuse that Zstd."""
    if old:
        from numcodecs import Zlib

        return Zlib(level=ZLIB)
    from zarr.codecs import ZstdCodec

    return ZstdCodec(level=ZSTD, checksum=True)


def store(array: Any, axes: str, t: int, c: int, volume: NDArray[Any], corner: Sizes = (0, 0, 0)) -> None:
    """Write one volume, or the part of it that begins at a corner, a row of shards or chunks at a time."""
    step = (array.shards or array.chunks)[axes.index("Z")] if "Z" in axes else 1
    _, height, width = volume.shape
    y, x = slice(corner[1], corner[1] + height), slice(corner[2], corner[2] + width)
    for start in range(0, len(volume), step):
        slab = volume[start : start + step]
        index = {"T": t, "C": c, "Z": slice(corner[0] + start, corner[0] + start + len(slab)), "Y": y, "X": x}
        with undisturbed():  # zarr writes in threads: none outlives the call
            array[tuple(index[a] for a in axes)] = slab if "Z" in axes else slab[0]


def shrunk(volume: NDArray[Any], shape: Sizes) -> NDArray[Any]:
    """Means of blocks of two along each axis that is to be shorter; the last of an odd number stays as it is.

    Of a part that begins at an even place it gives that part of the whole's.
    """
    result = np.empty(shape, volume.dtype)
    step = 2 if shape[0] < volume.shape[0] else 1
    for place, target in enumerate(result):  # planes: no copy of the whole in float64
        plane = volume[place * step : (place + 1) * step].mean(axis=0, dtype=np.float64)
        for axis in (0, 1):
            if shape[1 + axis] < plane.shape[axis]:
                if plane.shape[axis] % 2:
                    plane = np.concatenate([plane, plane.take([-1], axis)], axis)
                first, second = (plane.take(range(n, plane.shape[axis], 2), axis) for n in (0, 1))
                plane = (first + second) / 2
        target[...] = plane if volume.dtype.kind == "f" else np.rint(plane)
    return result


def write_group(folder: Path, attributes: Mapping[str, Any], version: str) -> None:
    """Write the metadata of an image's group."""
    if version == "0.4":
        files = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    else:
        files = {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": attributes}}
    for name, told in files.items():
        (folder / name).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
