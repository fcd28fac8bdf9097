"""What an engine is given: numbered jobs of a plan, each done by any process that sees its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from microdeconv.huge.unit import Solver

Listen = Callable[[str, int, int], None]


class Job(NamedTuple):
    """One piece of work: "tile" N, "frame" N (what it kept, by its digest), "join" N, or part N of a level."""

    stage: Literal["tile", "frame", "join", "level"]
    number: int
    level: int = 0
    digest: str = ""


class Outcome(NamedTuple):
    """What came of a job: "done" with what it gives, or "failed" with exit code, message and remedy."""

    job: Job
    status: Literal["done", "failed"]
    told: dict[str, Any]


class Engine(Protocol):
    """Where jobs are done."""

    def map(self, jobs: Iterable[Job]) -> Iterator[Outcome | None]:
        """Do jobs, taken one by one as there is room for them; None now and then while nothing has ended."""

    def close(self) -> None:
        """End the workers; what they have in hand is lost."""


@dataclass(frozen=True, slots=True)
class JobTask:
    """A job as a worker is given it.

    Attributes
    ----------
    folder
        Of the plan.
    job
        The job.
    machine
        Options of the worker's machine, by key.
    """

    folder: str
    job: Job
    machine: Mapping[str, Any]

    @property
    def output(self) -> Path | None:
        """Nothing half written lies beside an output."""
        return None

    def do(self, listen: Listen) -> dict[str, Any]:
        """Do it."""
        from microdeconv.huge import levels

        solver = _solver(self.folder, tuple(sorted(self.machine.items())))
        job = self.job
        if job.stage == "tile":
            return solver.do(job.number, listen)
        if job.stage == "frame":
            return levels.check_frame(solver.scheme, job.number, job.digest)
        if job.stage == "join":
            return levels.join_unit(solver.scheme, job.number)
        return levels.make_part(solver.scheme, job.level, job.number)


@lru_cache(maxsize=1)
def _solver(folder: str, machine: tuple[tuple[str, Any], ...]) -> Solver:
    """What a process keeps from one job to the next."""
    from microdeconv.huge.scheme import load
    from microdeconv.huge.unit import Solver
    from microdeconv.machine import MachineOptions, machine_for, prepare

    here = machine_for(MachineOptions(**dict(machine)))
    prepare(here)
    return Solver(load(Path(folder)), here)
