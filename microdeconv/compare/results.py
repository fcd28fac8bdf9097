"""Runs what is to be compared, on one channel at one time point, and puts the case together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import microdeconv
from microdeconv.camera import CameraOptions
from microdeconv.compare.case import Case, Entry
from microdeconv.compare.elsewhere import above_background, laid_on, read_beside, refuse_other, scale_note
from microdeconv.compare.rerun import Halves
from microdeconv.errors import DataError, MicrodeconvError
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import digest, open_stack, write_stack
from microdeconv.machine import memory_watched, processor, release
from microdeconv.methods import METHODS
from microdeconv.options import AUTO, options_of, settled_for
from microdeconv.pipeline import Outcome, estimated, psf_record, read_volume
from microdeconv.planning import Plan, picked, plan, with_values
from microdeconv.psf.named import is_estimate
from microdeconv.refine import deconvolve
from microdeconv.request import OutputOptions, Request
from microdeconv.settle import DELTA, Listen, Settings, ignore, settle, settle_camera
from microdeconv.solve import Stopping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.variants import Variant
    from microdeconv.settle import Seen
    from microdeconv.stack import Header, Psf, PsfSet

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A comparison of one stack.

    Attributes
    ----------
    stack
        TIFF.
    variants
        What is run, see `variants_of`; each picks the one channel and the one time point.
    truth
        TIFF, where it is known.
    results
        (name, TIFF) of results made elsewhere.
    folder
        Of the report; nothing is written over `kept`.
    keep
        Whether results are kept there, as TIFF.
    kept
        Files that are read.
    command
        As it was typed, for the page.
    notes
        Warnings that are known already.
    """

    stack: Path
    variants: tuple[Variant, ...]
    folder: Path
    truth: Path | None = None
    results: tuple[tuple[str, Path], ...] = ()
    keep: bool = False
    kept: tuple[Path, ...] = ()
    command: str = ""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Stage:
    """What all runs share: the volume, what was seen of its camera, the plan of each PSF by its number."""

    volume: NDArray[Any]
    seen: Seen
    plans: dict[int, Plan]
    halves: Halves
    notes: list[str] = field(default_factory=list)

    @property
    def any_plan(self) -> Plan:
        """The first one."""
        return next(iter(self.plans.values()))


class _Made(NamedTuple):
    """A result with what it was made by."""

    entry: Entry
    todo: Plan
    settings: Settings


def case_of(asked: Asked, listen: Listen = ignore, tell: Tell = lambda _: None) -> Case:
    """Run everything that is asked for and put the case together.

    Background, offset and gain are found once and serve all runs; each stops as it would alone. A run that fails is
    left out with a warning, unless all fail.

    Parameters
    ----------
    asked
        See `Asked`.
    listen
        Called with what is being done, the step and how many there are.
    tell
        Called with a line for a person after each run.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits.
    """
    stage = _staged(asked)
    todo = stage.any_plan
    header, number, when = todo.stack.header, todo.channels[0].number, todo.times[0]
    # before the long work: an option or a model that cannot work, and a file that does not fit is told at once
    todos = [(variant, with_values(stage.plans[variant.psf], variant.values())) for variant in asked.variants]
    truth = read_beside(asked.truth, header, number, when, "truth") if asked.truth else None
    if truth is not None and np.array_equal(truth, stage.volume):
        raise DataError(f"{asked.truth}: the truth is the stack itself", "give the true object, or leave --truth out")
    others = [(name, path, read_beside(path, header, number, when, "result")) for name, path in asked.results]
    reach = max(max(p.channels[0].psf.shape) // 2 for p in stage.plans.values())
    for _, path, image in others:
        refuse_other(path, image, stage.volume, stage.seen[0], reach)
    _estimate_psfs(stage, listen)
    entries, warnings = list[Entry](), list[str]()
    failures = list[MicrodeconvError]()
    for variant, one in todos:
        try:
            made = _run(variant, one, stage, listen)
        except MicrodeconvError as reason:
            failures.append(reason)
            warnings.append(f"{variant.name} is not shown: {reason}")
            continue
        entries.append(made.entry)
        tell(_line(made.entry))
        if asked.keep:
            _keep(asked, made)
    if failures and not entries:
        raise failures[0]
    for name, path, image in others:
        try:
            entries.append(_from_elsewhere(name, path, image, entries[0], stage))
        except DataError as reason:  # told late: it is known only beside our own
            warnings.append(f"{name} is not shown: {reason}")
    warnings += _twins(entries)
    background, eye, _, notes = stage.seen
    psfs = [e.psf for e in entries if e.psf is not None]
    return Case(
        header_name(header), stage.volume, background, eye, tuple(entries), truth, header.voxel_um,
        psfs[0] if psfs else None, tuple(dict.fromkeys([*asked.notes, *stage.notes, *notes, *warnings])),
        provenance_of(asked.stack, todo, psfs, asked.command, {"truth": asked.truth, **dict(asked.results)}),
        stage.halves.shared_out,
    )  # fmt: skip


def _twins(entries: Sequence[Entry]) -> list[str]:
    """Warn of results that are one and the same, as where the learnt method keeps the classical one."""
    return [
        f"{later.name} is the same image as {entry.name}, see its notes"
        for place, entry in enumerate(entries)
        for later in entries[place + 1 :]
        if np.array_equal(entry.image, later.image)
    ]


def header_name(header: Header) -> str:
    """What a stack is called."""
    return header.path.name if header.path else "stack"


def _staged(asked: Asked) -> _Stage:
    """Plan each PSF once, read the volume, look at its camera."""
    plans: dict[int, Plan] = {}
    for variant in sorted(asked.variants, key=lambda v: METHODS[v.values()["method"].value].keeps_counts):
        if variant.psf not in plans:
            result = asked.folder / f"{slug(variant.name)}.tif"
            plans[variant.psf] = plan(Request(asked.stack, result, kept=asked.kept, layers=variant.layers))
    first = next(iter(plans.values()))
    number = first.channels[0].number
    # also a result that keeps counts is measured as light, so that odd values are refused or repaired
    volume, notes = read_volume(replace(first, method=METHODS["rl"]), first.times[0], number)
    if volume.min() == volume.max():
        raise DataError(f"{asked.stack}: blank, every voxel has the same value", "give a stack with something in it")
    notes += [note for todo in plans.values() for note in todo.notes]
    seen = settle_camera(volume, settled_for(first.group(CameraOptions), number))
    return _Stage(volume, seen, plans, Halves(volume, seen[1], seen[0]), notes)


def _estimate_psfs(stage: _Stage, listen: Listen) -> None:
    """Put PSFs that the volume shows in the place of nominal ones, where that is asked for."""
    for key, todo in stage.plans.items():
        if is_estimate(todo.values["psf"].value) and not todo.method.keeps_counts:
            psf, notes = estimated(todo, todo.channels[0], stage.volume, listen)
            stage.plans[key] = replace(todo, channels=(replace(todo.channels[0], psf=psf),))
            stage.notes += notes


def _run(variant: Variant, todo: Plan, stage: _Stage, listen: Listen) -> _Made:
    """Deconvolve as one variant says, and once more from either half of the light."""
    channel, method = todo.channels[0], todo.method
    if not method.keeps_counts:  # its PSF may have been estimated since
        channel = replace(channel, psf=stage.plans[variant.psf].channels[0].psf)
        todo = replace(todo, channels=(channel,))
    release(todo.machine.device)
    started = time.perf_counter()

    def heard(work: str, step: int, steps: int) -> None:
        listen(f"{variant.name}, {work}", step, steps)

    with memory_watched(todo.machine.device) as watched:
        settings = settle(
            stage.volume, channel.psf, channel.number, method, todo.parameters, todo.group(CameraOptions),
            todo.group(Stopping), todo.machine, heard, voxel_um=todo.stack.header.voxel_um, seen=stage.seen,
        )  # fmt: skip
        image, notes, guard = deconvolve(stage.volume, channel.psf, method, settings, todo.machine, channel.cut, heard)
    seconds = time.perf_counter() - started
    background, eye, _, known = stage.seen
    if method.keeps_counts:
        image = (image - background).astype(np.float32)
        settings = replace(settings, camera=eye, background=background)
    notes = tuple(dict.fromkeys(n for n in (*settings.notes, *notes) if n not in known))
    halves = stage.halves.deconvolved(todo, held_to(settings, guard), heard)
    entry = Entry(
        variant.name, image, None if channel.psf is DELTA else channel.psf, halves, round(seconds, 2), watched.taken,
        settings_in_words(todo, settings, guard), trace_of(settings),
        settings.iterations if method.stopped.iterative else None, notes,
    )  # fmt: skip
    return _Made(entry, todo, settings)


def held_to(settings: Settings, guard: Mapping[str, Any]) -> Settings:
    """Give the settings for halves of the light: of the network they take what the whole took, in the mean.

    Each would decide for itself otherwise, and be another blend than the whole whose errors it tells.
    """
    if not isinstance(guard.get("trust"), float):
        return settings
    return replace(settings, parameters=replace(settings.parameters, trust=guard["trust"]))


def trace_of(settings: Settings) -> dict[str, tuple[tuple[int, float], ...]]:
    """Curves over the steps, by name."""
    risk = settings.choice.risk if settings.choice else ()
    return {"risk": risk} if len(risk) > 1 else {}


def settings_in_words(todo: Plan, settings: Settings, guard: Mapping[str, Any]) -> dict[str, str]:
    """What a result was made with, by name, each with its source where it was chosen."""
    method = todo.method
    told = {"method": method.name}
    if not method.keeps_counts:
        told["PSF"] = todo.channels[0].psf.source
        if method.stopped.iterative:
            whose = f" of {method.stopped.name}" if method.companion else ""
            told["iterations" + whose] = f"{settings.iterations} ({settings.sources.get('iterations', 'given')})"
    for one in options_of(method.parameters):
        value = getattr(settings.parameters, one.field)
        found = todo.values[one.key].value == AUTO and value != AUTO
        told[one.flag] = f"{value:g}" if isinstance(value, float) else str(value)
        told[one.flag] += " (split counts)" if found else ""
    if not method.keeps_counts:
        eye, sources = settings.camera, settings.sources
        for name, value in (("background", settings.background), ("offset", eye.offset), ("gain", eye.gain)):
            told[name] = f"{value:.5g} ({sources.get(name, 'given')})"
        told["tiles"] = str(todo.channels[0].cut.tiles)
    return told | {f"guard: {key.replace('_', ' ')}": str(value) for key, value in guard.items()}


def _line(entry: Entry) -> str:
    steps = f", {entry.stopped} iterations" if entry.stopped is not None and "iterations" not in entry.name else ""
    return f"{entry.name}{steps}: {entry.seconds:.1f} s"


def _from_elsewhere(name: str, path: Path, image: NDArray[np.float32], ours: Entry, stage: _Stage) -> Entry:
    """Lay it on a result of ours: the PSF's centre is in all of those, but not in the image, if the PSF is skew."""
    laid, notes = laid_on(path, image, ours.image, 0.0, to=ours.name)
    above, more = above_background(laid, stage.volume, stage.seen[0])
    scale = scale_note(above, ours.image, ours.name)
    return Entry(name, above, settings={"file": path.name, "SHA-256": digest(path)}, notes=(*notes, *more, scale))


def _keep(asked: Asked, made: _Made) -> None:
    """Write a result as float32, with how it was made."""
    path, todo = asked.folder / f"{slug(made.entry.name)}.tif", made.todo
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "microdeconv": microdeconv.__version__, "input": str(asked.stack), "settings": dict(made.entry.settings),
        "channel": todo.channels[0].number, "time": todo.times[0],
    }  # fmt: skip
    overwrite = todo.group(OutputOptions).overwrite
    write_stack(path, todo.header_out, [(0, 0, made.entry.image)], record, overwrite=overwrite)


def slug(name: str) -> str:
    """A name as a file may have it."""
    kept = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept.strip("._")[:120] or "result"


def provenance_of(
    path: Path, todo: Plan, psfs: Sequence[Psf | PsfSet], command: str, others: Mapping[str, Path | None]
) -> tuple[tuple[str, str], ...]:
    """Versions, command, input and PSFs with their hashes, machine."""
    import torch

    machine, header = todo.machine, todo.stack.header
    lines = [
        ("microdeconv", microdeconv.__version__),
        ("torch, numpy", f"{torch.__version__}, {np.__version__}"),
        ("command", command),
        ("input", f"{path}, {header.describe()}, voxel {header.describe_voxel()}"),
        ("input SHA-256", digest(path)),
        ("channel, time point", f"{todo.channels[0].number}, {todo.times[0]}, counted from 0"),
    ]
    for psf in {id(p): p for p in psfs}.values():
        told = psf_record(psf)
        lines += [
            ("PSF", f"{told['psf']}, {' x '.join(str(n) for n in told['psf_shape'])}"),
            ("PSF SHA-256", told["psf_sha256"]),
        ]
    lines += [(name, f"{other}, SHA-256 {digest(other)}") for name, other in others.items() if other]
    lines.append(("machine", f"{machine.device} ({processor()}), {machine.threads} thread(s)"))
    return tuple((name, value) for name, value in lines if value)


def case_of_run(todo: Plan, outcome: Outcome, command: str, listen: Listen = ignore) -> Case:
    """Put the case of a run together that has ended: its first channel and time point, as the file has them.

    Parameters
    ----------
    todo, outcome
        The plan, and what came of it.
    command
        As it was typed.
    listen
        Called with what is being done, the step and how many there are.
    """
    number, when = todo.channels[0].number, todo.times[0]
    volume, _ = read_volume(todo, when, number)
    background, eye, _, notes = settle_camera(volume, settled_for(todo.group(CameraOptions), number))
    image = np.asarray(open_stack(outcome.output, Selection()).read(0, 0), np.float32)
    settings, psf = outcome.settings[number], outcome.psfs[number]
    if todo.method.keeps_counts:
        image = image - np.float32(background)
        settings = replace(settings, camera=eye, background=background)
    channel = replace(todo.channels[0], psf=psf)
    todo = replace(todo, channels=(channel, *todo.channels[1:]))
    shown = None if psf is DELTA else psf
    halves = Halves(volume, eye, background)
    both = halves.deconvolved(todo, settings, listen)
    guard = outcome.guard.get(number, [{}])[0]
    entry = Entry(
        todo.method.name, image, shown, both, round(outcome.seconds, 2),
        outcome.record.get("peak_memory_bytes"), settings_in_words(todo, settings, guard), trace_of(settings),
        settings.iterations if todo.method.stopped.iterative else None,
    )  # fmt: skip
    header = todo.stack.header
    more = _others_note(header, [c.number for c in todo.channels], todo.times)
    return Case(
        header_name(header), volume, background, eye, (entry,), None, header.voxel_um, shown,
        tuple(dict.fromkeys([*more, *outcome.notes, *notes])),
        provenance_of(todo.request.input, todo, [shown] if shown else [], command, {}),
        halves.shared_out,
    )  # fmt: skip


def only_one(header: Header, selection: Selection) -> tuple[int, int, list[str]]:
    """Pick the first channel and time point of those asked for; a note where there are others.

    Raises
    ------
    UsageError
        For one beyond the last.
    """
    channels, times = picked(header, selection)
    return channels[0], times[0], _others_note(header, channels, times)


def _others_note(header: Header, channels: Sequence[int], times: Sequence[int]) -> list[str]:
    several = [("C", "channel", channels), ("T", "time", times)]
    return [
        f"{word} {numbers[0]} of {header.size(axis)} (counted from 0) is shown: --{word} picks another"
        for axis, word, numbers in several
        if len(numbers) > 1
    ]
