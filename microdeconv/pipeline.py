"""One stack from file to file: a plan is done, volume by volume, and how it was done is written down."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import microdeconv
from microdeconv.camera import CameraOptions
from microdeconv.io.pixels import check_pixels
from microdeconv.io.preview import projections, write_preview
from microdeconv.io.record import write_record, write_settings
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import digest, write_stack
from microdeconv.learnt.foretelling import foretold_by_network
from microdeconv.learnt.guard import ODDS
from microdeconv.machine import peak_memory, release
from microdeconv.optics import Model
from microdeconv.options import AUTO, for_channel, options_of, settled_for
from microdeconv.planning import ChannelPlan, Plan
from microdeconv.psf.estimate import estimate_psf
from microdeconv.psf.file import write_psf
from microdeconv.psf.from_counts import ESTIMATED, light_of_counts, split_for
from microdeconv.psf.named import files_of, is_estimate
from microdeconv.psf.recipes import recipes, source_of
from microdeconv.refine import deconvolve
from microdeconv.request import BATCH, OutputOptions
from microdeconv.settle import Listen, Settings, ignore, settle, settle_camera
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet


@dataclass(slots=True)
class Outcome:
    """What came of a plan: the record, and warnings for a person."""

    output: Path
    record: dict[str, Any] = field(default_factory=dict)
    settings: dict[int, Settings] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    psfs: dict[int, Psf | PsfSet] = field(default_factory=dict)
    guard: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    clipped: int = 0
    seconds: float = 0.0


def execute(todo: Plan, listen: Listen = ignore) -> Outcome:
    """Do what a plan says.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits; nothing stays under the output's name then.
    """
    started = time.perf_counter()
    outcome = Outcome(todo.outputs.result, notes=list(todo.notes))
    if is_estimate(todo.values["psf"].value) and not todo.method.keeps_counts:
        todo = replace(todo, channels=tuple(_estimated(todo, channel, outcome, listen) for channel in todo.channels))
    outcome.psfs = {channel.number: channel.psf for channel in todo.channels}
    for channel in todo.channels:
        volume = _read(todo, todo.times[0], channel.number, outcome)
        outcome.settings[channel.number] = settle(
            volume, channel.psf, channel.number, todo.method, todo.parameters,
            todo.group(CameraOptions), todo.group(Stopping), todo.machine, listen, voxel_um=todo.stack.header.voxel_um,
        )  # fmt: skip
        outcome.notes += outcome.settings[channel.number].notes
        del volume
        release(todo.machine.device)
    outcome.record = {**record_of(todo, outcome), "input_sha256": digest(todo.request.input)}
    shown: list[tuple[NDArray[Any], NDArray[Any]]] = []
    options: OutputOptions = todo.group(OutputOptions)
    volumes = _volumes(todo, outcome, shown if todo.outputs.preview else None, listen)
    if options.parents:
        for path in todo.outputs.paths():
            path.parent.mkdir(parents=True, exist_ok=True)
    write_stack(todo.outputs.result, todo.header_out, volumes, outcome.record, overwrite=options.overwrite)
    outcome.notes = list(dict.fromkeys(outcome.notes))
    outcome.seconds = time.perf_counter() - started
    outcome.record |= {
        "seconds": round(outcome.seconds, 2), "peak_memory_bytes": peak_memory(), "clipped_voxels": outcome.clipped,
        "warnings": outcome.notes, **({"guard": outcome.guard} if outcome.guard else {}),
    }  # fmt: skip
    if todo.outputs.preview is not None:
        columns = [("before", *shown[0]), ("after", *shown[1])]
        write_preview(todo.outputs.preview, columns, todo.stack.header.voxel_um, overwrite=options.overwrite)
    if todo.outputs.record is not None:
        write_record(todo.outputs.record, outcome.record, overwrite=options.overwrite)
    return outcome


def _estimated(todo: Plan, channel: ChannelPlan, outcome: Outcome, listen: Listen) -> ChannelPlan:
    """Put the PSF that the channel's first volume shows in the place of the nominal one."""
    volume = _read(todo, todo.times[0], channel.number, outcome)
    psf, notes = estimated(todo, channel, volume, listen)
    outcome.notes += notes
    return replace(channel, psf=psf)


def estimated(
    todo: Plan, channel: ChannelPlan, volume: NDArray[Any], listen: Listen = ignore
) -> tuple[Psf | PsfSet, list[str]]:
    """Estimate a channel's PSF from one of its volumes, beginning with the nominal one; notes for a person.

    Parameters
    ----------
    todo, channel
        What was planned.
    volume
        Counts (z, y, x).
    listen
        Called with what is being done, the step and how many there may be.
    """
    shape, voxel = channel.psf.shape, todo.stack.header.voxel_um
    if volume.min() == volume.max() or voxel is None:
        return channel.psf, []
    background, camera, _, _ = settle_camera(volume, settled_for(todo.group(CameraOptions), channel.number))
    split = split_for(volume, camera, background, todo.machine.device, ESTIMATED)
    theory = todo.group(Model).settled(channel.optics.na or 0.0)
    size = (shape[0], shape[1], shape[2])
    found = estimate_psf(
        light_of_counts(volume, camera), split, channel.optics, voxel, size, theory, listen, judge=foretold_by_network
    )
    notes = [] if found.sure else [f"channel {channel.number}: the nominal PSF is kept, {found.why}"]
    return found.psf, notes


def _read(todo: Plan, t: int, c: int, outcome: Outcome) -> NDArray[Any]:
    volume, notes = read_volume(todo, t, c)
    outcome.notes += notes
    return volume


def read_volume(todo: Plan, t: int, c: int) -> tuple[NDArray[Any], list[str]]:
    """Read one volume of a planned stack, repaired or refused as was asked; notes for a person.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits.
    """
    given = for_channel(todo.values["offset"].value, c) != AUTO
    return check_pixels(
        todo.stack.read(t, c),
        todo.group(Selection),
        todo.request.input,
        raw=todo.method.keeps_counts,
        offset_given=given,
    )


def _volumes(
    todo: Plan, outcome: Outcome, shown: list[tuple[NDArray[Any], NDArray[Any]]] | None, listen: Listen
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    for place, t in enumerate(todo.times):
        for number, channel in enumerate(todo.channels):
            volume = _read(todo, t, channel.number, outcome)
            settings = outcome.settings[channel.number]
            result, notes, told = deconvolve(
                volume, channel.psf, todo.method, settings, todo.machine, channel.cut, listen
            )
            outcome.settings[channel.number] = replace(settings, wider=told.get(ODDS))
            outcome.notes += notes
            if told:
                outcome.guard.setdefault(channel.number, []).append(told)
            written, clipped = as_type(result, todo.header_out.dtype)
            del result
            release(todo.machine.device)
            outcome.clipped += clipped
            if shown is not None and not shown:
                shown += [projections(volume), projections(written)]
            yield place, number, written
    if outcome.clipped:
        outcome.notes.append(
            f"{outcome.clipped:,} voxels beyond {todo.header_out.dtype.name} were clipped: --dtype float32 keeps them"
        )


def as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], int]:
    """Round and clip to a type, never stretched; give the number of clipped voxels too."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False), 0
    limits, clipped = np.iinfo(dtype), 0
    written = np.empty(values.shape, dtype)
    for plane, target in zip(values, written, strict=True):  # planes: no copy of the whole in between
        rounded = np.rint(plane.astype(np.float64))
        clipped += int(np.count_nonzero((rounded < limits.min) | (rounded > limits.max)))
        target[...] = np.clip(rounded, limits.min, limits.max)
    return written, clipped


def record_of(todo: Plan, outcome: Outcome) -> dict[str, Any]:
    """Give what a result says of how it was made, all but the input's SHA-256."""
    channels = []
    for channel in todo.channels:
        chosen = outcome.settings[channel.number]
        channels.append(
            {
                "channel": channel.number,
                **psf_record(channel.psf),
                "optics": {k: list(v) for k, v in channel.sources.items() if v.value is not None},
                "background": chosen.background,
                "offset": chosen.camera.offset,
                "gain": chosen.camera.gain,
                "iterations": chosen.iterations,
                "parameters": asdict(chosen.parameters),
                "sources": chosen.sources,
                "tiles": channel.cut.tiles,
                "tile_edge": channel.cut.edge,
                "halo": list(channel.cut.halo),
                "risk": [[s, round(v, 6)] for s, v in chosen.choice.risk] if chosen.choice else [],
                "deviance": round(chosen.choice.least, 6) if chosen.choice else None,
            }
        )
    return {
        "microdeconv": microdeconv.__version__,
        "input": str(todo.request.input),
        "method": todo.method.name,
        "device": todo.machine.device,
        "options": {k: [v.value, v.source] for k, v in todo.values.items() if v.source not in ("default", BATCH)},
        "scale": 1.0,
        "channels": channels,
    }  # fmt: skip


def psf_record(psf: Psf | PsfSet) -> dict[str, Any]:
    """What a record tells of a PSF: source, shape, SHA-256 of its values, places."""
    digest = hashlib.sha256()
    for one in psf.parts:
        digest.update(np.ascontiguousarray(one.pixels).data)
    told: dict[str, Any] = {"psf": psf.source, "psf_shape": list(psf.shape), "psf_sha256": digest.hexdigest()}
    if isinstance(psf, PsfSet):
        told["psf_places_voxels"] = {axis: list(along) for axis, along in zip("zyx", psf.places, strict=True)}
    return told


def save_settings(todo: Plan, outcome: Outcome) -> None:
    """Write what was asked for and what was chosen; `--config` of a later run then chooses nothing anew.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    path = todo.outputs.settings
    if path is None:
        return
    one_run = {
        "channel", "time", "overwrite", "parents", "preview", "record", "report", "device", "memory", "threads", "tile",
    }  # fmt: skip
    implied = ("default", BATCH, source_of(todo.values["psf_recipe"].value))  # of the recipe its name is kept
    kept = {k: v.value for k, v in todo.values.items() if v.source not in implied and k not in one_run}
    if todo.outputs.psf is not None:
        [psf] = outcome.psfs.values()
        write_psf(todo.outputs.psf, psf.parts[0], overwrite=bool(todo.values["overwrite"].value))
        kept["psf"] = [str(todo.outputs.psf.resolve())]
    elif files_of(kept.get("psf")):
        kept["psf"] = [str(replace(one, path=one.path.resolve())) for one in kept["psf"]]  # from wherever it is used
    if kept.get("psf_recipe") not in (None, *recipes()):
        kept["psf_recipe"] = str(Path(kept["psf_recipe"]).resolve())
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}
    kept["method"] = todo.method.name
    found = {n: _found(settings) for n, settings in outcome.settings.items() if settings.sources}  # no blank images
    groups = [todo.method.parameters, *([Stopping] if todo.method.stopped.iterative else [])]
    groups += [] if todo.method.keeps_counts else [CameraOptions]
    channels = range(todo.stack.header.size("C"))
    for one in (o for group in groups for o in options_of(group)):
        asked = todo.values[one.key].value
        if one.each_channel:
            kept[one.key] = [found[n][one.key] if n in found else for_channel(asked, n) for n in channels]
        else:
            kept[one.key] = asked
    write_settings(path, kept, overwrite=bool(todo.values["overwrite"].value))


def _found(settings: Settings) -> dict[str, Any]:
    """What a channel was deconvolved with, by the keys of the options that say so."""
    own = {o.key: getattr(settings.parameters, o.field) for o in options_of(type(settings.parameters))}
    eye = settings.camera
    return {
        "background": settings.background, "offset": eye.offset, "gain": eye.gain,
        "iterations": settings.iterations, **own,
    }  # fmt: skip
