"""Beads laid on one another to a small part of a voxel, and their robust mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv.psf.file import top_of
from microdeconv.stack import Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]

TAPS = 12  # to each side, of the interpolating quintic spline: what is left out is below 1e-4
ROUNDS = 3
HUBER = 2.0  # standard deviations, from which on a bead's voxel counts less
RIM = 0.6  # of the window's half-width, from which on its light tells the background
LARGEST_STEP = 0.5  # voxels in one round
SURE = 3.0  # standard errors from which on the rim is taken to fall
ALIKE = 2.0  # standard errors within which a plane is as dark as those in focus


class Patch(NamedTuple):
    """The window round one bead.

    Attributes
    ----------
    counts
        (z, y, x), odd sizes, 0 where there is nothing to see.
    seen
        Whether a voxel lies in the field, and not in another bead.
    """

    counts: Volume
    seen: NDArray[np.bool_]


class Mean(NamedTuple):
    """The mean bead and how each lies on it.

    Attributes
    ----------
    pixels
        (z, y, x), its peak 1 in the middle voxel, free of background; noise makes some values negative.
    error
        Standard error of each voxel.
    offsets
        (bead, 3): where each bead's peak is from the middle of its window, voxels.
    heights, backgrounds
        Counts.
    alike
        Correlation of each bead with the mean, within the core.
    """

    pixels: Volume
    error: Volume
    offsets: NDArray[np.float64]
    heights: NDArray[np.float64]
    backgrounds: NDArray[np.float64]
    alike: NDArray[np.float64]


def shifted(volume: Volume, by: NDArray[np.float64]) -> Volume:
    """Move a volume by a part of a voxel along each axis, by quintic splines; the rim continues outwards."""
    from scipy.ndimage import correlate1d, shift

    moved = volume
    for axis, step in enumerate(by):
        if volume.shape[axis] > 1 and abs(step) > 1e-4:
            impulse = np.zeros(2 * TAPS + 21)
            impulse[TAPS + 10] = 1
            kernel = shift(impulse, -step, order=5)[10:-10]
            moved = correlate1d(moved, kernel / kernel.sum(), axis, mode="nearest")
    return moved


def average(patches: list[Patch], heights: NDArray[np.float64], width: Zyx, core: tuple[slice, ...]) -> Mean:
    """Find the mean bead, and each one's position, height and background.

    In turns: each bead is fitted by height · mean(r − offset) + background; what the fits leave over is moved back to
    the middle, averaged robustly (Huber's weights over the beads, for each voxel) and added to the mean. As only
    the remainders are interpolated the mean is not blurred by it. Its background is what the rim of the planes in
    focus shows, less the fall with the third power of the radius that diffraction leaves there.

    Parameters
    ----------
    patches
        Windows of one size, the bead within a voxel of the middle.
    heights
        Counts above the background, about.
    width
        FWHM, voxels.
    core
        The part of the window that tells position and likeness.

    References
    ----------
    J. Anderson, I. R. King, Publ. Astron. Soc. Pac. 112, 1360 (2000), for the remainders. P. J. Huber, Ann. Math.
    Stat. 35, 73 (1964).
    """
    number = len(patches)
    offsets = np.zeros((number, 3))
    heights = heights.copy()
    backgrounds = np.array([float(np.median(p.counts[p.seen])) for p in patches])
    mean, error = np.zeros_like(patches[0].counts), np.zeros_like(patches[0].counts)
    alike = np.ones(number)
    left = np.empty((number, *mean.shape), np.float32)
    shares = np.empty_like(left)
    for turn in range(ROUNDS):
        for i, patch in enumerate(patches):
            if turn:
                offsets[i] += _step(patch, shifted(mean, offsets[i]), core)
                heights[i], backgrounds[i] = _level(patch, shifted(mean, offsets[i]))
            model = heights[i] * shifted(mean, offsets[i]) + backgrounds[i]
            left[i] = shifted(np.where(patch.seen, patch.counts - model, 0), -offsets[i]) / heights[i]
            shares[i] = heights[i] * patch.seen
        change, error = robust_mean(left, shares)
        mean = mean + change
        mean -= _floor(mean, error, width)
        off = top_of(mean.astype(np.float64)) - [n // 2 for n in mean.shape]
        offsets += off
        mean = shifted(mean, -off)
        top = float(mean[tuple(n // 2 for n in mean.shape)])
        mean, error, heights = mean / top, error / top, heights * top
    error = error * _underrated(mean, error)
    for i, patch in enumerate(patches):
        inside = patch.seen[core]
        seen, fitted = patch.counts[core][inside], shifted(mean, offsets[i])[core][inside]
        alike[i] = np.corrcoef(seen, fitted)[0, 1]
    return Mean(mean, error, offsets, heights, backgrounds, alike)


def stretches(patch: Patch, mean: Volume, offset: NDArray[np.float64], core: tuple[slice, ...]) -> Zyx:
    """How many times as wide as the mean a bead is along z, y and x: the stretch that fits its core best, linearised.

    Noise moves this far less than a width read off a single bead's profile.
    """
    model = shifted(mean, offset)
    axes = [a for a, n in enumerate(mean.shape) if n > 1]
    slopes = [np.gradient(model, axis=a) for a in axes]
    places = np.ogrid[tuple(slice(-(n // 2), n // 2 + 1) for n in mean.shape)]
    pulls = [-(places[a] - offset[a]) * slope for a, slope in zip(axes, slopes, strict=True)]
    found = _fit(patch, [model, *slopes, *pulls], core)
    stretch = [1.0] * 3
    for axis, pull in zip(axes, found[1 + len(axes) : -1], strict=True):
        stretch[axis] = float(np.clip(1 + pull / found[0], 0.5, 2))
    return Zyx(*stretch)


def robust_mean(values: Volume, shares: Volume) -> tuple[Volume, Volume]:
    """Mean over beads by Huber's weights, and its standard error.

    Parameters
    ----------
    values
        (bead, z, y, x).
    shares
        Weight of each before that; 0 where nothing is seen.
    """
    from scipy.ndimage import gaussian_filter

    if len(values) == 1:
        return values[0].copy(), _roughness(values[0])
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    spread = gaussian_filter(spread, 1.0) + 1e-12
    weights = shares * np.minimum(1, HUBER * spread / np.maximum(np.abs(values - middle), 1e-12))
    total = np.maximum(weights.sum(axis=0), 1e-12)
    mean = (weights * values).sum(axis=0) / total
    variance = (np.square(weights * (values - mean)).sum(axis=0)) / total**2 * len(values) / (len(values) - 1)
    return mean.astype(np.float32), np.sqrt(gaussian_filter(variance, 1.0)).astype(np.float32)


def _underrated(mean: Volume, error: Volume) -> float:
    """How many times larger the noise is than the scatter tells, by the window's corners: the turns sharpen it."""
    y, x = np.ogrid[tuple(slice(-(n // 2), n // 2 + 1) for n in mean.shape[1:])]
    corner = np.hypot(y / (mean.shape[1] // 2), x / (mean.shape[2] // 2)) > 1
    scatter = (mean[:, corner] - mean[:, corner].mean(axis=1, keepdims=True)).std()
    return float(np.clip(scatter / max(float(np.sqrt(np.square(error[:, corner]).mean())), 1e-12), 1, 3))


def _roughness(volume: Volume) -> Volume:
    """Local noise of a single bead, from second differences along y and x, to which smooth light is blind."""
    from scipy.ndimage import correlate, gaussian_filter

    second = np.array([1, -2, 1])
    rough = correlate(volume, np.outer(second, second)[None], mode="nearest")
    return np.sqrt(gaussian_filter(np.square(rough) / 36, [2 if n > 1 else 0 for n in volume.shape]))


def _fit(patch: Patch, parts: list[Volume], core: tuple[slice, ...]) -> NDArray[np.float64]:
    """Least squares of the core by parts and a constant, which comes last."""
    inside = patch.seen[core]
    columns = [part[core][inside].astype(np.float64) for part in parts]
    matrix = np.stack([*columns, np.ones(columns[0].size)], axis=1)
    found: NDArray[np.float64] = np.linalg.lstsq(matrix, patch.counts[core][inside].astype(np.float64))[0]
    return found


def _step(patch: Patch, model: Volume, core: tuple[slice, ...]) -> NDArray[np.float64]:
    """How much farther from the middle the bead is than the model, voxels: one step of Gauss and Newton."""
    axes = [a for a, n in enumerate(model.shape) if n > 1]
    found = _fit(patch, [model, *(np.gradient(model, axis=a) for a in axes)], core)
    step = np.zeros(3)
    step[axes] = np.clip(-found[1:-1] / max(found[0], 1e-12), -LARGEST_STEP, LARGEST_STEP)
    return step


def _level(patch: Patch, model: Volume) -> tuple[float, float]:
    """Height and background, from the whole window."""
    height, background = _fit(patch, [model], tuple(slice(None) for _ in model.shape))
    return max(float(height), 1e-6), float(background)


def _floor(mean: Volume, error: Volume, width: Zyx) -> float:
    """Background of the mean: what the rim shows in the planes in focus, and in those that are as dark as they are.

    Where the rim in focus falls towards the outside as diffraction makes it, with the third power of the radius, the
    constant below that counts.
    """
    middle = mean.shape[0] // 2
    planes = int(width.z / 2) if np.isfinite(width.z) else 0
    y, x = np.ogrid[tuple(slice(-(n // 2), n // 2 + 1) for n in mean.shape[1:])]
    radius, reach = np.hypot(y / (mean.shape[1] // 2), x / (mean.shape[2] // 2)), 1.0
    rim = (radius > RIM * reach) & (radius <= reach)
    focus = slice(max(0, middle - planes), middle + planes + 1)
    values, noise = mean[focus][:, rim], float(np.sqrt(np.mean(np.square(error[focus][:, rim]))))
    fall = np.broadcast_to(radius[rim] ** -3.0, values.shape).ravel()
    matrix = np.stack([np.ones_like(fall), fall - fall.mean()], axis=1)
    found = np.linalg.lstsq(matrix, values.ravel().astype(np.float64))[0]
    if found[1] > SURE * noise / np.sqrt(fall.size * fall.var()):
        return float(found[0] - found[1] * fall.mean())
    levels = mean[:, rim].mean(axis=1, dtype=np.float64)
    errors = np.sqrt(np.square(error[:, rim], dtype=np.float64).mean(axis=1) / np.count_nonzero(rim))
    dark = np.abs(levels - found[0]) <= ALIKE * errors
    dark[focus] = True
    return float(np.average(levels[dark], weights=1 / np.maximum(errors[dark], 1e-12) ** 2))
