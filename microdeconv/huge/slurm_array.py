"""Slurm and one huge stack: an array whose tasks each do a part of the plan, and the job that finishes it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from microdeconv.batch.estimate import SPARE_MEMORY
from microdeconv.batch.shards import Shard
from microdeconv.batch.slurm import Job, last_script, one_after_the_other, requeues, script, submit
from microdeconv.huge.drive import tiles_left
from microdeconv.huge.prepare import Asked
from microdeconv.huge.scheme import Scheme
from microdeconv.huge.state import State
from microdeconv.options import AUTO

MOST = 1000  # tasks, where nobody says; sites often allow no more
TIME = "1-00:00:00"  # a task that needs longer is requeued: its tiles in hand are all that is done again


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asks of Slurm for each task; what is None follows from the plan.

    Attributes
    ----------
    tasks, time, memory
        Of the array; as Slurm takes it; megabytes.
    cpus, gpus
        Of each task. With GPUs a worker for each, else a worker for each processor.
    partition
        Where; empty for the site's own.
    requeue
        As `Job` has it.
    """

    tasks: int | None = None
    time: str | None = None
    memory: int | None = None
    cpus: int = 1
    gpus: int = 0
    partition: str = ""
    requeue: Literal["auto", "site", "script"] = "auto"


def job_for(scheme: Scheme, left: int, wishes: Wishes) -> tuple[Job, int]:
    """Give what each task asks for, and its workers."""
    workers = wishes.gpus or wishes.cpus
    memory = math.ceil(workers * int(scheme.told["memory"]) * SPARE_MEMORY / 2**20 / 100) * 100
    who = requeues() if wishes.requeue == "auto" else wishes.requeue
    return Job(min(left, wishes.tasks or MOST), wishes.time or TIME, wishes.memory or memory, wishes.cpus,
               wishes.gpus, wishes.partition, who), workers  # fmt: skip


def left_of(scheme: Scheme, *, anew: bool = False) -> int:
    """How many tiles are not done; `anew`: as if none were."""
    state = State(scheme.folder)
    if not anew:
        state.refresh()
    return len(tiles_left(scheme, Shard(), state))


def both(scheme: Scheme, output: Path, words: Sequence[str], left: int, wishes: Wishes) -> str:
    """Write the script that submits the array and the job that finishes.

    Parameters
    ----------
    scheme, output
        The plan, and the result's name.
    words
        The call of `batch` that each task makes, without workers and part.
    left
        Tiles that are not done.
    wishes
        What is asked for.
    """
    job, workers = job_for(scheme, left, wishes)
    tasks = script([*words, "--workers", str(workers)], scheme.folder.resolve(), Path.cwd(), job)
    log = output.resolve().with_name(f"{output.name}.finish-%j.log")  # the plan's folder goes away meanwhile
    last = last_script(["finish", str(output), "--workers", str(wishes.cpus)], log, Path.cwd(), job)
    return one_after_the_other(tasks, last)


def submit_array(
    scheme: Scheme, asked: Asked, words: Sequence[str], say: Callable[[str], None], *, dry_run: bool
) -> int:
    """Submit the tasks, or print their script; give the exit code.

    Parameters
    ----------
    scheme, asked
        The plan and what was asked for; `workers` are the tasks.
    words
        The call of `batch` that each task makes, without its part.
    say
        Tells a person.
    dry_run
        Whether the script is only printed.

    Raises
    ------
    UnavailableError
        Where there is no Slurm, or it refuses.
    """
    left = left_of(scheme, anew=dry_run and asked.restart)
    if not left:
        say(f"all tiles are done: microdeconv finish {asked.output}")
        return 0
    threads = asked.common.values["threads"].value
    job, _ = job_for(scheme, left, Wishes(None if asked.workers == AUTO else int(asked.workers)))
    if threads != AUTO:
        job = replace(job, cpus=int(threads))
    text = script([*words, "--workers", "1"], scheme.folder.resolve(), Path.cwd(), job)
    if dry_run:
        sys.stdout.write(text)
        return 0
    number = submit(text, scheme.folder.resolve())
    say(
        f"submitted as job {number}: {job.tasks} tasks of {job.memory} MB; "
        "SBATCH_PARTITION, SBATCH_TIMELIMIT and the like act"
    )
    say(f"when it has ended: microdeconv finish {asked.output}")
    return 0
