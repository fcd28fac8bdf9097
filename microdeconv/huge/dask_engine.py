"""The engine of a Dask cluster: one here, one that stands, or one of Slurm jobs that grows and shrinks.

A scheduler's port runs whatever it is sent: what is started here speaks TLS, with keys of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from microdeconv.batch.pool import ROOT
from microdeconv.batch.worker import attempt
from microdeconv.errors import MicrodeconvError, UnavailableError
from microdeconv.huge.jobs import Job, JobTask, Outcome
from microdeconv.huge.scheme import Scheme
from microdeconv.machine import thread_count
from microdeconv.options import AUTO

AHEAD = 3  # jobs a worker that the scheduler has in hand
LEAST_AHEAD = 8
TICK = 1.0  # seconds
ANSWER = 20  # seconds that a scheduler has
MOST_JOBS = 100  # of Slurm, where nobody says
WALL_TIME = "04:00:00"
LIFETIME = ("225m", "10m")  # a worker leaves in order before its job's end, and not all at once
MEMORY_SHORT = 71
PATIENCE = 12 * 3600.0  # seconds without any worker


class NoWorkerError(MicrodeconvError):
    """A cluster that gives nobody to do the work."""

    exit_code = 75


def library() -> Any:
    """Import Dask's scheduler.

    Raises
    ------
    UnavailableError
        When it is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise UnavailableError("--engine dask needs the extra cluster", 'pip install "microdeconv[cluster]"') from None
    return distributed


def do(task: JobTask) -> tuple[str, dict[str, Any]]:
    """Do a job in a worker of Dask; what goes wrong is told, not raised."""
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

    Raises
    ------
    UnavailableError
        When the extra is missing, or the scheduler does not answer.
    """

    def __init__(self, scheme: Scheme, workers: str, scheduler: str | None) -> None:
        distributed = library()
        self.folder = str(scheme.folder.resolve())
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

        Raises
        ------
        NoWorkerError
            When there has been no worker for half a day: jobs that died are replaced, but may wait in a queue.
        """
        distributed = library()
        queue = iter(jobs)
        in_hand: dict[Any, Job] = {}
        seen = looked = time.monotonic()
        workers = 0
        while True:
            now = time.monotonic()
            if now - looked > TICK or not workers:
                workers, looked = len(self.client.scheduler_info(n_workers=-1)["workers"]), now
                seen = now if workers else seen
            if now - seen > PATIENCE:
                raise NoWorkerError(f"no worker was granted for {PATIENCE / 3600:g} hours", "run it again later")
            room = max(LEAST_AHEAD, AHEAD * workers) - len(in_hand)
            for job in islice(queue, max(room, 0)):
                in_hand[self.client.submit(do, JobTask(self.folder, job, {"threads": 1}), pure=False)] = job
            if not in_hand:
                return
            try:
                ended = distributed.wait(list(in_hand), timeout=TICK, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                ended = set()
            for future in ended:
                yield _outcome(in_hand.pop(future), future)
            yield None

    def close(self) -> None:
        """End what was started here."""
        client, self.client = getattr(self, "client", None), None
        for one in (client, self._cluster):
            if one is not None:
                one.close()
        self._cluster = None


def _outcome(job: Job, future: Any) -> Outcome:
    if future.status == "finished":
        kind, told = future.result()
        return Outcome(job, kind, told)
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        message, code = "several workers died of it", MEMORY_SHORT
    else:
        message, code = f"{type(error).__name__}: {error}", UnavailableError.exit_code
    return Outcome(job, "failed", {"exit": code, "message": message, "remedy": "more memory, or a smaller --tile"})


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
    lifetime, stagger = LIFETIME
    cluster = SLURMCluster(
        cores=1, processes=1, memory=f"{memory}MiB", walltime=WALL_TIME, protocol="tls://",
        security=distributed.Security.temporary(), shared_temp_directory=str(scheme.folder.resolve()),
        log_directory=str((scheme.folder / "logs").resolve()), scheduler_options={"dashboard_address": None},
        worker_extra_args=["--lifetime", lifetime, "--lifetime-stagger", stagger],
        job_script_prologue=[f'export PYTHONPATH="{ROOT}:$PYTHONPATH" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1'],
    )  # fmt: skip
    cluster.adapt(minimum_jobs=1, maximum_jobs=MOST_JOBS if workers == AUTO else int(workers))
    return cluster
