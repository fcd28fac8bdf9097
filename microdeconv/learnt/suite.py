"""The frozen test of the learnt method: the same samples for everybody, told by their hashes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import UsageError
from microdeconv.learnt.lenses import training_lens
from microdeconv.learnt.samples import Lenses, Sample, Structures, believed, likely_voxel, make_sample, taken
from microdeconv.options import nearest
from microdeconv.stack import Psf

SEED = 20_404  # no training's: those have recipe.seed first
LEVELS = ((15.0, 80.0), (80.0, 300.0), (300.0, 1000.0), (1000.0, 5000.0))  # photo-electrons at the bright end
PLANE, VOLUME = (1, 128, 128), (12, 64, 64)
PLANES, VOLUMES = 32, 12  # samples of a cell; the first few are the quick suite
SURE_VOLUMES = {"3d-seen": 32, "3d-structure": 32, "3d-psf": 96, "3d-both": 32}  # whose means must be known well
QUICK_PLANES, QUICK_VOLUMES = 8, 4
SPHERICAL = 0.3  # radians rms, of a PSF believed wrongly
SPOTS = ("spots", "clusters")
HASHES = "suite.json"
ROUNDING = 1e-3  # relative; what is less is a library's rounding
Wrong = Literal["", "x0.8", "x1.25", "spherical"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of sample.

    Attributes
    ----------
    name
        What people call it.
    shape
        (z, y, x).
    structures, lenses
        See `make_sample`; structures may be given by kind.
    wrong
        How the PSF that is believed differs from the true one.
    """

    name: str
    shape: tuple[int, int, int]
    structures: Structures | tuple[str, ...]
    lenses: Lenses = "seen"
    wrong: Wrong = ""


def _cells(prefix: str, shape: tuple[int, int, int]) -> list[Cell]:
    return [
        Cell(f"{prefix}-seen", shape, "seen"),
        Cell(f"{prefix}-structure", shape, "unseen"),
        Cell(f"{prefix}-psf", shape, "seen", "unseen"),
        Cell(f"{prefix}-both", shape, "unseen", "unseen"),
        Cell(f"{prefix}-narrow", shape, "unseen", wrong="x0.8"),
        Cell(f"{prefix}-wide", shape, "unseen", wrong="x1.25"),
        Cell(f"{prefix}-spherical", shape, "unseen", wrong="spherical"),
        Cell(f"{prefix}-empty", shape, ()),
        Cell(f"{prefix}-spots", shape, SPOTS),
    ]


CELLS = {
    cell.name: cell
    for cell in (*_cells("2d", PLANE), Cell("2d-photographs", PLANE, "photographs"), *_cells("3d", VOLUME))
}


@dataclass(frozen=True, slots=True)
class Case:
    """One sample of the suite: its cell and its number there, which says how bright it is."""

    cell: Cell
    number: int

    @property
    def level(self) -> int:
        """Which of `LEVELS`."""
        return self.number % len(LEVELS)

    @property
    def key(self) -> str:
        """As the file of hashes has it."""
        return f"{self.cell.name}/{self.number}"

    def sample(self) -> Sample:
        """Make it; it knows a likely size of its voxels."""
        cell = self.cell
        rng = np.random.default_rng((SEED, zlib.crc32(cell.name.encode()), self.number))
        photons = float(np.exp(rng.uniform(*np.log(LEVELS[self.level]))))
        if isinstance(cell.structures, tuple):
            sample = taken(rng, cell.shape, cell.structures, training_lens(rng, cell.shape[0]), photons)
        else:
            sample = make_sample(rng, cell.shape, cell.structures, cell.lenses, photons)
            while cell.wrong == "spherical" and sample.true_lens.kind == "gaussian":  # it has no pupil
                sample = make_sample(rng, cell.shape, cell.structures, cell.lenses, photons)
        psf = _mistaken(sample, cell.wrong) if cell.wrong else sample.psf
        return replace(sample, psf=psf, voxel_um=likely_voxel(sample.true_lens, cell.shape[0], rng))


def _mistaken(sample: Sample, wrong: Wrong) -> Psf:
    lens = sample.true_lens
    lens = lens.aberrated(spherical=SPHERICAL) if wrong == "spherical" else lens.scaled(float(wrong[1:]))
    return believed(lens, sample.light.shape[0])


def cases_of(names: Sequence[str], *, quick: bool) -> list[Case]:
    """Give the cases of cells, in the cells' order.

    Parameters
    ----------
    names
        Of cells, or their beginnings (2d, 3d, 2d-s); none for all.
    quick
        The first of each cell only.

    Raises
    ------
    UsageError
        For a name that no cell begins with.
    """
    for name in names:
        if not any(cell.startswith(name) for cell in CELLS):
            close = nearest(name, CELLS)
            raise UsageError(
                f"--cells {name}: no cell of the suite",
                f"did you mean {close}?" if close else f"known are {', '.join(CELLS)}",
            )
    chosen = [cell for cell in CELLS.values() if not names or any(cell.name.startswith(name) for name in names)]
    return [Case(cell, number) for cell in chosen for number in range(_number(cell, quick))]


def _number(cell: Cell, quick: bool) -> int:
    if cell.shape[0] > 1:
        return QUICK_VOLUMES if quick else SURE_VOLUMES.get(cell.name, VOLUMES)
    return QUICK_PLANES if quick else PLANES


def hashes_of(sample: Sample) -> tuple[str, str]:
    """Two hashes (sha256, 16 digits) of a sample's light, truth and PSF, in blocks and rounded.

    A figure that lies on the border of one rounding lies in the middle of the other, so that where only last bits
    differ one of the hashes stays.
    """
    known = [float(sample.psf.pixels.max()), sample.background]
    figures = np.concatenate([_blocks(sample.light), _blocks(sample.truth), known])
    digits = np.log(np.abs(figures) + ROUNDING) / ROUNDING
    one, other = (
        hashlib.sha256(np.floor(digits + shift).astype("<i8").tobytes()).hexdigest()[:16] for shift in (0.0, 0.5)
    )
    return one, other


def _blocks(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Means over a sixteenth of the field each."""
    z, y, x = volume.shape
    means: NDArray[np.float64] = volume.astype(np.float64).reshape(z, 4, y // 4, 4, x // 4).mean((0, 2, 4))
    return means.ravel()


@cache
def frozen() -> dict[str, list[str]]:
    """The committed hashes, by the case's key."""
    text = resources.files("microdeconv.learnt").joinpath(HASHES).read_text(encoding="utf-8")
    return dict(json.loads(text))


def is_frozen(case: Case, sample: Sample) -> bool:
    """Whether a sample is the one that the suite was frozen with, but for rounding."""
    known = frozen().get(case.key, ["", ""])
    return any(a == b for a, b in zip(hashes_of(sample), known, strict=True))


def freeze(cases: Iterable[Case]) -> str:
    """The text of the file of hashes, for cases."""
    lines = (f"{json.dumps(case.key)}: {json.dumps(hashes_of(case.sample()))}" for case in cases)
    return "{\n" + ",\n".join(lines) + "\n}\n"
