"""Kill -9 at a chosen system call: a process that has everything imported forks a child, and strace kills that.

Run as a program it is the process that forks: it reads lines of a task and a folder, and says the child's number and how
that ended. A child has one thread until it begins, and everything it does is in one process, workers included: what a
kill leaves is what a node's death leaves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CALLS = "write,pwrite64,fsync,link,linkat,rename,renameat,renameat2,mkdir,unlink,unlinkat,rmdir"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ZARR_THREADING__MAX_WORKERS": "1",  # strace counts by thread: shared out by chance, a point may not come
    "ZARR_ASYNC__CONCURRENCY": "1",
}


def why_not() -> str:
    """Say why there can be no sweep here; nothing when there can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"ptrace is not allowed here ({done.stderr.strip()[:80]})"


class Sweep:
    """A process that forks children to be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], env=ENVIRONMENT, text=True, bufsize=1,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def run(self, task: str, folder: Path, kill: tuple[str, int] | None = None) -> int:
        """Do a task, killed at the nth of a system call; give how it ended, -9 when it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{task} {folder}\n")
        child = self._process.stdout.readline().strip()
        inject = ["-e", f"inject={kill[0]}:signal=KILL:when={kill[1]}"] if kill else []
        words = [
            "strace",
            "-f",
            "-y",
            "-p",
            child,
            "-e",
            f"trace={CALLS}",
            *inject,
            "-o",
            str(folder.with_suffix(".log")),
        ]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            assert "attached" in said, said
            folder.with_suffix(".go").touch()
            ended = int(self._process.stdout.readline())
            strace.wait(20)
        folder.with_suffix(".go").unlink()
        return ended

    def points(self, folder: Path) -> list[tuple[str, int]]:
        """Give the system calls of the last, undisturbed run as they came; strace counts them by thread and name."""
        seen: Counter[tuple[str, str]] = Counter()
        found = []
        for line in folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"(\d+)\s+(\w+)\(", line)
            if match:
                seen[match[1], match[2]] += 1
                found.append((match[2], seen[match[1], match[2]]))
        return list(dict.fromkeys(found))


class PoolHere:
    """A batch's pool of one worker, which is this process."""

    def __init__(self, parts: Any) -> None:
        self.share, self.unit, self.workers = parts[0], None, [self]

    def give(self, unit: Any, task: Any) -> None:
        self.unit, self.task = unit, task

    @property
    def busy(self) -> list[Any]:
        return [] if self.unit is None else [self]

    @property
    def idle(self) -> list[Any]:
        return [self] if self.unit is None else []

    def wait(self, seconds: float) -> Any:
        from microdeconv.batch.pool import Event
        from microdeconv.batch.worker import attempt

        unit, self.unit = self.unit, None
        if unit is not None:
            yield Event(self, unit, *attempt(self.task, lambda *_: None))  # type: ignore[arg-type]

    def stop(self) -> list[Any]:
        return []


def tile(folder: Path) -> int:
    """Do the second tile of a plan."""
    from huge_files import drive_for, plan_of

    from microdeconv.batch.shards import Shard
    from microdeconv.huge.scheme import load

    drive = drive_for(load(plan_of(folder)))
    drive.shard, drive.needed = Shard(2, 6), [1] if 1 in drive.needed else []
    return drive.run()


def finish(folder: Path) -> int:
    """Finish a plan."""
    from huge_files import Here

    from microdeconv.huge import finish as module

    output = folder / "out.ome.zarr"
    scheme = module.scheme_of(output)
    module.finish(scheme, output, Here(scheme), lambda *_: None)
    return 0


def batch(folder: Path, *more: str) -> int:
    """Do the one stack of a batch, to a TIFF."""
    from batch_files import OPTIONS

    from microdeconv.batch import prepare
    from microdeconv.cli.app import main

    prepare.Pool = PoolHere  # type: ignore[assignment,misc]
    os.chdir(folder)
    return main(["batch", "s00.tif", "-o", "out", *OPTIONS, "-q", *more])


def batch_zarr(folder: Path) -> int:
    """Do it to an OME-Zarr."""
    return batch(folder, "--format", "ome-zarr")


def main() -> None:
    import torch  # noqa: F401

    import microdeconv.cli.app
    import microdeconv.huge.finish
    import microdeconv.huge.unit
    import microdeconv.pipeline  # noqa: F401

    for line in sys.stdin:
        task, name = line.split(maxsplit=1)
        folder = Path(name.strip())
        child = os.fork()
        if child == 0:
            while not folder.with_suffix(".go").exists():
                time.sleep(0.005)
            os._exit(globals()[task](folder))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
