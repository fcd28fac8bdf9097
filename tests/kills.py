"""A batch that is killed at random times until it is done, and what is wrong with it afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from batch_files import OPTIONS, begun, journal, leftovers, results
from huge_files import OPTIONS as TILE_OPTIONS

COMMAND = (sys.executable, "-m", "microdeconv", "batch", "s*.tif", *OPTIONS, "-q")

# one thread, as `calm` has: others add up in another order
TILES = (sys.executable, "-m", "microdeconv", "batch", "--tiles", "s.tif", *TILE_OPTIONS, "--threads", "1", "-q")


def finish(folder: Path, output: Path, workers: int, environment: dict[str, str]) -> float:
    """Run the batch undisturbed; give the seconds."""
    started = time.monotonic()
    words = (*COMMAND, "-o", str(output), "--workers", str(workers))
    subprocess.run(words, cwd=folder, env=environment, check=True, timeout=900)
    return time.monotonic() - started


def kill_once(folder: Path, output: Path, workers: int, after: float, dice: random.Random,
              environment: dict[str, str], command: tuple[str, ...] = COMMAND,
              ready: Callable[[], bool] = lambda: True) -> str:  # fmt: skip
    """Start the batch and kill -9 it, or a worker of it, at a random time after it is ready; say what was hit."""
    words = (*command, "-o", str(output), "--workers", str(workers))
    process = subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    hit = "nothing"
    while process.poll() is None and not ready():
        time.sleep(0.02)
    with suppress(subprocess.TimeoutExpired):
        process.wait(dice.uniform(0, after))
    if process.poll() is None:
        children = []
        with suppress(psutil.Error):
            children = psutil.Process(process.pid).children()
        if children and dice.random() < 0.3:
            os.kill(dice.choice(children).pid, signal.SIGKILL)
            hit = "a worker"
            with suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0, after / 4))
        if process.poll() is None:
            process.kill()
            hit = "all" if hit == "nothing" else "a worker, then all"
        process.wait()
        assert not outliving(children), "workers outlived the batch by 2 s"
    return hit


def outliving(processes: list[psutil.Process], seconds: float = 2) -> list[psutil.Process]:
    """Give those that live after so many seconds; a zombie is dead, when its new parent asks for it is not ours."""
    until = time.monotonic() + seconds
    while (alive := [one for one in processes if _lives(one)]) and time.monotonic() < until:
        time.sleep(0.05)
    return alive


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def check_after(output: Path, workers: int) -> int:
    """Check the folder after a kill; give the units that were begun and not done."""
    done = [line[1] for line in journal(output)]
    assert len(done) == len(set(done)), "a unit was done twice"
    lost = begun(output)
    assert lost <= workers, f"{lost} units were begun by {workers} workers"
    return lost


def check_end(output: Path, wanted: dict[str, bytes]) -> None:
    """Check the folder of a batch that is done."""
    assert results(output) == wanted, "the bytes differ from those of the undisturbed run"
    assert leftovers(output) == []
    assert len(journal(output)) == len(wanted)
