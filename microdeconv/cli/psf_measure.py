"""`microdeconv psf measure`: a PSF from stacks of beads."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, Overwrite
from microdeconv.errors import DataError
from microdeconv.io.selection import Selection
from microdeconv.optics import Model, Optics, missing
from microdeconv.options import Sourced, build, layered, option, options_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.io.bead_page import Theory
    from microdeconv.psf.measure import Measured
    from microdeconv.stack import Zyx

SAME_VOXEL = 0.01  # relative difference that is none
FAR = 1.4  # times the theoretical width, from which on it is worth a word


def read_diameter(raw: Any) -> float:
    """Read the diameter of a bead in µm.

    Raises
    ------
    ValueError
        When it cannot be one; a value that looks like another unit is named.
    """
    try:
        value = float(raw)
    except (TypeError, ValueError):
        raise ValueError("not a number") from None
    if 20 <= value <= 10_000:
        raise ValueError(f"looks like nm; in µm it is {value / 1000:g}")
    if 1e-5 <= value <= 0.005:
        raise ValueError(f"looks like mm; in µm it is {value * 1000:g}")
    if not 0.01 <= value <= 10:
        raise ValueError("beads are 0.01 to 10 µm across")
    return value


@dataclass(frozen=True, slots=True)
class BeadOptions:
    """What the beads are."""

    bead_um: float | None = option(
        None, "Diameter of the beads, µm; its blur is then taken out.", panel="Beads", flag="bead-diameter",
        metavar="UM", parse=read_diameter,
    )  # fmt: skip


GROUPS = (BeadOptions, Optics, Model, Selection)


def measure(
    inputs: Annotated[list[Path], typer.Argument(metavar="BEADS.tif...", help="TIFF stacks of beads.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="PSF.tif", help="Where to write the PSF.", rich_help_panel="Output"),
    ],
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Write a page about it too (HTML).", rich_help_panel="Output")
    ] = True,
    overwrite: Overwrite = False,
    config: Config = None,
    *,
    given: dict[str, Any],
) -> None:
    """Measure a PSF from beads: found, laid on one another, averaged; a table and a page are written beside it."""
    options = [o for group in GROUPS for o in options_of(group)]
    values = layered(options, layers(options, given, config))
    selection, bead_um = build(Selection, values), values["bead_diameter"].value

    from microdeconv.io.atomic import check_output
    from microdeconv.io.bead_page import write_page
    from microdeconv.io.names import check_psf_name
    from microdeconv.io.table import write_table
    from microdeconv.psf.file import write_psf
    from microdeconv.psf.measure import measure_psf, told

    check_psf_name(output)
    table, report = output.with_suffix(".csv"), output.with_suffix(".html")
    for path in (output, table, report) if page else (output, table):
        check_output(path, inputs, overwrite=overwrite, parents=False)
    terminal = Terminal()
    stacks, voxel, own = _read(inputs, selection, terminal)
    optics = build(Optics, {k: v for k, v in values.items() if v.value is not None} | _kept(own, values))
    found = measure_psf(stacks, voxel, bead_um, optics)
    theory = _theory(optics, found, values)
    notes = [*found.psf.notes, *_against(theory, found, bead_um)]
    assumed = [f"theory: {note}" for note in theory.notes] if theory else []
    write_psf(output, found.psf, overwrite=overwrite)
    write_table(table, _rows(found), overwrite=overwrite)
    if page:
        facts = {
            "Beads": f"{found.used} used" + (f"; refused: {told(found.refused)}" if found.refused else ""),
            "From": ", ".join(stacks), "How": found.psf.source,
            "Voxel": " × ".join(f"{v:.4g}" for v in voxel if math.isfinite(v)) + " µm (z y x)",
            "Optics": ", ".join(f"{f.name} {v}" for f in fields(optics) if (v := getattr(optics, f.name)) is not None),
        }  # fmt: skip
        write_page(
            report, found.psf, facts, found.fwhm_um, _rows(found), theory, [*notes, *assumed], overwrite=overwrite
        )
    for note in notes:
        terminal.say(note, "warning")
    for note in assumed:
        terminal.say(note)
    terminal.say(
        f"{found.used} bead{'s' * (found.used != 1)} used"
        + (f", refused: {told(found.refused)}" if found.refused else "")
    )
    terminal.say(f"FWHM {_in_words(found.fwhm_um)}" + (f"; in theory {_in_words(theory.fwhm_um)}" if theory else ""))
    terminal.say(f"{output}: {' x '.join(map(str, found.psf.pixels.shape))}, {found.psf.source}")


def _in_words(widths: Zyx) -> str:
    known = [(axis, w) for axis, w in zip("zyx", widths, strict=True) if not math.isnan(w)]
    return ", ".join(f"{axis} {1000 * w:.0f}" for axis, w in known) + " nm"


def _kept(own: Optics, values: dict[str, Sourced]) -> dict[str, Sourced]:
    """What the file says of the optics where nobody says otherwise."""
    known = {o.key: getattr(own, o.field) for o in options_of(Optics)}
    return {k: Sourced(v, "file") for k, v in known.items() if v is not None and values[k].value is None}


def _read(paths: list[Path], selection: Selection, terminal: Terminal) -> tuple[dict[str, NDArray[Any]], Zyx, Optics]:
    """Read one channel and time point of each file, their voxel size, and the first one's optics."""
    from microdeconv.io.pixels import check_pixels
    from microdeconv.io.selection import pick
    from microdeconv.io.stacks import open_stack

    stacks: dict[str, NDArray[Any]] = {}
    voxels, optics = [], Optics()
    for path in paths:
        stack = open_stack(path, selection)
        header = stack.header
        places = []
        for axis, wanted, flag in (("T", selection.time, "--time"), ("C", selection.channel, "--channel")):
            if wanted is None and header.size(axis) > 1:
                raise DataError(f"{path}: {header.describe()}, a PSF is measured from one of them", f"pick with {flag}")
            try:
                chosen = pick(wanted, header.size(axis))
            except ValueError as reason:
                raise DataError(f"{path}: {flag}: {reason}", "count from 0") from None
            if len(chosen) > 1:
                raise DataError(f"{path}: {flag} picks {len(chosen)}, a PSF is measured from one", "pick one")
            places.append(chosen[0])
        voxel = header.voxel_um
        if voxel is None or (math.isnan(voxel.z) and header.size("Z") > 1):
            raise DataError(f"{path}: its voxel size is not known", "give --voxel Z Y X in µm")
        volume, notes = check_pixels(stack.read(*places), selection, path)
        for note in (*header.notes, *notes):
            terminal.say(f"{path}: {note}", "warning")
        if any((volume.shape[0] == 1) != (other.shape[0] == 1) for other in stacks.values()):
            raise DataError(f"{path}: a stack and a single plane give no common PSF", "measure them apart")
        name = path.name if path.name not in stacks else str(path)
        if not stacks:
            optics = header.channels[places[1]].optics
        stacks[name] = volume
        voxels.append(voxel)
        if any(abs(a / b - 1) > SAME_VOXEL for a, b in zip(voxel, voxels[0], strict=True)):
            raise DataError(f"{path}: its voxels differ from those of {paths[0]}", "measure them apart")
    return stacks, voxels[0], optics


def _theory(optics: Optics, found: Measured, values: dict[str, Sourced]) -> Theory | None:
    """The PSF that the optics should give, where they are known."""
    if missing(optics) or found.psf.voxel_um is None:
        return None
    from microdeconv.io.bead_page import Theory
    from microdeconv.psf.compute import compute_psf
    from microdeconv.psf.widths import fwhm
    from microdeconv.stack import Zyx

    voxel, shape = found.psf.voxel_um, found.psf.pixels.shape
    model = build(Model, values).settled(optics.na or 0)
    psf = compute_psf(optics, voxel, (shape[0], shape[1], shape[2]), model)
    widths = fwhm(psf.pixels, (shape[0] // 2, shape[1] // 2, shape[2] // 2))
    return Theory(psf.pixels, Zyx(*(w * v for w, v in zip(widths, voxel, strict=True))), psf.notes)


def _against(theory: Theory | None, found: Measured, bead_um: float | None) -> list[str]:
    """Say where theory and measurement are far apart."""
    if theory is None:
        return []
    far = [
        f"{axis} {seen / due:.1f}"
        for axis, seen, due in zip("zyx", found.fwhm_um, theory.fwhm_um, strict=True)
        if seen / due > FAR or due / seen > FAR
    ]
    if far:
        hint = "" if bead_um else ", and are the beads small? --bead-diameter"
        return [f"times as wide as in theory: {', '.join(far)}: are optics and voxel size right{hint}"]
    return []


def _rows(found: Measured) -> list[dict[str, Any]]:
    """The table, a row a bead, lengths in µm."""
    rows = []
    for bead in found.beads:
        row: dict[str, Any] = {"field": bead.field}
        row |= {f"{axis}_um": round(at, 4) for axis, at in zip("zyx", bead.place_um, strict=True)}
        row |= {f"fwhm_{axis}_um": round(w, 4) for axis, w in zip("zyx", bead.fwhm_um, strict=True)}
        row |= {"height": round(bead.height, 2), "background": round(bead.background, 2), "snr": round(bead.snr, 1)}
        rows.append(row | {"correlation": round(bead.alike, 4), "used": "yes" if bead.used else "no"})
    return rows


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    group.command("measure")(with_options(measure, [o for kind in GROUPS for o in options_of(kind)]))
