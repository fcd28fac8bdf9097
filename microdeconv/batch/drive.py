"""Does the units of a batch: claims them, hands them to workers, notes what is done, lives with what goes wrong."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from microdeconv.batch.claims import Claims
from microdeconv.batch.journal import Done, Journal, long_digest
from microdeconv.batch.pool import Event, Pool, Worker
from microdeconv.batch.units import Common, Unit, line_for, reason, standing
from microdeconv.batch.worker import Task
from microdeconv.errors import MemoryShortError, MicrodeconvError
from microdeconv.io.atomic import remove
from microdeconv.io.record import read_settings
from microdeconv.options import Option

LOOK = 1.0  # seconds between looks at what other batches do
SPARE = 20.0  # seconds before Slurm's end at which the units in hand are given up
LEAST_MEMORY = 50 * 10**6  # bytes, below which no run may be told to stay
FROZEN = "frozen.toml"
KILLED = 137

Tell = Callable[[str, Unit, Mapping[str, Any]], None]  # "begun", "step", "done", "kept", "failed", "retried"


@dataclass
class Drive:
    """One process's part of a batch while it is done.

    Attributes
    ----------
    units
        Those that need doing, in their order.
    common, journal, claims, pool
        What they share, what is done, who does it.
    tell
        Called with what happens.
    fail_fast
        Whether the first failure ends it.
    grace
        Seconds that units in hand have after USR1, where Slurm does not tell its end.
    """

    units: list[Unit]
    common: Common
    journal: Journal
    claims: Claims
    pool: Pool
    tell: Tell
    fail_fast: bool = False
    grace: float = 90.0
    failed: list[Unit] = field(default_factory=list)
    deadline: float | None = None  # by `time.time`, once asked to end
    _queue: deque[Unit] = field(default_factory=deque)
    _elsewhere: list[Unit] = field(default_factory=list)
    _looked: float = 0.0
    _news: dict[str, Done] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Units that are neither done nor failed."""
        return sum(1 for unit in self.units if unit.told.get("status") not in ("done", "kept", "failed"))

    def run(self) -> None:
        """Do all of them, as far as it goes; afterwards each unit's `told` says what came of it."""
        self._queue.extend(unit for unit in self.units if not unit.told)
        self._work()

    def freeze(self, unit: Unit, options: Mapping[str, Option]) -> None:
        """Have the settings chosen on one unit, unless that was done; from then on all units have them.

        Raises
        ------
        MicrodeconvError
            When that unit fails.
        """
        path = self.journal.folder / FROZEN
        while not path.exists() and self.deadline is None:
            begun = self.claims.take(FROZEN)
            if begun is None:  # another process does it
                time.sleep(LOOK)
                continue
            try:
                if not path.exists():
                    self._choose(unit, path, begun, options)
            finally:
                self.claims.release(FROZEN)
        if path.exists():
            self.common = replace(self.common, frozen=read_settings(path, options))

    def _choose(self, unit: Unit, path: Path, begun: int, options: Mapping[str, Option]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.claims.take(unit.key)
        while before is None:  # who has it does not wait for the settings: it is of another start, and dying
            time.sleep(LOOK)
            before = self.claims.take(unit.key)
        unit.begun, unit.ours = 0, unit.ours or max(begun, before) > 0
        self._give(self.pool.idle[0], unit, settings=path)
        while self.pool.busy and not self._too_late():
            for event in self.pool.wait(LOOK):
                if event.kind == "done":
                    self.common = replace(self.common, frozen=read_settings(path, options))
                    self._write(unit, event.told)
                elif event.kind in ("failed", "died"):
                    raise _error(event)
                else:
                    self.tell(event.kind, unit, event.told)
            self.claims.touch()

    def drain(self, *_: Any) -> None:
        """Begin no further unit; those in hand may end until the deadline. A handler of USR1."""
        if self.deadline is None:
            end = os.environ.get("SLURM_JOB_END_TIME", "")
            self.deadline = float(end) - SPARE if end.isdigit() else time.time() + self.grace

    def stop(self) -> None:
        """End the workers; what they had in hand is as if it had not been begun, unless its output stands.

        That may have been put in place an instant before, and not been told: its claim stays, and says whose it is.
        """
        for unit in self.pool.stop():
            unit.told = {}
            if standing(self.common.output / unit.key) is None:
                self.claims.release(unit.key)
            else:
                self.claims.held.discard(self.claims.place(unit.key))
        for path in list(self.claims.held):
            path.unlink(missing_ok=True)
        self.journal.close()

    def _work(self) -> None:
        while self._queue or self._elsewhere or self.pool.busy:
            if self.deadline is not None:
                if not self.pool.busy or self._too_late():
                    return
            else:
                self._hand_out()
                self._look_elsewhere()
            for event in self.pool.wait(LOOK / 2):
                self._take(event)
                if self.failed and self.fail_fast:
                    return
            self.claims.touch()

    def _too_late(self) -> bool:
        return self.deadline is not None and time.time() > self.deadline

    def _hand_out(self) -> None:
        for worker in self.pool.idle:
            while self._queue and self.deadline is None:
                unit = self._queue.popleft()
                if self._begin(unit, worker):
                    break

    def _begin(self, unit: Unit, worker: Worker) -> bool:
        """Give a unit to a worker; not when another process has it, or has done it."""
        begun = self.claims.take(unit.key)
        if begun is None:
            self._elsewhere.append(unit)
            return False
        unit.begun, unit.ours = begun, unit.ours or begun > 0
        if self._done_meanwhile(unit):
            self.claims.release(unit.key)
            return False
        if begun:
            self._sweep(unit)
        self._give(worker, unit)
        return True

    def _done_meanwhile(self, unit: Unit) -> bool:
        """Whether another process has done it since the journal was read; only then does an output lie there."""
        now = standing(self.common.output / unit.key)
        if now is None:
            return False
        self._hear()
        line = self._news.pop(unit.key, None)
        if line is None or line.generation != self.journal.generation:
            return False
        if reason(unit, line, self.common, now, verify=False):
            unit.ours = True
            return False
        self._say("kept", unit, {"sha256": long_digest(line.digest), "seconds": line.seconds})
        return True

    def _hear(self) -> None:
        """Read what other processes have done since; units of theirs alone are passed over."""
        mine = {unit.key for unit in self.units}
        self._news |= {line.key: line for line in self.journal.news() if line.key in mine}

    def _sweep(self, unit: Unit) -> None:
        """Remove what others that are dead, here or on other machines, left half written of a unit that is ours now."""
        path = self.common.output / unit.key
        for one in path.parent.glob(".*.partial"):
            if one.name.startswith(f".{path.name[:150]}."):
                remove(one)

    def _give(self, worker: Worker, unit: Unit, settings: Path | None = None) -> None:
        machine = dict(worker.share.options)
        tries = int(unit.told.get("died", 0)) + max(0, unit.begun - 1)  # one death may be a node's, two are its own
        machine["memory"] = max(LEAST_MEMORY, machine["memory"] >> min(tries, 4))
        unit.told = {"status": "begun", "died": unit.told.get("died", 0), "worker": self.pool.workers.index(worker)}
        self.tell("begun", unit, unit.told)
        worker.give(unit, Task(self.common.request(unit, machine, settings), unit.row.sha256))

    def _take(self, event: Event) -> None:
        unit = event.unit
        if event.kind == "step":
            self.tell("step", unit, event.told)
        elif event.kind == "done":
            self._write(unit, event.told)
        elif event.kind == "died" and not unit.told.get("died"):
            unit.told["died"], unit.ours = 1, True
            self.tell("retried", unit, event.told)
            if self.deadline is None:
                self._give(event.worker, unit)
        else:
            error = _error(event)
            self.claims.release(unit.key)
            self.failed.append(unit)
            told = {"exit": error.exit_code, "message": error.message, "remedy": error.remedy}
            self._say("failed", unit, told)

    def _write(self, unit: Unit, told: Mapping[str, Any]) -> None:
        self.journal.append(line_for(unit, told, self.common, self.journal.generation))
        self.claims.release(unit.key)
        self._say("done", unit, told)

    def _say(self, status: str, unit: Unit, told: Mapping[str, Any]) -> None:
        unit.told = {"status": status, **told}
        self.tell(status, unit, unit.told)

    def _look_elsewhere(self) -> None:
        """Wait for units that others have: they are done at last, or left by the dead."""
        if self._queue or not self._elsewhere or time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        self._queue.extend(self._elsewhere)
        self._elsewhere.clear()


def _error(event: Event) -> MicrodeconvError:
    """What a worker said of a unit that it could not do, or what its death means."""
    told = event.told
    if event.kind == "died":
        return MemoryShortError(
            f"{event.unit.row.input}: its worker {told['how']}", "more memory, fewer --workers or a smaller --tile"
        )
    error = MicrodeconvError(told["message"], told["remedy"])
    error.exit_code = told["exit"]
    return error


def handled(drive: Drive) -> Any:
    """Have USR1 drain; give the handler that was there before."""
    return signal.signal(signal.SIGUSR1, drive.drain)
