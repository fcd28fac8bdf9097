"""The main job timed as a whole process, against scikit-image and against four real FFTs, in one run.

usage: python tests/measure/speed.py [RAW.tif PSF.tif [TRUTH.tif]] [--repeat 3]
Without files: a simulated wide-field stack of 64 x 256 x 256 voxels, whose PSF has 127 x 101 x 101.
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
from microdeconv.optics import Optics
from microdeconv.problem import Problem
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import load_psf
from microdeconv.simulate import Exposure, simulate
from microdeconv.stack import Zyx


def timed(work, repeat):
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("raw", type=Path, nargs="?")
    words.add_argument("psf", type=Path, nargs="?")
    words.add_argument("truth", type=Path, nargs="?")
    words.add_argument("--repeat", type=int, default=3)
    given = words.parse_args()
    if given.raw and not given.psf:
        words.error("a stack needs its PSF")
    with tempfile.TemporaryDirectory() as folder:
        if given.raw is None:
            given.raw, given.psf, given.truth = simulated(Path(folder))
        measure(given, Path(folder) / "out.tif")


def simulated(folder):
    optics = Optics(na=1.4, emission_nm=520, ri_immersion=1.515, modality="widefield")
    psf = compute_psf(optics, Zyx(0.16, 0.065, 0.065), (127, 101, 101), "scalar").pixels
    scene = simulate("mixed", (64, 256, 256), psf, Exposure(200, 20, 100), seed=1)
    pictures = {"raw": scene.counts.astype(np.uint16), "psf": psf, "truth": np.asarray(scene.truth, np.float32)}
    for name, pixels in pictures.items():
        tifffile.imwrite(folder / f"{name}.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    return [folder / f"{name}.tif" for name in pictures]


def measure(given, out):
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
