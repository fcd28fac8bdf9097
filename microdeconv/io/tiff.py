"""Reading TIFF: ImageJ hyperstacks, OME-TIFF, plain TIFF; a damaged file is an error, never a short stack."""

from __future__ import annotations

import errno
import logging
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from microdeconv.errors import DataError, MicrodeconvError, NoInputError, RefusedError, UnavailableError
from microdeconv.io.metadata import Facts, from_imagej, from_ome, from_plain
from microdeconv.io.selection import Selection
from microdeconv.stack import AXES, Channel, Container, Header, Stack

ACCEPTED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
BOMB = 5000  # pixels' bytes for each byte of the file, beyond which it is not read
WHOLE = slice(None)
MISSING_PARTS = ("failed to read", "missing data are zeroed")


def read_header(path: Path, selection: Selection | None = None) -> Header:
    """Read what a file says, not its pixels.

    Raises
    ------
    NoInputError, DataError, UnavailableError, RefusedError
        When there is no such file, it is damaged, its codec is missing, or it refers to files elsewhere.
    """
    return open_stack(path, selection).header


def open_stack(path: Path, selection: Selection | None = None) -> Stack:
    """Open a TIFF file; its pixels are read a volume at a time.

    Axes that the file does not name: a third one is Z, more must be said with `selection.axes`.

    Parameters
    ----------
    path
        The file.
    selection
        `series`, `axes` and `rgb` are used.

    Returns
    -------
    Stack
        Pixels in native byte order, in the file's dtype.

    Raises
    ------
    NoInputError, DataError, UnavailableError, RefusedError
        As `read_header`; reading a volume later may raise them too.
    """
    path = Path(path)
    selection = selection or Selection()
    _check_file(path)
    _check_companions(path)
    with _reading(path), _opened(path) as tif:
        number = selection.series or 0
        if selection.series is None:
            _check_alike(tif, path)
        series = _series(tif, number, path)
        _check_claims(tif, series, path)
        axes, shape = _axes(series, selection, path)
        guessed = not selection.axes and _unnamed(_named_axes(series)) and shape[0] > 1
        facts = _facts(tif, number, dict(zip(axes, shape, strict=True)).get("C", 1))
        _check_codec(series, path)
    sizes = dict(zip(axes, shape, strict=True))
    order = tuple(axes.index(a) for a in AXES if a in axes)
    channels = facts.channels if len(facts.channels) == sizes.get("C", 1) else (Channel(),) * sizes.get("C", 1)
    header = Header(
        path,
        "".join(axes[i] for i in order),
        tuple(shape[i] for i in order),
        np.dtype(series.dtype).newbyteorder("="),
        selection.voxel_um or facts.voxel_um,
        channels,
        _container(tif),
        facts.extras,
        (*facts.notes, *(["the file does not name its axes: the first is taken for Z"] if guessed else [])),
    )
    read = partial(_read_volume, path, number, axes, shape)
    return Stack(header, read, read)


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                head = file.read(4)
    except OSError as reason:
        words = {errno.ENOENT: "there is no such file", errno.EACCES: "no permission to read it",
                 errno.ELOOP: "a link that leads to itself", errno.ENAMETOOLONG: "the name is too long"}  # fmt: skip
        raise NoInputError(f"{path}: {words.get(reason.errno or 0, reason.strerror)}", "check the path") from None
    if not stat.S_ISREG(mode):
        raise NoInputError(f"{path}: not a regular file", "give the TIFF file itself")
    if head[:2] not in (b"II", b"MM"):
        what = "empty" if not head else "not a TIFF file"
        raise DataError(f"{path}: {what}", "convert it to TIFF, for instance with Fiji")


@contextmanager
def _opened(path: Path, companions: bool = False) -> Iterator[tifffile.TiffFile]:
    with tifffile.TiffFile(path, _multifile=companions) as tif:
        yield tif


class _Complaints(logging.Handler):
    """Keeps what tifffile only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.damage: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR or any(words in text.lower() for words in MISSING_PARTS):
            self.damage.append(" ".join(text.split()))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while reading into one line: tifffile raises nine kinds of errors, or only logs."""
    log, complaints = logging.getLogger("tifffile"), _Complaints()
    propagates = log.propagate
    log.addHandler(complaints)
    log.propagate = False
    try:
        yield
    except MicrodeconvError:
        raise
    except Exception as reason:  # noqa: BLE001 - a damaged file makes the library fail in any way
        if "imagecodecs" in str(reason):
            raise _missing_codec(path) from None
        raise DataError(
            f"{path}: damaged or not readable ({type(reason).__name__}: {reason})", "copy it anew"
        ) from None
    finally:
        log.removeHandler(complaints)
        log.propagate = propagates
    if complaints.damage:
        raise DataError(f"{path}: damaged, {complaints.damage[0]}", "copy it anew from where it was taken")


def _missing_codec(path: Path) -> UnavailableError:
    return UnavailableError(f"{path}: its compression needs imagecodecs", "pip install imagecodecs")


def _check_codec(series: Any, path: Path) -> None:
    page = series.keyframe
    built_in = {tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE,
                tifffile.COMPRESSION.PACKBITS, tifffile.COMPRESSION.LZMA}  # fmt: skip
    if page.compression not in built_in or page.predictor not in (1, 2, 3):
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            raise _missing_codec(path) from None


def _check_companions(path: Path) -> None:
    """Refuse OME-TIFF that takes pixels from outside its folder, or from files that are gone."""
    with _reading(path), _opened(path) as tif:
        xml = tif.ome_metadata
        if not xml:
            return
        try:
            names = {node.get("FileName") for node in ElementTree.fromstring(xml).iterfind(".//{*}UUID")}
        except ElementTree.ParseError:
            return
    for name in sorted(unquote(n) for n in names if n):
        if Path(name).name != name:
            raise RefusedError(f"{path}: takes pixels from {name}, outside its folder", "put the files into one folder")
        if name != path.name and not (path.parent / name).exists() and len(names) > 1:
            raise DataError(f"{path}: its part {name} is missing", "put all parts of the series into one folder")


def _all_series(tif: tifffile.TiffFile) -> list[Any]:
    return list(tif.series() if callable(tif.series) else tif.series)  # a method since tifffile 2026.5


def _series(tif: tifffile.TiffFile, number: int, path: Path) -> Any:
    found = _all_series(tif)
    if number >= len(found):
        raise DataError(f"{path}: no series {number}", f"it holds {len(found)}, counted from 0")
    return found[number].levels[0]


def _check_claims(tif: tifffile.TiffFile, series: Any, path: Path) -> None:
    """Compare what a header claims with the size of the file, before anything is allocated."""
    size = tif.filehandle.size
    claimed = math.prod(series.shape) * np.dtype(series.dtype or "u1").itemsize
    if claimed == 0 or series.dtype is None:
        raise DataError(f"{path}: holds no pixels, an axis has size zero", "check how it was written")
    if np.dtype(series.dtype).name not in ACCEPTED:
        raise DataError(
            f"{path}: pixels of type {series.dtype} are not taken", f"convert them to one of {', '.join(ACCEPTED)}"
        )
    if _is_colour_palette(tif, series.keyframe):
        raise DataError(f"{path}: palette colours are no intensities", "save it as greyscale")
    plain = series.keyframe.compression == tifffile.COMPRESSION.NONE
    if claimed > (size if plain else size * BOMB):
        raise DataError(f"{path}: damaged, it claims {claimed:,} bytes of pixels in a file of {size:,}", "copy it anew")
    if tif.is_imagej and not getattr(series, "is_truncated", False):
        declared = int((tif.imagej_metadata or {}).get("images", 1))
        if series.keyframe.samplesperpixel == 1 and declared > math.prod(series.shape[:-2]):
            readable = math.prod(series.shape[:-2])
            raise DataError(f"{path}: damaged, {declared} planes declared, {readable} readable", "copy it anew")


def _check_alike(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a plain stack with a page of another size or type; the library would split it silently."""
    if tif.is_imagej or tif.is_ome or len(_all_series(tif)) == 1 or any(s.kind != "generic" for s in _all_series(tif)):
        return
    first = tif.pages[0]
    page: Any
    for number, page in enumerate(tif.pages):
        if (page.shape, page.dtype) != (first.shape, first.dtype) and not page.is_reduced:
            raise DataError(
                f"{path}: page {number} is {page.shape} {page.dtype}, page 0 is {first.shape} {first.dtype}",
                "choose one image with --series, or give the pages of a stack the same size and type",
            )


def _is_colour_palette(tif: tifffile.TiffFile, page: Any) -> bool:
    """Whether pixels are indices of colours; ImageJ's palettes, and ramps, only say how to show intensities."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or tif.is_imagej or page.colormap is None:
        return False
    return bool((np.diff(page.colormap.astype(np.int64), axis=-1) < 0).any())


def _named_axes(series: Any) -> str:
    """The file's axes. Where it says a shape only, tifffile guesses, and repeats or swaps letters at sizes of one."""
    axes = str(series.axes)
    guessed = len(set(axes)) != len(axes) or ("Q" in axes and not axes.endswith("YX"))
    return "Q" * (len(axes) - 2) + "YX" if series.kind == "shaped" and "S" not in axes and guessed else axes


def _unnamed(axes: str) -> bool:
    """Whether the first axis, and none but it, has no name."""
    return axes[0] in "QIR" and sorted(axes[1:].replace("S", "C")) in (["X", "Y"], ["C", "X", "Y"])


def _axes(series: Any, selection: Selection, path: Path) -> tuple[str, tuple[int, ...]]:
    """Give the axes in the file's order, without those of size one that nobody named."""
    axes, shape = _named_axes(series), tuple(series.shape)
    if "S" in axes and selection.rgb == "refuse":
        raise DataError(f"{path}: a colour picture, not intensities", "--rgb split makes channels of its colours")
    if selection.axes:
        if len(selection.axes) != len(axes):
            raise DataError(
                f"{path}: --axes {selection.axes} names {len(selection.axes)} axes, the file has {len(axes)} {shape}",
                "give one letter for each",
            )
        return selection.axes, shape
    if _unnamed(axes):
        axes = "Z" + axes[1:]
    axes = axes.replace("S", "C") if "C" not in axes else axes
    kept = [(a, n) for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX" or a in AXES]
    strange = "".join(a for a, _ in kept if a not in AXES)
    if strange or len({a for a, _ in kept}) != len(kept):
        raise DataError(
            f"{path}: its axes {axes} {shape} are not all known", f"name them with --axes, letters of {AXES}"
        )
    return "".join(a for a, _ in kept), tuple(n for _, n in kept)


def _container(tif: tifffile.TiffFile) -> Container:
    return "ome" if tif.is_ome else "imagej" if tif.is_imagej else "plain"


def _facts(tif: tifffile.TiffFile, series: int, n_channels: int) -> Facts:
    page: Any = tif.pages[0]
    if tif.is_ome:
        return from_ome(tif.ome_metadata or "", series, n_channels)
    pixel = tuple(_pixel_size(page.tags.get(tag)) for tag in (283, 282))
    if tif.is_imagej:
        described = dict(tif.imagej_metadata or {})
        if page.colormap is not None and "LUTs" not in described:
            described["LUTs"] = [(page.colormap >> 8).astype(np.uint8)]
        return from_imagej(described, (pixel[0], pixel[1]), n_channels)
    unit = {2: "inch", 3: "cm"}.get(int(page.resolutionunit or 1), "")
    shaped = tif.shaped_metadata
    extras = {k: v for k, v in shaped[0].items() if k != "shape"} if shaped else {}
    facts = from_plain(extras, (pixel[0], pixel[1]), unit)
    if not shaped and page.description:
        extras["description"] = page.description
    return Facts(facts.voxel_um, facts.channels * n_channels, extras, facts.notes)


def _pixel_size(tag: Any) -> float | None:
    """Pixels of that size in the tag's unit; nan for a resolution of zero, which some programs write."""
    if tag is None or not isinstance(tag.value, tuple) or not tag.value[1]:
        return None
    if not tag.value[0]:
        return math.nan
    return float(tag.value[1]) / float(tag.value[0])


def _read_volume(
    path: Path, number: int, axes: str, shape: tuple[int, ...], t: int, c: int, y: slice = WHOLE, x: slice = WHOLE
) -> NDArray[Any]:
    with _reading(path), _opened(path, companions=True) as tif:
        series = _series(tif, number, path)
        index = tuple({"T": t, "C": c}.get(a, WHOLE) for a in axes)
        pages = math.prod(shape[:-2])
        if not axes.endswith("YX") or len(series.pages) != pages or series.keyframe.shape != series.shape[-2:]:
            volume = series.asarray(maxworkers=1).reshape(shape)[index]
            left = [a for a in axes if a not in "TC"]
            volume = volume.transpose([left.index(a) for a in "ZYX" if a in left])[..., y, x]
        else:
            numbers = np.arange(pages).reshape([n for a, n in zip(axes, shape, strict=True) if a not in "YX"] or [1])
            leading = tuple(i for i, a in zip(index, axes, strict=True) if a not in "YX")
            volume = _read_pages(series, np.atleast_1d(numbers[leading]), path, y, x)
        volume = np.ascontiguousarray(volume, dtype=volume.dtype.newbyteorder("="))
        return volume.reshape(-1, *volume.shape[-2:])


def _read_pages(series: Any, numbers: NDArray[np.intp], path: Path, y: slice, x: slice) -> NDArray[Any]:
    rows, columns = (range(n)[part] for n, part in zip(series.keyframe.shape, (y, x), strict=True))
    volume = np.empty((numbers.size, len(rows), len(columns)), series.dtype.newbyteorder("="))
    for place, number in enumerate(numbers.flat):
        page = series.pages[int(number)]
        if page is None:
            raise DataError(f"{path}: plane {number} is missing", "write the file anew")
        try:
            volume[place] = _rows(page, rows)[:, x]
        except Exception as reason:  # noqa: BLE001 - say which page it was, whatever the library raised
            if "imagecodecs" in str(reason):
                raise _missing_codec(path) from None
            raise DataError(f"{path}: page {number} is damaged ({reason})", "copy it anew") from None
    return volume


def _rows(page: Any, rows: range) -> NDArray[Any]:
    """Some rows of a page; of one that is not compressed nothing else is read."""
    height, width = page.shape
    if len(rows) == height or not page.is_final:
        pixels: NDArray[Any] = page.asarray(maxworkers=1)
        return pixels[rows.start : rows.stop]
    file, dtype = page.parent.filehandle, np.dtype(page.parent.byteorder + page.dtype.char)
    file.seek(page.dataoffsets[0] + rows.start * width * dtype.itemsize)
    return np.asarray(file.read_array(dtype, len(rows) * width)).reshape(len(rows), width)
