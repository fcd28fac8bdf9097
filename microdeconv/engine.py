"""One volume deconvolved: cut into tiles that fit the memory, tile by tile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.blur import MARGIN, Blur, plan_grids
from microdeconv.errors import MemoryShortError
from microdeconv.extent import support
from microdeconv.fft import Shape
from microdeconv.machine import Machine, is_out_of_memory, release
from microdeconv.options import AUTO
from microdeconv.problem import Estimate, Method
from microdeconv.settle import Listen, Settings, blur_for, ignore, problem_through
from microdeconv.solve import Watch, solve
from microdeconv.stack import Psf, PsfSet
from microdeconv.tiles import Tile, join, largest_edge, tiles_of

HALO_SHARE = 0.97  # of the PSF's energy: so far it reaches, and
REACHES = 3  # times as far, and some voxels of the method, a tile reads around its core: steps carry a border on
BASE_MEMORY = 360 * 10**6  # bytes of the interpreter and its libraries; 350 measured once a PSF was computed
EACH_PSF = 2.5  # floats a voxel of the transform grid, of each PSF after the first: spectrum, filtered, in the making
SWEPT = 8  # tiles, after which freed memory is given back: it lies in more and more pieces, and the process grows
BLENDED = (1.0, 1.0, 0.0)  # floats, as `Method.floats`, that blending several takes: a sum, a weighted object


@dataclass(frozen=True, slots=True)
class Cut:
    """How a field is cut: edge, halo, what a tile reads, its grid and bytes; whether cores are `exact`ly that wide."""

    edge: int
    halo: tuple[int, int]
    read: Shape
    grid: Shape
    tile_bytes: int
    tiles: int
    exact: bool = False


def plan_cut(
    field: Shape, psf: Psf | PsfSet, method: Method, machine: Machine, tile: int | str, held_bytes: int
) -> Cut:
    """Choose the tiles of a field: as large as memory allows, or as asked for.

    Parameters
    ----------
    field
        Sizes (z, y, x).
    psf
        Its PSF; `DELTA` for a method that needs none.
    method, machine
        Their needs and limits.
    tile
        "auto", "off", or the edge of the cores in voxels.
    held_bytes
        What the process holds besides, on the host.

    Raises
    ------
    MemoryShortError
        When not even the smallest tile fits.
    """
    reaches = [support(one, HALO_SHARE) for one in psf.parts]
    reach = [max(along) for along in zip(*reaches, strict=True)]
    halo = (REACHES * reach[1] + method.halo, REACHES * reach[2] + method.halo)
    on_host = machine.memory - BASE_MEMORY - held_bytes
    budget = on_host if machine.device_memory is None else min(int(0.85 * machine.device_memory), 2**62)

    needs = method.floats
    if len(psf.parts) > 1:
        needs = (needs[0] + EACH_PSF * (len(psf.parts) - 1) + BLENDED[0], needs[1] + BLENDED[1], needs[2] + BLENDED[2])

    def need(read: Shape) -> tuple[Shape, int]:
        margin = MARGIN if method.margin is None else method.margin
        _, held, grid = plan_grids(psf.shape, read, margin, method.room)
        floats = sum(n * math.prod(shape) for n, shape in zip(needs, (grid, held, read), strict=True))
        floats += method.block[0] * min(math.prod(read), method.block[1])
        return grid, int(4 * floats) + method.base

    if tile == "off":
        edge = max(field[1:])
    elif tile == AUTO:
        edge = largest_edge(field, halo, lambda read: need(read)[1] <= budget, method.align)
    else:
        edge = int(tile)
    exact = isinstance(tile, int)  # as it was asked for, so that cores may be made of whole chunks
    tiles = tiles_of(field, edge, halo, method.align, exact=exact)
    read_y, read_x = (span.stop - span.start for span in tiles[0].read)
    read = (field[0], read_y, read_x)
    grid, size = need(read)
    if size > budget and tile != AUTO:
        raise MemoryShortError(
            f"--tile {tile} needs {size / 1e9:.2g} GB where {max(budget, 0) / 1e9:.2g} GB may be used",
            "--tile auto fits the tiles, --memory gives more",
        )
    return Cut(edge, halo, read, grid, size, len(tiles), exact)


def deconvolve_volume(
    volume: NDArray[Any],
    psf: Psf | PsfSet,
    method: Method,
    settings: Settings,
    machine: Machine,
    cut: Cut,
    listen: Listen = ignore,
    predicted: NDArray[np.float32] | None = None,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Deconvolve a volume, tile by tile; when memory runs out, with tiles of half the size.

    Parameters
    ----------
    volume
        Counts (z, y, x).
    psf, method, settings, machine, cut
        What was planned and settled.
    listen
        Called with what is being done, the step and how many there are.
    predicted
        (z, y, x), filled with what the volume should be, photo-electrons, if it is given.

    Returns
    -------
    tuple
        Counts above the background, float32 (float64 and untouched where the method keeps counts); notes.

    Raises
    ------
    MemoryShortError
        When memory runs out at the smallest tile.
    """
    edge, notes = cut.edge, list[str]()
    while True:
        field = (volume.shape[0], volume.shape[1], volume.shape[2])
        tiles = tiles_of(field, edge, cut.halo, method.align, exact=cut.exact)
        try:
            return _deconvolve_tiles(volume, tiles, psf, method, settings, machine, listen, predicted), tuple(notes)
        except (RuntimeError, MemoryError) as reason:
            if not is_out_of_memory(reason):
                raise
        release(machine.device)
        if edge <= 32:
            raise MemoryShortError("memory ran out at the smallest tile", "give more memory, or a smaller PSF")
        edge = max(32, min(edge, max(volume.shape[1:])) // 2)
        notes.append(f"memory ran out: tiles of {edge} voxels instead")


def _deconvolve_tiles(
    volume: NDArray[Any],
    tiles: list[Tile],
    psf: Psf | PsfSet,
    method: Method,
    settings: Settings,
    machine: Machine,
    listen: Listen,
    predicted: NDArray[np.float32] | None,
) -> NDArray[Any]:
    whole = np.zeros(volume.shape, np.float64 if method.keeps_counts else np.float32)
    steps = settings.iterations * len(tiles)
    blur = None
    if predicted is not None:
        predicted[...] = 0
    for number, tile in enumerate(tiles):
        part = tile.cut(volume)
        due = number % SWEPT == 0 or (isinstance(psf, PsfSet) and psf.lateral)
        if due:
            blur = None  # its memory is needed for the next
        blur = blur or blur_of_tile(tile, part.shape, psf, method, machine)
        if due:
            release(machine.device)
        done = number * settings.iterations
        estimate = deconvolve_tile(
            tile, part, blur, method, settings,
            lambda step, done=done: listen("deconvolving", done + step, steps),  # type: ignore[misc]
            predict=predicted is not None,
        )  # fmt: skip
        if predicted is not None and estimate.predicted is not None:
            join(predicted, tile, estimate.predicted)
        join(whole, tile, estimate.image)
    return whole


def blur_of_tile(tile: Tile, shape: tuple[int, ...], psf: Psf | PsfSet, method: Method, machine: Machine) -> Blur:
    """Make the forward model of a tile; tiles of one plan share it, unless the PSF changes along y or x."""
    return blur_for(shape, psf, method, machine, _start(tile))


def _start(tile: Tile) -> Shape:
    return 0, tile.read[0].start, tile.read[1].start


def deconvolve_tile(
    tile: Tile, part: NDArray[Any], blur: Blur, method: Method, settings: Settings, watch: Watch,
    *, predict: bool = False,
) -> Estimate:  # fmt: skip
    """Deconvolve what one tile reads, counts (z, y, x); the estimate's image is in counts above the background."""
    problem = problem_through(part, blur.placed(_start(tile)), method, settings)
    estimate = solve(problem, method, settings.parameters, settings.iterations, watch, predict=predict)
    return replace(estimate, image=estimate.image * estimate.image.dtype.type(settings.camera.gain))
