"""PSF files as people name them, each with the place in the stack that it was measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microdeconv.errors import UsageError

ESTIMATE = "estimate"  # words that stand where a file could: the PSF is found in the image itself, or
NONE = "none"  # nobody knows it


@dataclass(frozen=True, slots=True)
class PsfFile:
    """A PSF's file.

    Attributes
    ----------
    path
        TIFF.
    place
        µm: (z,), (y, x) or (z, y, x); empty where it serves the whole stack.
    """

    path: Path
    place: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Give it as a person types it."""
        return f"{self.path}@{','.join(f'{p:g}' for p in self.place)}" if self.place else str(self.path)


def read_psf_file(raw: Any) -> PsfFile:
    """Read `FILE`, `FILE@Z`, `FILE@Y,X` or `FILE@Z,Y,X`, places in µm.

    Only one to three numbers after the last @ are a place, and a file that has the whole text for its name wins.

    Raises
    ------
    ValueError
        For what is no text.
    """
    if not isinstance(raw, (str, Path)):
        raise ValueError("not a file name")
    name, _, behind = str(raw).rpartition("@")
    place = _numbers(behind) if name else ()
    if not place or _exists(Path(raw)):
        return PsfFile(Path(raw))
    return PsfFile(Path(name), place)


def files_of(psf: tuple[PsfFile, ...] | None) -> tuple[PsfFile, ...]:
    """Give the files that were named; the words `estimate` and `none` are no files."""
    return tuple(one for one in psf or () if str(one.path) not in (ESTIMATE, NONE))


def is_estimate(psf: tuple[PsfFile, ...] | None) -> bool:
    """Whether the PSF is to be estimated.

    Raises
    ------
    UsageError
        When files are given as well.
    """
    return _says(psf, ESTIMATE)


def is_none(psf: tuple[PsfFile, ...] | None) -> bool:
    """Whether there is no PSF.

    Raises
    ------
    UsageError
        When files are given as well.
    """
    return _says(psf, NONE)


def _says(psf: tuple[PsfFile, ...] | None, word: str) -> bool:
    said = psf is not None and any(str(one.path) == word for one in psf)
    if said and psf is not None and len(psf) > 1:
        raise UsageError(f"--psf {word} beside other PSFs", f"give the word alone, or files (./{word} is a file)")
    return said


def _numbers(text: str) -> tuple[float, ...]:
    """One to three finite numbers; nothing when it is not that."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
    return found if len(found) <= 3 and all(math.isfinite(one) for one in found) else ()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
