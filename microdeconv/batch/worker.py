"""The process that does one unit after another for a batch; it dies with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from microdeconv.errors import MicrodeconvError, RefusedError
from microdeconv.io.stacks import digest, identity
from microdeconv.request import Request

Listen = Callable[[str, int, int], None]
OUR_BUG = 70
ENDED = 128 + signal.SIGTERM
EVERY = 1.0  # seconds between words about a unit's progress


class Work(Protocol):
    """What a worker can be given."""

    @property
    def output(self) -> Path | None:
        """Beside it lies what is half written, if anything is."""

    def do(self, listen: Listen) -> dict[str, Any]:
        """Do it, and tell of its steps."""


@dataclass(frozen=True, slots=True)
class Task:
    """A stack that a worker is given.

    Attributes
    ----------
    request
        What is to be done.
    sha256
        What the input's must be; empty when nobody says.
    """

    request: Request
    sha256: str = ""

    @property
    def output(self) -> Path | None:
        """Beside it lies what is half written."""
        return self.request.output

    def do(self, listen: Listen) -> dict[str, Any]:
        """Do it; give what the journal and the report need."""
        return _done(self, listen)


def main(handle: int, parent: int) -> None:
    """Do what comes through a pipe until it closes.

    Parameters
    ----------
    handle
        File descriptor of the pipe.
    parent
        Process that the worker dies with.
    """
    if sys.platform == "linux":
        set_pdeathsig = 1  # prctl.h
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):  # the parent decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    pipe: Connection[Any, Any] = Connection(handle)
    while True:
        try:
            task: Work = pipe.recv()
            pipe.send(answer(task, pipe))
        except (EOFError, OSError):
            os._exit(0)  # nothing is open; the libraries' own clean-up takes long


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_IGN)
    sys.exit(ENDED)  # partial outputs are removed on the way


def answer(task: Work, pipe: Connection[Any, Any]) -> tuple[str, dict[str, Any]]:
    """Do a task and tell of its steps now and then; see `attempt`."""
    last = time.perf_counter()

    def listen(work: str, step: int, steps: int) -> None:
        nonlocal last
        if time.perf_counter() - last > EVERY:
            last = time.perf_counter()
            pipe.send(("step", {"work": work, "step": step, "steps": steps}))

    return attempt(task, listen)


def attempt(task: Work, listen: Listen) -> tuple[str, dict[str, Any]]:
    """Do a task: ("done", what it gives) or ("failed", code, message and remedy)."""
    try:
        return "done", task.do(listen)
    except MicrodeconvError as error:
        return "failed", {"exit": error.exit_code, "message": error.message, "remedy": error.remedy}
    except Exception as error:  # noqa: BLE001 (one stack must not stop the others)
        from microdeconv.machine import is_out_of_memory

        if is_out_of_memory(error):
            return "failed", {"exit": 71, "message": "memory ran out", "remedy": "fewer --workers, or a smaller --tile"}
        message = f"a bug of ours: {type(error).__name__}: {error}"
        return "failed", {"exit": OUR_BUG, "message": message, "remedy": "run it alone with -v and report it"}


def _done(task: Task, listen: Listen) -> dict[str, Any]:
    from microdeconv.machine import peak_memory, prepare
    from microdeconv.pipeline import execute, save_settings
    from microdeconv.planning import plan

    started = time.perf_counter()
    request = task.request
    if task.sha256:
        _compare(request, task.sha256)
    before = identity(request.input) if request.input.exists() else (0, 0)  # `plan` tells what is missing
    todo = plan(request)
    prepare(todo.machine)
    outcome = execute(todo, listen)
    save_settings(todo, outcome)
    after = identity(outcome.output)
    return {
        "input_size": before[0], "input_time": before[1], "input_sha256": outcome.record["input_sha256"],
        "size": after[0], "time": after[1], "sha256": digest(outcome.output),
        "seconds": time.perf_counter() - started, "memory": peak_memory(), "warnings": list(outcome.notes),
    }  # fmt: skip


def _compare(request: Request, wanted: str) -> None:
    try:
        found = digest(request.input)
    except OSError:
        return  # `plan` tells it
    if not found.startswith(wanted):
        raise RefusedError(f"{request.input}: its SHA-256 is {found}, not {wanted}", "fetch the file again")
