"""`microdeconv psf estimate`: a PSF from the image itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.one_channel import channel_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, LogFormat, Overwrite, Picture
from microdeconv.errors import DataError, UsageError
from microdeconv.optics import Model
from microdeconv.options import Option, build, layered

if TYPE_CHECKING:
    from microdeconv.cli.one_channel import OneChannel
    from microdeconv.psf.estimate import Estimated
    from microdeconv.stack import Psf, Zyx

PathArgument = Annotated[Path, typer.Argument(metavar="STACK", help="A TIFF stack, without beads.", show_default=False)]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="PSF.tif",
        help="Where to write the PSF.",
        rich_help_panel="Output",
        show_default=False,
    ),
]
Free = Annotated[
    bool,
    typer.Option(
        "--free",
        rich_help_panel="PSF and optics",
        help="A PSF of any form, by blind Richardson-Lucy, instead of the optics' PSF with few deviations.",
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--start",
        metavar="FILE",
        rich_help_panel="PSF and optics",
        show_default=False,
        help="With --free: the first PSF (TIFF), instead of the optics'.",
    ),
]


def estimate(
    path: PathArgument,
    output: Output,
    free: Free = False,
    start: Start = None,
    picture: Picture = True,
    overwrite: Overwrite = False,
    log_format: LogFormat = "auto",
    config: Config = None,
    *,
    given: dict[str, Any],
) -> int:
    """Estimate a PSF from the image itself; where the image cannot tell, the optics' own PSF is written, and said."""
    from microdeconv.io.atomic import check_output
    from microdeconv.io.names import check_psf_name

    options = channel_options(Model)
    above = layers(options.values(), given, config)
    if start is not None and not free:
        raise UsageError("--start serves --free only", "add --free, or leave it out")
    check_psf_name(output)
    pictured = output.with_suffix(".png")
    for wanted in (output, pictured) if picture else (output,):
        check_output(wanted, [path, *([start] if start else [])], overwrite=overwrite, parents=False)
    with Terminal(log_format) as terminal:
        found, notes = _estimated(path, start, options, above, terminal, free=free)
        _write(output, pictured if picture else None, found.psf, overwrite=overwrite)
        for note in notes:
            terminal.say(note, "warning")
        for name, (value, error) in found.deviations.items():
            terminal.say(f"{name} {value:+.3f}" + (f" ± {error:.3f}" if error else ""), deviation=name, value=value)
        terminal.say(("estimated: " if found.sure else "the start is kept: ") + found.why, sure=found.sure)
        terminal.say(f"{output}: {found.psf.source}", output=str(output))
        terminal.event("exit", code=0)
    return 0


def _estimated(
    path: Path, start: Path | None, options: dict[str, Option], above: Any, terminal: Terminal, *, free: bool
) -> tuple[Estimated, list[str]]:
    from microdeconv.cli.one_channel import read_channel

    values = layered(options.values(), above)
    one = read_channel(path, values, above)

    from microdeconv.learnt.foretelling import foretold_by_network
    from microdeconv.psf.blind import estimate_free
    from microdeconv.psf.compute import compute_psf
    from microdeconv.psf.estimate import estimate_psf
    from microdeconv.psf.file import load_psf
    from microdeconv.psf.from_counts import ESTIMATED, light_of_counts, split_for

    eye, background = one.settings.camera, one.settings.background
    split = split_for(one.volume, eye, background, one.machine.device, ESTIMATED)
    theory = build(Model, values).psf_model
    if start is None:
        voxel, shape = _nominal(path, one)
        if not free:
            light = light_of_counts(one.volume, eye)
            found = estimate_psf(
                light, split, one.optics, voxel, shape, theory, terminal.listen, judge=foretold_by_network
            )
            return found, [*one.notes, *(f"PSF: {note}" for note in found.psf.notes)]
        first = compute_psf(one.optics, voxel, shape, theory)
    else:
        first = load_psf(start, one.header.voxel_um, one.header.volume_shape)
    found = estimate_free(split, first, one.optics, terminal.listen)
    return found, [*one.notes, *(f"PSF: {note}" for note in found.psf.notes)]


def _nominal(path: Path, one: OneChannel) -> tuple[Zyx, tuple[int, int, int]]:
    """Voxel size and sizes of the optics' PSF; refused where too little is known for it."""
    from microdeconv.psf.compute import auto_shape

    voxel, lacking = one.header.voxel_um, one.header.lacking(one.optics)
    if lacking or voxel is None:
        raise DataError(f"{path}: the optics are not all known", f"give {' '.join(lacking)}, or --free --start PSF.tif")
    return voxel, auto_shape(one.optics, voxel, one.header.volume_shape)


def _write(output: Path, pictured: Path | None, psf: Psf, *, overwrite: bool) -> None:
    from microdeconv.io.preview import write_psf_picture
    from microdeconv.psf.file import write_psf

    write_psf(output, psf, overwrite=overwrite)
    if pictured is not None:
        write_psf_picture(pictured, psf.pixels, psf.voxel_um, "estimated", overwrite=overwrite)


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    group.command("estimate")(with_options(estimate, channel_options(Model).values()))
