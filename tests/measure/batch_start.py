"""How a batch of many rows starts: seconds to the first unit, peak memory, and the same of a rerun with nothing to do.

    python tests/measure/batch_start.py 1000 10000
    python tests/measure/batch_start.py --journal 1000000

The stacks are links to one small file; a dry run does all that comes before the first unit. `--journal N` writes a
journal of N units and opens it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from batch_files import make_stacks  # noqa: E402


def start(rows: int) -> None:
    """Time a dry run of a manifest of so many rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_stacks(folder, 1)
        for number in range(rows):
            os.link(folder / "s00.tif", folder / f"t{number:06}.tif")
        lines = [f"t{number:06}.tif,psf.tif,{5 + number % 40}" for number in range(rows)]
        (folder / "m.csv").write_text("input,psf,iterations\n" + "\n".join(lines) + "\n", encoding="utf-8")
        words = [sys.executable, "-m", "microdeconv", "batch", "m.csv", "-o", "out", "--dry-run"]
        began, used = time.perf_counter(), os.times()
        process = subprocess.Popen(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        assert process.stdout is not None
        told = len(process.stdout.read().splitlines())
        _, status, usage = os.wait4(process.pid, 0)
        assert (told, status) == (rows, 0), (told, status)
        seconds = time.perf_counter() - began
        own = usage.ru_utime + usage.ru_stime
        del used
        print(f"{rows:,} rows: {seconds:.2f} s ({own:.2f} s of the processor), {usage.ru_maxrss / 1024:.0f} MiB")


def journal(units: int) -> None:
    """Write a journal of so many units, and time its opening."""
    from microdeconv.batch.journal import Done, Journal

    with tempfile.TemporaryDirectory() as name:
        one = Journal(Path(name))
        one.folder.mkdir()
        with (one.folder / "done-0-host-1.jsonl").open("w", encoding="utf-8") as file:
            import json

            for number in range(units):
                key = f"plate{number // 1000:04}/well{number:07}_decon.tif"
                line = Done(1, key, 33554432, 1795582306148366552, "2seQEdFCKs5wE5QRBM6Ezg", "484996c29bd0", "0.1.0",
                            33554432, 1795582331069220117, "mPtVhGrEpWnrEHYxVf6bsQ", 123.45)  # fmt: skip
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        size = sum(path.stat().st_size for path in one.folder.iterdir())
        began, own = time.perf_counter(), time.process_time()
        done, _ = one.load()
        seconds, own = time.perf_counter() - began, time.process_time() - own
        assert len(done) == units
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{units:,} units: {size / 1e6:.0f} MB, opened in {seconds:.1f} s ({own:.1f} s of the processor), "
              f"{peak:.0f} MiB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*")
    parser.add_argument("--journal", type=int, default=0)
    asked = parser.parse_args()
    for rows in asked.rows:
        start(rows)
    if asked.journal:
        journal(asked.journal)


if __name__ == "__main__":
    main()
