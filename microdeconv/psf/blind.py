"""A PSF of free form from the image itself: object and PSF in turns, judged by counts that neither saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from microdeconv.blur import Blur
from microdeconv.fft import correlation, good_size, half_frequencies, passed_through
from microdeconv.optics import cutoff_per_um, missing
from microdeconv.problem import Problem
from microdeconv.psf.estimate import ENOUGH, TEMPER, Estimated, Listen
from microdeconv.psf.fit import Split, held_out_deviance, scaled
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.optics import Optics

ROUNDS = 24  # at most
LOOK = 3  # rounds between two judgements
OBJECT_STEPS, PSF_STEPS = 4, 2  # of plain Richardson-Lucy in a round
WIDER = 1.6
WORSE = 2  # judgements in a row, after which it ends


def estimate_free(split: Split, start: Psf, optics: Optics, listen: Listen | None = None) -> Estimated:
    """Find a PSF of any form within a window by blind Richardson-Lucy.

    x ← x · Hᵀ(y / (H x + b)) / Hᵀ1 and h ← h · corr(x, y / (H x + b)) / Σ x in turns; after each round h is made
    non-negative, of sum one and, where the optics are known, free of frequencies that they do not let through. Such a
    pair of updates fits the image ever better with an ever odder PSF: of all rounds the one is taken whose PSF best
    foretells the held-out counts, and none if the start does. A wider start is tried as well.

    Parameters
    ----------
    split
        Counts of a telling part of the image, from `fit.split_counts`.
    start
        The first PSF; its window is the support.
    optics
        As far as known.
    listen
        Called with what is being done, the step and how many there may be.

    References
    ----------
    D. A. Fish et al., J. Opt. Soc. Am. A 12, 58 (1995). J. Markham, J.-A. Conchello, J. Opt. Soc. Am. A 16, 2377
    (1999), for the constraints. M. Keuper et al., CVPR 2013.
    """
    first = held_out_deviance(split, start).deviance
    best, least, done = start, first, 0
    for one in (start, _widened(start)):
        worse = 0
        for number, psf in enumerate(_rounds(split, one, optics), 1):
            done += 1
            if listen:
                listen("estimating the PSF", done, 2 * ROUNDS)
            if number % LOOK == 0:
                deviance = held_out_deviance(split, psf).deviance
                worse = 0 if deviance < least else worse + 1
                best, least = (psf, deviance) if deviance < least else (best, least)
            if worse == WORSE or number == ROUNDS:
                break
    gain = (first - least) / TEMPER
    if gain < ENOUGH:
        why = f"the image cannot tell a better one (log-odds {gain:.1f}, {ENOUGH:g} would do)"
        return Estimated(replace(start, source=f"{start.source}; {why}"), {}, gain, sure=False, why=why)
    why = f"log-odds {gain:.1f} over the start"
    return Estimated(replace(best, source=f"estimated, free form; {why}"), {}, gain, sure=True, why=why)


def _widened(psf: Psf) -> Psf:
    """A wider start in the same window: rounds narrow a PSF more readily than they widen it."""
    wide = scaled(psf, Zyx(WIDER, WIDER, WIDER)).pixels
    inner = tuple(slice((w - n) // 2, (w - n) // 2 + n) for w, n in zip(wide.shape, psf.pixels.shape, strict=True))
    return replace(psf, pixels=wide[inner] / wide[inner].sum())


def _rounds(split: Split, start: Psf, optics: Optics) -> Iterator[Psf]:
    """The PSF after each round, its peak where the start's is: object and PSF could drift apart together."""
    import torch

    psf = start
    shape = (split.kept.shape[0], split.kept.shape[1], split.kept.shape[2])
    x: Tensor | None = None
    while True:
        with torch.inference_mode():
            blur = Blur(psf, shape, split.kept.device)
            problem = Problem(split.kept, blur, split.share * split.background, split.share * split.level)
            x = blur.flat(problem.level) if x is None else x
            inverse = blur.inverse_normalisation()
            for _ in range(OBJECT_STEPS):
                x = blur.adjoint(problem.image / problem.predict(x)).mul_(inverse).mul_(x)
            for _ in range(PSF_STEPS):
                psf = _reshaped(psf, problem, x, optics)
                problem = replace(problem, blur=Blur(psf, shape, split.kept.device))
        yield psf


def _reshaped(psf: Psf, problem: Problem, x: Tensor, optics: Optics) -> Psf:
    """One step on the PSF, within its window and the band of the optics."""
    import torch

    pixels = torch.as_tensor(psf.pixels, device=x.device)
    middle = tuple(n // 2 for n in pixels.shape)
    # y[p] = Σ h[j] x[p + margin + middle - j]: the step for h[j] is the correlation at the shift margin + middle - j
    last_z, last_y, last_x = (m + c for m, c in zip(problem.blur.margin, middle, strict=True))
    ratio, ones = problem.image / problem.predict(x), torch.ones_like(problem.image)
    told, even = (correlation(of, x, (last_z, last_y, last_x), psf.pixels.shape) for of in (ratio, ones))
    pixels = pixels * told / even.clamp_min(1e-6 * float(even.max()))
    if psf.voxel_um is not None and not missing(optics):
        pixels = _in_band(pixels, cutoff_per_um(optics), psf.voxel_um)
    pixels = pixels.clamp_min_(0)
    return replace(psf, pixels=(pixels / pixels.sum()).cpu().numpy())


def _in_band(pixels: Tensor, cutoff: tuple[float, float], voxel_um: Zyx) -> Tensor:
    """Take away the frequencies beyond the cut-off."""
    import torch

    z, y, x = pixels.shape
    grid = (good_size(2 * z - 1), good_size(2 * y), good_size(2 * x, even=True))
    fz, fy, fx = (f / size for f, size in zip(half_frequencies(grid), voxel_um, strict=True))
    passed = fy**2 + fx**2 <= cutoff[1] ** 2
    if z > 1:
        passed = passed & (fz.abs() <= cutoff[0])
    return passed_through(pixels, passed.to(torch.float32).to(pixels.device), grid)
