"""The engine of Slurm: an array whose tasks each do a part of the plan that was just made."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from microdeconv.batch.estimate import SPARE_MEMORY
from microdeconv.batch.slurm import Job, requeues, script, submit
from microdeconv.huge.prepare import Asked
from microdeconv.huge.scheme import Scheme
from microdeconv.options import AUTO

MOST = 1000  # tasks, where nobody says; sites often allow no more
TIME = "1-00:00:00"  # a task that needs longer is requeued: its tiles in hand are all that is done again


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
    left = scheme.count - len(_done(scheme))
    if not left:
        say(f"all tiles are done: microdeconv finish {asked.output}")
        return 0
    tasks = min(left, MOST if asked.workers == AUTO else int(asked.workers))
    threads = asked.common.values["threads"].value
    memory = math.ceil(int(scheme.told["memory"]) * SPARE_MEMORY / 2**20 / 100) * 100
    job = Job(tasks, TIME, memory, 1 if threads == AUTO else int(threads), requeue=requeues())
    text = script([*words, "--workers", "1"], scheme.folder.resolve(), Path.cwd(), job)
    if dry_run:
        sys.stdout.write(text)
        return 0
    number = submit(text, scheme.folder.resolve())
    say(f"submitted as job {number}: {tasks} tasks of {memory} MB; SBATCH_PARTITION, SBATCH_TIMELIMIT and the like act")
    say(f"when it has ended: microdeconv finish {asked.output}")
    return 0


def _done(scheme: Scheme) -> set[int]:
    from microdeconv.huge.state import State

    state = State(scheme.folder)
    state.refresh()
    return set(state.done)
