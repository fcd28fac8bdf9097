"""A user's own pictures for the training: crops of them, simulated scenes beside them, and tiles that only judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from microdeconv.errors import DataError
from microdeconv.learnt.recipe import Recipe
from microdeconv.learnt.samples import FINER, KERNEL_PLANES, Sample, exposed, kinds_of
from microdeconv.learnt.training import Batch, Judge, deviance, gains_of, seen, simulated
from microdeconv.stack import Psf

if TYPE_CHECKING:
    from microdeconv.learnt.network import IRDNet

HELD_PART = 5  # of a picture's longer side one in so many rows or columns is never trained on
LEAST_HELD, MOST_HELD = 16, 128  # pixels: edges of the tiles that judge
LEAST = 48  # pixels of the longer side
SHARES = 0.5, 0.9  # of the photo-electrons that the network is given; the others judge
JUDGED_SHARE = 0.8
LOOKED_AT = 2  # random crops, of which the brighter is taken
PICKS = 10**6  # of a seed's third number: no sample of a batch has it
WIDEST_KERNEL = 24  # pixels: half of what simulated scenes use of a PSF in y and x
BRIGHTER = 2.0  # times, at most, or darker: simulated scenes beside a user's stack
CHANCE = 0.05
RANKED = 5  # figures, from which their ranks can tell
Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Own:
    """A user's picture.

    Attributes
    ----------
    name
        For a person.
    light
        float32 (z, y, x), photo-electrons, ≥ 0.
    truth
        float32 of the same shape, photo-electrons above the background; empty where there is none.
    psf
        The user's.
    background
        Photo-electrons.
    """

    name: str
    light: NDArray[np.float32]
    truth: NDArray[np.float32]
    psf: Psf
    background: float

    @property
    def photons(self) -> float:
        """Photo-electrons at the bright end."""
        return max(float(np.quantile(self.light, 0.999)) - self.background, 1.0)

    def digest(self) -> str:
        """Give a sha256 of all that a training sees of it."""
        found = hashlib.sha256(repr((self.light.shape, self.psf.shape, self.background)).encode())
        for part in (self.light, self.truth, self.psf.pixels):
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()

    def cropped(self, box: Box) -> Sample:
        """A part of it, as a sample."""
        light = np.ascontiguousarray(self.light[box])
        truth = np.ascontiguousarray(self.truth[box]) if self.truth.size else self.truth
        return Sample(light, truth, self.psf, self.background, None, self.photons)


def no_truth() -> NDArray[np.float32]:
    """What stands for a truth that nobody knows."""
    return np.zeros((0, 0, 0), np.float32)


def parted(own: Own) -> tuple[Box, list[Box]]:
    """Part a picture in the box that is trained on and tiles that are not: a band at the end of its longer side.

    Raises
    ------
    DataError
        When it is too small for both.
    """
    planes, *sides = own.light.shape
    axis = int(np.argmax(sides))
    long, short = sides[axis], sides[1 - axis]
    if long < LEAST or short < LEAST_HELD:
        raise DataError(
            f"{own.name}: {sides[0]} x {sides[1]} pixels are too few to train on and to judge by",
            f"give pictures of at least {LEAST} x {LEAST_HELD}",
        )
    begin = long - max(long // HELD_PART, LEAST_HELD)
    edge = int(np.clip(short // 8, LEAST_HELD, MOST_HELD))
    tiles: list[Box] = []
    for a in _cuts(begin, long, max((long - begin) // edge, 1)):
        for b in _cuts(0, short, short // edge):
            tiles.append((slice(0, planes), *((a, b) if axis == 0 else (b, a))))
    region: Box = (slice(0, begin), slice(0, short)) if axis == 0 else (slice(0, short), slice(0, begin))
    return (slice(0, planes), *region), tiles


def batches(pictures: Sequence[Own]) -> Batch:
    """Make the batches of a training: crops of the pictures, then simulated scenes, by turns.

    With truths, the simulated scenes are those of every training, so that nothing is forgotten. Without, they are seen
    through the user's PSF at about the user's brightness: unused counts say nothing of what the PSF hides.

    Raises
    ------
    DataError
        When a picture is too small.
    """
    regions = [parted(one)[0] for one in pictures]
    kernels = [one.psf.pixels if one.truth.size else finer(one.psf) for one in pictures]

    def batch(recipe: Recipe, step: int) -> list[Sample]:
        place = int(np.random.default_rng((recipe.seed, step, PICKS)).integers(len(pictures)))
        own, region = pictures[place], regions[place]
        if step % 2 and own.truth.size:
            return simulated(recipe, step)
        wanted, number = (recipe.plane, recipe.batch) if own.light.shape[0] == 1 else (recipe.volume, recipe.volumes)
        shape = _fitting(wanted, region)
        rngs = [np.random.default_rng((recipe.seed, step, one)) for one in range(number)]
        if step % 2:
            return [_alike(rng, own, kernels[place], shape).flipped(rng) for rng in rngs]
        return [_drawn(rng, own, region, shape).flipped(rng) for rng in rngs]

    return batch


def judge_of(pictures: Sequence[Own], recipe: Recipe) -> Judge:
    """Make the judge: tiles never trained on, by their truths (dB) or by the counts held back (− deviance)."""
    samples = held_samples(pictures, recipe)

    def judge(network: IRDNet, device: str) -> list[float]:
        with_truth, without = ([s for s in samples if bool(s.truth.size) is known] for known in (True, False))
        return [*gains_of(network, with_truth, device), *_deviances(network, without, device)]

    return judge


def held_samples(pictures: Sequence[Own], recipe: Recipe) -> list[Sample]:
    """The tiles that judge, at most as many as the recipe says, evenly out of all pictures."""
    found = [(own, box) for own in pictures for box in parted(own)[1]]
    taken = np.unique(np.linspace(0, len(found) - 1, min(recipe.validated, len(found))).round().astype(int))
    samples = []
    for place in taken:
        own, box = found[place]
        sample = own.cropped(_shallow(box, recipe.volume[0]))
        rng = np.random.default_rng((recipe.seed, PICKS, int(place)))
        samples.append(sample if own.truth.size else thinned(sample, JUDGED_SHARE, rng))
    return samples


def thinned(sample: Sample, share: float, rng: Generator) -> Sample:
    """Hold back all but a share of the photo-electrons, at random; fractions are rounded at random."""
    electrons = np.floor(sample.light + rng.random(sample.light.shape)).astype(np.int64)
    kept = rng.binomial(electrons, share)
    return replace(
        sample, light=kept.astype(np.float32), held=(electrons - kept).astype(np.float32), share=share,
        background=sample.background * share, photons=sample.photons * share, truth=no_truth(),
    )  # fmt: skip


def finer(psf: Psf) -> NDArray[np.float32]:
    """Give the middle of a PSF on pixels `FINER` times smaller in y and x, by cubic interpolation; sums to one.

    Pixels blur it a little twice, by an eighth of a pixel² of variance, in picture and PSF alike.
    """
    from scipy.ndimage import zoom

    most = (KERNEL_PLANES // 2, WIDEST_KERNEL, WIDEST_KERNEL)
    halves = [min(n // 2, m) for n, m in zip(psf.shape, most, strict=True)]
    box = tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(psf.shape, halves, strict=True))
    factors = [1.0, *((FINER * (2 * h) + 1) / (2 * h + 1) for h in halves[1:])]
    pixels = zoom(psf.pixels[box].astype(np.float64), factors, order=3, mode="nearest", grid_mode=False).clip(0)
    return np.asarray(pixels / pixels.sum(), np.float32)


def surely_better(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether figures of the same samples, the higher the better, grew: of several, beyond chance (95 %).

    By Wilcoxon's signed ranks, since some tiles hold much and others nothing; by Student's t where there are too few.
    """
    from scipy.stats import t, wilcoxon

    change = np.subtract(after, before)
    if change.size < 2 or not change.mean() > 0:
        return bool(change.mean() > 0)
    if np.count_nonzero(change) >= RANKED:
        return bool(wilcoxon(change[change != 0], alternative="greater").pvalue < CHANCE)
    error = float(change.std(ddof=1)) / change.size**0.5
    return bool(change.mean() > float(t.ppf(1 - CHANCE, change.size - 1)) * error)


def _drawn(rng: Generator, own: Own, region: Box, shape: tuple[int, ...]) -> Sample:
    """A crop of the region, the brightest of a few; with its truth, or a part of its counts held back."""
    boxes = [_box(rng, region, shape) for _ in range(LOOKED_AT)]
    sample = own.cropped(max(boxes, key=lambda box: float(own.light[box].mean())))
    return sample if own.truth.size else thinned(sample, float(rng.uniform(*SHARES)), rng)


def _alike(rng: Generator, own: Own, kernel: NDArray[np.float32], shape: tuple[int, int, int]) -> Sample:
    photons = own.photons * float(np.exp(rng.uniform(-1, 1) * np.log(BRIGHTER)))
    return exposed(rng, shape, kinds_of("seen", rng), kernel, photons, rough=True, dark=own.background)


def _deviances(network: IRDNet, samples: Sequence[Sample], device: str) -> list[float]:
    import torch

    found = []
    network.eval()
    with torch.inference_mode():
        for sample in samples:
            views = seen([sample], network.architecture.scales, device)
            found.append(-float(deviance(network(views)[-1][0], views[-1][0], sample)))
    return found


def _fitting(wanted: tuple[int, int, int], region: Box) -> tuple[int, int, int]:
    """A crop's sizes: as wanted, or what there is, square."""
    planes, *sides = (min(w, part.stop - part.start) for w, part in zip(wanted, region, strict=True))
    return planes, min(sides), min(sides)


def _box(rng: Generator, region: Box, shape: tuple[int, ...]) -> Box:
    corner = [int(rng.integers(part.start, part.stop - n + 1)) for part, n in zip(region, shape, strict=True)]
    return tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))


def _shallow(box: Box, planes: int) -> Box:
    """The middle planes of a box, at most twice as many as a crop has."""
    depth = box[0].stop
    kept = min(depth, 2 * planes)
    return (slice((depth - kept) // 2, (depth - kept) // 2 + kept), *box[1:])


def _cuts(begin: int, end: int, number: int) -> list[slice]:
    at = np.linspace(begin, end, number + 1).round().astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(at)]
