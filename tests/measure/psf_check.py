"""How often `check_psf` flags a wrong PSF and a right one, on synthetic scenes.

usage: python tests/measure/psf_check.py [--quick] [--verbose] [--only 2-D] [--kinds KIND...] [--seed N]
Each scene is drawn with a PSF and checked with that PSF and with wrong ones, each read as a file would be: 0.7 and 1.3
times as wide, axes swapped (3-D), 3 voxels off, a wrong voxel size in the file. Half of the scenes come with the optics.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
import torch

from microdeconv.optics import Optics
from microdeconv.psf.check import check_psf
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import ready
from microdeconv.psf.fit import scaled, split_counts
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

SMOOTH = ("nuclei", "tissue", "filled")
KINDS = ("filaments", "nuclei", "shells", "tissue")
WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
CONFOCAL = Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="confocal")
FINE, FLAT = Zyx(0.1, 0.06, 0.06), Zyx(0.3, 0.06, 0.06)


def microscopes():
    """(name, PSF, voxel, optics or None, field)"""
    gaussian = Psf(gaussian_psf((2.5, 1.5, 1.5)), FINE, None, "Gaussian")
    yield "Gaussian 3-D", gaussian, None, (18, 56, 56)
    yield "confocal 3-D", compute_psf(CONFOCAL, FINE, (25, 31, 31)), CONFOCAL, (18, 56, 56)
    yield "wide-field 3-D", compute_psf(WATER, FINE, (25, 45, 45)), None, (18, 56, 56)
    yield "Gaussian 2-D", Psf(gaussian_psf((0, 2, 2)), FLAT, None, "Gaussian"), None, (1, 128, 128)
    yield "wide-field 2-D", compute_psf(WATER, FLAT, (1, 61, 61)), WATER, (1, 128, 128)


def files(psf):
    """(name, pixels, voxel size in the file, whether it is wrong)"""
    own = psf.voxel_um
    yield "right", psf.pixels, own, False
    yield "x 0.7", scaled(psf, Zyx(0.7, 0.7, 0.7)).pixels, own, True
    yield "x 1.3", scaled(psf, Zyx(1.3, 1.3, 1.3)).pixels, own, True
    if psf.pixels.shape[0] > 1:
        yield "swapped", np.ascontiguousarray(psf.pixels.swapaxes(0, 2)), own, True
        yield "z step x 1.7", psf.pixels, own._replace(z=1.7 * own.z), True
    yield "3 off", np.pad(psf.pixels, ((0, 0), (0, 6), (0, 0))), own, True
    yield "voxel x 1.5", psf.pixels, Zyx(*(1.5 * v for v in own)), True


def cases(kinds, photons, seed=3, only=""):
    for kind in kinds:
        for light in photons:
            for microscope, psf, optics, field in microscopes():
                if only not in microscope:
                    continue
                scene = simulate(kind, field, psf.pixels, Exposure(light, light / 10, 100), seed)
                split = split_counts(scene.counts.astype(np.float32) - 100, light / 10)
                for fault, pixels, voxel, wrong in files(psf):
                    given = ready(pixels, voxel, field, psf.voxel_um, background=False)
                    began = time.perf_counter()
                    # the image cannot show a shift: its part of the check would be that of the right PSF
                    found = check_psf(given, optics, psf.voxel_um, None if fault == "3 off" else split)
                    yield microscope, kind, light, fault, wrong, found, time.perf_counter() - began


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--quick", action="store_true")
    words.add_argument("--verbose", action="store_true")
    words.add_argument("--kinds", nargs="+", default=KINDS)
    words.add_argument("--seed", type=int, default=3)
    words.add_argument("--only", default="", help="a part of the microscopes' names, such as 2-D")
    given = words.parse_args()
    torch.set_num_threads(1)
    rates = defaultdict(list)
    seconds = []
    kinds, photons = (("filaments", "nuclei"), (200,)) if given.quick else (given.kinds, (50, 500))
    for microscope, kind, light, fault, wrong, found, took in cases(kinds, photons, given.seed, given.only):
        flagged = [one for one in found if one.warning]
        seconds.append(took)
        structure = "smooth" if kind in SMOOTH else "sharp"
        for key in (
            f"{fault}",
            f"  {fault}, {microscope}",
            f" {fault}, {structure}",
            "all wrong" if wrong else "all right",
        ):
            rates[key].append(bool(flagged))
        if given.verbose or wrong != bool(flagged):
            figures = " ".join(f"{one.name}{'!' if one.warning else ''} {one.value:.3g}" for one in found)
            print(f"{microscope}, {kind}, {light} photons, {fault}: {figures}", flush=True)
    for key in sorted(rates, key=lambda k: (k.strip().split(",")[0], len(k) - len(k.strip()))):
        print(f"{key:40} {sum(rates[key]):4} of {len(rates[key]):4} flagged  {100 * np.mean(rates[key]):5.1f} %")
    print(f"one check takes {np.median(seconds):.1f} s in the median, {max(seconds):.1f} s at most")


if __name__ == "__main__":
    main()
