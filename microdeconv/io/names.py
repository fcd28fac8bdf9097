"""Names of stacks: what stands before the ending, and which of them are OME-Zarr, which is a folder."""

from __future__ import annotations

import re
from pathlib import Path

MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def natural_name(path: Path) -> str:
    """A file's name without its ending, `.ome.tif`, `.ome.zarr` and the like as a whole."""
    return re.sub(r"(\.ome)?\.(tiff?|zarr)$|\.[^.]*$", "", path.name, flags=re.IGNORECASE) or path.name


def named_zarr(path: Path) -> bool:
    """Whether a name is that of an OME-Zarr, there or not."""
    return path.suffix.lower() == ".zarr"


def holds_zarr(path: Path) -> bool:
    """Whether a folder is a group or an array of Zarr."""
    return any((path / mark).is_file() for mark in MARKS)
