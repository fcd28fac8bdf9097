"""Results in tiles against the same untiled, for every method: how far apart they are.

usage: python tests/measure/tiles_whole.py [--tile 64] [--methods rl learnt …]
For simulated planes and a volume, many photons and wide PSFs among them: the largest difference and its root mean
square, as shares of the untiled result's maximum. Tiles have the halo that is planned for them.
"""

import argparse
from dataclasses import replace

import numpy as np

from microdeconv import machine
from microdeconv.camera import CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.methods import METHODS
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.refine import deconvolve
from microdeconv.settle import settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, Zyx

SCENES = (  # structure, field, widths of a Gaussian PSF or the modality and voxels (µm) of a computed one, photo-electrons
    ("filaments", (1, 320, 320), (0, 1.5, 1.5), 3000),
    ("mixed", (1, 300, 300), (0, 2.5, 2.5), 300),
    ("mixed", (1, 300, 300), (0, 2.5, 2.5), 3000),
    ("mixed", (1, 400, 400), (0, 4, 4), 3000),
    ("tissue", (3, 224, 224), (1.2, 1.5, 1.5), 300),
    ("mixed", (8, 320, 320), ("widefield", 0.3, 0.1, (31, 61, 61)), 300),
    ("mixed", (1, 400, 400), ("widefield", 0.3, 0.065, (1, 57, 57)), 3000),
    ("mixed", (1, 320, 320), ("confocal", 0.3, 0.04, (1, 93, 93)), 3000),
)
RUNS = {  # method, parameters, steps
    "rl": ("rl", {}, 20),
    "rl --acceleration momentum": ("rl", {"acceleration": "momentum"}, 30),
    "rl-tv": ("rl-tv", {"regularisation": 0.002}, 30),
    "wiener": ("wiener", {"noise_to_signal": 0.01}, 1),
    "learnt --trust off": ("learnt", {}, 20),
    "learnt": ("learnt", {}, 20),
}
CAMERA = CameraOptions(background=20.0, offset=0.0, gain=1.0)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--tile", type=int, default=64)
    words.add_argument("--methods", nargs="+", default=RUNS, choices=RUNS)
    given = words.parse_args()
    here = machine.machine_for(machine.MachineOptions(device="cpu"))
    machine.prepare(here)
    for kind, shape, widths, photons in SCENES:
        psf = computed(*widths) if isinstance(widths[0], str) else Psf(gaussian_psf(widths), None, None, "Gaussian")
        counts = simulate(kind, shape, psf.pixels, Exposure(photons, 20, 0), seed=2).counts
        for name in given.methods:
            whole, tiled = (result(name, counts, psf, tile, here) for tile in ("off", given.tile))
            apart = np.abs(tiled - whole) / whole.max()
            spread = np.sqrt(np.square(apart).mean())
            print(
                f"{kind} {shape} {psf.source} {widths} {photons}, {name}: most {apart.max():.1e}, rms {spread:.0e}",
                flush=True,
            )


def computed(modality, z, xy, shape):
    optics = Optics(na=1.4, emission_nm=520, ri_immersion=1.515, modality=modality)
    return replace(compute_psf(optics, Zyx(z, xy, xy), shape, "scalar"), source="computed")


def result(name, counts, psf, tile, here):
    word, parameters, steps = RUNS[name]
    method = METHODS[word]
    chosen = method.parameters(**parameters)
    settings = settle(counts, psf, 0, method, chosen, CAMERA, Stopping(iterations=steps), here)
    cut = plan_cut(counts.shape, psf, method, here, tile, 0)
    if name == "learnt":
        return deconvolve(counts, psf, method, settings, here, cut).image
    return deconvolve_volume(counts, psf, method, settings, here, cut)[0]


if __name__ == "__main__":
    main()
