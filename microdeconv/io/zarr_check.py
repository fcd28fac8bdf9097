"""Whether an OME-Zarr is whole: every chunk of every level is there, as it was written, and finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from microdeconv.errors import MicrodeconvError
from microdeconv.io.selection import Selection
from microdeconv.io.zarr_chunks import read_grid
from microdeconv.io.zarr_read import levels_of, open_zarr, read_region


class Checked(NamedTuple):
    """What a check found.

    Attributes
    ----------
    levels, files, voxels
        That were read.
    faults
        A line for each file that is missing, damaged or not finite.
    """

    levels: int
    files: int
    voxels: int
    faults: list[str]


def check_zarr(path: Path, listen: Callable[[str, int, int], None]) -> Checked:
    """Read all of an OME-Zarr image.

    Parameters
    ----------
    path
        The folder.
    listen
        Called with the level, files that were read and how many there are.

    Raises
    ------
    DataError, UnavailableError, RefusedError
        When its metadata are missing or damaged, or the extra is missing.
    """
    open_zarr(path, Selection())
    levels = levels_of(path)
    files = voxels = 0
    faults = []
    for folder in levels:
        grid = read_grid(folder)
        blocks = list(grid.blocks([range(n) for n in grid.shape]))
        for number, (_, region) in enumerate(blocks, 1):
            files += 1
            try:
                values = read_region(path, grid, [range(s.start, s.stop) for s in region])
            except MicrodeconvError as error:
                faults.append(error.message)
                continue
            voxels += values.size
            bad = int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind == "f" else 0
            if bad:
                where = ", ".join(f"{s.start}:{s.stop}" for s in region)
                faults.append(f"{folder}: {bad} voxels are not finite within {where}")
            listen(f"level {folder.name}", number, len(blocks))
    return Checked(len(levels), files, voxels, faults)
