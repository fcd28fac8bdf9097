"""The workers of a batch: processes of one interpreter each, with their share of the machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import microdeconv
from microdeconv.batch.worker import Work
from microdeconv.errors import UnavailableError
from microdeconv.io.atomic import remove

ROOT = str(Path(microdeconv.__file__).resolve().parents[1])
CODE = "import sys; sys.path.append({root!r}); from microdeconv.batch.worker import main; main({handle}, {parent})"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GRACE = 2.0  # seconds that a worker has to clean up before it is killed
LEAST = 500 * 10**6  # bytes that a worker takes before its first voxel, libraries included
EACH = 8  # bytes of memory held for a byte of input: the stack, its result, both of 4 bytes for 2, and copies
MANY = 2  # units a worker from which each has one thread


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker has of the machine: environment variables and options."""

    environment: Mapping[str, str]
    options: Mapping[str, Any]


def shares(
    workers: int | str, units: int, largest: int, threads: int, memory: int, device: str, gpus: Sequence[str] = ()
) -> list[Share]:
    """Divide the machine.

    Parameters
    ----------
    workers
        A number, or "auto": one for each thread when units are many, as few as units when they are few, and no
        more than the memory holds.
    units
        That are to be done.
    largest
        Bytes of the largest input.
    threads, memory
        Of all workers together.
    device
        As `--device` takes it, or "all": a worker for each of `gpus`.
    gpus
        As CUDA_VISIBLE_DEVICES names them.
    """
    if device == "all":
        count = min(len(gpus), max(units, 1)) if workers == "auto" else int(workers)
    elif workers == "auto":
        fit = max(1, memory // (LEAST + EACH * largest))
        count = max(1, min(threads, units, fit)) if device in ("auto", "cpu") else 1
        if device == "auto" and os.environ.get("CUDA_VISIBLE_DEVICES", "-") not in ("", "-"):
            count = 1  # one GPU was granted: workers would only share its memory
    else:
        count = int(workers)
    each = max(1, threads // count)
    own = {"threads": each, "memory": memory // count}
    names = dict.fromkeys(THREADS, str(each))
    if device == "all":
        return [Share({**names, "CUDA_VISIBLE_DEVICES": gpus[k % len(gpus)]}, {**own, "device": "cuda"})
                for k in range(count)]  # fmt: skip
    return [Share(names, {**own, "device": device})] * count


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES does.

    Raises
    ------
    UnavailableError
        When there is none.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        import torch

        found = [str(n) for n in range(torch.cuda.device_count())]
    else:
        found = [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    if not found:
        raise UnavailableError("--device all: this machine has no GPU", "leave it out to use the CPU")
    return found


@dataclass(slots=True)
class Event:
    """What a worker told of a unit, whatever that is: "step", "done" or "failed" with details, or "died" with how."""

    worker: Worker
    unit: Any
    kind: str
    told: dict[str, Any]


@dataclass(slots=True)
class Worker:
    """One process, or the place of one that will be started when there is work."""

    share: Share
    process: subprocess.Popen[bytes] | None = None
    pipe: Connection[Any, Any] | None = None
    unit: Any = None
    output: Path | None = None
    spoken: dict[str, Any] = field(default_factory=dict)

    def give(self, unit: Any, task: Work) -> None:
        """Give it a unit; start it first, where it does not live."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        self.unit, self.output = unit, task.output
        with suppress(OSError):  # dead again: `Pool.wait` sees it
            if self.pipe is not None:
                self.pipe.send(task)

    def _start(self) -> None:
        ours, theirs = Pipe()
        code = CODE.format(root=ROOT, handle=theirs.fileno(), parent=os.getpid())
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else None,
            env={**os.environ, **self.share.environment},
        )  # fmt: skip
        theirs.close()
        self.pipe = ours

    def end(self, patience: float = GRACE) -> None:
        """End it; kill it when it does not, and remove what it left half written."""
        process = self.process
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        if process.poll() is None:
            process.kill()
            process.wait()
        self._sweep(process.pid)
        if self.pipe is not None:
            self.pipe.close()
        self.process = self.pipe = self.unit = None

    def _sweep(self, pid: int) -> None:
        if self.output is not None:
            for one in self.output.parent.glob(f".*.{socket.gethostname()[:40]}.{pid}.partial"):
                remove(one)


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, AttributeError, ValueError):
        return False
    return True


class Pool:
    """Workers, each with its share."""

    def __init__(self, parts: Sequence[Share]) -> None:
        self.workers = [Worker(part) for part in parts]

    @property
    def busy(self) -> list[Worker]:
        """Those that have a unit."""
        return [one for one in self.workers if one.unit is not None]

    @property
    def idle(self) -> list[Worker]:
        """Those that have none."""
        return [one for one in self.workers if one.unit is None]

    def wait(self, seconds: float) -> Iterator[Event]:
        """Wait until a worker says something or dies; give what was said."""
        by_pipe = {one.pipe: one for one in self.busy if one.pipe is not None}
        if not by_pipe:
            time.sleep(min(seconds, 0.2))
            return
        for pipe in wait(list(by_pipe), seconds):
            worker = by_pipe[pipe]  # type: ignore[index]
            unit = worker.unit
            if unit is None or worker.pipe is None:
                continue
            try:
                kind, told = worker.pipe.recv()
            except (EOFError, OSError):
                kind, told = "died", {"how": _how(worker)}
                worker.end()
            if kind in ("done", "failed"):
                worker.unit = None
            yield Event(worker, unit, kind, told)

    def stop(self) -> list[Any]:
        """End all workers; give the units that they had in hand."""
        had = [one.unit for one in self.workers if one.unit is not None]
        for one in self.workers:
            if one.process is not None and one.process.poll() is None:
                if one.unit is not None:
                    one.process.terminate()
                elif one.pipe is not None:
                    one.pipe.close()  # it ends by itself
        until = time.monotonic() + GRACE
        for one in self.workers:
            one.end(max(0.0, until - time.monotonic()))
        return had


def _how(worker: Worker) -> str:
    """Say how a worker died."""
    if worker.process is None:
        return "ended"
    try:
        code = worker.process.wait(GRACE)
    except subprocess.TimeoutExpired:
        return "closed its pipe"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
