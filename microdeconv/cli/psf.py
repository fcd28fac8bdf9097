"""`microdeconv psf`: its commands, and `compute`: PSFs from optics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from microdeconv.cli import psf_check, psf_estimate, psf_list, psf_measure
from microdeconv.cli.flags import layers, need_command, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, Overwrite, Picture
from microdeconv.errors import UsageError
from microdeconv.io.selection import Selection
from microdeconv.optics import Model, Optics, missing, nyquist_um
from microdeconv.options import build, layered, options_of
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import refuse_idle_optics

COMPUTED = (Optics, Model)


def read_shape(raw: str) -> tuple[int, int, int]:
    """Read odd sizes `Z,Y,X`.

    Raises
    ------
    UsageError
        For anything else.
    """
    parts = raw.replace(",", " ").split()
    if len(parts) != 3 or not all(p.isdigit() and int(p) % 2 and int(p) < 2000 for p in parts):
        raise UsageError(f"--shape {raw}: not three odd sizes below 2000", "write --shape 63,101,101")
    z, y, x = (int(p) for p in parts)
    return z, y, x


def compute(
    output: Annotated[Path, typer.Argument(metavar="PSF.tif", help="Where to write the PSF.")],
    shape: Annotated[
        str, typer.Option("--shape", metavar="Z,Y,X", help="Odd sizes in voxels.", rich_help_panel="Output")
    ] = "63,101,101",
    picture: Picture = True,
    overwrite: Overwrite = False,
    config: Config = None,
    *,
    given: dict[str, Any],
) -> None:
    """Compute a PSF from optics; write it with its voxel size and optics, and a picture."""
    options = {o.key: o for group in COMPUTED for o in options_of(group)}
    options["voxel"] = next(o for o in options_of(Selection) if o.key == "voxel")
    values = layered(options.values(), with_recipe(layers(options.values(), given, config)))
    optics, model = build(Optics, values), build(Model, values)
    voxel = values["voxel"].value
    lacking = [*missing(optics), *([] if voxel else ["--voxel"])]
    if lacking:
        raise UsageError("a PSF cannot be computed", f"give {' '.join(lacking)}")
    refuse_idle_optics([(optics, values)])

    from microdeconv.io.atomic import check_output
    from microdeconv.io.names import check_psf_name
    from microdeconv.io.preview import write_psf_picture
    from microdeconv.psf.compute import compute_psf
    from microdeconv.psf.file import write_psf

    check_psf_name(output)
    pictured = output.with_suffix(".png")
    for path in (output, pictured) if picture else (output,):
        check_output(path, [], overwrite=overwrite, parents=False)
    psf = compute_psf(optics, voxel, read_shape(shape), model.settled(optics.na or 0))
    write_psf(output, psf, overwrite=overwrite)
    if picture:
        title = f"NA {optics.na:g}, {psf.optics.modality if psf.optics else ''}"
        write_psf_picture(pictured, psf.pixels, voxel, title, overwrite=overwrite)
    axial, lateral = nyquist_um(optics)
    terminal = Terminal()
    for note in psf.notes:
        terminal.say(note)
    terminal.say(f"{output}: {psf.source}; Nyquist asks for voxels of {axial:.3f} x {lateral:.3f} µm (z, xy) or less")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Point spread functions.")
    voxel = next(o for o in options_of(Selection) if o.key == "voxel")
    options = [o for kind in COMPUTED for o in options_of(kind)] + [voxel]
    group.command("compute")(with_options(compute, options))
    psf_measure.add_to(group)
    psf_estimate.add_to(group)
    psf_check.add_to(group)
    psf_list.add_to(group)

    @group.callback(invoke_without_command=True)
    def _psf(context: typer.Context) -> None:
        """Point spread functions."""
        need_command(context)

    app.add_typer(group, name="psf")
