"""Where the chunks of a Zarr array lie: told from its metadata by the specification, to see which are there.

Zarr takes a chunk that is not there for blank, without a word; here nothing is blank that nobody wrote.

References
----------
Zarr storage specification, version 2; Zarr core specification, version 3, with its codec `sharding_indexed`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from microdeconv.errors import DataError

ABSENT = np.uint64(2**64 - 1)  # in a shard's index, both for the offset and the size of a chunk that nobody wrote


@dataclass(frozen=True, slots=True)
class Grid:
    """The chunks of an array, as files.

    Attributes
    ----------
    folder
        Of the array.
    shape, chunk
        Sizes of the array and of what one file holds.
    part
        Sizes of the chunks within a file, where it is a shard of several.
    index_bytes, index_first
        Size of a shard's index, and whether it lies at the file's start.
    separator, prefix
        Of the files' names.
    fill
        What Zarr gives for a chunk that is not there.
    """

    folder: Path
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    part: tuple[int, ...] | None
    index_bytes: int
    index_first: bool
    separator: str
    prefix: str
    fill: Any

    def blocks(self, ranges: Sequence[range]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Give the place in the grid of each file that holds something of a region, and what of the array that is."""
        along = [range(r.start // n, (r.stop - 1) // n + 1) for r, n in zip(ranges, self.chunk, strict=True)]
        for place in product(*along):
            yield (
                place,
                tuple(
                    slice(max(r.start, p * n), min(r.stop, (p + 1) * n))
                    for r, p, n in zip(ranges, place, self.chunk, strict=True)
                ),
            )

    def file(self, place: Sequence[int]) -> Path:
        """The file of a chunk or shard."""
        return self.folder / (self.prefix + self.separator.join(map(str, place)))

    def absent(self, place: Sequence[int], region: Sequence[slice]) -> str:
        """Say which chunk of a file's region is not there; empty when all are.

        Raises
        ------
        DataError
            When a shard is too short for its index.
        """
        file = self.file(place)
        if not file.is_file():
            return self._name(file)
        if self.part is None:
            return ""
        counts = [n // m for n, m in zip(self.chunk, self.part, strict=True)]
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            if size < self.index_bytes:
                raise DataError(f"{self._name(file)}: damaged, a shard cut short at {size} bytes", "copy it anew")
            opened.seek(0 if self.index_first else size - self.index_bytes)
            index = np.frombuffer(opened.read(16 * math.prod(counts)), np.uint64).reshape(*counts, 2)
        starts = [(s.start - p * n) // m for s, p, n, m in zip(region, place, self.chunk, self.part, strict=True)]
        ends = [(s.stop - 1 - p * n) // m + 1 for s, p, n, m in zip(region, place, self.chunk, self.part, strict=True)]
        gone = (index == ABSENT).all(-1)[tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))]
        if not gone.any():
            return ""
        first = [int(i) + a for i, a in zip(np.argwhere(gone)[0], starts, strict=True)]
        return f"{self._name(file)} (its part {'/'.join(map(str, first))})"

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.folder.parent))


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of metadata.

    Raises
    ------
    DataError
        When it is missing or not JSON.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as reason:
        raise DataError(f"{path}: {reason.strerror}, the OME-Zarr is damaged", "copy the folder anew") from None
    except (ValueError, RecursionError) as reason:
        raise DataError(f"{path}: damaged, not JSON ({reason})", "copy the folder anew") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: damaged, not the metadata of Zarr", "copy the folder anew")
    return found


def read_grid(folder: Path) -> Grid:
    """Read where an array's chunks lie.

    Raises
    ------
    DataError
        When its metadata are missing or damaged, or of a kind that is not known.
    """
    file = folder / "zarr.json"
    old = not file.is_file() and (folder / ".zarray").is_file()
    file = folder / ".zarray" if old else file
    told = read_json(file)
    try:
        grid = _grid_v2(folder, told) if old else _grid_v3(folder, told)
        fits = len(grid.shape) == len(grid.chunk) and min((*grid.chunk, *(grid.part or ()), *grid.shape)) > 0
        if grid.part is not None:
            fits &= all(n % m == 0 for n, m in zip(grid.chunk, grid.part, strict=True))
        if not fits:
            raise ValueError(f"shape {grid.shape}, chunks {grid.chunk}")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as reason:
        raise DataError(
            f"{file}: not the metadata of an array that can be read ({type(reason).__name__}: {reason})",
            "copy the folder anew",
        ) from None
    return grid


def _sizes(told: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in told)


def _grid_v2(folder: Path, told: dict[str, Any]) -> Grid:
    separator = told.get("dimension_separator") or "."
    return Grid(
        folder, _sizes(told["shape"]), _sizes(told["chunks"]), None, 0, False, separator, "", told.get("fill_value")
    )


def _grid_v3(folder: Path, told: dict[str, Any]) -> Grid:
    if told["node_type"] != "array" or told["chunk_grid"]["name"] != "regular":
        raise ValueError(f"node_type {told['node_type']!r}, chunk grid {told.get('chunk_grid')!r}")
    encoding = told["chunk_key_encoding"]
    usual, prefix = {"default": ("/", "c"), "v2": (".", "")}[encoding["name"]]
    separator = (encoding.get("configuration") or {}).get("separator", usual)
    chunk = _sizes(told["chunk_grid"]["configuration"]["chunk_shape"])
    codecs = [one["name"] if isinstance(one, dict) else one for one in told["codecs"]]
    part, index_bytes, first = None, 0, False
    if "sharding_indexed" in codecs:
        if codecs[0] != "sharding_indexed":
            raise ValueError(f"shards after {codecs[0]}")
        sharding = told["codecs"][0]["configuration"]
        part = _sizes(sharding["chunk_shape"])
        named = [one["name"] if isinstance(one, dict) else one for one in sharding["index_codecs"]]
        if named not in (["bytes"], ["bytes", "crc32c"]):
            raise ValueError(f"a shard's index in {named}")
        index_bytes = 16 * math.prod(n // m for n, m in zip(chunk, part, strict=True)) + 4 * (len(named) - 1)
        first = sharding.get("index_location", "end") == "start"
    return Grid(
        folder, _sizes(told["shape"]), chunk, part, index_bytes, first, separator,
        prefix + separator if prefix else "", told.get("fill_value"),
    )  # fmt: skip
