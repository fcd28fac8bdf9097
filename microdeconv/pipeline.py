"""One stack from file to file: a plan that reads headers and makes the PSF, then its execution."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import microdeconv
from microdeconv.camera import CameraOptions
from microdeconv.engine import BASE_MEMORY, DELTA, Cut, Listen, Settings, deconvolve_volume, ignore, plan_cut, settle
from microdeconv.errors import DataError, UsageError
from microdeconv.io.atomic import check_output
from microdeconv.io.pixels import check_pixels
from microdeconv.io.preview import projections, write_preview
from microdeconv.io.record import write_record
from microdeconv.io.selection import Selection, pick
from microdeconv.io.tiff import natural_name, open_stack, read_header
from microdeconv.io.writer import container_for, write_stack
from microdeconv.machine import Machine, MachineOptions, machine_for, peak_memory, release
from microdeconv.optics import Model, Optics, missing, nyquist_um
from microdeconv.options import AUTO, Sourced, build, layered, options_of
from microdeconv.problem import Method
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.file import load_psf
from microdeconv.request import OutputOptions, PsfOptions, Request, method_of
from microdeconv.solve import Stopping
from microdeconv.stack import Header, Psf, Stack

DIFFERENT = 0.05  # between the file and the line, beyond which it is said


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One channel: its optics with the source of each value, its PSF and its tiles."""

    number: int
    optics: Optics
    sources: Mapping[str, Sourced]
    psf: Psf
    cut: Cut


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be done, settled before the first voxel is read."""

    request: Request
    stack: Stack
    method: Method
    parameters: Any
    values: Mapping[str, Sourced]
    machine: Machine
    channels: tuple[ChannelPlan, ...]
    times: tuple[int, ...]
    output: Path
    header_out: Header
    memory: int
    notes: tuple[str, ...] = ()

    def group(self, kind: type) -> Any:
        """One group of options."""
        return build(kind, self.values)


@dataclass(slots=True)
class Outcome:
    """What came of a plan: the record, and warnings for a person."""

    output: Path
    record: dict[str, Any] = field(default_factory=dict)
    settings: dict[int, Settings] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clipped: int = 0
    seconds: float = 0.0


def plan(request: Request) -> Plan:
    """Settle all that can be settled without the pixels; refuse here whatever cannot work.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits.
    """
    values = request.values()
    method, parameters = method_of(values)
    selection: Selection = build(Selection, values)
    stack = open_stack(request.input, selection)
    header = stack.header
    channels, times = _picked(header, selection)
    options: OutputOptions = build(OutputOptions, values)
    machine = machine_for(build(MachineOptions, values))
    output = _output_path(request, options, header)
    header_out, notes = _header_out(header, len(channels), len(times), channels, options, method)
    voxels = math.prod(header.volume_shape)
    result = 8 if method.keeps_counts else 4
    held = voxels * (header.dtype.itemsize + result + header_out.dtype.itemsize * len(channels))
    check_output(
        output, [request.input], overwrite=options.overwrite, parents=options.parents, needed=header_out.n_bytes
    )
    planned = []
    for number in channels:
        optics, sources, said = _optics_of(header, number, request)
        notes += said
        psf = DELTA if method.keeps_counts else _psf_for(request, values, optics, header, number, machine)
        notes += [f"PSF: {n}" for n in psf.notes] + _psf_notes(psf, optics) + _sampling_notes(optics, header)
        cut = plan_cut(header.volume_shape, psf, method, machine, values["tile"].value, held)
        planned.append(ChannelPlan(number, optics, sources, psf, cut))
    memory = BASE_MEMORY + held + max(c.cut.tile_bytes for c in planned)
    return Plan(
        request, stack, method, parameters, values, machine, tuple(planned), tuple(times), output, header_out, memory,
        tuple(dict.fromkeys((*header.notes, *notes))),
    )  # fmt: skip


def _picked(header: Header, selection: Selection) -> tuple[list[int], list[int]]:
    picked = []
    for axis, wanted, flag in (("C", selection.channel, "--channel"), ("T", selection.time, "--time")):
        try:
            picked.append(pick(wanted, header.size(axis)))
        except ValueError as reason:
            raise UsageError(f"{flag}: {reason}", f"{header.path} has {header.describe()}, counted from 0") from None
    return picked[0], picked[1]


def _output_path(request: Request, options: OutputOptions, header: Header) -> Path:
    ending = (
        ".ome.tif"
        if options.format == "ome-tiff" or (options.format == "same" and header.container == "ome")
        else ".tif"
    )
    name = f"{natural_name(request.input)}_decon{ending}"
    if request.output is None:
        return (request.folder or request.input.parent) / name
    if request.output.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"-o {request.output}: results are TIFF files", "end the name in .tif, or in / for a folder")
    return request.output


def _header_out(
    header: Header, n_channels: int, n_times: int, channels: list[int], options: OutputOptions, method: Method
) -> tuple[Header, list[str]]:
    dtype = header.dtype if options.dtype == "same" else np.dtype(options.dtype)
    sizes = {"C": n_channels, "T": n_times}
    shape = tuple(sizes.get(a, n) for a, n in zip(header.axes, header.shape, strict=True))
    extras = header.extras
    if not method.keeps_counts:  # how to show the old intensities
        extras = {k: v for k, v in extras.items() if k not in ("min", "max", "Ranges")}
    out = replace(
        header, shape=shape, dtype=dtype, channels=tuple(header.channels[c] for c in channels), extras=extras, notes=()
    )
    wanted = {"tiff": "imagej" if header.container == "ome" else "same"}.get(options.format, options.format)
    if wanted == "imagej":
        out = replace(out, container="imagej", extras={})
    container, note = container_for(out, wanted, dtype)
    return replace(out, container=container), [note] if note else []


def _optics_of(header: Header, number: int, request: Request) -> tuple[Optics, dict[str, Sourced], list[str]]:
    """Optics of a channel: the file's, below what was said; differences are told."""
    own = header.channels[number].optics
    from_file = {o.key: getattr(own, o.field) for o in options_of(Optics)}
    found = layered(options_of(Optics), [("the file", from_file), *request.layers])
    notes = []
    for one in options_of(Optics):
        told, used = from_file[one.key], found[one.key]
        if isinstance(told, float) and used.source != "the file" and abs(told - float(used.value)) > DIFFERENT * told:
            notes.append(f"--{one.flag} {used.value:g} ({used.source}), where the file says {told:g}")
    return build(Optics, found), found, notes


def _psf_for(
    request: Request,
    values: Mapping[str, Sourced],
    optics: Optics,
    header: Header,
    number: int,
    machine: Machine,
) -> Psf:
    """The PSF of a channel: its own in a file of as many channels, else the file's only one, else computed."""
    options: PsfOptions = build(PsfOptions, values)
    voxel = header.voxel_um
    if options.psf is not None:
        one_each = header.size("C") > 1 and read_header(options.psf).size("C") == header.size("C")
        return load_psf(
            options.psf, voxel, header.volume_shape, channel=number if one_each else None,
            centre=options.psf_centre, background=options.psf_background == "subtract",
        )  # fmt: skip
    lacking = header.lacking(optics)
    if lacking or voxel is None:
        raise DataError(
            f"{request.input}: the optics are not all known", f"give {' '.join(lacking)}, or a PSF with --psf"
        )
    shape = auto_shape(optics, voxel, header.volume_shape)
    model: Model = build(Model, values)
    device = "cpu" if machine.device == "mps" else machine.device  # mps has no float64
    return compute_psf(optics, voxel, shape, model.settled(optics.na or 0.0), device=device)


def _psf_notes(psf: Psf, optics: Optics) -> list[str]:
    """Warn of a PSF whose own optics are not the channel's."""
    if psf.optics is None:
        return []
    notes = []
    for one in options_of(Optics):
        own, wanted = getattr(psf.optics, one.field), getattr(optics, one.field)
        if isinstance(own, float) and isinstance(wanted, float) and abs(own - wanted) > DIFFERENT * wanted:
            notes.append(f"the PSF was made for --{one.flag} {own:g}, the channel has {wanted:g}")
    return notes


def _sampling_notes(optics: Optics, header: Header) -> list[str]:
    """Warn of voxels too large for the optics, with the size that would do."""
    if header.voxel_um is None or missing(optics):
        return []
    axial, lateral = nyquist_um(optics)
    notes = []
    if header.voxel_um.x > 1.3 * lateral:
        notes.append(f"pixels of {header.voxel_um.x:g} µm are coarse for these optics: Nyquist asks for {lateral:.3f}")
    if header.size("Z") > 1 and header.voxel_um.z > 1.5 * axial:
        notes.append(f"z steps of {header.voxel_um.z:g} µm are coarse for these optics: Nyquist asks for {axial:.2f}")
    return notes


def execute(todo: Plan, listen: Listen = ignore) -> Outcome:
    """Do what a plan says.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits; nothing stays under the output's name then.
    """
    started = time.perf_counter()
    outcome = Outcome(todo.output, notes=list(todo.notes))
    for channel in todo.channels:
        volume = _read(todo, todo.times[0], channel.number, outcome)
        outcome.settings[channel.number] = settle(
            volume, channel.psf, channel.number, todo.method, todo.parameters,
            todo.group(CameraOptions), todo.group(Stopping), todo.machine, listen,
        )  # fmt: skip
        outcome.notes += outcome.settings[channel.number].notes
        del volume
        release(todo.machine.device)
    outcome.record = _record(todo, outcome)
    shown: list[tuple[NDArray[Any], NDArray[Any]]] = []
    options: OutputOptions = todo.group(OutputOptions)
    volumes = _volumes(todo, outcome, shown if options.preview else None, listen)
    if options.parents:
        todo.output.parent.mkdir(parents=True, exist_ok=True)
    write_stack(
        todo.output, todo.header_out, volumes, outcome.record,
        container=todo.header_out.container, overwrite=options.overwrite,
    )  # fmt: skip
    outcome.notes = list(dict.fromkeys(outcome.notes))
    outcome.seconds = time.perf_counter() - started
    outcome.record |= {
        "seconds": round(outcome.seconds, 2), "peak_memory_bytes": peak_memory(), "clipped_voxels": outcome.clipped,
        "warnings": outcome.notes,
    }  # fmt: skip
    beside = todo.output.with_name(natural_name(todo.output))
    if options.preview:
        columns = [("before", *shown[0]), ("after", *shown[1])]
        write_preview(Path(f"{beside}.png"), columns, todo.stack.header.voxel_um, overwrite=options.overwrite)
    if options.record:
        write_record(Path(f"{beside}.json"), outcome.record, overwrite=options.overwrite)
    return outcome


def _read(todo: Plan, t: int, c: int, outcome: Outcome) -> NDArray[Any]:
    given = todo.values["offset"].value != AUTO
    volume, notes = check_pixels(
        todo.stack.read(t, c),
        todo.group(Selection),
        todo.request.input,
        raw=todo.method.keeps_counts,
        offset_given=given,
    )
    outcome.notes += notes
    return volume


def _volumes(
    todo: Plan, outcome: Outcome, shown: list[tuple[NDArray[Any], NDArray[Any]]] | None, listen: Listen
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    for place, t in enumerate(todo.times):
        for number, channel in enumerate(todo.channels):
            volume = _read(todo, t, channel.number, outcome)
            result, notes = deconvolve_volume(
                volume, channel.psf, todo.method, outcome.settings[channel.number], todo.machine, channel.cut, listen
            )
            outcome.notes += notes
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


def _record(todo: Plan, outcome: Outcome) -> dict[str, Any]:
    channels = []
    for channel in todo.channels:
        chosen = outcome.settings[channel.number]
        channels.append(
            {
                "channel": channel.number,
                "psf": channel.psf.source,
                "psf_shape": list(channel.psf.pixels.shape),
                "psf_sha256": hashlib.sha256(np.ascontiguousarray(channel.psf.pixels).data).hexdigest(),
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
        "input_sha256": _digest(todo.request.input),
        "method": todo.method.name,
        "device": todo.machine.device,
        "options": {k: [v.value, v.source] for k, v in todo.values.items() if v.source != "default"},
        "scale": 1.0,
        "channels": channels,
    }  # fmt: skip


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
