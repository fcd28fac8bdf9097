"""One volume: what nobody gave is chosen from its data, once, and kept for all its tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.blur import MARGIN, Blur
from microdeconv.camera import Camera, CameraOptions
from microdeconv.choose import UNFIT, Choice, choose
from microdeconv.fft import Shape
from microdeconv.machine import Machine, as_tensor
from microdeconv.noise import estimate_background, estimate_camera
from microdeconv.options import AUTO, settled_for
from microdeconv.problem import Method, Problem
from microdeconv.psf.from_counts import telling_box
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet

JUDGED = 500_000  # voxels, at most, on which the stop is chosen

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
    choice
        How the number of steps was chosen, if it was.
    wider
        What unused counts of an earlier volume of the channel say of a wider PSF, log-odds, once it was asked.
    """

    camera: Camera
    background: float
    level: float
    iterations: int
    parameters: Any
    sources: dict[str, str]
    notes: tuple[str, ...] = ()
    choice: Choice | None = None
    wider: float | None = None


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
        return _settled_blank(float(volume.flat[0]), method, parameters, camera, searched=searched)
    background, eye, sources, told = seen or settle_camera(volume, camera)
    light = float(np.mean(volume, dtype=np.float64)) - background
    level = max(light, 1e-6 * abs(background), 1e-30) / eye.gain
    settings = Settings(eye, background, level, 1, parameters, sources, tuple(told))
    part = partial(_problem_of_part, volume, telling_box(volume, background, JUDGED), psf, machine)
    if method.prepare is not None:
        settings = replace(settings, parameters=method.prepare(part(method, settings), parameters, voxel_um))
    given = stopping.iterations
    if searched or (given == AUTO and method.stopped.iterative and psf is not DELTA):
        return _stopped(part, method, settings, stopping, lambda step, cap: listen("choosing", step, cap))
    return replace(settings, iterations=1 if given == AUTO else int(given), sources={**sources, "iterations": "given"})


def _settled_blank(value: float, method: Method, parameters: Any, camera: CameraOptions, *, searched: bool) -> Settings:
    """Settings of an image that has the same value everywhere: nothing can be chosen from it."""
    if method.searched and searched:
        parameters = replace(parameters, **{method.searched[0]: method.searched[1][0]})
    background = min(0.0, value) if camera.background == AUTO else float(camera.background)
    told = ("the image is blank: every voxel has the same value",)
    return Settings(Camera(), background, max(value - background, 0.0), 1, parameters, {}, told)


def _stopped(
    part: Callable[[Method, Settings], Problem],
    method: Method,
    settings: Settings,
    stopping: Stopping,
    watch: Callable[[int, int], None],
) -> Settings:
    """Choose the number of steps that nobody gave, and a parameter at "auto", from the counts of a part."""
    given, sources, notes = stopping.iterations, settings.sources, list(settings.notes)
    parameters = method.companion.parameters() if method.companion else settings.parameters
    problem = part(method.stopped, settings)
    cap = stopping.max_iterations if given == AUTO else int(given)
    known = "unsure" not in sources["gain"]
    choice = choose(problem, method.stopped, parameters, cap, lambda step: watch(step, cap), noise_known=known)
    if choice.capped and given == AUTO:
        notes.append(f"the best stop lies beyond --max-iterations {cap}")
    if choice.least > UNFIT and known:
        notes.append(
            f"PSF or noise model do not fit the image well (deviance {choice.least:.3g}, should be 1), see psf check"
        )
    found = "split counts" if given == AUTO else "given"
    return replace(
        settings,
        iterations=choice.iterations if given == AUTO else int(given),
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


def _problem_of_part(
    volume: NDArray[Any], box: tuple[slice, ...], psf: Psf | PsfSet, machine: Machine, method: Method,
    settings: Settings,
) -> Problem:  # fmt: skip
    """Set up the problem of a box of the volume."""
    z, y, x = (one.start for one in box)
    return problem_for(volume[box], psf, method, settings, machine, (z, y, x))


def problem_for(
    part: NDArray[Any], psf: Psf | PsfSet, method: Method, settings: Settings, machine: Machine,
    origin: Shape = (0, 0, 0),
) -> Problem:  # fmt: skip
    """Set up the problem of a volume or of the part that begins at `origin`, in photo-electrons, on the device."""
    return problem_through(part, blur_for(part.shape, psf, method, machine, origin), method, settings)


def blur_for(
    shape: tuple[int, ...], psf: Psf | PsfSet, method: Method, machine: Machine, origin: Shape = (0, 0, 0)
) -> Blur:
    """Make the forward model of a part of that shape (z, y, x) that begins at `origin`."""
    margin = MARGIN if method.margin is None else method.margin
    psf = method.through(psf) if method.through else psf
    return Blur(psf, (shape[0], shape[1], shape[2]), machine.device, margin, origin, method.room)


def problem_through(part: NDArray[Any], blur: Blur, method: Method, settings: Settings) -> Problem:
    """Set up the problem of a part, counts (z, y, x), whose forward model is there already."""
    if method.keeps_counts:
        return Problem(as_tensor(part.astype(np.float64), str(blur.device)), blur, 0.0, 0.0)
    eye = settings.camera
    light = as_tensor(np.asarray(part, dtype=np.float32), str(blur.device))
    light = (light - eye.offset).div_(eye.gain).clamp_min_(0)
    return Problem(light, blur, max((settings.background - eye.offset) / eye.gain, 0.0), settings.level)
