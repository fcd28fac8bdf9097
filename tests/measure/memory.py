"""What whole runs really take of memory, against what `--memory` allows.

usage: python tests/measure/memory.py [--threads 1 2 8] [--methods learnt] [--fields slab plane] [--budgets 1200MB]
For fields, PSFs, methods and budgets: tiles, and the peak as a share of the budget; the largest share last. Every share
should be below one, and not far below where the field needs tiles.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

FIELDS = {"slab": (16, 700, 700), "plane": (1, 3000, 3000), "deep": (60, 400, 400)}
OPTICS = {
    "confocal": "--na 1.2 --emission 520 --ri-immersion 1.33 --modality confocal --voxel 0.3 0.1",
    "widefield": "--na 1.2 --emission 520 --ri-immersion 1.33 --modality widefield --voxel 0.3 0.1",
}
METHODS = (
    "rl",
    "learnt",
    "rl --acceleration momentum",
    "rl-tv --regularisation 0.002",
    "wiener --noise-to-signal 0.01",
)
BUDGETS = ("700MB", "1200MB", "2500MB")


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--threads", type=int, nargs="+", default=[2])
    words.add_argument("--methods", nargs="+", default=METHODS)
    words.add_argument("--fields", nargs="+", default=FIELDS, choices=FIELDS)
    words.add_argument("--budgets", nargs="+", default=BUDGETS)
    given = words.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for name, shape in FIELDS.items():
            pixels = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
            tifffile.imwrite(path / f"{name}.tif", pixels, photometric="minisblack")
        for cell in itertools.product(given.fields, OPTICS, given.methods, given.budgets, given.threads):
            found = run(path, *cell)
            print(*cell, found[0], flush=True)
            worst = max(worst, found[1])
    print(f"largest peak: {worst:.2f} of the budget")


def run(path, field, optics, method, budget, threads):
    steps = "" if method.startswith("wiener") else "-n 2"
    words = f"run {field}.tif {OPTICS[optics]} --method {method} {steps} --memory {budget} --threads {threads}"
    words += " --background 10 --record --overwrite -q"
    call = [sys.executable, "-m", "microdeconv", *words.split()]
    done = subprocess.run(call, cwd=path, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1], 0.0
    record = json.loads((path / f"{field}_decon.json").read_text(encoding="utf-8"))
    share = record["peak_memory_bytes"] / (int(budget[:-2]) * 1e6)
    return f"{record['channels'][0]['tiles']} tiles, peak {share:.2f} of the budget", share


if __name__ == "__main__":
    main()
