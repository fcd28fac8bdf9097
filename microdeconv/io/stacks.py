"""Stacks of either kind, TIFF files and OME-Zarr folders: each is opened and written by what it is.

Numpy stays asleep until one is opened: a batch of thousands asks for identities only.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.io.names import holds_zarr, named_zarr
from microdeconv.io.selection import Selection
from microdeconv.stack import Header, Stack

if TYPE_CHECKING:
    from microdeconv.io.writer import Volumes


def read_header(path: Path, selection: Selection | None = None) -> Header:
    """Read what a file says, not its pixels.

    Raises
    ------
    NoInputError, DataError, UnavailableError, RefusedError
        See `open_stack`.
    """
    return open_stack(path, selection).header


def open_stack(path: Path, selection: Selection | None = None) -> Stack:
    """Open a TIFF file or an OME-Zarr folder; its pixels are read a volume at a time.

    Parameters
    ----------
    path
        The file or folder.
    selection
        `series`, `axes`, `rgb`, `voxel_um` and `missing_chunks` are used.

    Returns
    -------
    Stack
        Pixels in native byte order, in the file's dtype.

    Raises
    ------
    NoInputError, DataError, UnavailableError, RefusedError
        When there is no such file, it is damaged, its codec or the extra `zarr` is missing, or it refers to files
        elsewhere; reading a volume later may raise them too.
    """
    path = Path(path)
    if path.is_dir() and (named_zarr(path) or holds_zarr(path)):
        from microdeconv.io.zarr_read import open_zarr

        return open_zarr(path, selection or Selection())
    from microdeconv.io import tiff

    return tiff.open_stack(path, selection)


def write_stack(path: Path, header: Header, volumes: Volumes, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a stack in the container that its header names, one volume at a time.

    Parameters
    ----------
    path
        The output; it is whole or absent.
    header
        Axes, sizes, dtype, voxel size, channels and container of the output; `extras` of the input.
    volumes
        (t, c, volume) with t slowest, each (z, y, x) in `header.dtype`.
    record
        How the stack was made, kept inside.
    overwrite
        Whether an existing output may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    UnavailableError
        When the extra `zarr` is missing.
    """
    if header.container == "zarr":
        from microdeconv.io.zarr_write import write_zarr

        write_zarr(path, header, volumes, record, overwrite=overwrite)
    else:
        from microdeconv.io import writer

        writer.write_stack(path, header, volumes, record, container=header.container, overwrite=overwrite)


def identity(path: Path) -> tuple[int, int]:
    """Bytes and time of change (ns); of a folder, the bytes of its files and the newest of their times.

    Two that agree may differ all the same: `digest` tells.

    Raises
    ------
    OSError
        When it is not there, or cannot be read.
    """
    told = path.stat()
    if not stat.S_ISDIR(told.st_mode):
        return told.st_size, told.st_mtime_ns
    size = newest = 0
    folders = [os.fspath(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for one in entries:
                if one.is_dir(follow_symlinks=False):
                    folders.append(one.path)
                elif one.is_file(follow_symlinks=False):
                    told = one.stat(follow_symlinks=False)
                    size, newest = size + told.st_size, max(newest, told.st_mtime_ns)
    return size, newest


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the lines which `sha256sum` gives of its files, sorted by name.

    The same as `(cd PATH && find . -type f | LC_ALL=C sort | xargs sha256sum) | sha256sum`.
    """
    if not path.is_dir():
        return _digest(path)
    files = sorted(os.fsencode(p.relative_to(path)) for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    lines = (f"{_digest(path / os.fsdecode(name))}  ./".encode() + name + b"\n" for name in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
