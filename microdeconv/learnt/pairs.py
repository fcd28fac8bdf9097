"""A user's pairs of blurred and true pictures: a table of files, registered and brought to the same units."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.blur import Blur
from microdeconv.camera import Camera
from microdeconv.errors import DataError, NoInputError
from microdeconv.io.pixels import check_pixels
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack
from microdeconv.learnt.own import Own
from microdeconv.machine import as_tensor
from microdeconv.noise import estimate_background, estimate_camera
from microdeconv.options import nearest
from microdeconv.psf.file import load_psf
from microdeconv.psf.from_counts import light_of_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.stack import Header

NEEDED = ("raw", "truth", "psf")
FIGURES = ("background", "offset", "gain")
COLUMNS = (*NEEDED, *FIGURES)
ALIKE = 0.3  # correlation of raw and blurred truth, below which they do not show the same
FARTHEST = 0.25  # of the picture: a shift beyond it is not believed
FINE = 20  # parts of a voxel to which shifts are found
NO_SHIFT = 0.2  # voxels: less is not worth an interpolation
WHOLE = 0.05  # voxels from a whole number: moved by that, without interpolation
RIM = 8  # one in so many planes, rows and columns at each border does not count for the fit


def read_pairs(table: Path) -> tuple[list[Own], list[str]]:
    """Read the pairs that a table lists.

    Parameters
    ----------
    table
        CSV with a head line: `raw`, `truth`, `psf`, and if wanted `background` and `offset` (counts) and `gain` (counts
        for one photo-electron), which are estimated where nothing stands. Paths count from the table's folder.

    Returns
    -------
    tuple
        The pairs, and what was done to each, for a person.

    Raises
    ------
    NoInputError
        When the table or a picture is missing.
    DataError
        When the table lacks a column or a value, or raw, truth and PSF do not belong together.
    """
    pairs, notes = [], []
    for number, row in _rows(table):
        where = f"{table}, line {number}"
        for name in NEEDED:
            if not row.get(name):
                raise DataError(f"{where}: no {name}", f"give a file for each of {', '.join(NEEDED)}")
        raw, truth, psf = (table.parent / row[name] for name in NEEDED)
        figures = [_number(row.get(name), f"{where}, {name}") for name in FIGURES]
        pair, told = _pair(raw, truth, psf, *figures)
        pairs.append(pair)
        notes += told
    if not pairs:
        raise DataError(f"{table}: lists no pairs", f"give a head line {','.join(NEEDED)} and a line for each pair")
    return pairs, notes


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise NoInputError(f"{table}: {reason.strerror}", "check --pairs") from None
    except UnicodeDecodeError:
        raise DataError(f"{table}: not a text table", f"give CSV with the columns {', '.join(NEEDED)}") from None
    try:
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        rows = [(reader.line_num, {str(k): (v or "").strip() for k, v in row.items() if k}) for row in reader]
    except csv.Error as reason:
        raise DataError(f"{table}: not a CSV table, {reason}", "mend that line") from None
    heads = [name.strip() for name in reader.fieldnames or ()]
    for name in heads:
        if name not in COLUMNS:
            close = nearest(name, COLUMNS)
            raise DataError(
                f"{table}: no column {name!r} is known", f"did you mean {close}?" if close else ", ".join(COLUMNS)
            )
    lacking = [name for name in NEEDED if name not in heads]
    if lacking:
        raise DataError(f"{table}: no column {', '.join(lacking)}", f"begin it with a line {','.join(NEEDED)}")
    return rows


def _number(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or (where.endswith("gain") and value <= 0):
        raise DataError(f"{where}: {text!r} is no such number", "give a number, or leave it empty")
    return value


def _pair(
    raw: Path, truth: Path, psf_path: Path, background: float | None, offset: float | None, gain: float | None
) -> tuple[Own, list[str]]:
    volume, header, notes = _volume(raw)
    wanted, _, _ = _volume(truth, negative=True)  # results of other programs may be below zero
    if volume.shape != wanted.shape:
        sizes = [" x ".join(map(str, one.shape)) for one in (volume, wanted)]
        raise DataError(f"{raw}: of {sizes[0]} voxels, {truth} of {sizes[1]}", "give pictures of the same sizes")
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    psf = load_psf(psf_path, header.voxel_um, shape)
    eye = estimate_camera(volume).camera
    level = estimate_background(volume).value if background is None else background
    eye = Camera(min(eye.offset, level) if offset is None else offset, eye.gain if gain is None else gain)
    light = light_of_counts(volume, eye)
    own = Own(raw.name, light, wanted.astype(np.float32), psf, max((level - eye.offset) / eye.gain, 0.0))
    matched, told = registered(own)
    told = f"{raw.name}: background {level:.5g}, {eye.gain:.4g} counts for one photo-electron; {told}"
    return matched, [*notes, *(f"{raw.name}: {note}" for note in psf.notes), told]


def _volume(path: Path, *, negative: bool = False) -> tuple[NDArray[Any], Header, list[str]]:
    stack = open_stack(path)
    if stack.header.axes == "TYX":
        stack = open_stack(path, Selection(axes="ZYX"))
    if stack.header.size("T") * stack.header.size("C") > 1:
        raise DataError(
            f"{path}: {stack.header.describe()} is not one picture", "give files of one channel and one time point"
        )
    volume, notes = check_pixels(stack.read(0, 0), Selection(), path, offset_given=negative)
    if volume.min() == volume.max():
        raise DataError(f"{path}: blank, every voxel has the same value", "leave this pair out")
    return volume, stack.header, notes


def registered(own: Own) -> tuple[Own, str]:
    """Move a truth to its picture and bring it to the picture's units.

    The truth is blurred with the PSF and its shift found by cross-correlation, to a twentieth of a voxel; it is moved
    where that makes picture and blurred truth more alike, and what the move left empty is cut off both. Then a t + c
    is fitted to the picture by least squares, t the blurred truth: an offset of the truth's own ends up in c.

    Parameters
    ----------
    own
        Its truth in any units.

    Returns
    -------
    tuple
        With the truth in photo-electrons above the background; and what was done, for a person.

    Raises
    ------
    DataError
        When they do not show the same.
    """
    blurred = _blurred(own.truth, own.psf)
    light, truth, told = own.light, own.truth, "truth not moved"
    shift = _shift(own.light, blurred)
    alike = _alike(light, blurred)
    if np.abs(shift).max() > NO_SHIFT and bool(np.all(np.abs(shift) <= FARTHEST * np.array(light.shape))):
        moved_light, moved_truth = _moved(light, truth, shift)
        moved_blurred = _blurred(moved_truth, own.psf)
        if (better := _alike(moved_light, moved_blurred)) > alike:
            light, truth, blurred, alike = moved_light, moved_truth, moved_blurred, better
            told = f"truth moved by {' '.join(f'{s:.2f}' for s in shift)} voxels (z y x)"
    if not alike > ALIKE:
        raise DataError(
            f"{own.name}: the truth, blurred, is unlike it (correlation {alike:.2f})", "check files, axes and PSF"
        )
    inner = _inner(light.shape)
    slope, offset = np.polyfit(blurred[inner].ravel().astype(float), light[inner].ravel().astype(float), 1)
    fitted = np.clip(slope * truth + (offset - own.background), 0, None).astype(np.float32)
    told = f"{told}, correlation {alike:.3f}"
    return Own(own.name, np.ascontiguousarray(light), fitted, own.psf, own.background), told


def _blurred(truth: NDArray[np.float32], psf: Any) -> NDArray[np.float32]:
    blur = Blur(psf, (truth.shape[0], truth.shape[1], truth.shape[2]))
    whole = np.pad(truth, [(m, m) for m in blur.margin], mode="edge")
    return np.asarray(blur.forward(as_tensor(np.ascontiguousarray(whole), "cpu")).numpy())


def _shift(light: NDArray[np.float32], blurred: NDArray[np.float32]) -> NDArray[np.float64]:
    from skimage.registration import phase_cross_correlation

    window = np.einsum("z,y,x->zyx", *(np.hanning(n + 2)[1:-1] if n > 1 else np.ones(1) for n in light.shape))
    a, b = ((one - one.mean()) * window for one in (light, blurred))
    flat = light.shape[0] == 1
    pair = (a[0], b[0]) if flat else (a, b)
    # plainly, not by phase alone: most frequencies of a blurred picture are noise
    found, *_ = phase_cross_correlation(*pair, upsample_factor=FINE, normalization=None)  # type: ignore[no-untyped-call]
    return np.array([0.0, *found] if flat else found, dtype=np.float64)


def _moved(
    light: NDArray[np.float32], truth: NDArray[np.float32], by: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from scipy.ndimage import shift

    whole = np.where(np.abs(by - by.round()) < WHOLE, by.round(), by)
    moved = shift(truth, whole, order=1, mode="nearest")
    lost = np.ceil(np.abs(whole)).astype(int)
    box = tuple(
        slice(n if s > 0 else 0, size - (n if s < 0 else 0))
        for n, s, size in zip(lost, whole, truth.shape, strict=True)
    )
    return light[box], np.ascontiguousarray(moved[box])


def _alike(light: NDArray[np.float32], blurred: NDArray[np.float32]) -> float:
    inner = _inner(light.shape)
    a, b = (one[inner].ravel().astype(np.float64) for one in (light, blurred))
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-30))


def _inner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(n // RIM, n - n // RIM) for n in shape)
