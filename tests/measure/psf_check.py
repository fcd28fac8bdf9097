"""How often `check_psf` flags a wrong PSF and a right one, on synthetic scenes.

usage: python tests/measure/psf_check.py [--quick] [--verbose] [--only 2-D] [--kinds KIND...] [--photons N...]
       [--seed N] [--faults FAULT...]
Each scene is drawn with a PSF and checked with that PSF and with wrong ones, each read as a file would be: 0.7 and 1.3
times as wide, axes swapped (3-D), 3 voxels off, a wrong voxel size in the file. Each check is counted with the optics
known, where there are any, and unknown.
"""

import argparse
import itertools
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch

from microdeconv.optics import Optics
from microdeconv.psf import evidence
from microdeconv.psf.check import check_psf
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import ready
from microdeconv.psf.fit import KEPT_TO_CHECK, scaled, split_counts
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx


class Case(NamedTuple):
    microscope: str
    kind: str
    light: float
    fault: str
    optics: str
    wrong: bool
    found: tuple
    seconds: float


SMOOTH = ("nuclei", "tissue", "filled")
KINDS = ("filaments", "nuclei", "shells", "tissue")
WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
CONFOCAL = Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="confocal")
FINE, FLAT = Zyx(0.1, 0.06, 0.06), Zyx(0.3, 0.06, 0.06)


def microscopes():
    """(name, PSF, optics or None, field)"""
    yield "confocal 3-D", compute_psf(CONFOCAL, FINE, (25, 31, 31)), CONFOCAL, (16, 48, 48)
    yield "wide-field 3-D", compute_psf(WATER, FINE, (25, 45, 45)), WATER, (16, 48, 48)
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


def cases(kinds, photons, seed=3, only="", faults=None):
    for kind, light in itertools.product(kinds, photons):
        for microscope, psf, optics, field in microscopes():
            if only not in microscope:
                continue
            scene = simulate(kind, field, psf.pixels, Exposure(light, light / 10, 100), seed)
            split = split_counts(scene.counts.astype(np.float32) - 100, light / 10, share=KEPT_TO_CHECK)
            for fault, pixels, voxel, wrong in files(psf):
                if faults and fault not in faults:
                    continue
                given = ready(pixels, voxel, field, psf.voxel_um, background=False)
                began = time.perf_counter()
                # the image cannot show a shift: its part of the check would be that of the right PSF
                found = check_psf(given, None, psf.voxel_um, None if fault == "3 off" else split)
                took = time.perf_counter() - began
                yield Case(microscope, kind, light, fault, "unknown", wrong, found, took)
                if optics is not None:
                    quick = check_psf(given, optics, psf.voxel_um)
                    if not any(one.warning for one in quick) and fault != "3 off":
                        quick = check_psf(given, optics, psf.voxel_um, split)
                    yield Case(microscope, kind, light, fault, "known", wrong, quick, took)


def remembered(judge):
    """A PSF's fit does not depend on what is known of its optics: it is made once for both."""
    known = {}

    def fit(split, psf):
        key = hash((split.kept.numpy().tobytes(), psf.pixels.tobytes()))
        if key not in known:
            known[key] = judge(split, psf)
        return known[key]

    return fit


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--quick", action="store_true")
    words.add_argument("--verbose", action="store_true")
    words.add_argument("--kinds", nargs="+", default=KINDS)
    words.add_argument("--photons", nargs="+", type=int, default=(50, 200, 500))
    words.add_argument("--seed", type=int, default=3)
    words.add_argument("--only", default="", help="a part of the microscopes' names, such as 2-D")
    words.add_argument("--faults", nargs="+", help="some of them, such as 'x 0.7'")
    given = words.parse_args()
    torch.set_num_threads(1)
    evidence.foretold, evidence.held_out_deviance = map(remembered, (evidence.foretold, evidence.held_out_deviance))
    rates = defaultdict(list)
    seconds = []
    kinds, photons = (("filaments", "nuclei"), (200,)) if given.quick else (given.kinds, given.photons)
    for case in cases(kinds, photons, given.seed, given.only, given.faults):
        flagged = any(one.warning for one in case.found)
        seconds.append(case.seconds)
        structure = "smooth" if case.kind in SMOOTH else "sharp"
        every = "all wrong" if case.wrong else "all right"
        for key in (
            case.fault,
            f" {case.fault}, optics {case.optics}",
            f"  {case.fault}, {case.microscope}, optics {case.optics}",
            f" {case.fault}, {structure}",
            every,
            f" {every}, optics {case.optics}",
        ):
            rates[key].append(flagged)
        if given.verbose or case.wrong != flagged:
            figures = " ".join(f"{one.name}{'!' if one.warning else ''} {one.value:.3g}" for one in case.found)
            print(
                f"{case.microscope}, optics {case.optics}, {case.kind}, {case.light} photons, {case.fault}: {figures}"
            )
            print(*(f"    {one.warning}\n" for one in case.found if one.warning), sep="", end="", flush=True)
    for key in sorted(rates, key=lambda k: (k.strip().split(",")[0], len(k) - len(k.strip()))):
        print(f"{key:50} {sum(rates[key]):4} of {len(rates[key]):4} flagged  {100 * np.mean(rates[key]):5.1f} %")
    print(f"one check takes {np.median(seconds):.1f} s in the median, {max(seconds):.1f} s at most")


if __name__ == "__main__":
    main()
