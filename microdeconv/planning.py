"""The plan of one stack: headers are read, what cannot work is refused, the PSFs are made; no voxel is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microdeconv.engine import BASE_MEMORY, Cut, plan_cut
from microdeconv.errors import DataError, UsageError
from microdeconv.io.selection import Selection, pick
from microdeconv.io.stacks import open_stack
from microdeconv.machine import Machine, MachineOptions, machine_for
from microdeconv.optics import Model, Optics, missing, nyquist_um
from microdeconv.options import Sourced, build, for_channel, layered, options_of
from microdeconv.outputs import Outputs, check_files, header_for, outputs_of
from microdeconv.problem import Method
from microdeconv.psf.check import check_psf
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.depths import changes_with_depth, compute_psfs
from microdeconv.psf.named import files_of, is_estimate, is_none
from microdeconv.psf.recipes import with_recipe
from microdeconv.psf.several import load_psfs
from microdeconv.refine import HELD
from microdeconv.request import LINE, OutputOptions, PsfOptions, Request, method_of, refuse_idle_optics, refuse_surplus
from microdeconv.settle import DELTA
from microdeconv.stack import Header, Psf, PsfSet, Stack, Zyx

TOLD = ("shift", "border", "sampling")  # findings of a PSF's check that are told elsewhere
DIFFERENT = 0.05  # between the file and the line, beyond which it is said


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One channel: its optics with the source of each value, its PSF and its tiles."""

    number: int
    optics: Optics
    sources: Mapping[str, Sourced]
    psf: Psf | PsfSet
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
    outputs: Outputs
    header_out: Header
    memory: int
    notes: tuple[str, ...] = ()

    def group(self, kind: type) -> Any:
        """One group of options."""
        return build(kind, self.values)


def plan(request: Request, *, whole: bool = True) -> Plan:
    """Settle all that can be settled without the pixels; refuse here whatever cannot work.

    Parameters
    ----------
    request
        What is asked for.
    whole
        Whether whole volumes are to be held in memory, beside the tiles.

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
    channels, times = picked(header, selection)
    options: OutputOptions = build(OutputOptions, values)
    machine = machine_for(build(MachineOptions, values))
    outputs = outputs_of(request, options, header)
    header_out, notes = header_for(request, header, channels, len(times), method)
    held = held_bytes(header.volume_shape, header, header_out, method) if whole else 0
    if method.check:
        kernel = not is_none(values["psf"].value)
        notes += method.check(parameters, kernel, header.size("Z"), header.voxel_um)
    check_files(request, [one.path for one in files_of(values["psf"].value)], outputs, options, header_out.n_bytes)
    notes += refuse_surplus(values, header.size("C"))
    settled = [_optics_of(header, number, request) for number in channels]
    refuse_idle_optics([(optics, sources) for optics, sources, _ in settled])
    _refuse_idle_depths(values, [optics for optics, _, _ in settled], header)
    planned = []
    for number, (optics, sources, said) in zip(channels, settled, strict=True):
        notes += said
        psf = (
            DELTA
            if method.keeps_counts or is_none(values["psf"].value)
            else psf_for(request.input, values, optics, header, number)
        )
        notes += [f"PSF: {n}" for n in psf.notes] + _sampling_notes(optics, header)
        notes += _check_notes(psf, optics, header.voxel_um) if files_of(values["psf"].value) else []
        cut = plan_cut(header.volume_shape, psf, method, machine, values["tile"].value, held)
        planned.append(ChannelPlan(number, optics, sources, psf, cut))
    notes += _shared_notes(planned, values)
    memory = BASE_MEMORY + held + max(c.cut.tile_bytes for c in planned)
    return Plan(
        request, stack, method, parameters, values, machine, tuple(planned), tuple(times), outputs, header_out, memory,
        tuple(dict.fromkeys((*header.notes, *notes))),
    )  # fmt: skip


def with_values(todo: Plan, values: Mapping[str, Sourced]) -> Plan:
    """Give the plan for another method or other parameters: the PSF, the stack and the machine stay.

    Parameters
    ----------
    todo
        A plan for the first channel and time point that it picks, which alone are kept.
    values
        Of all options, by key.

    Raises
    ------
    MicrodeconvError
        As `plan`.
    """
    method, parameters = method_of(values)
    header, channel = todo.stack.header, todo.channels[0]
    notes = todo.notes
    if method.check:
        kernel = not is_none(values["psf"].value)
        notes += tuple(method.check(parameters, kernel, header.size("Z"), header.voxel_um))
    held = _held(header.volume_shape, header, 4, method)
    psf = DELTA if method.keeps_counts else channel.psf
    cut = plan_cut(header.volume_shape, psf, method, todo.machine, values["tile"].value, held)
    return replace(
        todo, method=method, parameters=parameters, values=values, times=todo.times[:1],
        channels=(replace(channel, psf=psf, cut=cut),), memory=BASE_MEMORY + held + cut.tile_bytes, notes=notes,
    )  # fmt: skip


def held_bytes(shape: tuple[int, ...], header: Header, header_out: Header, method: Method) -> int:
    """Bytes beside the tiles where volumes (z, y, x) of a stack are held, and their results."""
    return _held(shape, header, header_out.dtype.itemsize * header_out.size("C"), method)


def _held(shape: tuple[int, ...], header: Header, written: int, method: Method) -> int:
    """Bytes beside the tiles: the volume, its result, what of it is written (bytes a voxel), what a companion takes."""
    each = header.dtype.itemsize + (8 if method.keeps_counts else 4) + written + (HELD if method.companion else 0)
    return math.prod(shape) * each


def picked(header: Header, selection: Selection) -> tuple[list[int], list[int]]:
    """Give the channels and time points that are asked for.

    Raises
    ------
    UsageError
        For one beyond the last.
    """
    found = []
    for axis, wanted, flag in (("C", selection.channel, "--channel"), ("T", selection.time, "--time")):
        try:
            found.append(pick(wanted, header.size(axis)))
        except ValueError as reason:
            raise UsageError(f"{flag}: {reason}", f"{header.path} has {header.describe()}, counted from 0") from None
    return found[0], found[1]


def _optics_of(header: Header, number: int, request: Request) -> tuple[Optics, dict[str, Sourced], list[str]]:
    """Optics of a channel: the file's, below a recipe that was named, below what was said; differences are told."""
    own = header.channels[number].optics
    from_file = {o.key: getattr(own, o.field) for o in options_of(Optics)}
    asked = layered(options_of(Optics), [("the file", from_file), *with_recipe(request.layers)])
    found = {key: Sourced(for_channel(value, number), source) for key, (value, source) in asked.items()}
    notes = []
    for one in options_of(Optics):
        told, used = from_file[one.key], found[one.key]
        if told is None or used.source == "the file":
            continue
        if told != used.value if isinstance(told, str) else abs(told - used.value) > DIFFERENT * told:
            said, own_words = (f"{v:g}" if isinstance(v, float) else v for v in (used.value, told))
            notes.append(f"--{one.flag} {said} ({used.source}), where the file says {own_words}")
    return build(Optics, found), found, notes


def _refuse_idle_depths(values: Mapping[str, Sourced], settled: list[Optics], header: Header) -> None:
    """Refuse a number of depths that was typed where no channel's PSF changes with depth."""
    asked = values["depths"]
    if asked.source != LINE or not isinstance(asked.value, int) or asked.value == 1:
        return
    if not any(changes_with_depth(optics, header.volume_shape) for optics in settled):
        remedy = "leave it out, or give --ri-sample" if header.size("Z") > 1 else "leave it out"
        raise UsageError(f"--depths {asked.value}: the PSF does not change with depth here", remedy)


def psf_for(path: Path, values: Mapping[str, Sourced], optics: Optics, header: Header, number: int) -> Psf | PsfSet:
    """Give the PSF of a channel: its own in files of as many channels, else the files' only one, else computed.

    Parameters
    ----------
    path
        The stack, for messages.
    values
        Of the options of `PsfOptions`, `Model` and `DepthOptions`, by key.
    optics
        Of the channel.
    header
        Of the stack.
    number
        The channel.

    Raises
    ------
    DataError
        When neither a file nor the optics tell it, or a file is no PSF for this stack.
    """
    options: PsfOptions = build(PsfOptions, values)
    voxel = header.voxel_um
    if files_of(options.psf):
        return load_psfs(
            files_of(options.psf), voxel, header.volume_shape, channel=number, channels=header.size("C"),
            depth_um=optics.depth_um or 0.0, centre=options.psf_centre,
            background=options.psf_background == "subtract",
        )  # fmt: skip
    lacking = header.lacking(optics)
    if lacking or voxel is None:
        raise DataError(f"{path}: the optics are not all known", f"give {' '.join(lacking)}, or a PSF with --psf")
    model: Model = build(Model, values)
    theory, depths = model.settled(optics.na or 0.0), values["depths"].value
    if is_estimate(options.psf):  # of one PSF, whose size this is
        shape = auto_shape(optics, voxel, header.volume_shape)
        return replace(compute_psf(optics, voxel, shape, theory), source="to be estimated from the image")
    return compute_psfs(optics, voxel, header.volume_shape, theory, depths)


def _check_notes(psf: Psf | PsfSet, optics: Optics, voxel_um: Zyx | None) -> list[str]:
    """Warn of what is wrong with measured PSFs, as far as they and the optics tell; reading them told the rest."""
    several = len(psf.parts) > 1
    notes = []
    for part in psf.parts:
        found = check_psf(part, optics, voxel_um)
        notes += [one.warning for one in found if one.name not in TOLD and not (several and one.name == "depth")]
    return [note for note in dict.fromkeys(notes) if note]


def _shared_notes(planned: Sequence[ChannelPlan], values: Mapping[str, Sourced]) -> list[str]:
    """Tell of a wavelength that was said once and serves the computed PSFs of several channels."""
    if len(planned) == 1 or files_of(values["psf"].value):
        return []
    notes = []
    for key in ("emission", "excitation"):
        for (value, source), n in Counter(channel.sources[key] for channel in planned).items():
            if n > 1 and value is not None and source != "the file":
                notes.append(f"--{key} {value:g} serves {n} channels: --{key} A,B,… gives each its own")
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
