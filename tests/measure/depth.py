"""What PSFs that change over the stack are worth: PSNR of rl at its own automatic stop against one PSF for all of it.

usage: python tests/measure/depth.py [depth] [field] [--kinds spots filaments …] [--photons 200 1000] [--pictures FOLDER]
depth: oil objective, watery sample, 30 µm deep, the truth blurred with a PSF for each plane. field: coma and astigmatism
that grow from the middle of a picture outwards, the truth blurred with 9 x 9 PSFs, 3 x 3 of them given.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import microdeconv as md
from microdeconv import quality
from microdeconv.blur import Blur
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.depths import compute_psfs
from microdeconv.simulate import KINDS, Exposure, Scene, simulate_varying
from microdeconv.stack import Psf, PsfSet, Zyx

OPTICS = Optics(na=1.4, emission_nm=520, ri_immersion=1.515, ri_sample=1.33, depth_um=0.0)
VOXEL = Zyx(0.4, 0.1, 0.1)
DEEP = (76, 64, 64)  # 30 µm


def deep_case(kind, field=DEEP, voxel=VOXEL, photons=200, seed=5):
    """A scene blurred with a PSF for each plane, wider than those that a field of its size is given."""
    shape = (2 * field[0] - 1, 3 * field[1] // 2 + 1, 3 * field[2] // 2 + 1)
    psfs = [compute_psf(replace(OPTICS, depth_um=k * voxel.z), voxel, shape) for k in range(field[0])]
    exposure = Exposure(photons, photons / 10, 100)
    return simulate_varying(kind, field, lambda plane: psfs[plane].pixels, exposure, seed)


def single_psf(plane, field=DEEP, voxel=VOXEL):
    """The PSF of one plane's depth, as a run without further depths has it."""
    return compute_psfs(replace(OPTICS, depth_um=plane * voxel.z), voxel, field, depths="off")


def aberrated_psf(y, x, strength=1.0, size=41, voxel_um=0.15, na=0.8, wavelength_um=0.52):
    """A PSF at a place of the field, −1 to 1 along y and x: coma and astigmatism along the radius, in waves."""
    frequency = np.fft.fftfreq(size, voxel_um) * wavelength_um / na
    v, u = np.meshgrid(frequency, frequency, indexing="ij")
    inside = np.hypot(u, v) <= 1
    distance, angle = np.hypot(y, x), np.arctan2(y, x)
    along, rho2 = v * np.sin(angle) + u * np.cos(angle), u**2 + v**2
    waves = strength * (0.6 * distance * (3 * rho2 - 2) * along + 0.5 * distance**2 * (2 * along**2 - rho2))
    light = np.abs(np.fft.fftshift(np.fft.ifft2(inside * np.exp(2j * np.pi * waves)))) ** 2
    return Psf((light / light.sum()).astype(np.float32)[None], None, None, f"aberrated at {y:g}, {x:g}")


def field_set(n, size, strength=1.0):
    """N x n aberrated PSFs over a square picture."""
    places = tuple(float(p) for p in np.linspace(0, size - 1, n))
    parts = tuple(aberrated_psf(y, x, strength) for y in np.linspace(-1, 1, n) for x in np.linspace(-1, 1, n))
    return PsfSet(parts, ((0.0,), places, places), f"{n} x {n} PSFs")


def field_case(kind, size=256, photons=200, strength=1.0, seed=5):
    """A plane seen through 9 x 9 PSFs."""
    rng = np.random.default_rng(seed)
    blur = Blur(field_set(9, size, strength), (1, size, size), margin=1.0)
    drawn = KINDS[kind](blur.object_shape, rng)
    blurred = blur.forward(torch.from_numpy(drawn)).clamp_min(0).numpy()
    scale = photons / float(np.quantile(blurred, 0.999))
    electrons = rng.poisson(blurred * scale + photons / 10) + rng.normal(0, 1.5, blurred.shape)
    counts = np.clip(np.round(electrons + 100), 0, 65535).astype(np.uint16)
    return Scene(counts, blur.crop(torch.from_numpy(drawn)).numpy() * np.float32(scale))


def score(scene, psf, photons, **options):
    """PSNR, steps, seconds and image of rl with known camera and background."""
    started = time.perf_counter()
    words = {"background": 100 + photons / 10, "offset": 100, "gain": 1, "threads": 1, **options}
    found = md.deconvolve(scene.counts, psf, details=True, **words)
    took = time.perf_counter() - started
    value = quality.psnr(quality.inner(found.image), quality.inner(scene.truth))
    return value, found.settings.iterations, took, found.image


def tell(name, found, first):
    """A line of the table."""
    value, steps, seconds, _ = found
    print(f"  {name:34} {value:6.2f} dB  {value - first:+6.2f}  {steps:4} steps  {seconds:6.1f} s", flush=True)


def depth_table(kind, photons, pictures):
    scene = deep_case(kind, photons=photons)
    raw = quality.psnr(quality.inner(scene.counts - 100.0 - photons / 10), quality.inner(scene.truth))
    print(f"depth, {kind}, {photons} photons: raw {raw:.2f} dB", flush=True)
    singles = {k: score(scene, single_psf(k), photons) for k in (0, 19, 38, 56, 75)}
    best = max(singles, key=lambda k: singles[k][0])
    shown = {"raw": scene.counts, "one": singles[best][3]}
    tell("one PSF, first plane", singles[0], singles[best][0])
    tell(f"best of 5 single PSFs (plane {best})", singles[best], singles[best][0])
    for depths in (4, "auto"):
        psf = compute_psfs(OPTICS, VOXEL, DEEP, depths=depths)
        found = score(scene, psf, photons)
        tell(f"{len(psf.parts)} depths ({depths})", found, singles[best][0])
        shown["several"] = found[3]
    if pictures:
        picture(pictures / f"depth_{kind}_{photons}.png", {**shown, "truth": scene.truth}, axis=1)


def field_table(kind, photons, pictures):
    scene = field_case(kind, photons=photons)
    raw = quality.psnr(quality.inner(scene.counts - 100.0 - photons / 10), quality.inner(scene.truth))
    print(f"field, {kind}, {photons} photons: raw {raw:.2f} dB", flush=True)
    places = {"middle": (0, 0), "half-way": (0.35, 0.35), "edge": (0, 1), "corner": (1, 1)}
    singles = {name: score(scene, aberrated_psf(*place), photons) for name, place in places.items()}
    middles = field_set(9, 256).parts
    mean = replace(middles[0], pixels=np.mean([one.pixels for one in middles], axis=0))
    singles["mean"] = score(scene, mean, photons)
    best = max(singles, key=lambda name: singles[name][0])
    for name, found in singles.items():
        tell(f"one PSF, {name}", found, singles[best][0])
    for n in (2, 3, 5):
        found = score(scene, field_set(n, 256), photons)
        tell(f"{n} x {n} PSFs", found, singles[best][0])
        if n == 3 and pictures:
            shown = {"raw": scene.counts, "one": singles[best][3], "several": found[3], "truth": scene.truth}
            picture(pictures / f"field_{kind}_{photons}.png", shown, axis=0)


def picture(path, shown, axis):
    """Maximum projections side by side, square roots."""
    from PIL import Image

    columns = []
    for volume in shown.values():
        flat = np.clip(volume.max(axis=axis).astype(float) - np.median(volume), 0, None)
        columns.append(np.pad(np.sqrt(np.minimum(flat / np.quantile(flat, 0.998), 1)), 2, constant_values=1))
    pixels = (255 * np.concatenate(columns, axis=1)).astype(np.uint8)
    Image.fromarray(pixels).resize((pixels.shape[1] * 3, pixels.shape[0] * 3), Image.Resampling.NEAREST).save(path)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("which", nargs="*", choices=["depth", "field"], default=["depth", "field"])
    words.add_argument("--kinds", nargs="+", default=["beads", "filaments", "tissue"])
    words.add_argument("--photons", nargs="+", type=int, default=[200])
    words.add_argument("--pictures", type=Path)
    given = words.parse_args()
    tables = {"depth": depth_table, "field": field_table}
    for which in given.which:
        for kind in given.kinds:
            for photons in given.photons:
                tables[which](kind, photons, given.pictures)


if __name__ == "__main__":
    main()
