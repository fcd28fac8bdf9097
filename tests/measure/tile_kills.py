"""Kill -9 at random times while tiles of one stack are done, then finish: the bytes are those of an undisturbed run.

    python tests/measure/tile_kills.py --kills 60 --seed 1 --workers 1

A kill falls within a second (--within) of a start, or of one to three more tiles being done. It hits the batch (its workers die with it) or, three times in ten, one worker first. When all tiles are done the
stack is finished and compared, and a new round begins.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from huge_files import make_stack, plan_of, tiles_done  # noqa: E402
from kills import TILES, kill_once  # noqa: E402

from microdeconv.io.stacks import digest  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--edge", type=int, default=128, help="of the stack; tiles have 32")
    parser.add_argument("--within", type=float, default=1.0, help="seconds; see above")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    make_stack(folder, shape=(4, asked.edge, asked.edge))

    def whole(name: str) -> list[str]:
        program, workers = (sys.executable, "-m", "microdeconv"), ("--workers", str(asked.workers))
        for words in ((*TILES, "-o", name, *workers), (*program, "finish", name, *workers), (*program, "check", name)):
            subprocess.run(words, cwd=folder, env=environment, check=True, timeout=900, stderr=subprocess.DEVNULL)
        return [digest(level) for level in sorted((folder / name).glob("[0-9]"))]

    wanted = whole("calm.ome.zarr")
    hits: Counter[str] = Counter()
    rounds = 0
    while hits.total() - hits["nothing"] < asked.kills:
        rounds += 1
        name = f"round{rounds}.ome.zarr"
        hit = ""
        while hit != "nothing" and hits.total() - hits["nothing"] < asked.kills:
            more = tiles_done(folder, name) + dice.randrange(4)

            def ready(name: str = name, more: int = more) -> bool:
                return tiles_done(folder, name) >= more

            hit = kill_once(folder, folder / name, asked.workers, asked.within, dice, environment, TILES, ready)
            hits[hit] += 1
            print(f"{hits.total()}: {hit}; {tiles_done(folder, name)} tiles done", flush=True)
        assert whole(name) == wanted, f"round {rounds}: the bytes differ"
        assert not plan_of(folder, name).exists()
    print(f"{hits.total() - hits['nothing']} kills in {rounds} rounds, seed {asked.seed}: {dict(hits)}")
    print("bytes of all levels equal to the undisturbed run in every round")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
