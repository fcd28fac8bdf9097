"""PSFs estimated from images whose true PSF is known: what deconvolving with each gives.

usage: python tests/measure/psf_estimates.py [--seed 3] [--cases 0 1 2 …]
24 cases: structures, widths 20 % narrower to 40 % wider, spherical aberration up to 1 radian, four photon levels; 2-D,
confocal and wide-field. PSNR (dB) is that of the best stop with each PSF, so that PSFs are compared, not stops; object
and result are compared at the resolution of the nominal PSF, smoothed by its width, below which nothing can be known.
"""

import argparse
import time

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, shift
from skimage.registration import phase_cross_correlation

from microdeconv import machine, quality
from microdeconv.camera import CameraOptions
from microdeconv.learnt.foretelling import foretold_by_network
from microdeconv.methods import METHODS
from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.estimate import centred_psf, estimate_psf
from microdeconv.psf.from_counts import ESTIMATED, light_of_counts, split_for
from microdeconv.settle import problem_for, settle
from microdeconv.simulate import Exposure, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Zyx

KINDS = ("filaments", "spots", "nuclei", "mixed", "shells", "tissue")
SIZES = (-0.22, 0.0, 0.18, 0.34)
SPHERICAL = (0.0, 0.5, 1.0, -0.7)
PHOTONS = (30, 100, 300, 1000)
WATER = {"na": 1.2, "emission_nm": 520, "ri_immersion": 1.333}
GRIDS = {
    "confocal": (Optics(**WATER, modality="confocal"), Zyx(0.25, 0.1, 0.1), (17, 25, 25), (24, 96, 96)),
    "plane": (Optics(**WATER), Zyx(1, 0.1, 0.1), (1, 31, 31), (1, 256, 256)),
    "wide-field": (Optics(**WATER), Zyx(0.25, 0.1, 0.1), (25, 41, 41), (24, 96, 96)),
}
SMOOTHED = (0.7, 0.9, 0.9)  # voxels
STOPS = (2, 3, 5, 7, 10, 14, 19, 25, 32, 40, 50, 65, 80, 100)


def cases():
    for k in range(24):
        grid = ("confocal", "plane", "wide-field")[(k + k // 6) % 3]
        spherical = SPHERICAL[(k // 2 + k // 8) % 4] if grid != "plane" else 0.0
        yield KINDS[k % 6], SIZES[(k + k // 6) % 4], spherical, PHOTONS[(k // 3 + k) % 4], grid


def true_psf(model, nominal, size, spherical):
    values = {"size": size, "spherical": spherical}
    return (
        centred_psf(model, np.array([values.get(name, 0.0) for name in model.terms])) if size or spherical else nominal
    )


def best_stop(scene, psf, truth, here):
    """PSNR at the best step; a PSF that lies elsewhere moves the object, which is no fault of its form."""
    moved, _, _ = phase_cross_correlation(truth.pixels, psf.pixels, upsample_factor=20)
    method = METHODS["rl"]
    settings = settle(scene.counts, psf, 0, method, method.parameters(), CameraOptions(), Stopping(iterations=1), here)
    problem = problem_for(scene.counts, psf, method, settings, here)
    scores = []
    with torch.inference_mode():
        for step, iterate in enumerate(method.run(problem, method.parameters()), 1):
            if step in STOPS:
                image = shift(problem.blur.crop(iterate.image).numpy(), -moved, order=3, mode="nearest")
                scores.append(
                    quality.psnr(*(quality.inner(gaussian_filter(v, SMOOTHED)) for v in (image, scene.truth)))
                )
                if step == STOPS[-1] or scores[-1] < max(scores) - 1:
                    return max(scores)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seed", type=int, default=3)
    words.add_argument("--cases", type=int, nargs="+", default=range(24))
    given = words.parse_args()
    here = machine.machine_for(machine.MachineOptions(device="cpu"))
    machine.prepare(here)
    method = METHODS["rl"]
    rows = []
    for number, (kind, size, spherical, photons, grid) in enumerate(cases()):
        if number not in given.cases:
            continue
        optics, voxel, shape, field = GRIDS[grid]
        nominal = compute_psf(optics, voxel, shape)
        truth = true_psf(AberratedModel(completed(optics)[0], voxel, shape), nominal, size, spherical)
        scene = simulate(kind, field, truth.pixels, Exposure(photons, photons / 10, 100), given.seed)
        settings = settle(
            scene.counts, nominal, 0, method, method.parameters(), CameraOptions(), Stopping(iterations=1), here
        )
        started = time.perf_counter()
        split = split_for(scene.counts, settings.camera, settings.background, "cpu", ESTIMATED)
        found = estimate_psf(
            light_of_counts(scene.counts, settings.camera), split, optics, voxel, shape, judge=foretold_by_network
        )
        seconds = time.perf_counter() - started
        real, plain, ours = (best_stop(scene, psf, truth, here) for psf in (truth, nominal, found.psf))
        rows.append((ours - real, ours - plain))
        told = " ".join(f"{k} {v:+.2f}" for k, (v, _) in found.deviations.items())
        print(
            f"{number:2} {kind:9} {grid:10} {photons:4} size {size:+.2f} spherical {spherical:+.1f}: true {real:.2f}, "
            f"nominal {plain:.2f}, estimated {ours:.2f} ({ours - real:+.2f}, {ours - plain:+.2f}), "
            f"{'believed' if found.sure else 'nominal kept'} {found.gain:.1f}: {told}; {seconds:.0f} s",
            flush=True,
        )
    behind, ahead = np.array(rows).T
    print(f"within 0.5 dB of the true PSF: {np.count_nonzero(behind > -0.5)} of {len(rows)}")
    print(f"over the nominal PSF: mean {ahead.mean():+.2f} dB, worst {ahead.min():+.2f} dB")


if __name__ == "__main__":
    main()
