"""`microdeconv psf list`: the recipes that `--psf-recipe` takes."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.optics import Optics, checked, missing, nyquist_um
from microdeconv.options import layered, options_of

if TYPE_CHECKING:
    from microdeconv.psf.recipes import Recipe

EMISSION = next(o for o in options_of(Optics) if o.key == "emission")


def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.", rich_help_panel="Output")] = False,
    *,
    given: dict[str, Any],
) -> None:
    """List the recipes of common objectives for --psf-recipe; with --emission also the largest voxels for each."""
    from microdeconv.psf.recipes import all_recipes

    emission = layered([EMISSION], layers([EMISSION], given, None))["emission"].value
    checked(Optics(emission_nm=emission))
    rows = [row_of(recipe, emission) for recipe in all_recipes()]
    if as_json:
        import json

        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    elif sys.stdout.isatty() and rows:
        _draw(rows)
    else:
        sys.stdout.writelines("\t".join(_cells(row)) + "\n" for row in rows)


def row_of(recipe: Recipe, emission: float | None) -> dict[str, Any]:
    """What is told of a recipe, by key."""
    optics = recipe.optics if emission is None else replace(recipe.optics, emission_nm=emission)
    row = {
        "name": recipe.name,
        "magnification": recipe.magnification,
        "na": optics.na,
        "immersion": recipe.medium,
        "ri_immersion": optics.ri_immersion,
        "ri_sample": optics.ri_sample,
        "modality": optics.modality,
        "sheet_um": optics.sheet_um,
        "about": recipe.about,
        "path": str(recipe.path),
    }
    if not missing(optics):
        axial, lateral = nyquist_um(optics)
        row |= {"emission_nm": optics.emission_nm, "nyquist_um": [round(v, 4) for v in (axial, lateral, lateral)]}
    return row


def _cells(row: dict[str, Any]) -> list[str]:
    """A row in words: name, magnification, NA, immersion, microscope, Nyquist's voxel (z x xy) if it is known."""
    sheet = f" {row['sheet_um']:g} µm" if row["sheet_um"] else ""
    cells = [
        row["name"],
        f"{row['magnification']}x",
        f"NA {row['na']:g}",
        f"{row['immersion']} {row['ri_immersion']:g}",
        f"{row['modality'] or 'any'}{sheet}",
    ]
    if "nyquist_um" in row:
        axial, lateral = row["nyquist_um"][:2]
        cells.append(f"{axial:.3f} x {lateral:.3f} µm")
    return cells


def _draw(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("recipe", no_wrap=True, min_width=max(len(row["name"]) for row in rows))
    for head in ("", "aperture", "immersion", "microscope"):
        table.add_column(head)
    if "nyquist_um" in rows[0]:
        table.add_column(f"{rows[0]['emission_nm']:g} nm: z x xy")
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


def add_to(group: typer.Typer) -> None:
    """Add the command."""
    group.command("list")(with_options(list_recipes, [EMISSION]))
