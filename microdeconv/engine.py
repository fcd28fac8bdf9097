"""One volume: what is chosen for it from its data, then its deconvolution, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.blur import MARGIN, Blur, plan_grids
from microdeconv.camera import Camera, CameraOptions
from microdeconv.choose import UNFIT, Choice, choose
from microdeconv.errors import MemoryShortError
from microdeconv.fft import Shape
from microdeconv.machine import Machine, as_tensor, is_out_of_memory, release
from microdeconv.noise import estimate_background, estimate_camera
from microdeconv.options import AUTO, settled_for
from microdeconv.problem import Estimate, Method, Problem
from microdeconv.psf.extent import support
from microdeconv.psf.from_counts import telling_box
from microdeconv.solve import Stopping, Watch, solve
from microdeconv.stack import Psf, PsfSet
from microdeconv.tiles import Tile, join, largest_edge, tiles_of

HALO_SHARE = 0.97  # of the PSF's energy lies within the halo of a tile, even without what is added
JUDGED = 500_000  # voxels, at most, on which the stop is chosen
BASE_MEMORY = 300 * 10**6  # bytes of the interpreter and its libraries
EACH_PSF = 2.5  # floats a voxel of the transform grid, of each PSF after the first: spectrum, filtered, in the making
BLENDED = (1.0, 1.0, 0.0)  # floats, as `Method.floats`, that blending several takes: a sum, a weighted object

DELTA = Psf(np.ones((1, 1, 1), np.float32), None, None, "none needed")

Listen = Callable[[str, int, int], None]
Seen = tuple[float, Camera, dict[str, str], list[str]]  # background, camera, their sources, notes


def ignore(work: str, step: int, steps: int) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is settled once for a channel and kept for all its volumes and tiles.

    Attributes
    ----------
    camera
        Offset and gain, in counts.
    background
        Counts, offset included.
    level
        Mean light above the background, photo-electrons.
    iterations
        Steps.
    parameters
        The method's.
    sources
        Where background, offset, gain, iterations and parameters came from, in words.
    notes
        Warnings for a person.
    """

    camera: Camera
    background: float
    level: float
    iterations: int
    parameters: Any
    sources: dict[str, str]
    notes: tuple[str, ...] = ()
    choice: Choice | None = None


def settle(
    volume: NDArray[Any],
    psf: Psf | PsfSet,
    channel: int,
    method: Method,
    parameters: Any,
    camera: CameraOptions,
    stopping: Stopping,
    machine: Machine,
    listen: Listen = ignore,
    *,
    voxel_um: tuple[float, float, float] | None = None,
    seen: Seen | None = None,
) -> Settings:
    """Choose what nobody gave: background, offset, gain, the number of steps, a parameter at "auto".

    Parameters
    ----------
    volume
        Counts (z, y, x).
    psf
        Its PSF; `DELTA` for a method that needs none.
    channel
        Its number, for options given a channel each.
    method, parameters, camera, stopping, machine
        What was asked for.
    listen
        Called with what is being done, the step and how many there may be.
    voxel_um
        (z, y, x), where it is known, for a method that asks.
    seen
        What `settle_camera` gave for this volume; None: it is asked.
    """
    if method.keeps_counts:
        return Settings(Camera(), 0.0, 0.0, 1, parameters, {})
    parameters, camera, stopping = (settled_for(group, channel) for group in (parameters, camera, stopping))
    searched = method.searched is not None and getattr(parameters, method.searched[0]) == AUTO
    if volume.min() == volume.max():
        empty = ("the image is blank: every voxel has the same value",)
        if method.searched and searched:
            parameters = replace(parameters, **{method.searched[0]: method.searched[1][0]})
        background = min(0.0, float(volume.flat[0])) if camera.background == AUTO else float(camera.background)
        return Settings(Camera(), background, max(float(volume.flat[0]) - background, 0.0), 1, parameters, {}, empty)
    background, eye, sources, told = seen or settle_camera(volume, camera)
    notes = list(told)
    light = float(np.mean(volume, dtype=np.float64)) - background
    level = max(light, 1e-6 * abs(background), 1e-30) / eye.gain
    settings = Settings(eye, background, level, 1, parameters, sources, tuple(notes))
    given = stopping.iterations
    box = telling_box(volume, background, JUDGED)
    if method.prepare is not None:
        problem = problem_for(volume[box], psf, method, settings, machine, _corner(box))
        settings = replace(settings, parameters=method.prepare(problem, parameters, voxel_um))
    stopped = method.stopped
    if not searched and (given != AUTO or not stopped.iterative or psf is DELTA):
        steps = 1 if given == AUTO else int(given)
        return replace(settings, iterations=steps, sources={**sources, "iterations": "given"})
    parameters = method.companion.parameters() if method.companion else parameters
    problem = problem_for(volume[box], psf, stopped, settings, machine, _corner(box))
    cap = stopping.max_iterations if given == AUTO else int(given)
    known = "unsure" not in sources["gain"]
    choice = choose(problem, stopped, parameters, cap, lambda step: listen("choosing", step, cap), noise_known=known)
    if choice.capped and given == AUTO:
        notes.append(f"the best stop lies beyond --max-iterations {cap}")
    if choice.least > UNFIT and known:
        notes.append(
            f"PSF or noise model do not fit the image well (deviance {choice.least:.3g}, should be 1), see psf check"
        )
    steps = choice.iterations if given == AUTO else int(given)
    found = "split counts" if given == AUTO else "given"
    return replace(
        settings,
        iterations=steps,
        parameters=settings.parameters if method.companion else choice.parameters,
        sources={**sources, "iterations": found, "parameters": "split counts"},
        notes=tuple(notes),
        choice=choice,
    )


def settle_camera(volume: NDArray[Any], options: CameraOptions) -> Seen:
    """Give background (counts), camera, where each came from, and notes; options of one channel."""
    sources, notes = {}, []
    background = options.background
    sources["background"] = "given"
    if background == AUTO:
        found = estimate_background(volume)
        background, sources["background"] = found.value, f"estimated: {found.why}"
        if not found.sure:
            notes.append(f"background {background:.5g} is unsure, {found.why}: it may be low, see --background")
    estimate = estimate_camera(volume)
    told = f"{'estimated' if estimate.sure else 'unsure'}: {estimate.why}"
    eye = estimate.camera
    sources["offset"] = sources["gain"] = told
    if options.offset != AUTO:
        eye, sources["offset"] = replace(eye, offset=float(options.offset)), "given"
    else:
        eye = replace(eye, offset=min(eye.offset, float(background)))
    if options.gain != AUTO:
        eye, sources["gain"] = replace(eye, gain=float(options.gain)), "given"
    saturated = _saturated_share(volume)
    if saturated > 0.001:
        notes.append(f"{100 * saturated:.2g} % of the voxels are saturated: their light is lost")
    return float(background), eye, sources, notes


def _saturated_share(volume: NDArray[Any]) -> float:
    """Share of voxels at the top of the type, or at one top value that many share."""
    top = volume.max()
    share = float(np.count_nonzero(volume == top)) / volume.size
    return (
        share
        if volume.dtype.kind in "iu" and (top == np.iinfo(volume.dtype).max or top in (1023, 4095, 16383))
        else 0.0
    )


def _corner(box: tuple[slice, ...]) -> Shape:
    z, y, x = (one.start for one in box)
    return z, y, x


def problem_for(
    part: NDArray[Any], psf: Psf | PsfSet, method: Method, settings: Settings, machine: Machine,
    origin: Shape = (0, 0, 0),
) -> Problem:  # fmt: skip
    """Set up the problem of a volume or of the part that begins at `origin`, in photo-electrons, on the device."""
    return _problem(part, _blur_for(part.shape, psf, method, machine, origin), method, settings)


def _blur_for(
    shape: tuple[int, ...], psf: Psf | PsfSet, method: Method, machine: Machine, origin: Shape = (0, 0, 0)
) -> Blur:
    margin = MARGIN if method.margin is None else method.margin
    psf = method.through(psf) if method.through else psf
    return Blur(psf, (shape[0], shape[1], shape[2]), machine.device, margin, origin)


def _problem(part: NDArray[Any], blur: Blur, method: Method, settings: Settings) -> Problem:
    if method.keeps_counts:
        return Problem(as_tensor(part.astype(np.float64), str(blur.device)), blur, 0.0, 0.0)
    eye = settings.camera
    light = as_tensor(np.asarray(part, dtype=np.float32), str(blur.device))
    light = (light - eye.offset).div_(eye.gain).clamp_min_(0)
    return Problem(light, blur, max((settings.background - eye.offset) / eye.gain, 0.0), settings.level)


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
    halo = (reach[1] + method.halo, reach[2] + method.halo)
    on_host = machine.memory - BASE_MEMORY - held_bytes
    budget = on_host if machine.device_memory is None else min(int(0.85 * machine.device_memory), 2**62)

    needs = method.floats
    if len(psf.parts) > 1:
        needs = (needs[0] + EACH_PSF * (len(psf.parts) - 1) + BLENDED[0], needs[1] + BLENDED[1], needs[2] + BLENDED[2])

    def need(read: Shape) -> tuple[Shape, int]:
        margin = MARGIN if method.margin is None else method.margin
        _, held, grid = plan_grids(psf.shape, read, margin)
        floats = sum(n * math.prod(shape) for n, shape in zip(needs, (grid, held, read), strict=True))
        floats += method.block[0] * min(math.prod(read), method.block[1])
        return grid, int(4 * floats)

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
        if blur is None or (isinstance(psf, PsfSet) and psf.lateral):
            blur = None  # its memory is needed for the next
            blur = blur_of_tile(tile, part.shape, psf, method, machine)
            release(machine.device)
        done = number * settings.iterations
        estimate = deconvolve_tile(
            part, blur, method, settings,
            lambda step, done=done: listen("deconvolving", done + step, steps),  # type: ignore[misc]
            predict=predicted is not None,
        )  # fmt: skip
        if predicted is not None and estimate.predicted is not None:
            join(predicted, tile, estimate.predicted)
        join(whole, tile, estimate.image)
    return whole


def blur_of_tile(tile: Tile, shape: tuple[int, ...], psf: Psf | PsfSet, method: Method, machine: Machine) -> Blur:
    """Make the forward model of a tile; tiles of one plan share it, unless the PSF changes along y or x."""
    return _blur_for(shape, psf, method, machine, (0, tile.read[0].start, tile.read[1].start))


def deconvolve_tile(
    part: NDArray[Any], blur: Blur, method: Method, settings: Settings, watch: Watch, *, predict: bool = False
) -> Estimate:
    """Deconvolve what one tile reads, counts (z, y, x); the estimate's image is in counts above the background."""
    problem = _problem(part, blur, method, settings)
    estimate = solve(problem, method, settings.parameters, settings.iterations, watch, predict=predict)
    return replace(estimate, image=estimate.image * estimate.image.dtype.type(settings.camera.gain))
