"""Which part of a file is meant, and what is to be done with odd values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from microdeconv.options import option
from microdeconv.stack import AXES, Zyx

PANEL = "Image"
Indices = tuple[int | slice, ...]


def read_voxel(raw: Any) -> Zyx:
    """Read three numbers (z y x) or two (z and xy), in µm.

    Raises
    ------
    ValueError
        When they are not such numbers, or cannot be a voxel size in µm.
    """
    parts = list(raw) if isinstance(raw, (list, tuple)) else re.split(r"[\s,]+", str(raw).strip())
    numbers = [float(p) for p in parts]
    if len(numbers) == 2:
        numbers.append(numbers[1])
    if len(numbers) != 3:
        raise ValueError("not three numbers (z y x) or two (z and xy)")
    for number in numbers:
        if not number > 0:
            raise ValueError("a voxel size is positive")
        if number >= 20:
            raise ValueError(f"{number:g} µm is no voxel; if these are nm, write {number / 1000:g}")
        if number < 0.001:
            raise ValueError(f"{number:g} µm is less than an atom; voxel sizes are in µm")
    return Zyx(*numbers)


def read_indices(raw: Any) -> Indices:
    """Read `0`, `0,2`, `1:4`, `-1`: counted from 0, negative from the end, the end of a range left out.

    Raises
    ------
    ValueError
        For anything else.
    """
    found: list[int | slice] = []
    for part in raw if isinstance(raw, (list, tuple)) else str(raw).split(","):
        match = re.fullmatch(r"(-?\d+)?(:)?(-?\d+)?(?::(\d+))?", str(part).strip())
        if not match or not (match[1] or match[2]):
            raise ValueError("not a number, a list 0,2 or a range 1:4")
        if match[2]:
            found.append(slice(*(int(g) if g else None for g in (match[1], match[3], match[4]))))
        else:
            found.append(int(match[1]))
    return tuple(found)


def read_axes(raw: Any) -> str:
    """Read axes such as `ZYX` or `TCZYX`, in the file's own order; `C` or `S` (samples) may be last, as in pictures.

    Raises
    ------
    ValueError
        For letters that are no axes, or without Y and X at the end.
    """
    text = re.sub(r"S$", "C", str(raw).strip().upper())
    if set(text) - set(AXES) or len(set(text)) != len(text) or not text.endswith(("YX", "YXC")):
        raise ValueError(f"not letters of {AXES}, each once, ending in YX")
    return text


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a file is read, and how."""

    axes: str | None = option(
        None,
        "Axes of the file in its own order, where it does not say them or says them wrongly (ZYX, TZYX, …).",
        panel=PANEL,
        metavar="AXES",
        parse=read_axes,
    )
    series: int | None = option(
        None, "Which image of a file that holds several, counted from 0.", panel=PANEL, metavar="N", low=0, high=10_000
    )
    channel: Indices | None = option(
        None,
        "Channels to deconvolve: 0, 0,2 or 1:3, counted from 0; all if not given.",
        panel=PANEL,
        metavar="LIST",
        parse=read_indices,
    )
    time: Indices | None = option(
        None, "Time points to deconvolve, likewise.", panel=PANEL, metavar="LIST", parse=read_indices
    )
    voxel_um: Zyx | None = option(
        None, "Voxel size in µm: z y x, or z and xy.", panel=PANEL, flag="voxel", metavar="Z Y X", parse=read_voxel
    )
    rgb: Literal["refuse", "split"] = option(
        "refuse", "What to do with colour pictures: split makes channels.", panel=PANEL
    )
    missing_chunks: Literal["refuse", "fill"] = option(
        "refuse",
        "What to do with chunks that an OME-Zarr lacks: fill takes its fill value, for writers that leave blank "
        "chunks out.",
        panel=PANEL,
    )
    nan: Literal["refuse", "median"] = option(
        "refuse", "What to do with NaN and infinities: median takes the median of the neighbours.", panel=PANEL
    )
    negative: Literal["refuse", "clip"] = option(
        "refuse", "What to do with negative values when no --offset explains them: clip sets them to zero.", panel=PANEL
    )


def pick(indices: Indices | None, size: int) -> list[int]:
    """Turn a selection into indices of an axis.

    Raises
    ------
    ValueError
        For an index beyond the axis; nothing selected.
    """
    if indices is None:
        return list(range(size))
    found: list[int] = []
    for one in indices:
        if isinstance(one, slice):
            found += range(*one.indices(size))
        elif -size <= one < size:
            found.append(one % size)
        else:
            raise ValueError(f"{one} is beyond the last, {size - 1}")
    if not found:
        raise ValueError("nothing is selected")
    return sorted(set(found))
