"""Make the computed PSFs of this folder: `python psfs/make.py`, from a checkout with microdeconv installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import write_psf
from microdeconv.psf.recipes import load_recipe
from microdeconv.stack import Zyx

HERE = Path(__file__).parent
COMPUTED: tuple[
    tuple[str, dict[str, Any], Zyx, tuple[int, int, int]], ...
] = (  # recipe, what the recipe leaves open, voxel µm, odd sizes
    ("20x-0.8-air", {"emission_nm": 520.0}, Zyx(0.5, 0.15, 0.15), (31, 47, 47)),
    ("60x-1.2-water", {"emission_nm": 520.0, "depth_um": 10.0}, Zyx(0.25, 0.1, 0.1), (41, 49, 49)),
    ("63x-1.4-oil", {"emission_nm": 520.0}, Zyx(0.2, 0.08, 0.08), (41, 61, 61)),
    (
        "63x-1.4-oil",
        {"emission_nm": 520.0, "excitation_nm": 488.0, "modality": "confocal", "pinhole_au": 1.0},
        Zyx(0.15, 0.05, 0.05),
        (25, 31, 31),
    ),
)


def name_of(recipe: str, more: dict[str, Any]) -> str:
    """Name of a PSF's file."""
    return f"{recipe}-{more.get('modality', 'widefield')}-{more['emission_nm']:g}nm.tif"


def main(folder: Path = HERE) -> None:
    """Write them all."""
    for recipe, more, voxel, shape in COMPUTED:
        psf = compute_psf(replace(load_recipe(recipe), **more), voxel, shape)
        write_psf(folder / name_of(recipe, more), psf, overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
