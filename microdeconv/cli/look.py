"""`microdeconv info`, `devices` and `config show`: what is in a file, in the machine, in the settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from microdeconv.cli.flags import layers, need_command, told, with_options
from microdeconv.cli.run import plan_lines
from microdeconv.cli.words import Config
from microdeconv.errors import MicrodeconvError
from microdeconv.optics import Optics
from microdeconv.options import build, layered, options_of
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import Request, all_options


def info(
    path: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A TIFF file or an OME-Zarr folder.", show_default=False)
    ],
    config: Config = None,
    *,
    given: dict[str, Any],
) -> None:
    """Say what is in a file, what is missing, and what run would do with it, given the same options."""
    from microdeconv.io.selection import Selection
    from microdeconv.io.stacks import read_header

    above = layers(all_options(), given, config)
    header = read_header(path, build(Selection, layered(all_options(), above)))
    lines = [f"{path}: {header.container}, {header.describe()}", f"  voxel {header.describe_voxel()}"]
    for number, channel in enumerate(header.channels):
        own = {o.key: getattr(channel.optics, o.field) for o in options_of(Optics)}
        said = ", ".join(f"{o.flag} {own[o.key]}" for o in options_of(Optics) if own[o.key] is not None)
        lines.append(f"  channel {number} {channel.name or ''}".rstrip() + f": {said or 'no optics'}")
        lacking = header.lacking(build(Optics, layered(options_of(Optics), [("the file", own), *with_recipe(above)])))
        if lacking:
            lines.append(f"    a computed PSF needs {' '.join(lacking)}")
    lines += [f"  note: {note}" for note in header.notes]
    would = _would(Request(path, layers=above))
    sys.stdout.write("\n".join([*lines, *(line for line in would if line not in lines)]) + "\n")


def _would(request: Request) -> list[str]:
    """What run would do, or the one reason why it would not."""
    from microdeconv.planning import plan

    try:
        planned = plan_lines(plan(request))[1:]
    except MicrodeconvError as reason:
        return [f"run would refuse: {reason}"]
    return ["run would do this:", *(line for line in planned if not line.startswith("  voxel "))]


def devices() -> None:
    """Say what this machine offers, and what auto takes."""
    from microdeconv import machine

    taken = machine.machine_for(machine.MachineOptions())
    for one in machine.devices():
        mark = "*" if one.name == taken.device else " "
        sys.stdout.write(f"{mark} {one.name:8} {one.model}, {one.free / 1e9:.3g} GB free\n")
    sys.stdout.write(f"  memory {taken.memory / 1e9:.3g} GB ({taken.memory_source}), {taken.threads} thread(s)\n")


def show(
    config: Config = None,
    *,
    given: dict[str, Any],
) -> None:
    """Say each value and where it came from."""
    values = layered(all_options(), with_recipe(layers(all_options(), given, config)))
    for key, value in values.items():
        sys.stdout.write(f"{key} = {told(value)}  ({value.source})\n")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("info")(with_options(info, all_options()))
    app.command("devices")(devices)
    group = typer.Typer(help="Settings.")
    group.command("show")(with_options(show, all_options()))

    @group.callback(invoke_without_command=True)
    def _config(context: typer.Context) -> None:
        """Settings."""
        need_command(context)

    app.add_typer(group, name="config")
