"""How much memory and time stacks will take: from their plans, and from Fourier transforms timed on the spot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microdeconv.errors import MicrodeconvError
from microdeconv.io.stacks import identity
from microdeconv.machine import Machine
from microdeconv.options import AUTO, for_channel
from microdeconv.planning import Plan, plan
from microdeconv.request import Request
from microdeconv.settle import JUDGED
from microdeconv.solve import Stopping

TRANSFORMS = 2.0  # real transforms of the whole grid that a step costs, `tests/measure/speed.py`
USUAL = 40  # steps that the automatic stop takes, in the middle of many stacks
GUARDED = 5.0  # times its companion that the learnt method takes: both twice, the network, the steps after it
CHOOSING = 6.0  # steps on the part that is judged for each one taken: two halves, thrice as far
OVERHEAD = 1.5  # seconds for a stack beside its steps: opening, background, writing
TIMED = 2**21  # voxels of the transform that is timed
PLANNED = 12  # kinds of stacks that are planned, the others are taken for like the largest
SPARE_MEMORY, SPARE_TIME = 1.25, 1.5  # for what is asked of Slurm, over what is expected
PARENT = 150 * 10**6  # bytes of the batch's own process


@dataclass(frozen=True, slots=True)
class Expected:
    """What a stack, or several alike, will take.

    Attributes
    ----------
    path
        The stack, or the largest of them.
    count
        How many are taken to be alike.
    memory
        Bytes of one process.
    seconds, most
        Of each: with the steps that are given or usual, and with the most that may be taken.
    """

    path: Path
    count: int
    memory: int
    seconds: float
    most: float


def transform_rate(machine: Machine) -> float:
    """Time real transforms; give seconds for n log2 n, n voxels."""
    import torch

    edge = round(TIMED ** (1 / 3) / 16) * 16
    volume = torch.rand((edge, edge, edge), device=machine.device)
    torch.fft.rfftn(volume)
    best = math.inf
    for _ in range(3):
        started = time.perf_counter()
        float(torch.fft.rfftn(volume).abs().max())
        best = min(best, time.perf_counter() - started)
    return best / float(edge**3 * math.log2(edge**3))


def expect(todo: Plan, rate: float, planning: float, count: int = 1) -> Expected:
    """Give what a plan will take.

    Parameters
    ----------
    todo
        The plan.
    rate
        From `transform_rate`.
    planning
        Seconds that the plan took: its PSFs are computed again when it is done.
    count
        Stacks that are like it.
    """
    stopping: Stopping = todo.group(Stopping)
    seconds = most = 0.0
    for channel in todo.channels:
        n = math.prod(channel.cut.grid)
        one = TRANSFORMS * rate * n * math.log2(max(n, 2)) * (len(channel.psf.parts) + 1) / 2
        asked = for_channel(stopping.iterations, channel.number)
        iterative = todo.method.stopped.iterative and not todo.method.keeps_counts
        usual, cap = (USUAL, stopping.max_iterations) if asked == AUTO else (int(asked), int(asked))
        if not iterative:
            usual = cap = 1
        share = min(1.0, JUDGED / math.prod(todo.stack.header.volume_shape))
        chosen = CHOOSING * share * one if asked == AUTO and iterative else 0.0
        for_all = channel.cut.tiles * len(todo.times) * one * (GUARDED if todo.method.companion else 1)
        seconds += usual * (for_all + chosen)
        most += cap * (for_all + chosen)
    fixed = planning + OVERHEAD * len(todo.channels) * len(todo.times)
    return Expected(todo.request.input, count, todo.memory, seconds + fixed, most + fixed)


def estimate(
    requests: Sequence[Request], machine: Machine, failed: Callable[[Request, MicrodeconvError], None]
) -> list[Expected]:
    """Plan stacks, one of each kind, and give what they will take.

    Parameters
    ----------
    requests
        All stacks; those of one size in bytes (to a tenth) and one set of options are of one kind.
    machine
        Where they are to be done.
    failed
        Called with a stack that cannot be planned, and why.
    """
    kinds: dict[Any, list[Request]] = {}
    for request in requests:
        size = max(_size(request.input), 1)
        values = repr([sorted(layer) for _, layer in request.layers])
        kinds.setdefault((round(math.log(size) / math.log(1.1)), values), []).append(request)
    groups = sorted(kinds.values(), key=lambda group: -max(_size(one.input) for one in group))
    groups = [*groups[: PLANNED - 1], [one for group in groups[PLANNED - 1 :] for one in group]]
    rate = transform_rate(machine)
    found = []
    for group in groups:
        for request in sorted(group, key=lambda one: -_size(one.input)):
            started = time.process_time()  # what else the machine does is not its own
            try:
                todo = plan(request)
            except MicrodeconvError as error:
                failed(request, error)
                continue
            found.append(expect(todo, rate, time.process_time() - started, len(group)))
            break
    return found


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task of a job array needs: megabytes, minutes, and processors."""

    memory: int
    minutes: int
    cpus: int


def needs(expected: Iterable[Expected], tasks: int, cpus: int) -> Needs:
    """Give what to ask Slurm for, with room to spare.

    Parameters
    ----------
    expected
        Of all stacks.
    tasks
        That share them.
    cpus
        Of each; a batch has a worker on each when stacks are many.
    """
    all_of = list(expected)
    stacks = sum(one.count for one in all_of)
    each = max(1, math.ceil(stacks / tasks))
    workers = min(cpus, each)
    seconds = sum(one.count * one.seconds for one in all_of) / max(tasks * workers, 1)
    longest = max((one.most for one in all_of), default=0.0)
    minutes = math.ceil((SPARE_TIME * max(seconds, longest) + 300) / 600) * 10
    memory = workers * max((one.memory for one in all_of), default=0) * SPARE_MEMORY + PARENT
    return Needs(math.ceil(memory / 2**20 / 100) * 100, minutes, cpus)


def tasks_for(expected: Iterable[Expected], most: int = 1000) -> int:
    """Give a number of tasks of about an hour each."""
    all_of = list(expected)
    seconds = sum(one.count * one.seconds for one in all_of)
    return max(1, min(most, sum(one.count for one in all_of), math.ceil(seconds / 3600)))


def _size(path: Path) -> int:
    try:
        return identity(path)[0]
    except OSError:
        return 0
