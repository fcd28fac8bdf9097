"""Cases to be compared and shown: simulated stacks with simple filters as results."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.restoration import richardson_lucy

from microdeconv.camera import Camera
from microdeconv.compare.case import Case, Entry, Figure, Verdict
from microdeconv.compare.curves import Curves
from microdeconv.resolution import fourier_correlation
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

VOXEL = Zyx(0.2, 0.1, 0.1)
SIGMA = (1.5, 1.6, 1.6)


def a_case(shape=(12, 96, 112), seed=3, truth=True, voxel=VOXEL, name="cells 3, channel 1", entries=3) -> Case:
    """Results of a mixed scene: Richardson-Lucy, unsharp masking and the image smoothed."""
    sigma = SIGMA if shape[0] > 1 else (0, *SIGMA[1:])
    psf = Psf(gaussian_psf(sigma), voxel, None, "computed, Gaussian, 160 nm wide")
    scene = simulate("mixed", shape, psf.pixels, Exposure(200, 20, 100), seed)
    light = np.clip(scene.counts.astype(np.float32) - 120, 0, None)
    soft = [gaussian_filter(light, [s * k for k in sigma]) for s in (0.4, 1.0)]
    sharpened = (soft[0] + 1.5 * (soft[0] - soft[1])).astype(np.float32)
    rl = _lucy(light, psf.pixels, 12)
    smooth = gaussian_filter(light, [0.6 if n > 1 else 0 for n in shape]).astype(np.float32)
    steps = np.arange(1, 41)
    risk = tuple((int(k), float(1.02 + 0.4 * np.exp(-k / 6) + 0.0006 * k)) for k in steps)
    results = (
        Entry("rl", rl, psf, (_noisy(rl, 1), _noisy(rl, 2)), 8.3, 410_000_000,
              {"iterations": "12 (chosen from split counts)", "background": "120"},
              {"held-out deviance": risk, "objective": tuple((k, 3.2 - 0.5 * v) for k, v in risk)}, 12),
        Entry("sharpened", sharpened, psf, None, 0.4, 250_000_000, {"amount": "1.5"},
              notes=("Negative values were kept.",)),
        Entry("smoothed", smooth, None, None, None, None, {"sigma": "0.6 voxels"}),
        Entry("rl, 40 <steps>", _lucy(light, psf.pixels, 30), psf, None, 24.0, 410_000_000, {"iterations": "40"},
              {"held-out deviance": tuple((k, v + 0.0004 * k) for k, v in risk)}, 40),
    )[:entries]  # fmt: skip
    return Case(
        name, scene.counts, 120.0, Camera(100.0, 1.0), results, scene.truth if truth else None, voxel, psf,
        ("The image may be undersampled along z: 200 nm, Nyquist 150 nm.",),
        (("microdeconv", "0.1.0"), ("command", "microdeconv compare cells.tif --methods rl,sharpened -o report/"),
         ("input", "cells.tif"), ("SHA-256 of the input", "9f2c" * 16), ("machine", "Linux, 2 cores, 16 GB")),
    )  # fmt: skip


def figures_for(case: Case) -> tuple[Figure, ...]:
    names = [e.name for e in case.entries]
    value = lambda start, step: {n: start + step * k for k, n in enumerate(names)}  # noqa: E731
    return (
        Figure("psnr", "PSNR", "Peak signal to noise against the truth", "higher", "dB", value(33.21, -1.9), 0.2),
        Figure("nrmse", "NRMSE", "Root mean square error over that of the truth", "lower", "", value(0.31, 0.002), 0.01),
        Figure("resolution", "FSC resolution", "Where two halves of the light agree by 1/7", "lower", "nm", value(231.0, 22), 6),
        Figure("chi", "Residual chi-square", "Of the result blurred again; one where only noise is left", "near one", "", value(1.02, 0.09), 0.01),
        Figure("flux", "Flux", "Light of the result over that of the image", "near one", "", {names[0]: 1.001}, None),
        Figure("sharpness", "Sharpness", "Energy of the gradient; noise counts too", "", "", value(0.12, 0.03), None),
    )  # fmt: skip


def curves_for(case: Case) -> Curves:
    light = case.raw.astype(np.float32) - case.background
    voxel = case.voxel_um or (1.0, 1.0, 1.0)
    results = {e.name: e.image for e in case.entries}
    truth = {n: fourier_correlation(i, case.truth, voxel) for n, i in results.items()} if case.truth is not None else {}
    halves = {e.name: fourier_correlation(*e.halves, voxel) for e in case.entries if e.halves is not None}
    top = max(radial_power(i, voxel)[1].max() for i in (light, *results.values()))
    spectra = {n: (f, p / top) for n, (f, p) in ((n, radial_power(i, voxel)) for n, i in results.items())}
    frequency, power = radial_power(light, voxel)
    chi = {}
    for e in case.entries:
        local = (e.image - gaussian_filter(e.image, 2)) ** 2 / np.maximum(light, 20)
        chi[e.name] = gaussian_filter(local / local.mean(), 2).max(axis=0).astype(np.float32)
    box = tuple(slice(0, n) for n in light.shape)
    unit = "µm" if case.voxel_um else "voxel"
    return Curves(unit, truth, halves, spectra, (frequency, power / top), 0.38 / voxel[2], chi, box)


def verdict_for(case: Case) -> Verdict:
    names = [e.name for e in case.entries]
    return Verdict(
        names[0],
        (f"{names[0]} is best by PSNR (33.2 dB, 1.9 dB more than {names[-1]}; the noise of the difference is 0.2 dB).",
         f"By NRMSE {names[0]} and {names[-1]} do not differ by more than the noise.",
         "Sharpness decides nothing by itself."),
        ("The PSF may be too narrow: the residual of every result has structure.",),
        (names[0],),
    )  # fmt: skip


def radial_power(image, voxel):
    plane = image.max(axis=0).astype(float)
    power = np.abs(np.fft.rfft2(plane - plane.mean())) ** 2
    fy, fx = np.fft.fftfreq(plane.shape[0], voxel[1]), np.fft.rfftfreq(plane.shape[1], voxel[2])
    width = max(1 / (plane.shape[0] * voxel[1]), 1 / (plane.shape[1] * voxel[2]))
    ring = np.rint(np.hypot(fy[:, None], fx[None]) / width).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    last = int(0.5 / voxel[2] / width)
    return width * np.arange(1, last + 1), mean[1 : last + 1]


def _lucy(light, psf, steps):
    return (richardson_lucy(np.clip(light, 1e-3, None), psf.astype(np.float32), steps, clip=False)).astype(np.float32)


def _noisy(image, seed):
    rng = np.random.default_rng(seed)
    return (image + rng.normal(0, 0.05 * image.max(), image.shape)).astype(np.float32)
