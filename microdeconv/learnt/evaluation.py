"""Measures methods on the frozen suite: how near they come to the truth, and what they make of nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microdeconv import quality
from microdeconv.classical.richardson_lucy import Acceleration, RichardsonLucy, richardson_lucy
from microdeconv.learnt.samples import KERNEL_PLANES, Sample, believed, point
from microdeconv.learnt.suite import SPOTS, Case, is_frozen
from microdeconv.learnt.tally import AUTOMATIC, ORACLE, ORACLE_SEEN
from microdeconv.resolution import fourier_correlation
from microdeconv.spots import best_f1, find_spots, match_spots

if TYPE_CHECKING:
    from microdeconv.learnt.network import IRDNet

Image = NDArray[np.float32]
Restore = Callable[[Sample], Image]
PASSED = 0.02  # of its maximum: the OTF's modulus within the band
BRIGHT = 0.1  # of the truth's 99.9th percentile: fainter spots do not count
SPOTTED = 3.0  # standard deviations of the raw image above nothing: a spot where there is none
UNSHARP, UNSHARP_RADIUS = np.float32(1), 2.0  # strength, pixels
STEPS: dict[Acceleration, int] = {"preconditioned": 200, "momentum": 200, "none": 300}  # tried for the best stop
SEEN = {ORACLE: (0.0,), ORACLE_SEEN: (0.5, 0.7)}  # pixels: widths of a Gaussian, the truth's and that with the pixels'
LOST = 0.7  # dB below its best, and twice its steps: the best stop is behind
LOOKED_AT = 1.25  # ratio of the steps at which SSIM and correlation are looked at


def raw(sample: Sample) -> Image:
    """The image less its background."""
    return sample.light - np.float32(sample.background)


def unsharp(sample: Sample) -> Image:
    """The image less its background under an unsharp mask: what is sharpened without any PSF."""
    from scipy.ndimage import gaussian_filter

    image = raw(sample)
    return image + UNSHARP * (image - gaussian_filter(image, (0, UNSHARP_RADIUS, UNSHARP_RADIUS)))


def unguarded(network: IRDNet, device: str = "cpu") -> Restore:
    """What the learnt method makes of a network, nothing watching it; one that needs no PSF gets none."""
    import torch

    from microdeconv.learnt.network import object_found
    from microdeconv.learnt.reconciled import reconciled

    network.eval()
    kernel_free = bool(network.architecture.voxel)

    def restored(sample: Sample) -> Image:
        if kernel_free:
            sample = replace(sample, psf=point())
        with torch.inference_mode():
            problem = sample.problem(device, network=True)
            found = object_found(network, problem, None, sample.voxel_um)
            image = problem.blur.crop(found if kernel_free else reconciled(problem, found))
            return np.ascontiguousarray(image.cpu().numpy(), np.float32)

    return restored


def best_possible(sample: Sample) -> tuple[dict[str, Image], dict[str, float]]:
    """Richardson-Lucy stopped where only the truth can tell: the iterate, plain or with momentum, of the best PSNR.

    The truth is an object seen at the resolution that the network promises, and a late iterate is sharper. So it is
    looked for twice, among the iterates as they are and among those seen through a Gaussian of about that width.

    Parameters
    ----------
    sample
        With a truth that is not empty.

    Returns
    -------
    tuple
        The objects, "rl-best" and "rl-best-seen"; of the former also the best SSIM and correlation at stops of their
        own ("ssim_own", "correlation_own").
    """
    import torch

    problem = sample.problem()
    truth = quality.inner(sample.truth).astype(np.float32)
    best = dict.fromkeys(SEEN, (math.inf, sample.light))
    own = {"ssim_own": -1.0, "correlation_own": -1.0}
    with torch.inference_mode():
        for acceleration, steps in STEPS.items():
            least, looked = dict.fromkeys(_widths(), (math.inf, 0)), 0.0
            iterates = richardson_lucy(problem, RichardsonLucy(acceleration))
            for step, iterate in enumerate(islice(iterates, steps), 1):
                image = problem.blur.crop(iterate.image).cpu().numpy()
                behind = True
                for name, width in _widths():
                    seen = _through(image, width)
                    error = float(np.square(quality.inner(seen).astype(np.float32) - truth).mean())
                    if error < best[name][0]:
                        best[name] = error, seen.copy()
                    least[name, width] = min(least[name, width], (error, step))
                    lowest, at = least[name, width]
                    behind = behind and step > 2 * at and error > lowest * 10 ** (LOST / 10)
                if step >= looked:
                    looked = max(step + 1, step * LOOKED_AT)
                    near = _likeness(quality.inner(image), truth)
                    own = {key: max(own[key], near[key.removesuffix("_own")]) for key in own}
                if behind:
                    break
    return {name: image for name, (_, image) in best.items()}, own


def _widths() -> list[tuple[str, float]]:
    return [(name, width) for name, widths in SEEN.items() for width in widths]


def _through(image: Image, width: float) -> Image:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, (0, width, width), truncate=3), np.float32) if width else image


def _likeness(result: NDArray[np.generic], truth: NDArray[np.generic]) -> dict[str, float]:
    return {
        "ssim": quality.ssim(result, truth, rescale=False),
        "correlation": fourier_correlation(result, truth).mean,
    }


def figures_of(image: Image, sample: Sample) -> dict[str, float]:
    """Figures of a result against the truth, on the inner 80 %, without a scale fitted: its photo-electrons count.

    Parameters
    ----------
    image
        (z, y, x), photo-electrons.
    sample
        With its truth.

    Returns
    -------
    dict
        "psnr" (dB), "nrmse", "ssim", "correlation" (mean over rings or shells), "period" (voxels, at 1/7), "light" (of
        the whole field, over the truth's), and the parts of NRMSE "in_band" and "out_of_band", where the true OTF
        passes more than 2 % or less.
    """
    truth, result = quality.inner(sample.truth), quality.inner(image)
    curve = fourier_correlation(result, truth)
    inside, outside = _bands(image, sample)
    return {
        "psnr": quality.psnr(result, truth, rescale=False),
        "nrmse": quality.nrmse(result, truth, rescale=False),
        "ssim": quality.ssim(result, truth, rescale=False),
        "correlation": curve.mean,
        "period": curve.resolution(),
        "light": float(image.sum(dtype=np.float64) / sample.truth.sum(dtype=np.float64)),
        "in_band": inside,
        "out_of_band": outside,
    }


def _bands(image: Image, sample: Sample) -> tuple[float, float]:
    truth = quality.inner(sample.truth).astype(np.float64)
    error = quality.inner(image).astype(np.float64) - truth
    window = np.einsum("z,y,x->zyx", *(np.hanning(n + 2)[1:-1] if n > 1 else np.ones(1) for n in truth.shape))
    passed = _transfer(sample, truth.shape) > PASSED
    power = np.abs(np.fft.fftn(error * window)) ** 2
    whole = float(np.square(truth).mean() * np.square(window).sum()) * truth.size  # Parseval's, were it all alike
    return float(np.sqrt(power[passed].sum() / whole)), float(np.sqrt(power[~passed].sum() / whole))


def _transfer(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The true OTF's modulus at the frequencies of a field, however small: the PSF is wrapped around it."""
    pixels = believed(sample.true_lens, KERNEL_PLANES if shape[0] > 1 else 1).pixels
    wrapped = np.zeros(shape)
    np.add.at(wrapped, np.ix_(*(np.arange(k) % n for k, n in zip(pixels.shape, shape, strict=True))), pixels)
    return np.abs(np.fft.fftn(wrapped))


def figures_of_nothing(image: Image, sample: Sample, classical: Image) -> dict[str, float]:
    """Figures of a result on an empty field.

    Parameters
    ----------
    image, classical
        The result and automatic Richardson-Lucy's, photo-electrons.
    sample
        Without an object.

    Returns
    -------
    dict
        "calm": less the most by which the result rises above the classical one, in units of that one's standard
        deviation, or of the raw image's where that is more: stopped in time, the classical result is all but flat.
        "few": less the false spots on 10,000 voxels.
    """
    noise = math.sqrt(sample.background)
    spread = max(float(classical.std()), noise)
    return {
        "calm": -float((image - classical).max()) / spread,
        "few": -1e4 * len(find_spots(image, SPOTTED * noise)) / image.size,
    }


def figures_of_spots(image: Image, sample: Sample) -> dict[str, float]:
    """Figures of spots, those of the truth being the true ones.

    Returns
    -------
    dict
        "f1" at the threshold that is best for it; "few": less the false spots on 10,000 voxels, at a threshold that
        is the same for all results, a tenth of the truth's bright end.
    """
    least = BRIGHT * float(np.quantile(sample.truth, 0.999))
    true = find_spots(sample.truth, least)
    false = match_spots(find_spots(image, least), true).false
    return {"f1": best_f1(image, true), "few": -1e4 * false / image.size}


def evaluate(
    cases: Sequence[Case], methods: Mapping[str, Restore], listen: Callable[[int], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Run methods on cases, with Richardson-Lucy at its best possible stop beside them.

    Parameters
    ----------
    cases
        See `suite.cases_of`.
    methods
        By name; "rl", the automatic one, must be among them.
    listen
        Called after each case with its number.

    Yields
    ------
    dict
        "cell", "number", "level", "photons", "frozen", "method", "seconds", and the figures that are for such a cell.
    """
    for done, case in enumerate(cases, 1):
        sample = case.sample()
        known = {
            "cell": case.cell.name, "number": case.number, "level": case.level, "photons": sample.photons,
            "frozen": is_frozen(case, sample),
        }  # fmt: skip
        empty = not sample.truth.any()
        images, seconds = {}, {}
        for name, restore in methods.items():
            started = time.perf_counter()
            images[name] = restore(sample)
            seconds[name] = time.perf_counter() - started
        own: dict[str, float] = {}
        if not empty:
            started = time.perf_counter()
            best, own = best_possible(sample)
            images |= best
            seconds |= dict.fromkeys(best, time.perf_counter() - started)
        for name, image in images.items():
            figures = figures_of_nothing(image, sample, images[AUTOMATIC]) if empty else figures_of(image, sample)
            if case.cell.structures == SPOTS:
                figures |= figures_of_spots(image, sample)
            yield {**known, "method": name, "seconds": seconds[name], **figures, **(own if name == ORACLE else {})}
        if listen:
            listen(done)
