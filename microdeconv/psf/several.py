"""Several PSFs with their places, put on a grid: a PSF that changes over the stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from microdeconv.errors import DataError, UsageError
from microdeconv.io.stacks import read_header
from microdeconv.psf.file import Centre, load_psf
from microdeconv.psf.named import PsfFile
from microdeconv.stack import Psf, PsfSet, Zyx

AXES_OF = {1: (0,), 2: (1, 2), 3: (0, 1, 2)}  # that the numbers of a place lie along
NAMES = "zyx"
VOXELS = Zyx(1, 1, 1)


def load_psfs(
    files: Sequence[PsfFile],
    voxel_um: Zyx | None,
    field: tuple[int, int, int],
    *,
    centre: Centre = "peak",
    background: bool = True,
    channel: int = 0,
    channels: int = 1,
    depth_um: float = 0.0,
) -> Psf | PsfSet:
    """Read PSFs with their places and make them ready for a stack.

    Parameters
    ----------
    files
        One; or several at places that form a grid, µm: z below the coverslip, y and x from the field's first row and
        column.
    voxel_um, field, centre, background
        See `load_psf`.
    channel, channels
        Which of how many the stack has; a file of as many has one for each.
    depth_um
        Of the first plane below the coverslip; with 0, places along z count from the first plane.

    Returns
    -------
    Psf or PsfSet
        A `Psf` of a single file.

    Raises
    ------
    UsageError
        For places that are missing, doubled or no grid.
    DataError
        See `load_psf`; when the voxel size is not known that places in µm need.
    """
    check_places([one.place for one in files], [str(one) for one in files])
    paths = [one.path for one in files]
    for one in files:
        if paths.count(one.path) > 1:
            raise UsageError(f"--psf {one.path}: stands at {paths.count(one.path)} places", "give each its own file")
    used = {axis for one in files for axis in AXES_OF.get(len(one.place), ())} if len(files) > 1 else set()
    if used and (voxel_um is None or not all(math.isfinite(voxel_um[axis]) for axis in used)):
        raise DataError("places of PSFs are in µm, and the stack's voxel size is not known", "give --voxel Z Y X")
    psfs = []
    for one in files:
        one_each = channels > 1 and read_header(one.path).size("C") == channels
        psf = load_psf(
            one.path, voxel_um, field, centre=centre, background=background, channel=channel if one_each else None
        )
        notes = psf.notes if len(files) == 1 else tuple(f"{one.path.name}: {note}" for note in psf.notes)
        psfs.append(replace(psf, notes=notes))
    placed = [(psf, one.place) for psf, one in zip(psfs, files, strict=True)]
    return arranged(placed, field, voxel_um, depth_um, [str(one) for one in files])


def check_places(places: Sequence[tuple[float, ...]], names: Sequence[str]) -> None:
    """Refuse places that do not form a grid, naming what is wrong.

    Raises
    ------
    UsageError
        For a PSF without a place among others, places of unlike kinds, two at one place, a place without a PSF.
    """
    if len(places) == 1:
        return
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        if not place:
            raise UsageError(f"{len(places)} PSFs, and {name} has no place", "name each with its place, as b.tif@20")
        if len(place) != len(places[0]):
            raise UsageError(
                f"{names[0]} and {name}: places of {len(places[0])} and {len(place)} numbers",
                "give all @Z, all @Y,X or all @Z,Y,X",
            )
        if place in places[:number]:
            raise UsageError(f"{names[places.index(place)]} and {name} are at one place", "leave one out")
    for wanted in product(*(sorted(set(along)) for along in zip(*places, strict=True))):
        if wanted not in places:
            told = ",".join(f"{one:g}" for one in wanted)
            raise UsageError(f"the places of the PSFs form no grid: none is at @{told}", "give it, or leave others out")


def arranged(
    placed: Sequence[tuple[Psf, tuple[float, ...]]],
    field: tuple[int, int, int],
    voxel_um: Zyx | None = None,
    depth_um: float = 0.0,
    names: Sequence[str] | None = None,
) -> Psf | PsfSet:
    """Put PSFs on the grid of their places.

    Parameters
    ----------
    placed
        PSFs, each with (z,), (y, x) or (z, y, x) in µm; in voxels when `voxel_um` is not given.
    field
        The stack's sizes (z, y, x).
    voxel_um, depth_um
        What places in µm are counted in, and the place along z of the first plane.
    names
        Of the PSFs, for messages.

    Raises
    ------
    UsageError
        See `check_places`; for places along z in a plane.
    """
    names = names or [f"PSF {number}" for number in range(len(placed))]
    places = [place for _, place in placed]
    check_places(places, names)
    if len(placed) == 1:
        psf, place = placed[0]
        alone = ("one PSF alone serves the whole stack, whatever its place",) if place else ()
        return replace(psf, notes=psf.notes + alone)
    axes = AXES_OF[len(places[0])]
    if 0 in axes and field[0] == 1:
        raise UsageError(f"{names[0]}: a place along z, and the image has one plane", "give @Y,X, or one PSF")
    unit, word = (VOXELS, "voxels") if voxel_um is None else (voxel_um, "µm")
    along = {axis: sorted({place[i] for place in places}) for i, axis in enumerate(axes)}
    notes = list(dict.fromkeys(note for psf, _ in placed for note in psf.notes))
    grid: list[tuple[float, ...]] = []
    for axis in range(3):
        first = depth_um if axis == 0 else 0.0
        grid.append(tuple((p - first) / unit[axis] for p in along.get(axis, [first])))
        last = first + (field[axis] - 1) * unit[axis]
        outside = [f"{p:g}" for p in along.get(axis, []) if not first - unit[axis] < p < last + unit[axis]]
        if outside:
            reach = f"{first:g} to {last:g} {word}"
            notes.append(f"{NAMES[axis]} {', '.join(outside)} {word} lies outside the stack, {reach}")
    if [len(along.get(axis, ())) for axis in (1, 2)] == [2, 2]:
        notes.append("2 x 2 places can be worse than one where aberrations are symmetric about the middle: give 3 x 3")
    order = {place: psf for psf, place in placed}
    parts = tuple(order[place] for place in product(*along.values()))
    told = "; ".join(f"{NAMES[a]} {', '.join(f'{p:g}' for p in ps)}" for a, ps in along.items() if len(ps) > 1)
    source = f"{len(parts)} PSFs at {told} {word}: " + "; ".join(dict.fromkeys(psf.source for psf in parts))
    return PsfSet(parts, (grid[0], grid[1], grid[2]), source, tuple(notes))
