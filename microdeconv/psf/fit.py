"""How well a PSF explains an image: counts that the deconvolution did not see are foretold, and judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.classical.total_variation import TotalVariation, falling_variation, total_variation
from microdeconv.problem import Iterate, Problem, poisson_deviance
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

KEPT = 0.9  # of the photo-electrons are deconvolved for an estimate, the others judge, and
KEPT_TO_CHECK = 0.75  # for a check: more judges tell PSFs apart better, and what they tell is no fit
LOOKS = (3, 4, 6, 8, 11, 15, 20, 27, 36, 50, 70)  # steps after which they do
BRIGHT = 150.0  # photo-electrons at the image's bright end are enough to tell; more would ask for more steps, and
BRIGHTEST = 0.999  # (that end) what is thinned is nearer to Poisson's noise, whatever the camera's was
WAYS = (  # sharpened steps see fine structure before the noise; the others are nearer the truth where voxels are dark
    RichardsonLucy("preconditioned"),
    RichardsonLucy("momentum"),
)
SMOOTHNESS = (0.001, 0.003, 0.006, 0.012, 0.025, 0.05)  # weights of total variation that are tried
FALLING = (0.05, 0.0002)  # weight of total variation, first and last, and
FLAT_STEPS, STEPS = 240, 500  # steps in between: in 3-D fewer leave wide PSFs short of their answers, right ones too
EVERY, PATIENCE = 5, 30  # how often counts judge, and steps, at least, before it may end: momentum sways
RISEN = 4.0  # of the deviance above its least: later only noise is found
SYMMETRIC = 0.05  # of the light lies elsewhere after two axes are swapped: less is no difference to speak of
SEED = 20  # of the sharing out: the same image gives the same verdict


@dataclass(frozen=True, slots=True)
class Split:
    """An image's photo-electrons shared out at random: most to be deconvolved, the others to judge.

    Attributes
    ----------
    kept, held
        float32 (z, y, x), photo-electrons, with independent noise where the image's is Poisson's.
    background, level
        Photo-electrons in the whole image without any object, and the object's mean.
    share
        Of the photo-electrons, that is kept.
    """

    kept: Tensor
    held: Tensor
    background: float
    level: float
    share: float = KEPT


class Fit(NamedTuple):
    """How well the held-out counts were foretold.

    Attributes
    ----------
    deviance
        Poisson deviance of all held-out counts together, at the best step; its differences between PSFs count.
    per_voxel
        The same for one voxel: about one for a right model of many counts, less where counts are few.
    steps
        The best step.
    predicted
        float32 (z, y, x), photo-electrons: what was foretold of the held-out counts.
    """

    deviance: float
    per_voxel: float
    steps: int
    predicted: Tensor


def split_counts(light: NDArray[Any], background: float, device: str = "cpu", share: float = KEPT) -> Split:
    """Share out an image's photo-electrons; where they are many, only a random part of them.

    Parameters
    ----------
    light
        (z, y, x), photo-electrons, the background in them; values below zero are taken for zero.
    background
        Photo-electrons.
    device
        A torch device.
    share
        To be deconvolved.
    """
    import torch

    from microdeconv.camera import thin
    from microdeconv.machine import as_tensor

    random = torch.Generator().manual_seed(SEED)
    image = as_tensor(np.asarray(light, np.float32), "cpu").clamp_min(0)
    bright = float(np.quantile(light, BRIGHTEST)) - background
    if bright > BRIGHT:
        image, _ = thin(image, BRIGHT / bright, random)
        background *= BRIGHT / bright
    kept, held = thin(image, share, random)
    level = max(float(image.mean()) - background, 1e-6 * max(background, 1.0))
    return Split(kept.to(device), held.to(device), background, level, share)


def held_out_deviance(split: Split, psf: Psf, smoothness: float | None = None) -> Fit:
    """Deconvolve the kept counts with a PSF and see how well the result foretells the others.

    Richardson-Lucy first finds what the image shows, then its noise: the least deviance on the way tells how well the
    PSF can explain the image at all. Paired on the same counts, the deviances of two PSFs differ by twice the logarithm
    of how much likelier one makes counts that it never saw. A PSF that is too wide explains a smooth object as well as
    the right one, and a narrow one almost as well: only structure near the resolution tells.

    Parameters
    ----------
    split
        From `split_counts`.
    psf
        On the image's voxels.
    smoothness
        Weight of total variation on the object, see `best_smoothness`. Without it smooth objects speak for PSFs that
        are too wide, whose objects have less noise.

    References
    ----------
    J. Batson, L. Royer, ICML 2019, for judging by independent noise.
    """
    import torch

    with torch.inference_mode():
        problem = problem_of(split, psf)
        if smoothness is not None:
            return _best(problem, split, total_variation(problem, TotalVariation(smoothness, "momentum")))
        return min((_best(problem, split, richardson_lucy(problem, way)) for way in WAYS), key=lambda f: f.deviance)


def foretold(split: Split, psf: Psf) -> Fit:
    """Find how well a PSF foretells the held-out counts when the object is as smooth as suits both best.

    The weight of total variation falls from step to step, and the least deviance on the way counts. At one weight for
    all, or none, smooth structure speaks for PSFs that are too wide, lines for narrow ones; with the best for each,
    hardly, and each answer is nearer its end than after as many steps at one weight.

    Parameters
    ----------
    split
        From `split_counts`.
    psf
        On the image's voxels.
    """
    import torch

    (first, last), steps = FALLING, FLAT_STEPS if psf.pixels.shape[0] == 1 else STEPS
    best = Fit(math.inf, math.inf, 0, split.held)
    with torch.inference_mode():
        problem = problem_of(split, psf)
        for done, iterate in enumerate(islice(falling_variation(problem, first, last, steps), steps), 1):
            if done % EVERY:
                continue
            fit = judged(problem, split, iterate.image, done)
            best = min(best, fit, key=lambda fit: fit.deviance)
            risen = fit.deviance > best.deviance + RISEN
            if best is not fit and done >= PATIENCE + (1.2 if risen else 2) * best.steps:
                break
    return best


def folds(split: Split, number: int) -> list[Split]:
    """Share the same counts out in more ways, so that others judge each time.

    Parameters
    ----------
    split
        The first way.
    number
        Of ways, at most 1 / (1 − `split.share`): no count judges twice.
    """
    import torch

    from microdeconv.camera import thin

    random = torch.Generator().manual_seed(SEED + 1)
    image, left, judging = split.kept + split.held, split.kept.cpu(), 1 - split.share
    ways = [split]
    for done in range(1, number):
        held, left = thin(left, min(judging / (1 - done * judging), 1.0), random)
        held = held.to(image.device)
        ways.append(replace(split, kept=image - held, held=held))
    return ways


def better(ways: Sequence[Split], ones: Sequence[Fit], others: Sequence[Fit]) -> float:
    """How much better the others foretell the held-out counts, in standard errors of the paired difference.

    Where the first fit worse than Poisson's noise, the difference counts for as much less.

    Parameters
    ----------
    ways
        Of sharing out the counts.
    ones, others
        Fits of two PSFs, for each way.

    References
    ----------
    Q. H. Vuong, Econometrica 57, 307 (1989).
    """
    squares = 0.0
    for split, one, other in zip(ways, ones, others, strict=True):
        squares += float((other.predicted / one.predicted).log_().square_().mul_(split.held).sum())
    worse = max(1.0, sum(one.per_voxel for one in ones) / len(ones))
    return gain(ones, others) / (max(2 * math.sqrt(squares), 1e-9) * worse)


def gain(ones: Sequence[Fit], others: Sequence[Fit]) -> float:
    """How much less the others' deviance is, all ways together."""
    return sum(one.deviance - other.deviance for one, other in zip(ones, others, strict=True))


def best_smoothness(split: Split, psf: Psf) -> float:
    """Find the weight of total variation with which unused counts are foretold best."""
    return min(SMOOTHNESS, key=lambda weight: held_out_deviance(split, psf, weight).deviance)


def problem_of(split: Split, psf: Psf) -> Problem:
    """The kept counts, to be deconvolved with a PSF."""
    from microdeconv.blur import Blur

    shape = split.kept.shape
    blur = Blur(psf, (shape[0], shape[1], shape[2]), split.kept.device)
    return Problem(split.kept, blur, split.share * split.background, split.share * split.level)


def judged(problem: Problem, split: Split, image: Tensor, steps: int) -> Fit:
    """Compare what an object foretells with the held-out counts.

    Parameters
    ----------
    problem
        Foretells the kept counts of `image`, an object on its grid.
    split
        Holds those that judge.
    image, steps
        The object, and the steps that it took.
    """
    predicted = problem.predict(image).mul_((1 - split.share) / split.share)
    per_voxel = poisson_deviance(split.held, predicted)
    return Fit(per_voxel * split.held.numel(), per_voxel, steps, predicted)


def _best(problem: Problem, split: Split, iterates: Iterator[Iterate]) -> Fit:
    """The best step of one way: the last before the deviance rises."""
    best = Fit(math.inf, math.inf, 0, split.held)
    for steps, iterate in enumerate(islice(iterates, LOOKS[-1]), 1):
        if steps not in LOOKS:
            continue
        fit = judged(problem, split, iterate.image, steps)
        if fit.deviance >= best.deviance:
            break
        best = fit
    return best


def scaled(psf: Psf, factors: Zyx) -> Psf:
    """Give a PSF made wider (factors above one) or narrower along each axis; the axis of a single plane stays."""
    from scipy.ndimage import affine_transform

    sizes = np.array(psf.pixels.shape)
    by = np.where(sizes > 1, factors, 1.0)
    half = np.ceil(sizes // 2 * by).astype(int)
    shape = tuple(int(n) for n in 2 * half + 1)
    start = sizes // 2 - half / by
    wide = affine_transform(psf.pixels.astype(np.float64), 1 / by, start, output_shape=shape, order=3)
    pixels = np.clip(np.asarray(wide), 0, None)
    return replace(psf, pixels=(pixels / pixels.sum()).astype(np.float32))


def turned(psf: Psf) -> Iterator[tuple[str, Psf]]:
    """Give the PSF with two axes swapped, for each pair that it is not symmetric in, and the pair's name."""
    for a, b in ((0, 2), (0, 1), (1, 2)):
        if psf.pixels.shape[0] == 1 and a == 0:
            continue
        pixels = np.ascontiguousarray(psf.pixels.swapaxes(a, b))
        if _unlike(psf.pixels, pixels) > SYMMETRIC:
            yield f"{'zyx'[a]} and {'zyx'[b]}", replace(psf, pixels=pixels)


def _unlike(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Share of the light that lies elsewhere, in the part that both have."""
    half = [min(n, m) // 2 for n, m in zip(one.shape, other.shape, strict=True)]
    a, b = (
        v[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(v.shape, half, strict=True))] for v in (one, other)
    )
    return float(np.abs(a - b).sum() / 2 + (1 - a.sum()) / 2 + (1 - b.sum()) / 2)
