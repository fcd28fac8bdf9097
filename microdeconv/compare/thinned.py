"""Figures from two halves of the counts: their noise is independent, so it cannot be taken for structure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv.compare.halves import halves_of_counts
from microdeconv.compare.parts import Parted, figure, moments, of_quarters, parted, pearson
from microdeconv.compare.view import View, deviance_map
from microdeconv.resolution import Curve, fourier_correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.case import Entry, Figure
    from microdeconv.stack import Psf, PsfSet

    Image = NDArray[np.float32]

HELD_DOWN = 0.1  # of the OTF's maximum: frequencies that it lets pass by less count little in the estimated error


class Sharp(NamedTuple):
    """What the counts alone say of the object, from each half, photo-electrons of the whole, on the view's box.

    Attributes
    ----------
    references
        The halves' light times conj(H) / (|H|² + a²), whose mean is W · object, W = |H|² / (|H|² + a²).
    otf
        H, on the half spectrum of the grid.
    grid
        Sizes of the transform.
    """

    references: tuple[Image, Image]
    otf: NDArray[np.complex64]
    grid: tuple[int, ...]

    def weigh(self, image: Image) -> Image:
        """Give W · image."""
        power = np.abs(self.otf) ** 2
        return _filtered(image, power / (power + HELD_DOWN**2), self.grid)


def sharp_references(light: tuple[Image, Image], psf: Psf | PsfSet) -> Sharp:
    """Divide by the OTF where it lets pass enough; of a PSF that varies its middle one is taken.

    Parameters
    ----------
    light
        Of the halves, what is no object's in the box taken off, brought to the scale of the whole.
    psf
        Sums to one.
    """
    from scipy.fft import next_fast_len, rfftn

    kernel = psf.parts[len(psf.parts) // 2].pixels
    shape = light[0].shape
    grid = tuple(next_fast_len(n + k - 1 if n > 1 else k, real=True) for n, k in zip(shape, kernel.shape, strict=True))
    wrapped = np.zeros(grid, np.float32)
    wrapped[tuple(slice(0, k) for k in kernel.shape)] = kernel
    otf = rfftn(np.roll(wrapped, [-(k // 2) for k in kernel.shape], (0, 1, 2)))
    held = np.abs(otf) ** 2 + HELD_DOWN**2
    one, other = (_filtered(y, otf.conj() / held, grid) for y in light)
    return Sharp((one, other), otf, grid)


def _filtered(image: Image, transfer: NDArray[np.generic], grid: tuple[int, ...]) -> Image:
    from scipy.fft import irfftn, rfftn

    # the mean goes on beyond the box, so that its border is no edge
    mean = image.mean(dtype=np.float64)
    inside = np.asarray(irfftn(rfftn(image - np.float32(mean), grid) * transfer, grid), np.float32)
    return inside[tuple(slice(0, n) for n in image.shape)] + np.float32(mean * transfer.flat[0].real)


def thinned_figures(view: View) -> list[Figure | None]:
    """Figures from the results of two halves; those without such results are left out."""
    entries = [e for e in view.case.entries if e.halves is not None]
    if not entries:
        return []
    counts = view.case.shared_out or halves_of_counts(view.case.raw, view.case.camera)
    boxed = counts[0][view.box], counts[1][view.box]
    scale, unit = (1000.0, "nm") if view.case.voxel_um else (1.0, "voxels")
    voxel = None if view.case.voxel_um is None else tuple(scale * v for v in view.case.voxel_um)

    def finest(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
        return fourier_correlation(one, other, voxel).resolution()

    return [
        *_errors(view, entries, boxed),
        figure(
            "heldout_deviance", "held-out deviance",
            "how badly the result of one half of the counts, blurred, foretells the other half; one at best; blind to "
            "noise that the PSF hides, so that it likes results that went on for too long", "lower", "",
            ((e.name, _deviance(view, e, boxed)) for e in entries),
        ),
        figure(
            "agreement", "agreement of halves",
            "correlation of the results of two halves of the counts; one without noise, low where noise was sharpened",
            "higher", "", ((e.name, _agreement(*inner_halves(view, e))) for e in entries),
        ),
        figure(
            "frc_halves", "FRC of halves",
            "period at which results of two halves of the counts agree by no more than 1/7; optimistic for methods "
            "that are not linear, as both halves share PSF and prior", "lower", unit,
            ((e.name, of_quarters(finest, *inner_halves(view, e))) for e in entries),
        ),
    ]  # fmt: skip


def inner_halves(view: View, entry: Entry) -> tuple[Image, Image]:
    """The results of both halves on the inner part of the view, counts."""
    assert entry.halves is not None
    one, other = (half[view.box][view.inner] for half in entry.halves)
    return one, other


def curves_of_halves(view: View) -> dict[str, Curve]:
    """Fourier correlation of the results of both halves, by name; cycles per µm, or per voxel."""
    known = [e for e in view.case.entries if e.halves is not None]
    return {e.name: fourier_correlation(*inner_halves(view, e), view.case.voxel_um) for e in known}


def _errors(view: View, entries: list[Entry], counts: tuple[Image, Image]) -> list[Figure | None]:
    """Squared error of each result where the OTF lets pass enough, and its noise elsewhere; shares of the energy.

    With results a and b of the halves, V = ⟨a − b, W (a − b)⟩ / 2 the noise of one, and the halves' `Sharp` references
    p and q: ⟨a, W b⟩ + V / 2 − ⟨a, q⟩ − ⟨b, p⟩ + E has the mean ⟨(a − object), W (a − object)⟩, with half the noise of
    a half; each product is of independent noise, which drops out. The object's energy E = ⟨p, (2 − W) q⟩, the same for
    all results, is too low by W (1 − W)², at most a seventh of a frequency's; dividing by W would be exact, and noise.

    Y. C. Eldar, IEEE Trans. Signal Process. 57, 471 (2009), for the risk within what the operator lets pass.
    """
    psf = view.case.psf or next((e.psf for e in entries if e.psf is not None), None)
    if psf is None:
        return []
    _, outside = view.seen_with(psf)
    one, other = ((2 * half - outside - np.float32(view.dark)).astype(np.float32) for half in counts)
    sharp = sharp_references((one, other), psf)
    p, q = (r[view.inner] for r in sharp.references)
    energy = p * (2 * q - sharp.weigh(sharp.references[1])[view.inner])

    def share(part: float, whole: float, _: float) -> float:
        return part / whole if whole > 0 else math.nan

    errors, noises = dict[str, Parted](), dict[str, Parted]()
    for entry in entries:
        assert entry.halves is not None
        halves = [view.electrons(half) for half in entry.halves]
        wa, wb = (sharp.weigh(half)[view.inner] for half in halves)
        a, b = (half[view.inner] for half in halves)
        within = (a - b) * (wa - wb) / 4
        errors[entry.name] = parted(share, a * wb + within - a * q - b * p + energy, energy)
        noises[entry.name] = parted(share, np.square(a - b) / 4 - within, energy)
    return [
        figure(
            "error", "estimated error",
            "squared error as a share of the object's energy, at frequencies that the PSF passes by a tenth or more, "
            "estimated from two halves of the counts without knowing the object; may be below zero by chance",
            "lower", "", errors.items(),
        ),
        figure(
            "noise_beyond", "noise beyond",
            "energy of the noise at frequencies that the PSF passes by less than a tenth, as a share of the object's, "
            "from what the results of two halves differ by", "lower", "", noises.items(),
        ),
    ]  # fmt: skip


def _deviance(view: View, entry: Entry, counts: tuple[Image, Image]) -> Parted | None:
    psf = view.psf_of(entry)
    if psf is None or entry.halves is None:
        return None
    one, other = (view.blurred(half, psf) * np.float32(0.5) for half in entry.halves)
    terms = deviance_map(counts[1], one) + deviance_map(counts[0], other)
    return parted(lambda total, voxels: total / 2 / voxels, terms[view.inner])


def _agreement(one: Image, other: Image) -> Parted:
    a, b = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    return parted(pearson, *moments(a, b))
