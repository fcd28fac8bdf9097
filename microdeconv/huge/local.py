"""The engine of one machine: processes, each with its share; one that dies is replaced, its job tried once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from microdeconv.batch.pool import Event, Pool, Share, Worker
from microdeconv.huge.jobs import Job, JobTask, Outcome

TICK = 0.5  # seconds
MEMORY_SHORT = 71


class Local:
    """Processes on this machine.

    Parameters
    ----------
    folder
        Of the plan.
    shares
        What each process has.
    """

    def __init__(self, folder: Path, shares: Sequence[Share]) -> None:
        self.folder = str(folder.resolve())
        self.pool = Pool(shares)
        self._died: set[Job] = set()

    def map(self, jobs: Iterable[Job]) -> Iterator[Outcome | None]:
        """Do jobs, see `Engine`."""
        queue = iter(jobs)
        while True:
            for worker in self.pool.idle:
                job = next(queue, None)
                if job is None:
                    break
                self._give(worker, job)
            if not self.pool.busy:
                return
            for event in self.pool.wait(TICK):
                outcome = self._take(event)
                if outcome is not None:
                    yield outcome
            yield None

    def _give(self, worker: Worker, job: Job) -> None:
        worker.give(job, JobTask(self.folder, job, worker.share.options))

    def _take(self, event: Event) -> Outcome | None:
        job: Job = event.unit
        if event.kind == "done":
            return Outcome(job, "done", event.told)
        if event.kind == "failed":
            return Outcome(job, "failed", event.told)
        if event.kind == "died":
            if job not in self._died:
                self._died.add(job)
                self._give(event.worker, job)
                return None
            remedy = "more memory, fewer --workers or a smaller --tile"
            return Outcome(job, "failed", {"exit": MEMORY_SHORT, "message": f"its worker {event.told['how']}",
                                           "remedy": remedy})  # fmt: skip
        return None

    def close(self) -> None:
        """End the processes."""
        self.pool.stop()
