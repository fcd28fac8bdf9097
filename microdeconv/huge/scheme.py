"""The plan of one huge stack, as a small folder: what each tile needs to know, and nobody chooses anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microdeconv.camera import Camera
from microdeconv.errors import DataError
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack
from microdeconv.methods import method_named
from microdeconv.problem import Method
from microdeconv.settle import Settings
from microdeconv.stack import Psf, PsfSet, Stack
from microdeconv.tiles import Shape, Tile, Tiling

FORMAT = 3  # steps or halos that differ are another format: tiles of two kinds do not go together
PLAN = "plan.json"


class Place(NamedTuple):
    """Where a unit lies: time point and channel of the result, and its tile there."""

    t: int
    c: int
    number: int
    tile: Tile


def work_folder(output: Path) -> Path:
    """Where the plan, the journal and the unfinished image lie: beside the output."""
    return output.with_name(f"{output.name}.tiles")


@dataclass(frozen=True)
class Scheme:
    """A plan as it was written.

    Attributes
    ----------
    folder
        Its folder.
    told
        What `plan.json` says.
    """

    folder: Path
    told: Mapping[str, Any]

    @property
    def image(self) -> Path:
        """The unfinished OME-Zarr."""
        return self.folder / "image"

    @property
    def method(self) -> Method:
        """The method."""
        return method_named(self.told["method"])

    @property
    def axes(self) -> str:
        """Of the result."""
        return str(self.told["axes"])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""
        return np.dtype(str(self.told["dtype"]))

    @property
    def field(self) -> Shape:
        """Sizes (z, y, x) of a volume."""
        z, y, x = self.told["field"]
        return z, y, x

    @cached_property
    def tiling(self) -> Tiling:
        """The tiles of a volume."""
        halo_y, halo_x = self.told["halo"]
        return Tiling.of(self.field, self.told["edge"], (halo_y, halo_x), self.method.align, exact=True)

    @property
    def count(self) -> int:
        """How many units there are: tiles of all volumes."""
        return len(self.told["times"]) * len(self.told["channels"]) * len(self.tiling)

    def place(self, unit: int) -> Place:
        """Tell where a unit lies."""
        volume, number = divmod(unit, len(self.tiling))
        t, c = divmod(volume, len(self.told["channels"]))
        return Place(t, c, number, self.tiling[number])

    def around(self, unit: int) -> list[int]:
        """Give a unit and those that touch it, in their order."""
        first = unit - unit % len(self.tiling)
        return [first + number for number in self.tiling.around(unit - first)]

    def frame(self, unit: int) -> Path:
        """The file of what a unit has near its seams."""
        return self.folder / "seams" / str(unit // 1000) / f"{unit}.bin"

    @cached_property
    def stack(self) -> Stack:
        """The input, opened."""
        return open_stack(Path(self.told["input"]), self.selection)

    @property
    def selection(self) -> Selection:
        """How the input is read."""
        return Selection(**self.told["selection"])

    @cached_property
    def psfs(self) -> list[Psf | PsfSet]:
        """The PSF of each channel of the result."""
        return [read_psf(self.folder / f"psf-{c}.npz") for c in range(len(self.told["channels"]))]

    def settings(self, c: int) -> Settings:
        """What was settled for a channel of the result."""
        told = self.told["channels"][c]
        parameters = self.method.parameters(**told["parameters"])
        return Settings(Camera(**told["camera"]), told["background"], told["level"], told["iterations"], parameters, {})


def load(folder: Path) -> Scheme:
    """Read a plan.

    Raises
    ------
    DataError
        When it is damaged or of another version of this program.
    """
    path = folder / PLAN
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        known = told["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise DataError(f"{path}: not a plan of tiles ({reason})", f"remove {folder}, and begin anew") from None
    if not known:
        raise DataError(f"{path}: a plan of another version", f"remove {folder}, and begin anew")
    return Scheme(folder, told)


def write_psf(path: Path, psf: Psf | PsfSet) -> None:
    """Keep a PSF's values and places."""
    places = {f"along-{n}": np.array(along) for n, along in enumerate(getattr(psf, "places", ()))}
    parts = {f"part-{n}": one.pixels for n, one in enumerate(psf.parts)}
    np.savez(path, **parts, **places)  # type: ignore[arg-type]


def read_psf(path: Path) -> Psf | PsfSet:
    """Read what `write_psf` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        count = sum(name.startswith("part-") for name in kept.files)
        parts = tuple(Psf(kept[f"part-{n}"], None, None, "kept") for n in range(count))
        if "along-0" not in kept.files:
            return parts[0]
        z, y, x = (tuple(map(float, kept[f"along-{n}"])) for n in range(3))
    return PsfSet(parts, (z, y, x), "kept")
