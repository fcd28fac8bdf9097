"""Outputs, files or folders, that are whole or absent: written beside their place, then put there by one rename."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from microdeconv.errors import CannotCreateError, MicrodeconvError, WriteError
from microdeconv.io.names import holds_zarr

LONGEST_NAME = 255  # bytes, on every usual file system


def check_output(
    path: Path, inputs: list[Path], *, overwrite: bool, parents: bool, needed: int = 0, tree: bool = False
) -> None:
    """Refuse, before anything is computed, an output that cannot be written.

    Parameters
    ----------
    path
        The output's final name.
    inputs
        Files that it must not be.
    overwrite
        Whether an existing output may be replaced.
    parents
        Whether missing folders are made.
    needed
        Bytes it will take, about.
    tree
        Whether the output is a folder, an OME-Zarr.

    Raises
    ------
    CannotCreateError
        When the output is an input or holds one, is a folder of another kind, exists, lies in an OME-Zarr or
        below a file, has no folder, or its folder cannot be written to.
    WriteError
        When the disk has too little room.
    """
    folder = path.parent
    if len(os.fsencode(path.name)) > LONGEST_NAME or len(os.fsencode(path)) > 4000:
        raise CannotCreateError(f"{path.name[:60]}…: the name is too long", f"at most {LONGEST_NAME} bytes")
    for one in inputs:
        with suppress(OSError):
            if path.samefile(one):
                raise CannotCreateError(f"{path}: the output is the input {one}", "give another name with -o")
            if tree and path.resolve() in one.resolve().parents:
                raise CannotCreateError(f"{path}: the input {one} lies in it", "give another name with -o")
    around = next((p for p in path.resolve().parents if holds_zarr(p)), None)
    if around is not None:
        raise CannotCreateError(f"{path}: lies in the OME-Zarr {around}", "choose another folder with -o")
    if tree and path.is_dir() and not holds_zarr(path):
        raise CannotCreateError(f"{path}: is a folder, and no OME-Zarr that could be replaced", "give another name")
    if path.is_dir() and not tree:
        raise CannotCreateError(f"{path}: is a folder", "end it with / to write into it, or give a file name")
    if os.path.lexists(path) and not overwrite:
        raise CannotCreateError(f"{path}: exists already", "--overwrite replaces it")
    blocked = next((p for p in (folder, *folder.parents) if os.path.lexists(p) and not p.is_dir()), None)
    if blocked is not None:
        raise CannotCreateError(f"{blocked}: is no folder", "choose another one with -o")
    if not folder.is_dir() and not parents:
        raise CannotCreateError(f"{folder}: there is no such folder", "--parents makes it")
    existing = next(p for p in (folder, *folder.parents, Path()) if p.is_dir())
    if not os.access(existing, os.W_OK | os.X_OK) or os.statvfs(existing).f_flag & os.ST_RDONLY:
        raise CannotCreateError(f"{existing}: cannot be written to", "choose another folder with -o")
    free = shutil.disk_usage(existing).free
    if free < 1.1 * needed:
        raise WriteError(
            f"{path}: needs about {needed:,} bytes, the disk has {free:,} free", "make room or choose another disk"
        )


@contextmanager
def atomic_output(path: Path, *, overwrite: bool, parents: bool = False, tree: bool = False) -> Iterator[Path]:
    """Give a partial file, or with `tree` a folder, beside the output; put it in place when all went well.

    The order on disk: the files' bytes, their names, the folder. Without `overwrite` an output that appeared in the
    meantime is kept. What is partial is removed when something went wrong, and so is what dead processes on this host
    left. A folder that is replaced is first renamed to a hidden name, since no rename puts one over another.

    Raises
    ------
    WriteError
        When writing failed, with the room that was left.
    CannotCreateError
        When the output exists, or its folder is missing.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    partial = _hidden_name(path, "partial")
    try:
        if tree:
            partial.mkdir()
        yield partial
        if tree:
            sync_tree(partial)
            put_tree(partial, path, overwrite=overwrite)
            _sweep(path, "replaced")
        else:
            sync(partial)
            _put(partial, path, overwrite)
        sync(path.parent)
    except MicrodeconvError:
        raise
    except OSError as reason:
        raise _failure(path, reason) from None
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that goes."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Take a folder away: by a rename, so that it is whole or gone; then remove it, and what dead processes left so."""
    _sweep(folder, "replaced")
    if folder.is_dir():
        aside = _hidden_name(folder, "replaced")
        folder.rename(aside)
        remove(aside)


def _hidden_name(path: Path, state: str) -> Path:
    ending = f".{socket.gethostname()[:40]}.{os.getpid()}.{state}"
    room = LONGEST_NAME - len(os.fsencode(ending)) - 1
    name = os.fsencode(path.name)[:room].decode(errors="ignore")
    return path.with_name(f".{name}{ending}")


def sync_tree(folder: Path) -> None:
    """Have all files of a folder, and their names, on the disk."""
    for one in sorted(folder.rglob("*"), reverse=True):
        sync(one)
    sync(folder)


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(partial: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        partial.replace(path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        raise CannotCreateError(f"{path}: exists already", "--overwrite replaces it") from None
    except OSError as reason:
        if reason.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        partial.rename(path)  # a file system without hard links
    else:
        partial.unlink()


def put_tree(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a folder to its final name; one that is replaced is renamed first.

    Raises
    ------
    CannotCreateError
        When the output exists.
    """
    replaced = _hidden_name(path, "replaced")
    if overwrite and os.path.lexists(path):
        path.rename(replaced)
    try:
        partial.rename(path)
    except OSError as reason:
        if reason.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise CannotCreateError(f"{path}: exists already", "--overwrite replaces it") from None
        raise
    finally:  # also where a signal came between the two
        if os.path.lexists(replaced) and not os.path.lexists(path):
            replaced.rename(path)
        remove(replaced)


def _sweep(path: Path, state: str = "partial") -> None:
    """Remove what a process of this host that no longer lives left of the same output."""
    host = re.escape(socket.gethostname()[:40])
    for leftover in path.parent.glob(f".*.{state}"):
        match = re.fullmatch(rf"\.(.*)\.{host}\.(\d+)\.{state}", leftover.name, flags=re.DOTALL)
        same = match is not None and (path.name == match[1] or (state == "partial" and path.name.startswith(match[1])))
        if match and same and not _lives(int(match[2])):
            remove(leftover)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _failure(path: Path, reason: OSError) -> WriteError:
    """Say why writing failed; numpy's errors carry no number, so the room left is looked at as well."""
    with suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        if reason.errno in (None, errno.ENOSPC, errno.EDQUOT) and free < 2**24:
            return WriteError(
                f"{path}: the disk is full, {free:,} bytes are free ({reason})", "make room and run again"
            )
    if reason.errno == errno.EFBIG:
        return WriteError(f"{path}: larger than files may be here (ulimit -f)", "raise the limit")
    return WriteError(f"{path}: writing failed ({reason.strerror or reason})", "check the disk and run again")
