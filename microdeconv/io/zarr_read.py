"""Reading OME-Zarr (0.4 and 0.5): a chunk that is missing or damaged is an error, never blank voxels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import DataError, MicrodeconvError, RefusedError, UnavailableError
from microdeconv.extras import library
from microdeconv.io.ngff import OURS, VERSIONS, read_facts
from microdeconv.io.selection import Selection
from microdeconv.io.tiff import ACCEPTED
from microdeconv.io.zarr_chunks import Grid, read_grid, read_json
from microdeconv.signals import undisturbed
from microdeconv.stack import AXES, Header, Stack

NEW = "copy the folder anew"
WHOLE = slice(None)


def zarr_library() -> Any:
    """Import zarr.

    Raises
    ------
    UnavailableError
        When it is not installed.
    """
    return library("zarr", "zarr", "OME-Zarr")


def open_zarr(path: Path, selection: Selection) -> Stack:
    """Open the first level of an OME-Zarr image.

    Parameters
    ----------
    path
        The folder.
    selection
        `series` (of several images in one folder), `axes`, `voxel_um` and `missing_chunks` are used.

    Returns
    -------
    Stack
        Each volume is read when it is asked for. Checksums are compared where the chunks have them.

    Raises
    ------
    DataError, UnavailableError, RefusedError
        When its metadata are missing or damaged, the extra or a codec is missing, or its pixels lie elsewhere.
    """
    zarr_library()
    folder, attributes, number, notes = _image(path, selection.series)
    with _understood(folder):
        ngff, multiscale, version = _multiscale(folder, attributes, number)
        level = _level(folder, multiscale["datasets"][0]["path"])
        grid = read_grid(level)
        axes = _axes(folder, multiscale["axes"], grid.shape, selection.axes)
        sizes = dict(zip(axes, grid.shape, strict=True))
        omero = ngff.get("omero") or {}
        facts = read_facts(multiscale, omero, attributes.get(OURS), axes, sizes.get("C", 1))
    dtype = _open(grid).dtype
    if np.dtype(dtype).name not in ACCEPTED:
        raise DataError(
            f"{path}: pixels of type {dtype} are not taken", f"convert them to one of {', '.join(ACCEPTED)}"
        )
    order = "".join(a for a in AXES if a in axes)
    header = Header(
        path,
        order,
        tuple(sizes[a] for a in order),
        np.dtype(dtype).newbyteorder("="),
        selection.voxel_um or facts.voxel_um,
        facts.channels,
        "zarr",
        {**facts.extras, "ngff": version},
        (*notes, *facts.notes),
    )
    read = partial(_read_volume, path, grid, axes, selection.missing_chunks == "fill")
    return Stack(header, read, read)


def levels_of(path: Path) -> list[Path]:
    """Give the folders of all levels of the first image of an OME-Zarr, the largest first.

    Raises
    ------
    DataError, RefusedError
        When its metadata are missing or damaged, or a level lies elsewhere.
    """
    folder, attributes, number, _ = _image(path, None)
    with _understood(folder):
        _, multiscale, _ = _multiscale(folder, attributes, number)
        return [_level(folder, one["path"]) for one in multiscale["datasets"]]


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    """Turn what metadata of another form raise into one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as reason:
        raise DataError(
            f"{folder}: its OME-Zarr metadata are damaged ({type(reason).__name__}: {reason})", NEW
        ) from None


def _attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a group, `ome` or bare, in either format."""
    if (folder / "zarr.json").is_file():
        told = read_json(folder / "zarr.json")
        if told.get("node_type") == "group":
            found = told.get("attributes")
            return found if isinstance(found, dict) else {}
    elif (folder / ".zattrs").is_file() and not (folder / ".zarray").is_file():
        return read_json(folder / ".zattrs")
    elif not (folder / ".zarray").is_file():
        raise DataError(f"{folder}: no OME-Zarr, it has neither zarr.json nor .zattrs", NEW)
    raise DataError(
        f"{folder}: a bare Zarr array, without OME-Zarr's metadata", "give the folder of the image above it"
    )


def _ngff(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def _image(path: Path, series: int | None) -> tuple[Path, dict[str, Any], int, list[str]]:
    """The group of an image, its number there: the folder's own, or one of several that bioformats2raw numbers."""
    attributes = _attributes(path)
    ngff = _ngff(attributes)
    if "multiscales" in ngff:
        return path, attributes, series or 0, []
    if "plate" in ngff or "well" in ngff:
        raise DataError(f"{path}: a plate or well of many images", f"give one of them, such as {path}/A/1/0")
    if "bioformats2raw.layout" not in ngff:
        raise DataError(f"{path}: no OME-Zarr image, its attributes have no multiscales", "give the folder of an image")
    images = sorted((p for p in path.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    if series is not None and str(series) not in [p.name for p in images]:
        raise DataError(f"{path}: no series {series}", f"it holds {len(images)}, counted from 0")
    told = f"the first of {len(images)} images is read: --series chooses"
    image = path / str(series or 0)
    return image, _attributes(image), 0, [told] if series is None and len(images) > 1 else []


def _multiscale(
    folder: Path, attributes: Mapping[str, Any], number: int
) -> tuple[Mapping[str, Any], Mapping[str, Any], str]:
    ngff = _ngff(attributes)
    several = ngff["multiscales"]
    if number >= len(several):
        raise DataError(f"{folder}: no series {number}", f"it holds {len(several)}, counted from 0")
    multiscale = several[number]
    version = str(ngff["version"] if "ome" in attributes else multiscale.get("version", "0.4"))
    if version not in VERSIONS:
        raise DataError(f"{folder}: OME-Zarr of version {version} is not read", f"convert it to {VERSIONS[-1]}")
    return ngff, multiscale, version


def _level(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise RefusedError(f"{folder}: takes pixels from {name}, outside its folder", "put them into the folder")
    return folder / parts


def _axes(folder: Path, described: Any, shape: tuple[int, ...], said: str | None) -> str:
    """Letters of the array's axes, in its own order."""
    named = [str(axis["name"]).upper() for axis in described]
    if len(named) != len(shape):
        raise DataError(f"{folder}: {len(named)} axes are described, the array has {len(shape)} {shape}", NEW)
    if said is not None and len(said) != len(shape):
        raise DataError(
            f"{folder}: --axes {said} names {len(said)} axes, the array has {len(shape)} {shape}",
            "give one letter for each",
        )
    axes = said or "".join(named)
    known = said is not None or (all(len(a) == 1 and a in AXES for a in named) and len(set(axes)) == len(axes))
    if not known or not {"Y", "X"} <= set(axes):
        raise DataError(
            f"{folder}: its axes {', '.join(named).lower()} {shape} are not all known",
            f"name them with --axes, letters of {AXES}",
        )
    return axes


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn whatever goes wrong in the library or a codec into one line; signals wait for its threads."""
    try:
        with undisturbed():
            yield
    except MicrodeconvError:
        raise
    except Exception as reason:  # noqa: BLE001 - damaged bytes make codecs fail in any way
        if type(reason).__name__ == "UnknownCodecError":
            raise UnavailableError(f"{what}: {reason}", "pip install imagecodecs, or write it with Zstd") from None
        raise DataError(f"{what}: damaged or not readable ({type(reason).__name__}: {reason})", NEW) from None


def _open(grid: Grid) -> Any:
    with _reading(str(grid.folder)):
        return zarr_library().open_array(store=str(grid.folder), mode="r")


def _read_volume(
    path: Path, grid: Grid, axes: str, fill: bool, t: int, c: int, y: slice = WHOLE, x: slice = WHOLE
) -> NDArray[Any]:
    wanted = {"T": slice(t, t + 1), "C": slice(c, c + 1), "Y": y, "X": x}
    ranges = [range(n)[wanted.get(a, WHOLE)] for a, n in zip(axes, grid.shape, strict=True)]
    volume = read_region(path, grid, ranges, fill=fill)
    left = [a for a in axes if a not in "TC"]
    index = tuple(0 if a in "TC" else slice(None) for a in axes)
    volume = volume[index].transpose([left.index(a) for a in "ZYX" if a in left])
    return np.ascontiguousarray(volume).reshape(-1, *volume.shape[-2:])


def read_region(path: Path, grid: Grid, ranges: Sequence[range], *, fill: bool = False) -> NDArray[Any]:
    """Read a region of an array, each file that holds something of it once.

    Parameters
    ----------
    path
        Of the image, for messages.
    grid
        Of the array.
    ranges
        Along its axes.
    fill
        Whether the fill value may stand for a chunk that is not there.

    Raises
    ------
    DataError, UnavailableError
        Where a chunk is missing or damaged, or its codec is missing.
    """
    array = _open(grid)
    found: NDArray[Any] = np.empty([len(r) for r in ranges], array.dtype.newbyteorder("="))
    for place, region in grid.blocks(ranges):
        absent = grid.absent(place, region)
        if absent and not fill:
            raise DataError(
                f"{path}: chunk {absent} is missing",
                f"copy it anew; if its writer leaves blank ones out, --missing-chunks fill takes {grid.fill} for it",
            )
        target = tuple(slice(s.start - r.start, s.stop - r.start) for s, r in zip(region, ranges, strict=True))
        with _reading(f"{path}: chunk {grid.file(place).relative_to(grid.folder.parent)}"):
            found[target] = array[region]
    return found
