"""The main job timed as a whole process, against scikit-image and against four real FFTs, in one run.

usage: python tests/measure/speed.py RAW.tif PSF.tif [TRUTH.tif] [--repeat 3]
Prints medians, and ratios, which hold on any machine: seconds of `microdeconv run` (start-up, background, choice of the
stop and writing included) over seconds of scikit-image's 30 iterations; seconds of one step over four real transforms.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import torch

from microdeconv import machine, quality
from microdeconv.blur import Blur
from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.fft import good_size
from microdeconv.problem import Problem
from microdeconv.psf.file import load_psf


def timed(work, repeat):
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("raw", type=Path)
    words.add_argument("psf", type=Path)
    words.add_argument("truth", type=Path, nargs="?")
    words.add_argument("--repeat", type=int, default=3)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.tif"
        call = [
            sys.executable,
            "-m",
            "microdeconv",
            "run",
            given.raw,
            "--psf",
            given.psf,
            "-o",
            out,
            "--overwrite",
            "--dtype",
            "float32",
        ]
        ours = timed(lambda: subprocess.run(list(map(str, call)), check=True), given.repeat)
        if given.truth:
            truth, result = (quality.inner(tifffile.imread(p)) for p in (given.truth, out))
            print(f"NRMSE {quality.nrmse(result, truth):.4f}, PSNR {quality.psnr(result, truth):.2f} dB")
    image, psf = tifffile.imread(given.raw).astype(np.float32), tifffile.imread(given.psf).astype(np.float32)
    code = (
        "import sys, tifffile; from skimage.restoration import richardson_lucy as rl; a, p = map(tifffile.imread, sys.argv[1:]); "
        "rl(a.astype('f4'), (p / p.sum()).astype('f4'), 30, clip=False)"
    )
    theirs = timed(lambda: subprocess.run([sys.executable, "-c", code, str(given.raw), str(given.psf)], check=True), 1)
    print(f"microdeconv {ours:.1f} s, scikit-image 30 iterations {theirs:.1f} s: ratio {ours / theirs:.3f}")
    machine.prepare(machine.machine_for(machine.MachineOptions(device="cpu")))
    full = tuple(good_size(n + k - 1) for n, k in zip(image.shape, psf.shape, strict=True))
    x = torch.rand(full)
    spectrum = torch.fft.rfftn(x)
    floor = 2 * timed(lambda: torch.fft.rfftn(x), 7) + 2 * timed(lambda: torch.fft.irfftn(spectrum, s=full), 7)
    problem = Problem(torch.from_numpy(image), Blur(load_psf(given.psf, None, image.shape), image.shape), 1.0, 10.0)
    with torch.inference_mode():
        steps = richardson_lucy(problem, RichardsonLucy())
        next(steps)
        step = timed(lambda: next(steps), 9)
    print(f"one step {step:.3f} s, four real FFTs of {full} {floor:.3f} s: ratio {step / floor:.2f}")


if __name__ == "__main__":
    main()
