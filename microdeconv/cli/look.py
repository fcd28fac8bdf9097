"""`microdeconv info`, `devices` and `config show`: what is in a file, in the machine, in the settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from microdeconv.cli.flags import layers, told, with_options
from microdeconv.options import build, layered, options_of
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import all_options


def info(
    path: Annotated[Path, typer.Argument(metavar="INPUT", help="A TIFF stack.")],
    *,
    given: dict[str, Any],
) -> None:
    """Say what is in a file, and what is missing for a PSF."""
    from microdeconv.io.selection import Selection
    from microdeconv.io.tiff import read_header
    from microdeconv.optics import Optics, missing

    values = layered(all_options(), layers(all_options(), given, None))
    header = read_header(path, build(Selection, values))
    voxel = "unknown" if header.voxel_um is None else " x ".join(f"{v:g}" for v in header.voxel_um) + " µm (z y x)"
    lines = [f"{path}: {header.container}, {header.describe()}", f"  voxel {voxel}"]
    for number, channel in enumerate(header.channels):
        known = {o.flag: getattr(channel.optics, o.field) for o in options_of(Optics)}
        said = ", ".join(f"{flag} {value}" for flag, value in known.items() if value is not None) or "no optics"
        lines.append(f"  channel {number}{f' {channel.name}' if channel.name else ''}: {said}")
        lacking = [*missing(channel.optics), *([] if header.voxel_um else ["--voxel"])]
        if lacking:
            lines.append(f"    a computed PSF needs {' '.join(lacking)}")
    lines += [f"  note: {note}" for note in header.notes]
    sys.stdout.write("\n".join(lines) + "\n")


def devices() -> None:
    """Say what this machine offers, and what auto takes."""
    from microdeconv import machine

    taken = machine.machine_for(machine.MachineOptions())
    for one in machine.devices():
        mark = "*" if one.name == taken.device else " "
        sys.stdout.write(f"{mark} {one.name:8} {one.model}, {one.free / 1e9:.3g} GB free\n")
    sys.stdout.write(f"  memory {taken.memory / 1e9:.3g} GB ({taken.memory_source}), {taken.threads} thread(s)\n")


def show(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Options from a TOML file.", rich_help_panel="General"),
    ] = None,
    *,
    given: dict[str, Any],
) -> None:
    """Say each value and where it came from."""
    values = layered(all_options(), with_recipe(layers(all_options(), given, config)))
    for key, value in values.items():
        sys.stdout.write(f"{key} = {told(value)}  ({value.source})\n")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    from microdeconv.io.selection import Selection

    app.command("info")(with_options(info, options_of(Selection)))
    app.command("devices")(devices)
    group = typer.Typer(help="Settings.", no_args_is_help=True)
    group.command("show")(with_options(show, all_options()))

    @group.callback()
    def _config() -> None:
        """Settings."""

    app.add_typer(group, name="config")
