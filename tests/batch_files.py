"""Small stacks for tests of batches, and what an output folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile

from microdeconv.simulate import gaussian_psf

PSF = gaussian_psf((1.5, 1.2, 1.2))
OPTIONS = ("--psf", "psf.tif", "--method", "rl", "-n", "2", "--background", "90", "--axes", "ZYX")


def make_stacks(folder: Path, count: int, edge: int = 24) -> list[str]:
    """Write stacks s00.tif … and psf.tif; give the stacks' names."""
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / "psf.tif", PSF, photometric="minisblack")
    names = []
    for number in range(count):
        image = np.random.default_rng(number).poisson(100, (6, edge, edge)).astype(np.uint16)
        image[2:4, 8 : 8 + number % 5 + 2, 8:12] += 400
        names.append(f"s{number:02}.tif")
        tifffile.imwrite(folder / names[-1], image, photometric="minisblack")
    return names


def results(folder: Path) -> dict[str, bytes]:
    """Read the results in an output folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tif"))}


def journal(folder: Path) -> list[list]:
    """Read the whole lines of the journal."""
    lines = []
    for path in sorted((folder / ".microdeconv").glob("done-*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return lines


def begun(folder: Path) -> int:
    """Count the units that are claimed."""
    return len(list((folder / ".microdeconv" / "claims").glob("*")))


def leftovers(folder: Path) -> list[str]:
    """Name what no finished batch leaves: partial files and claims."""
    found = [*folder.rglob(".*.partial"), *(folder / ".microdeconv" / "claims").glob("*")]
    return sorted(str(path.relative_to(folder)) for path in found)
