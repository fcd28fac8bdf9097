"""Does the tiles of a plan that are not done, by any engine: claims them, notes what is done, lives with failures."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from microdeconv.batch.claims import Claims
from microdeconv.batch.drive import SPARE
from microdeconv.batch.shards import Shard
from microdeconv.huge.jobs import Engine, Job, Outcome
from microdeconv.huge.scheme import Scheme
from microdeconv.huge.state import State, TileDone

ITEMS_FAILED, WORK_LEFT = 3, 75
Tell = Callable[[str, int, Mapping[str, Any]], None]  # "done" or "failed", the unit, details


def tiles_left(scheme: Scheme, shard: Shard, state: State) -> list[int]:
    """Give the units of a part that are not done."""
    return [unit for unit in range(scheme.count) if shard.takes(unit) and unit not in state.done]


@dataclass
class Drive:
    """One process's part of a plan while it is done.

    Attributes
    ----------
    scheme, shard
        The plan, and the part of it.
    engine
        Who does the tiles.
    tell
        Called with what happens.
    fail_fast
        Whether the first failure ends it.
    grace
        Seconds that tiles in hand have after USR1, where Slurm does not tell its end.
    """

    scheme: Scheme
    shard: Shard
    engine: Engine
    tell: Tell
    fail_fast: bool = False
    grace: float = 90.0
    failed: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    deadline: float | None = None  # by `time.time`, once asked to end

    def __post_init__(self) -> None:
        self.state = State(self.scheme.folder)
        self.state.refresh()
        self.claims = Claims(self.scheme.folder / "claims")
        self.needed = tiles_left(self.scheme, self.shard, self.state)

    def run(self) -> int:
        """Do them; give the exit code."""
        before = signal.signal(signal.SIGUSR1, self._drain)
        try:
            for outcome in self.engine.map(self._claimed()):
                if outcome is not None:
                    self._take(outcome)
                self.claims.touch()
                if (self.failed and self.fail_fast) or (self.deadline is not None and time.time() > self.deadline):
                    break
        finally:
            self.engine.close()
            for path in list(self.claims.held):
                path.unlink(missing_ok=True)
            self.state.close()
            signal.signal(signal.SIGUSR1, before)
        self.state.refresh()
        left = [unit for unit in self.needed if unit not in self.state.done and unit not in self.failed]
        if self.failed:
            return int(next(iter(self.failed.values()))["exit"]) if self.fail_fast else ITEMS_FAILED
        return WORK_LEFT if left else 0

    def _drain(self, *_: Any) -> None:
        """Begin no further tile; those in hand may end until the deadline."""
        import os

        if self.deadline is None:
            end = os.environ.get("SLURM_JOB_END_TIME", "")
            self.deadline = float(end) - SPARE if end.isdigit() else time.time() + self.grace

    def _claimed(self) -> Iterator[Job]:
        """Give those that no other process has or has done."""
        for unit in self.needed:
            if self.deadline is not None:
                return
            begun = self.claims.take(str(unit))
            if begun is None:
                continue
            if begun:  # whoever began it may have ended it
                self.state.refresh()
            if unit in self.state.done:
                self.claims.release(str(unit))
                continue
            yield Job("tile", unit)

    def _take(self, outcome: Outcome) -> None:
        unit, told = outcome.job.number, outcome.told
        if outcome.status == "done":
            self.state.append(TileDone(unit, round(told["seconds"], 2), told["clipped"], told["digest"]))
        else:
            self.failed[unit] = told
        self.claims.release(str(unit))
        self.tell(outcome.status, unit, told)
