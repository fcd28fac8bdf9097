"""Samples with known truth: a scene through a lens onto a camera, and what a user would know of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from microdeconv.blur import Blur
from microdeconv.learnt.lenses import ABERRATIONS, Lens, training_lens, unseen_lens
from microdeconv.learnt.physics import RESOLVED, halved, promised
from microdeconv.learnt.scenes import TRAINING, UNSEEN, draw
from microdeconv.machine import as_tensor
from microdeconv.problem import Problem
from microdeconv.stack import Psf

FINER = 2  # drawn and blurred on pixels half as large, so that no sample fits the model to the last digit
KERNEL_PLANES = 17
PHOTONS = (15.0, 5000.0)  # photo-electrons at the bright end
Structures = Literal["seen", "unseen", "photographs"]
Lenses = Literal["seen", "unseen"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its truth.

    Attributes
    ----------
    light
        float32 (z, y, x), photo-electrons as a user has them: read noise's variance is in them and in the background.
    truth
        float32 (z, y, x), photo-electrons, at the resolution promised; empty where only `held` can judge.
    psf
        What the user believes.
    background
        Photo-electrons, as the user believes.
    lens
        What it really was, where anybody knows.
    photons
        Photo-electrons at the bright end.
    voxel_um
        (z, y, x), where it is told.
    held
        float32 (z, y, x), photo-electrons of the same picture that are not in `light`: they judge what it gives.
    share
        Probability of a photo-electron to be in `light`.
    """

    light: NDArray[np.float32]
    truth: NDArray[np.float32]
    psf: Psf
    background: float
    lens: Lens | None
    photons: float
    voxel_um: tuple[float, float, float] | None = None
    held: NDArray[np.float32] | None = None
    share: float = 1.0

    @property
    def true_lens(self) -> Lens:
        """What a simulated sample was taken with.

        Raises
        ------
        ValueError
            For a user's own picture.
        """
        if self.lens is None:
            raise ValueError("nobody knows the lens of this picture")
        return self.lens

    def flipped(self, rng: Generator) -> Sample:
        """The sample turned and mirrored in the plane, its PSF with it."""
        flips, swap = tuple(axis for axis in (1, 2) if rng.random() < 0.5), rng.random() < 0.5

        def turned(volume: NDArray[np.float32]) -> NDArray[np.float32]:
            volume = np.flip(volume, flips)
            return (volume.swapaxes(1, 2) if swap else volume).copy()

        psf = replace(self.psf, pixels=turned(self.psf.pixels))
        held = None if self.held is None else turned(self.held)
        return replace(self, light=turned(self.light), truth=turned(self.truth), psf=psf, held=held)

    def problem(self, device: str = "cpu", *, network: bool = False) -> Problem:
        """The question that a method gets; a network's object is at the resolution that it promises."""
        z, y, x = self.light.shape
        blur = Blur(promised(self.psf) if network else self.psf, (z, y, x), device)
        level = max(float(self.light.mean()) - self.background, 1e-3 * max(self.background, 1.0))
        return Problem(as_tensor(self.light, device), blur, self.background, level)


def training_sample(rng: Generator, shape: tuple[int, int, int], *, kernel: bool = True) -> Sample:
    """A sample for the training: in three of ten the PSF is believed to be another than it was.

    Parameters
    ----------
    rng
        Random numbers.
    shape
        (z, y, x).
    kernel
        Whether any PSF is known; else it is believed to be a point.
    """
    photons = float(np.exp(rng.uniform(*np.log(PHOTONS))))
    lens = training_lens(rng, shape[0])
    sample = taken(rng, shape, kinds_of("seen", rng), lens, photons, rough=True)
    if not kernel:
        return replace(sample, psf=point(), voxel_um=likely_voxel(lens, shape[0], rng))
    if rng.random() < 0.3:
        sample = replace(sample, psf=believed(_mistaken(lens, rng), shape[0], rng))
    return sample


def make_sample(
    rng: Generator, shape: tuple[int, int, int], structures: Structures, lenses: Lenses, photons: float,
    *, rough: bool = False,
) -> Sample:  # fmt: skip
    """Draw a scene, blur it on finer pixels and take its picture.

    Parameters
    ----------
    rng
        Random numbers.
    shape
        (z, y, x) of the picture.
    structures, lenses
        Of the training or kept from it.
    photons
        Photo-electrons at the 99.9th percentile of the blurred object.
    rough
        Whether hot pixels and slightly wrong gains and backgrounds occur, as they do.
    """
    lens = training_lens(rng, shape[0]) if lenses == "seen" else unseen_lens(rng)
    return taken(rng, shape, kinds_of(structures, rng), lens, photons, rough=rough)


def taken(
    rng: Generator, shape: tuple[int, int, int], kinds: tuple[str, ...], lens: Lens, photons: float,
    *, rough: bool = False,
) -> Sample:  # fmt: skip
    """Take the picture of given kinds of structure through a given lens; see `make_sample`."""
    fine = lens.psf(KERNEL_PLANES if shape[0] > 1 else 1, lens.half(), FINER)
    return replace(exposed(rng, shape, kinds, fine, photons, rough=rough), lens=lens)


def exposed(
    rng: Generator, shape: tuple[int, int, int], kinds: tuple[str, ...], fine: NDArray[np.float32], photons: float,
    *, rough: bool = False, dark: float | None = None,
) -> Sample:  # fmt: skip
    """Take the picture of given kinds of structure through a given PSF.

    Parameters
    ----------
    rng
        Random numbers.
    shape
        (z, y, x) of the picture.
    kinds
        Of `scenes`.
    fine
        The PSF, sizes odd, on pixels `FINER` times smaller in y and x; sums to one.
    photons
        See `make_sample`.
    rough
        See `make_sample`.
    dark
        Photo-electrons of the background, read noise's variance in it; drawn, with read noise, if not given.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.signal import fftconvolve

    drawn_shape = (
        shape[0] + fine.shape[0] - 1, *(FINER * n + k - 1 for n, k in zip(shape[1:], fine.shape[1:], strict=True))
    )  # fmt: skip
    drawn = draw(kinds, drawn_shape, rng)
    blurred = _binned(np.clip(fftconvolve(drawn, fine, mode="valid"), 0, None))
    resolved = RESOLVED * FINER
    truth = gaussian_filter(drawn, (0, resolved, resolved), truncate=3)
    inner = tuple(slice(k // 2, k // 2 + f * n) for k, n, f in zip(fine.shape, shape, (1, FINER, FINER), strict=True))
    scale = photons / max(float(np.quantile(blurred, 0.999)), 1e-12)
    read = 0.0
    if dark is None:
        dark = photons * float(np.exp(rng.uniform(np.log(0.001), np.log(0.5))))
        read = float(np.exp(rng.uniform(np.log(0.3), np.log(5)))) if rough else rng.uniform(0.5, 2)
    light = rng.poisson(blurred * scale + dark) + rng.normal(0, read, shape) + read**2
    background = dark + read**2
    if rough:
        light, background = _roughened(light, background, photons, rng)
    psf = Psf(np.ascontiguousarray(halved(Psf(fine, None, None, "")).pixels), None, None, "")
    truth = (_binned(truth[inner]) * scale).astype(np.float32)
    return Sample(np.clip(light, 0, None).astype(np.float32), truth, psf, background, None, photons)


def believed(lens: Lens, planes: int, rng: Generator | None = None) -> Psf:
    """The PSF of a lens on the camera's pixels; sometimes noisy or cut short, as measured ones are."""
    fine = lens.psf(KERNEL_PLANES if planes > 1 else 1, lens.half(), FINER)
    pixels = halved(Psf(fine, None, None, "")).pixels
    if rng is not None and rng.random() < 0.3:
        noisy = pixels + rng.normal(0, 0.01 * pixels.max(), pixels.shape) * (pixels > 0.02 * pixels.max())
        pixels = np.clip(noisy, 0, None).astype(np.float32)
    return Psf(np.ascontiguousarray(pixels / pixels.sum()), None, None, "")


def likely_voxel(lens: Lens, planes: int, rng: Generator) -> tuple[float, float, float]:
    """Give the voxel size (z, y, x), µm, with which a microscope of common aperture and colour has such a PSF."""
    na, wavelength = rng.uniform(0.6, 1.45), rng.uniform(0.45, 0.68)
    resolved = wavelength / (2 * na)  # a period that is just passed
    lateral = resolved * (0.42 / max(lens.sigma[1:]) if lens.kind == "gaussian" else lens.cutoff)
    if planes == 1:
        return lateral, lateral, lateral
    axial = lens.sigma[0] if lens.kind == "gaussian" else 1 / lens.z_step
    deep = wavelength / na**2 / max(axial, 0.2) * (0.5 if lens.kind == "gaussian" else 0.4)
    return float(np.clip(deep, 0.1, 2)), lateral, lateral


def point() -> Psf:
    """The PSF of a user who has none."""
    return Psf(np.ones((1, 1, 1), np.float32), None, None, "none")


def kinds_of(structures: Structures, rng: Generator) -> tuple[str, ...]:
    """Draw the kinds of structure of one scene."""
    if structures == "photographs":
        return ("photographs",)
    if structures == "unseen":
        return (str(rng.choice(list(UNSEEN))),)
    return tuple(str(k) for k in rng.choice(list(TRAINING), int(rng.integers(1, 4)), replace=False))


def _mistaken(lens: Lens, rng: Generator) -> Lens:
    wrong = lens.scaled(float(rng.uniform(0.85, 1.2)))
    if lens.kind not in ("gaussian", "line") and rng.random() < 0.5:
        wrong = wrong.aberrated(**{str(rng.choice(ABERRATIONS)): float(rng.normal(0, 0.2))})
    return wrong


def _roughened(
    light: NDArray[np.float64], background: float, photons: float, rng: Generator
) -> tuple[NDArray[np.float64], float]:
    """Gain known to a tenth, background to a few per cent, a few hot pixels."""
    gain = float(np.exp(rng.normal(0, 0.08)))
    if rng.random() < 0.05:
        hot = rng.random(light.shape) < 0.0003
        light = np.where(hot, light + photons * rng.uniform(0.3, 2, light.shape), light)
    error = rng.normal(0, 0.02) * background + rng.normal(0, 0.003) * photons
    return light * gain, max((background + error) * gain, 0.0)


def _binned(volume: NDArray[np.floating]) -> NDArray[np.float64]:
    z, y, x = volume.shape
    return np.asarray(volume.reshape(z, y // FINER, FINER, x // FINER, FINER).sum((2, 4)), np.float64)
