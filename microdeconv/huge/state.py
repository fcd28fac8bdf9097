"""Which tiles of a plan are done: a short line for each, so that a million of them are read in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from microdeconv.batch.lines import Lines


class TileDone(NamedTuple):
    """A tile that is done; without a digest, one that was found damaged afterwards and is to be done again.

    Attributes
    ----------
    unit
        Its number.
    seconds
        That it took.
    clipped
        Voxels beyond the type.
    digest
        Of what it keeps for its seams.
    """

    unit: int
    seconds: float = 0.0
    clipped: int = 0
    digest: str = ""


class State(Lines[TileDone]):
    """The journal of a plan.

    Parameters
    ----------
    folder
        Of the plan.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, TileDone)
        self.done: dict[int, TileDone] = {}

    def refresh(self) -> None:
        """Take in what has been written since."""
        for line in self.news():
            if line.digest:
                self.done[line.unit] = line
            else:
                self.done.pop(line.unit, None)
