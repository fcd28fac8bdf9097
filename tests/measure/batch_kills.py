"""Kill -9 at random times in a batch of 20 stacks, again and again: the bytes are those of an undisturbed run.

    python tests/measure/batch_kills.py --kills 100 --seed 1 --workers 1

A kill falls within a third of a second (--within) of a start, or of one to three more stacks being done. It hits the
batch (its workers die with it) or, three times in ten, one worker first. When the 20 are done a new folder is begun.
Told at the end: the kills, what they hit, the most units a kill cost, and whether all bytes are equal.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from batch_files import journal, make_stacks, results  # noqa: E402
from kills import check_after, check_end, finish, kill_once  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stacks", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--within", type=float, default=0.3, help="seconds; see above")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    make_stacks(folder, asked.stacks)
    whole = finish(folder, folder / "calm", asked.workers, environment)
    wanted = results(folder / "calm")
    print(f"undisturbed: {len(wanted)} stacks in {whole:.0f} s")
    hits: Counter[str] = Counter()
    lost: list[int] = []
    rounds = 0
    while sum(n for hit, n in hits.items() if hit != "nothing") < asked.kills:
        rounds += 1
        output = folder / f"round{rounds}"
        while len(journal(output)) < asked.stacks and sum(hits.values()) - hits["nothing"] < asked.kills:
            more = len(journal(output)) + dice.randrange(4)

            def ready(output: Path = output, more: int = more) -> bool:
                return len(journal(output)) >= more

            hits[kill_once(folder, output, asked.workers, asked.within, dice, environment, ready=ready)] += 1
            lost.append(check_after(output, asked.workers))
            print(f"{sum(hits.values())}: {len(journal(output))} done, {lost[-1]} begun", flush=True)
        finish(folder, output, asked.workers, environment)
        check_end(output, wanted)
    print(f"{sum(hits.values()) - hits['nothing']} kills in {rounds} rounds, seed {asked.seed}: {dict(hits)}")
    print(
        f"units begun and not done after a kill: {sum(lost)} in all, at most {max(lost)} of {asked.workers} worker(s)"
    )
    print("bytes equal to the undisturbed run in every round; no unit done twice; nothing left over")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
