"""What a run writes: names and formats of its files, refused where they cannot be written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from microdeconv.errors import CannotCreateError, DataError, MicrodeconvError, UsageError
from microdeconv.io.atomic import check_output
from microdeconv.io.names import check_result_name, named_zarr, natural_name, result_name
from microdeconv.io.ngff import NEWEST
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import read_header
from microdeconv.io.writer import container_for
from microdeconv.io.zarr_read import zarr_library
from microdeconv.options import Sourced, build
from microdeconv.problem import Method
from microdeconv.psf.named import is_estimate
from microdeconv.request import TYPED, OutputOptions, Request
from microdeconv.stack import Header


@dataclass(frozen=True, slots=True)
class Outputs:
    """Every file that a run writes: result, preview, record, settings saved, an estimated PSF, the page."""

    result: Path
    preview: Path | None
    record: Path | None
    settings: Path | None
    psf: Path | None = None
    report: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Those that are wanted."""
        wanted = (self.result, self.preview, self.record, self.settings, self.psf, self.report)
        return tuple(p for p in wanted if p is not None)


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
        for path in outputs_of(request, build(OutputOptions, values), header).paths():
            maker = makers.setdefault(path.resolve(), request.input)
            if maker is not request.input:
                raise CannotCreateError(
                    f"{path}: would be written for both {maker} and {request.input}", "run them apart, each with -o"
                )


def check_files(request: Request, psfs: Sequence[Path], outputs: Outputs, options: OutputOptions, needed: int) -> None:
    """Refuse an image for its own PSF, and an output that cannot be written or is an input or another output.

    Raises
    ------
    DataError, CannotCreateError
        They say which.
    """
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


def outputs_of(request: Request, options: OutputOptions, header: Header) -> Outputs:
    """Name every file that a run writes.

    Raises
    ------
    UsageError
        When the result's name does not fit its format.
    """
    result = _result_path(request, options, header)
    beside = result.with_name(natural_name(result))
    preview = Path(f"{beside}.png") if options.preview else None
    record = Path(f"{beside}.json") if options.record else None
    # kept with the settings, so that an experiment has one PSF; channels have PSFs of their own
    kept = request.settings is not None and is_estimate(request.values()["psf"].value) and header.size("C") == 1
    psf = request.settings.with_suffix(".psf.tif") if kept and request.settings else None
    report = Path(f"{beside}.html") if options.report else None
    return Outputs(result, preview, record, request.settings, psf, report)


def _format(request: Request, options: OutputOptions, header: Header) -> str:
    """The format asked for; without a word a name tells whether it is OME-Zarr. OME-TIFF holds what that held."""
    if options.format != "same" or request.output is None:
        return options.format
    if named_zarr(request.output):
        return "ome-zarr"
    return "ome-tiff" if header.container == "zarr" else "same"


def _result_path(request: Request, options: OutputOptions, header: Header) -> Path:
    wanted = _format(request, options, header)
    path = request.output
    if path is None:
        return (request.folder or request.input.parent) / result_name(request.input, wanted, header.container)
    check_result_name(path, wanted, f"-o {path}")
    return path


def header_for(
    request: Request, header: Header, channels: list[int], n_times: int, method: Method
) -> tuple[Header, list[str]]:
    """Give the header of a result, in the format that is wanted, and notes on what that format cannot hold.

    Raises
    ------
    UsageError
        For options of OME-Zarr where none is read or written.
    UnavailableError
        When the extra that the format needs is missing.
    """
    values = request.values()
    options: OutputOptions = build(OutputOptions, values)
    wanted = _format(request, options, header)
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
    out = replace(out, container=container)
    _refuse_idle_zarr(values, header, out)
    return out, [note] if note else []


def _refuse_idle_zarr(values: Mapping[str, Sourced], read: Header, written: Header) -> None:
    """Refuse options of OME-Zarr that were typed where none is read or written."""
    for key, header, what in (("missing_chunks", read, "the input"), ("ome_zarr", written, "the result")):
        if header.container != "zarr" and values[key].source in TYPED:
            raise UsageError(f"--{key.replace('_', '-')}: {what} is no OME-Zarr", "leave it out")
