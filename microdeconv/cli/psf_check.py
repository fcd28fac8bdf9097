"""`microdeconv psf check`: whether a PSF fits a stack."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.one_channel import channel_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, LogFormat, Overwrite
from microdeconv.errors import DataError, UsageError
from microdeconv.options import Option, layered
from microdeconv.request import PsfOptions

if TYPE_CHECKING:
    from microdeconv.psf.finding import Finding


def check(
    path: Annotated[Path, typer.Argument(metavar="STACK", help="A TIFF stack.", show_default=False)],
    psf: Annotated[Path, typer.Argument(metavar="PSF", help="A PSF (TIFF).", show_default=False)],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE",
            rich_help_panel="Output",
            show_default=False,
            help="Write a PNG of the PSF's sections and of the residuals.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.", rich_help_panel="Output")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 65 where there is a warning.", rich_help_panel="Output")
    ] = False,
    overwrite: Overwrite = False,
    log_format: LogFormat = "auto",
    config: Config = None,
    *,
    given: dict[str, Any],
) -> int:
    """Say whether a PSF fits a stack: width, shift, axes, voxel size, sampling, and what the image says of it."""
    from microdeconv.io.atomic import check_output

    options = channel_options(PsfOptions)
    above = layers(options.values(), given, config)
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise UsageError(f"--picture {picture}: pictures are PNG files", "end the name in .png")
        check_output(picture, [path, psf], overwrite=overwrite, parents=False)
    with Terminal(log_format) as terminal:
        found, notes = _checked(path, psf, picture, options, above, overwrite=overwrite)
        for note in notes:
            terminal.say(note, "warning")
        sys.stdout.write(_as_json(path, psf, found, notes) if as_json else _table(found))
        code = DataError.exit_code if strict and any(one.warning for one in found) else 0
        terminal.event("exit", code=code)
    return code


def _checked(
    path: Path, psf_path: Path, picture: Path | None, options: dict[str, Option], above: Any, *, overwrite: bool
) -> tuple[tuple[Finding, ...], list[str]]:
    """Read one channel of the stack and the PSF, check them, write the picture."""
    from microdeconv.cli.one_channel import read_channel
    from microdeconv.io.preview import write_check_picture
    from microdeconv.io.stacks import read_header

    values = layered(options.values(), above)
    one = read_channel(path, values, above)

    from microdeconv.psf.check import check_psf
    from microdeconv.psf.evidence import residual_map
    from microdeconv.psf.file import load_psf
    from microdeconv.psf.fit import foretold
    from microdeconv.psf.from_counts import split_for

    header = one.header
    one_each = header.size("C") > 1 and read_header(psf_path).size("C") == header.size("C")
    psf = load_psf(
        psf_path, header.voxel_um, header.volume_shape, channel=one.number if one_each else None,
        centre=values["psf_centre"].value, background=values["psf_background"].value == "subtract",
    )  # fmt: skip
    split = split_for(one.volume, one.settings.camera, one.settings.background, one.machine.device)
    found = check_psf(psf, one.optics, header.voxel_um, split)
    if picture is not None:
        residual = residual_map(split, foretold(split, psf))
        write_check_picture(picture, psf.pixels, residual, psf.voxel_um, overwrite=overwrite)
    return found, [*one.notes, *(f"PSF: {note}" for note in psf.notes)]


def _table(found: tuple[Finding, ...]) -> str:
    """A line for each figure, then what is probably wrong."""
    lines = [f"{'warning' if one.warning else 'OK':8} {one.name:14} {one.text}" for one in found]
    wrong = [one.warning for one in found if one.warning]
    return "\n".join([*lines, *wrong, *([] if wrong else ["nothing speaks against this PSF"])]) + "\n"


def _as_json(path: Path, psf: Path, found: tuple[Finding, ...], notes: list[str]) -> str:
    from dataclasses import asdict
    from math import isfinite

    figures = [{**asdict(one), "value": one.value if isfinite(one.value) else None} for one in found]
    warned = any(one.warning for one in found)
    told = {"stack": str(path), "psf": str(psf), "ok": not warned, "findings": figures, "notes": notes}
    return json.dumps(told, ensure_ascii=False) + "\n"


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    group.command("check")(with_options(check, channel_options(PsfOptions).values()))
