"""Table of quality against known truths: raw, Wiener, rl-tv, rl at its own stop and at the best possible one.

usage: python tests/measure/quality_table.py [--shared FOLDER] [--quick]
Scores are for the inner 80 % after the best scale; 2-D shared pictures are registered by whole pixels first, since their
PSF's origin is a matter of convention. "loss" is what the automatic stop of rl loses against the best one, in dB.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from microdeconv import machine, quality
from microdeconv.camera import CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.methods import METHODS
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import load_psf
from microdeconv.settle import settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, Zyx

TRIED = (3, 5, 8, 12, 17, 24, 33, 45, 60, 80, 105, 140, 190)


def synthetic(quick):
    optics = Optics(na=1.4, emission_nm=520, ri_immersion=1.515)
    widefield = compute_psf(optics, Zyx(0.3, 0.1, 0.1), (63, 61, 61), "scalar")
    confocal = Psf(gaussian_psf((2, 1.5, 1.5)), None, None, "")
    flat = Psf(gaussian_psf((0, 2, 2)), None, None, "")
    kinds = (
        ("mixed", "tissue", "nuclei", "filaments")
        if quick
        else ("mixed", "tissue", "nuclei", "filaments", "shells", "spots", "bars")
    )
    for kind in kinds:
        for name, psf, field in (
            ("wf", widefield, (32, 96, 96)),
            ("confocal", confocal, (24, 80, 80)),
            ("2d", flat, (1, 256, 256)),
        ):
            for photons in (30, 200):
                scene = simulate(kind, field, psf.pixels, Exposure(photons, photons / 10, 100), 3)
                yield f"{kind} {name} {photons}", scene.counts, scene.truth, psf


def real(folder):
    def volume(name):
        pixels = tifffile.imread(folder / name)
        return pixels[None] if pixels.ndim == 2 else pixels

    for name, raw, truth, psf in (
        ("bars", "bars-3d-gt/raw.tif", "bars-3d-gt/truth.tif", "bars-3d-gt/psf.tif"),
        (
            "actin",
            "actin-dapi-2d-gt/Actin3_blurred.tif",
            "actin-dapi-2d-gt/Actin3_GroundTruth.tif",
            "actin-dapi-2d-gt/PSF.tif",
        ),
        (
            "dapi",
            "actin-dapi-2d-gt/DAPI_blurred.tif",
            "actin-dapi-2d-gt/DAPI_GroundTruth.tif",
            "actin-dapi-2d-gt/PSF.tif",
        ),
    ):
        image = volume(raw)
        yield name, np.clip(image, 0, None), volume(truth), load_psf(folder / psf, None, image.shape)
    truth = volume("sphere-tubes-3d/truth.tif").astype(np.float32)
    psf = load_psf(folder / "sphere-tubes-3d/psf.tif", None, truth.shape)
    from scipy.signal import fftconvolve

    blurred = np.clip(fftconvolve(truth, psf.pixels, mode="same"), 0, None)
    for photons in (30, 300):
        counts = np.random.default_rng(0).poisson(blurred * photons / blurred.max() + photons / 20) + 100
        yield f"sphere-tubes {photons}", counts.astype(np.uint16), truth, psf


def score(image, truth):
    best = max((quality.psnr(quality.inner(np.roll(image, s, (1, 2))), quality.inner(truth)), s) for s in shifts(truth))
    moved = quality.inner(np.roll(image, best[1], (1, 2)))
    t = quality.inner(truth)
    return quality.nrmse(moved, t), best[0], quality.ssim(moved, t)


def shifts(truth):
    return [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)] if truth.shape[0] == 1 else [(0, 0)]


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    words.add_argument("--quick", action="store_true")
    given = words.parse_args()
    here = machine.machine_for(machine.MachineOptions(device="cpu"))
    machine.prepare(here)
    print(f"{'case':24} {'raw':>22} {'wiener':>22} {'rl-tv':>22} {'rl auto':>22}  stop   best  loss")
    losses = []
    for name, counts, truth, psf in (*(real(given.shared) if given.shared.is_dir() else ()), *synthetic(given.quick)):
        rows = []
        for method in ("wiener", "rl-tv", "rl"):
            one = METHODS[method]
            settings = settle(counts, psf, 0, one, one.parameters(), CameraOptions(), Stopping(), here)
            cut = plan_cut(counts.shape, psf, one, here, "off", 0)
            image, _ = deconvolve_volume(counts, psf, one, settings, here, cut)
            rows.append(score(image, truth))
        best = (0, 0.0)
        for steps in TRIED:
            image, _ = deconvolve_volume(counts, psf, one, replace(settings, iterations=steps), here, cut)
            best = max(best, (score(image, truth)[1], steps))
            if steps > 2 * settings.iterations and score(image, truth)[1] < best[0] - 0.5:
                break
        raw = score(counts.astype(np.float32) - settings.background, truth)
        losses.append(max(best[0] - rows[-1][1], 0))
        cells = " ".join(f"{n:.3f} {p:6.2f} {s:.4f}".rjust(22) for n, p, s in (raw, *rows))
        print(f"{name:24} {cells} {settings.iterations:5} {best[1]:4}:{best[0]:.2f} {losses[-1]:5.2f}", flush=True)
    print(f"loss within 0.3 dB: {sum(loss <= 0.3 for loss in losses)} of {len(losses)}")


if __name__ == "__main__":
    main()
