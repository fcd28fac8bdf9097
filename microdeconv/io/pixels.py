"""Odd pixel values: NaN, infinities, negative values; refused or repaired, never passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import DataError
from microdeconv.io.selection import Selection

FAINTEST, BRIGHTEST = 1e-28, 1e36  # peaks: below, the floors of divisions act; above, 32-bit sums overflow


def check_pixels(
    volume: NDArray[Any], selection: Selection, path: Path, *, raw: bool = False, offset_given: bool = False
) -> tuple[NDArray[Any], list[str]]:
    """Refuse or repair values that no camera counts.

    Parameters
    ----------
    volume
        (z, y, x).
    selection
        `nan` and `negative` say what to do.
    path
        For messages.
    raw
        Take the values as they are (identity).
    offset_given
        Negative values are then meant.

    Returns
    -------
    tuple
        The volume, copied only where it was repaired, and notes.

    Raises
    ------
    DataError
        With the number and the first place of what is refused.
    """
    if raw or volume.dtype.kind == "u":
        return volume, []
    notes = []
    if volume.dtype.kind == "f":
        bad = ~np.isfinite(volume)
        number = int(np.count_nonzero(bad))
        if number:
            if selection.nan == "refuse":
                place = tuple(int(i) for i in np.argwhere(bad)[0])
                raise DataError(
                    f"{path}: {number} voxels are NaN or infinite, the first at z, y, x = {place}",
                    "--nan median takes their neighbours' median",
                )
            volume = _repaired(volume, bad)
            notes.append(f"{number} voxels that are NaN or infinite took their neighbours' median")
        volume = _within_range(volume, path, notes)
    least = float(volume.min())
    if least < 0 and not offset_given and least < -1e-6 * float(volume.max()):
        if selection.negative == "refuse":
            raise DataError(
                f"{path}: {np.count_nonzero(volume < 0)} voxels are negative, down to {least:g}",
                f"--offset {least:g} if a background was taken off, or --negative clip",
            )
        notes.append(f"{np.count_nonzero(volume < 0)} negative voxels set to zero")
        volume = np.clip(volume, 0, None)
    return volume, notes


def _within_range(volume: NDArray[Any], path: Path, notes: list[str]) -> NDArray[Any]:
    """Refuse what overflows; take for zero what would drown in rounding, such as what an underflow left."""
    peak = max(float(volume.max()), -float(volume.min()))
    if peak > BRIGHTEST:
        raise DataError(f"{path}: values up to {peak:.3g} are too large for 32-bit numbers", "divide them")
    if 0 < peak < FAINTEST:
        notes.append(f"values of at most {peak:.3g} are too small for 32-bit numbers, taken for zero: multiply them")
        return np.zeros_like(volume)
    return volume


def _repaired(volume: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[Any]:
    """Each bad voxel takes the median of the good ones around it, in growing boxes."""
    fixed = volume.copy()
    for place in np.argwhere(bad):
        for reach in range(1, max(volume.shape)):
            box = tuple(slice(max(0, i - reach), i + reach + 1) for i in place)
            good = volume[box][~bad[box]]
            if good.size:
                fixed[tuple(place)] = np.median(good)
                break
        else:
            fixed[tuple(place)] = 0
    return fixed
