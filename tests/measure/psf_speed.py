"""The time that a computed PSF takes: the call alone, and `microdeconv psf compute` as a whole process.

usage: python tests/measure/psf_speed.py [--shape 63,255,255] [--repeat 5]
An oil objective of NA 1.4, voxels 0.2 x 0.065 x 0.065 µm, vectorial: into a sample like the oil (symmetric in z) and
5 µm into water. Prints medians after one call to warm up, and where psfmodels is installed (Python 3.11, GPL: never a
dependency) the ratio to `psfmodels.make_psf` on the same case in the same run. Whether they use more than one core is
left to them; `taskset -c 0` holds both to one.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.pupil import Layers, Pupil
from microdeconv.stack import Zyx

NA, EMISSION_NM, OIL = 1.4, 520.0, 1.515
VOXEL = Zyx(0.2, 0.065, 0.065)
SAMPLES = {"no mismatch": (OIL, 0.0), "5 µm into water": (1.33, 5.0)}  # index, depth µm


def timed(work, repeat):
    work()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def psfmodels_call(index, depth, shape):
    import psfmodels

    focus = Pupil(NA, EMISSION_NM / 1000, Layers(index, OIL, depth)).focus_um()
    heights = focus + depth + (np.arange(shape[0]) - shape[0] // 2) * VOXEL.z
    return lambda: psfmodels.make_psf(
        heights, shape[1], dxy=VOXEL.x, pz=depth, NA=NA, wvl=EMISSION_NM / 1000, ns=index, ni=OIL, ni0=OIL, ng=OIL,
        ng0=OIL, model="vectorial",
    )  # fmt: skip


def whole_process(shape, repeat):
    """Seconds of the program, its start-up and the written file included, and of `import torch`, which it avoids."""
    with tempfile.TemporaryDirectory() as folder:
        words = f"--psf-recipe 63x-1.4-oil --emission {EMISSION_NM:g} --voxel 0.2,0.065,0.065 --overwrite --no-picture"
        call = [sys.executable, "-m", "microdeconv", "psf", "compute", str(Path(folder) / "psf.tif"), *words.split()]
        call += ["--shape", ",".join(map(str, shape))]
        ours = timed(lambda: subprocess.run(call, check=True, stderr=subprocess.DEVNULL), repeat)
    bare = timed(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True), repeat)
    return ours, bare


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--shape", default="63,255,255")
    words.add_argument("--repeat", type=int, default=5)
    given = words.parse_args()
    shape = tuple(int(n) for n in given.shape.split(","))
    print(f"{' x '.join(map(str, shape))}, vectorial, on {len(os.sched_getaffinity(0))} core(s)")
    for name, (index, depth) in SAMPLES.items():
        optics = Optics(na=NA, emission_nm=EMISSION_NM, ri_immersion=OIL, ri_sample=index, depth_um=depth)
        ours = timed(lambda o=optics: compute_psf(o, VOXEL, shape, "vectorial"), given.repeat)
        line = f"{name}: microdeconv {ours:.3f} s"
        if importlib.util.find_spec("psfmodels"):
            theirs = timed(psfmodels_call(index, depth, shape), given.repeat)
            line += f", psfmodels {theirs:.3f} s: ratio {ours / theirs:.3f}"
        print(line)
    ours, bare = whole_process(shape, min(given.repeat, 3))
    print(f"microdeconv psf compute, whole process: {ours:.2f} s; `import torch`, which it does without, {bare:.2f} s")


if __name__ == "__main__":
    main()
