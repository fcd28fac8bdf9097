"""Names of stacks and of results: what stands before the ending, which are OME-Zarr (a folder), what they promise."""

from __future__ import annotations

import re
from pathlib import Path

from microdeconv.errors import UsageError

MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
ENDINGS = {"tiff": ".tif", "ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}  # by --format
CONTAINERS = {"ome": ".ome.tif", "zarr": ".ome.zarr"}  # of `Header`; others are .tif


def natural_name(path: Path) -> str:
    """A file's name without its ending, `.ome.tif`, `.ome.zarr` and the like as a whole."""
    return re.sub(r"(\.ome)?\.(tiff?|zarr)$|\.[^.]*$", "", path.name, flags=re.IGNORECASE) or path.name


def named_zarr(path: Path) -> bool:
    """Whether a name is that of an OME-Zarr, there or not."""
    return path.suffix.lower() == ".zarr"


def holds_zarr(path: Path) -> bool:
    """Whether a folder is a group or an array of Zarr."""
    return any((path / mark).is_file() for mark in MARKS)


def container_named(path: Path) -> str:
    """The container that a stack's name lets expect: "zarr", "ome", or "" for other TIFF."""
    suffix = path.suffix.lower()
    if suffix == ".zarr" or (suffix not in (".tif", ".tiff") and holds_zarr(path)):
        return "zarr"
    return "ome" if re.search(r"\.ome\.tiff?$", path.name, flags=re.IGNORECASE) else ""


def result_name(source: Path, wanted: str, container: str) -> str:
    """Name the result of a stack that was given none.

    Parameters
    ----------
    source
        The stack.
    wanted
        As `--format` takes it.
    container
        That the stack is in.
    """
    return f"{natural_name(source)}_decon{ENDINGS.get(wanted) or CONTAINERS.get(container, '.tif')}"


def check_result_name(path: Path, wanted: str, said: str) -> None:
    """Refuse a result's name that is none, or not one of its format.

    Parameters
    ----------
    path
        The name.
    wanted
        As `--format` takes it; with "same" a name tells its format.
    said
        How the name was given, for the message.

    Raises
    ------
    UsageError
        With the ending that is right.
    """
    if path.suffix.lower() not in (".tif", ".tiff", ".zarr"):
        raise UsageError(
            f"{said}: results are TIFF files or OME-Zarr", "end the name in .tif or .ome.zarr, or in / for a folder"
        )
    if wanted in ENDINGS and named_zarr(path) != (wanted == "ome-zarr"):
        raise UsageError(f"{said}: is not for --format {wanted}", f"end the name in {ENDINGS[wanted]}, or leave "
                         "--format out")  # fmt: skip


def check_psf_name(path: Path) -> None:
    """Refuse to write a PSF under the name of another kind of file, before the work.

    Raises
    ------
    UsageError
        With the ending that is right.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"{path}: PSFs are TIFF files", "end the name in .tif")
