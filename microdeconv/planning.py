"""The plan of one stack: headers are read, what cannot work is refused, the PSFs are made; no voxel is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from microdeconv.engine import BASE_MEMORY, DELTA, Cut, plan_cut
from microdeconv.errors import CannotCreateError, DataError, MicrodeconvError, UsageError
from microdeconv.io.atomic import check_output
from microdeconv.io.names import named_zarr, natural_name
from microdeconv.io.ngff import NEWEST
from microdeconv.io.selection import Selection, pick
from microdeconv.io.stacks import open_stack, read_header
from microdeconv.io.writer import container_for
from microdeconv.io.zarr_read import zarr_library
from microdeconv.machine import Machine, MachineOptions, machine_for
from microdeconv.optics import Model, Optics, missing, nyquist_um
from microdeconv.options import Sourced, build, for_channel, layered, options_of
from microdeconv.problem import Method
from microdeconv.psf.check import check_psf
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.depths import changes_with_depth, compute_psfs
from microdeconv.psf.named import files_of, is_estimate, is_none
from microdeconv.psf.recipes import with_recipe
from microdeconv.psf.several import load_psfs
from microdeconv.refine import HELD
from microdeconv.request import (
    LINE,
    TYPED,
    OutputOptions,
    PsfOptions,
    Request,
    method_of,
    refuse_idle_optics,
    refuse_surplus,
)
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
class Outputs:
    """Every file that a run writes: the result, its preview, its record, the settings saved and an estimated PSF."""

    result: Path
    preview: Path | None
    record: Path | None
    settings: Path | None
    psf: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Those that are wanted."""
        return tuple(p for p in (self.result, self.preview, self.record, self.settings, self.psf) if p is not None)


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
    outputs = _outputs(request, options, header)
    header_out, notes = _header_out(header, len(times), channels, options, method, _format(request, options, header))
    _refuse_idle_zarr(values, header, header_out)
    voxels = math.prod(header.volume_shape)
    result = 8 if method.keeps_counts else 4
    held = voxels * (header.dtype.itemsize + result + header_out.dtype.itemsize * len(channels))
    held += voxels * HELD if method.companion else 0
    if method.check:
        kernel = not is_none(values["psf"].value)
        notes += method.check(parameters, kernel, header.size("Z"), header.voxel_um)
    _check_files(request, [one.path for one in files_of(values["psf"].value)], outputs, options, header_out.n_bytes)
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


def _picked(header: Header, selection: Selection) -> tuple[list[int], list[int]]:
    picked = []
    for axis, wanted, flag in (("C", selection.channel, "--channel"), ("T", selection.time, "--time")):
        try:
            picked.append(pick(wanted, header.size(axis)))
        except ValueError as reason:
            raise UsageError(f"{flag}: {reason}", f"{header.path} has {header.describe()}, counted from 0") from None
    return picked[0], picked[1]


def refuse_shared_outputs(requests: Sequence[Request]) -> None:
    """Refuse requests of which one would write over what another wrote.

    Raises
    ------
    CannotCreateError
        Naming both inputs and the output.
    """
    stems = Counter(natural_name(request.input) for request in requests)
    makers: dict[Path, Path] = {}
    for request in requests:
        if stems[natural_name(request.input)] == 1:  # no need to open it: its outputs have names of their own
            continue
        values = request.values()
        try:
            header = read_header(request.input, build(Selection, values))
        except MicrodeconvError:  # told when its turn comes
            continue
        for path in _outputs(request, build(OutputOptions, values), header).paths():
            maker = makers.setdefault(path.resolve(), request.input)
            if maker is not request.input:
                raise CannotCreateError(
                    f"{path}: would be written for both {maker} and {request.input}", "run them apart, each with -o"
                )


def _check_files(request: Request, psfs: Sequence[Path], outputs: Outputs, options: OutputOptions, needed: int) -> None:
    """Refuse an image for its own PSF, and an output that cannot be written or is an input or another output."""
    for psf in psfs:
        if psf.exists() and request.input.exists() and psf.samefile(request.input):
            raise DataError(f"{psf}: is the image itself, not its PSF", "give the file of the PSF, or leave --psf out")
    inputs = [request.input, *request.kept, *psfs]
    taken = set[Path]()
    for path in outputs.paths():
        size = needed if path == outputs.result else 0
        check_output(
            path, inputs, overwrite=options.overwrite, parents=options.parents, needed=size,
            tree=path == outputs.result and named_zarr(path),
        )  # fmt: skip
        if path.resolve() in taken:
            raise CannotCreateError(f"{path}: is the name of two outputs", "give another name")
        taken.add(path.resolve())


def _outputs(request: Request, options: OutputOptions, header: Header) -> Outputs:
    result = _result_path(request, options, header)
    beside = result.with_name(natural_name(result))
    preview = Path(f"{beside}.png") if options.preview else None
    record = Path(f"{beside}.json") if options.record else None
    # kept with the settings, so that an experiment has one PSF; channels have PSFs of their own
    kept = request.settings is not None and is_estimate(request.values()["psf"].value) and header.size("C") == 1
    psf = request.settings.with_suffix(".psf.tif") if kept and request.settings else None
    return Outputs(result, preview, record, request.settings, psf)


def _format(request: Request, options: OutputOptions, header: Header) -> str:
    """The format asked for; without a word a name tells whether it is OME-Zarr. OME-TIFF holds what that held."""
    if options.format != "same" or request.output is None:
        return options.format
    if named_zarr(request.output):
        return "ome-zarr"
    return "ome-tiff" if header.container == "zarr" else "same"


def _result_path(request: Request, options: OutputOptions, header: Header) -> Path:
    wanted = _format(request, options, header)
    endings = {"tiff": ".tif", "ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}
    ending = endings.get(wanted, {"ome": ".ome.tif", "zarr": ".ome.zarr"}.get(header.container, ".tif"))
    path = request.output
    if path is None:
        return (request.folder or request.input.parent) / f"{natural_name(request.input)}_decon{ending}"
    if path.suffix.lower() not in (".tif", ".tiff", ".zarr"):
        raise UsageError(
            f"-o {path}: results are TIFF files or OME-Zarr", "end the name in .tif or .ome.zarr, or in / for a folder"
        )
    if named_zarr(path) != (ending == ".ome.zarr"):
        raise UsageError(f"-o {path}: is not for --format {wanted}", f"end the name in {ending}, or leave --format out")
    return path


def _header_out(
    header: Header, n_times: int, channels: list[int], options: OutputOptions, method: Method, wanted: str
) -> tuple[Header, list[str]]:
    dtype = header.dtype if options.dtype == "same" else np.dtype(options.dtype)
    sizes = {"C": len(channels), "T": n_times}
    shape = tuple(sizes.get(a, n) for a, n in zip(header.axes, header.shape, strict=True))
    extras = header.extras
    if not method.keeps_counts:  # how to show the old intensities
        extras = {k: v for k, v in extras.items() if k not in ("min", "max", "Ranges")}
    out = replace(
        header, shape=shape, dtype=dtype, channels=tuple(header.channels[c] for c in channels), extras=extras, notes=()
    )
    if wanted == "tiff" and header.container in ("ome", "zarr"):
        out = replace(out, container="imagej", extras={})
    container, note = container_for(out, wanted, dtype)
    if container == "zarr":
        zarr_library()  # told before hours are spent
        version = header.extras.get("ngff", NEWEST) if options.ome_zarr == "auto" else options.ome_zarr
        out = replace(out, extras={**out.extras, "ngff": version})
    return replace(out, container=container), [note] if note else []


def _refuse_idle_zarr(values: Mapping[str, Sourced], read: Header, written: Header) -> None:
    """Refuse options of OME-Zarr that were typed where none is read or written."""
    for key, header, what in (("missing_chunks", read, "the input"), ("ome_zarr", written, "the result")):
        if header.container != "zarr" and values[key].source in TYPED:
            raise UsageError(f"--{key.replace('_', '-')}: {what} is no OME-Zarr", "leave it out")


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
