"""The engine of a Dask cluster: one here, one that stands, or one of Slurm jobs that grows and shrinks.

A scheduler's port runs whatever it is sent: what is started here speaks TLS, with keys of its own.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any

import microdeconv
from microdeconv import extras
from microdeconv.batch.pool import ROOT
from microdeconv.batch.slurm import minutes_of, read_time
from microdeconv.batch.worker import attempt
from microdeconv.errors import MicrodeconvError, UnavailableError, UsageError
from microdeconv.huge.jobs import Job, JobTask, Outcome
from microdeconv.huge.scheme import Scheme
from microdeconv.machine import thread_count
from microdeconv.options import AUTO

AHEAD = 3  # jobs a worker that the scheduler has in hand
LEAST_AHEAD = 8
TICK = 1.0  # seconds
ANSWER = 20  # seconds that a scheduler has
MOST_JOBS = 100  # of Slurm, where nobody says
LIMIT = "SBATCH_TIMELIMIT"  # of Slurm's: the wall time of each job
WALL_TIME = "04:00:00"  # where nobody says
LEAVES, STAGGERED = 15 / 16, 1 / 24  # of it: a worker leaves in order before its job's end, and not all at once
MEMORY_SHORT = 71
PATIENCE = 12 * 3600.0  # seconds without any worker
SETTLE = ("numpy", "torch", "zarr")  # what the result's bytes depend on, beside ourselves
OTHER = "other"  # a job that a worker refused, as its versions are others


KILLED = {"exit": MEMORY_SHORT, "message": "several workers died of it", "remedy": "more memory, or a smaller --tile"}


class NoWorkerError(MicrodeconvError):
    """A cluster that gives nobody to do the work, or has gone."""

    exit_code = 75


def library() -> Any:
    """Import Dask's scheduler.

    Raises
    ------
    UnavailableError
        When it is not installed.
    """
    return extras.library("distributed", "cluster", "--engine dask")


def versions() -> dict[str, str]:
    """Give the versions that must be the same wherever tiles of one image are done."""
    found = {"microdeconv": microdeconv.__version__}
    for name in SETTLE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def do(task: JobTask, wanted: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Do a job in a worker of Dask whose versions are those wanted; what goes wrong is told, not raised."""
    here = versions()
    if here != wanted:
        differ = [f"{name} {here.get(name)}, not {what}" for name, what in wanted.items() if here.get(name) != what]
        return OTHER, {"message": f"a worker has {', '.join(differ)}"}
    return attempt(task, lambda *_: None)


class Dask:
    """Workers of a Dask cluster.

    Parameters
    ----------
    scheme
        The plan; its folder is where every worker sees it.
    workers
        Processes here, or the most jobs of Slurm; "auto".
    scheduler
        The address of one that stands, "slurm", or None for processes here.
    patience
        Seconds that there may be no worker; None: half a day.

    Raises
    ------
    UnavailableError
        When the extra is missing, or the scheduler does not answer.
    """

    def __init__(self, scheme: Scheme, workers: str, scheduler: str | None, patience: float | None = None) -> None:
        distributed = library()
        self.folder = str(scheme.folder.resolve())
        self.patience = PATIENCE if patience is None else patience
        self._seen = self._looked = time.monotonic()
        self._workers = 0
        self._versions = versions()
        self._cluster: Any = None
        try:
            if scheduler == "slurm":
                self._cluster = _slurm_cluster(distributed, scheme, workers)
            elif scheduler is None:
                self._cluster = _local_cluster(distributed, workers)
            self.client = distributed.Client(self._cluster or scheduler, timeout=ANSWER)
        except (OSError, ValueError, TimeoutError, ImportError) as reason:
            self.close()
            raise UnavailableError(
                f"--scheduler {scheduler or 'here'}: {reason}", "check its address and keys"
            ) from None

    def map(self, jobs: Iterable[Job]) -> Iterator[Outcome | None]:
        """Do jobs, see `Engine`.

        A worker that dies casts suspicion on whatever it had in hand, the job that it was at and those that waited.
        So one that several died with is tried once more at the end, alone, before it counts as failed.

        Raises
        ------
        NoWorkerError
            When there has been no worker for too long (jobs that died are replaced, but may wait in a queue), or the
            scheduler is gone.
        UnavailableError
            When a worker is of another version, or cannot take jobs at all.
        """
        queue = iter(jobs)
        in_hand: dict[Any, Job] = {}
        suspects: deque[Job] = deque()
        alone = False
        while True:
            room = max(LEAST_AHEAD, AHEAD * self._count()) - len(in_hand)
            for job in islice(queue, max(room, 0)):
                in_hand[self._submit(job)] = job
            if suspects and not in_hand:
                alone, job = True, suspects.popleft()
                in_hand[self._submit(job)] = job
            if not in_hand:
                return
            for future in self._ended(in_hand):
                job = in_hand.pop(future)
                outcome = _outcome(job, future)
                if outcome is not None:
                    yield outcome
                elif alone:
                    yield Outcome(job, "failed", KILLED)
                else:
                    suspects.append(job)
            yield None

    def _submit(self, job: Job) -> Any:
        return self.client.submit(do, JobTask(self.folder, job, {"threads": 1}), self._versions, pure=False)

    def _count(self) -> int:
        """Count the workers, now and then."""
        now = time.monotonic()
        if now - self._looked > TICK or not self._workers:
            try:
                self._workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
            except (OSError, TimeoutError):
                self._workers = 0  # the scheduler does not answer: it may come back
            self._looked = now
            self._seen = now if self._workers else self._seen
        if now - self._seen > self.patience:
            raise NoWorkerError(f"no worker for {self.patience:g} s", "run it again later: what is done stays done")
        return self._workers

    def _ended(self, in_hand: Mapping[Any, Job]) -> Iterable[Any]:
        try:
            ended = library().wait(list(in_hand), timeout=TICK, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return ()
        except CancelledError:
            ended = {future for future in in_hand if future.status == "cancelled"}
        if any(future.status in ("cancelled", "lost") for future in ended):
            raise NoWorkerError("the scheduler is gone", "run it again: what is done stays done")
        return ended  # type: ignore[no-any-return]

    def close(self) -> None:
        """End what was started here."""
        client, self.client = getattr(self, "client", None), None
        for one in (client, self._cluster):
            if one is not None:
                one.close()
        self._cluster = None


def _outcome(job: Job, future: Any) -> Outcome | None:
    """Tell what came of a job; None: workers died that had it in hand."""
    same = "install the same versions everywhere"
    if future.status == "finished":
        kind, told = future.result()
        if kind == OTHER:
            raise UnavailableError(told["message"], same)
        return Outcome(job, kind, told)
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return None
    raise UnavailableError(f"a worker could not take its job ({type(error).__name__}: {error})", same)


def _local_cluster(distributed: Any, workers: str) -> Any:
    count = thread_count() if workers == AUTO else int(workers)
    return distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, host="tls://127.0.0.1",
        security=distributed.Security.temporary(), silence_logs=50,
    )  # fmt: skip


def _slurm_cluster(distributed: Any, scheme: Scheme, workers: str) -> Any:
    """Jobs of one worker each, replaced when they die, none while there is nothing to do."""
    from dask_jobqueue.slurm import SLURMCluster

    memory = math.ceil(int(scheme.told["memory"]) * 1.25 / 2**20 / 100) * 100
    try:
        wall = read_time(os.environ.get(LIMIT) or WALL_TIME)
    except ValueError as why:
        raise UsageError(f"{LIMIT}={os.environ[LIMIT]}: {why}", "such as 90, 04:00:00 or 1-12:00:00") from None
    lifetime, stagger = (f"{round(60 * part * minutes_of(wall))}s" for part in (LEAVES, STAGGERED))
    cluster = SLURMCluster(
        cores=1, processes=1, memory=f"{memory}MiB", walltime=wall, protocol="tls://",
        security=distributed.Security.temporary(), shared_temp_directory=str(scheme.folder.resolve()),
        log_directory=str((scheme.folder / "logs").resolve()), scheduler_options={"dashboard_address": None},
        worker_extra_args=["--lifetime", lifetime, "--lifetime-stagger", stagger],
        job_script_prologue=[f'export PYTHONPATH="{ROOT}:$PYTHONPATH" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1'],
    )  # fmt: skip
    cluster.adapt(minimum_jobs=1, maximum_jobs=MOST_JOBS if workers == AUTO else int(workers))
    return cluster
