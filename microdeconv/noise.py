"""Offset, gain and background, estimated from a stack where nobody says them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microdeconv.camera import Camera

BLOCK = (4, 8, 8)
SAMPLED = 2**24  # voxels looked at, at most
EVEN = 1e-4  # of the range of the blocks' means: differences below it are none
MOSTLY = 0.3  # of the blocks on one floor are background, however dark the object
DROWNED = 1.0  # light of a floor, as a share of the contrast above it, at which it may be the object's
CAUTION = 1.7  # of the way down to the offset, which is extrapolated from the noise and so is uncertain
FLOOR_SHARE = 0.01  # of the blocks must lie on a floor for it to be a background
MOST_ELECTRONS, FEWEST_ELECTRONS = 1e6, 4.0  # that the brightest voxels may hold, where the noise tells nothing


class BackgroundEstimate(NamedTuple):
    """Counts where there is no object; whether a floor was seen; what was found, in words."""

    value: float
    sure: bool
    why: str


class CameraEstimate(NamedTuple):
    """Offset and gain from the noise; whether the noise told them; what was found, in words."""

    camera: Camera
    sure: bool
    why: str


class Blocks(NamedTuple):
    """Mean and noise variance of small blocks of a stack; blocks that a program filled are left out."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    size: int


def blocks_of(volume: NDArray[Any]) -> Blocks:
    """Cut a volume (or an even sample of a large one) into blocks; find mean and noise in each.

    The noise variance is that of the product of second differences along y and x, which is blind to smooth structure.
    Blocks that hold the same value throughout (fill of a deskewed or cropped stack) are left out, unless all do.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64, 300 (1996).
    """
    depth, height, width = (min(b, n) for b, n in zip(_block_for(volume.shape), volume.shape, strict=True))
    slabs, rows, columns = volume.shape[0] // depth, volume.shape[1] // height, volume.shape[2] // width
    strips = slabs * rows  # a strip is a row of blocks
    wanted = max(1, SAMPLED // max(depth * height * volume.shape[2], 1))
    chosen = np.unique(np.linspace(0, strips - 1, min(strips, wanted)).round().astype(int))
    found = []
    for slab, row in zip(*np.divmod(chosen, rows), strict=True):
        z, y = slice(slab * depth, (slab + 1) * depth), slice(row * height, (row + 1) * height)
        part = volume[z, y, : columns * width].astype(np.float32)
        found.append(_block_figures(part.reshape(depth, height, columns, width).transpose(2, 0, 1, 3)))
    mean, variance, least, share = np.concatenate(found, axis=1)
    kept = ~_is_filled(mean, variance, least, share)
    if not kept.any():
        return Blocks(np.array([float(volume.flat[0])]), np.zeros(1), depth * height * width)
    return Blocks(mean[kept], variance[kept], depth * height * width)


def _block_figures(blocks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean, noise variance, least value and its share for each block (block, z, y, x)."""
    inside = (1, 2, 3)
    least = blocks.min(axis=inside)
    share = (blocks == least[:, None, None, None]).mean(axis=inside)
    rough = np.diff(np.diff(blocks, 2, axis=2), 2, axis=3) if min(blocks.shape[2:]) > 2 else np.zeros_like(blocks)
    variance = np.square(rough, dtype=np.float64).mean(axis=inside) / 36
    return np.stack([blocks.mean(axis=inside, dtype=np.float64), variance, least, share])


def _is_filled(
    mean: NDArray[np.float64], variance: NDArray[np.float64], least: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Blocks of one value, and blocks that are partly of such a value, far below the rest of them."""
    whole: NDArray[np.bool_] = share == 1
    if whole.all() or not whole.any():
        return whole
    noise = float(np.sqrt(np.median(variance[~whole])))
    partly = np.isin(least, least[whole]) & (share > 0.02) & (mean - least > 3 * noise)
    return np.asarray(whole | partly)


def _block_for(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Blocks of about 256 voxels: flat ones in 2-D."""
    return BLOCK if shape[0] >= BLOCK[0] else (shape[0], 12, 12)


def estimate_background(volume: NDArray[Any]) -> BackgroundEstimate:
    """Find what a voxel counts where there is no object.

    The stack's darkest blocks are taken for background if enough of them agree within their noise: a floor. The
    estimate is the mean of the blocks on the floor. Where no floor shows, the object fills the field: then the value
    is the offset that the noise tells, never more than the darkest block's mean less three of its standard errors.
    Assumes that the light of the background is even over the field.

    Parameters
    ----------
    volume
        Counts, (z, y, x), any real dtype.

    Returns
    -------
    BackgroundEstimate
        In counts, offset included.
    """
    blocks = blocks_of(volume)
    if blocks.mean.size < 8:
        return BackgroundEstimate(float(np.min(volume)), False, "the stack is too small to tell")
    error = np.sqrt(np.median(blocks.variance[blocks.mean <= np.quantile(blocks.mean, 0.1)]) / blocks.size)
    ordered = np.sort(blocks.mean)
    error = max(float(error), EVEN * float(ordered[-1] - ordered[0]))
    floor = _floor_from(ordered, error)
    on_floor = int(np.count_nonzero(np.abs(ordered - floor) <= 2.5 * error))
    share = on_floor / ordered.size
    camera = estimate_camera(volume, blocks)
    contrast = float(np.quantile(ordered, 0.999)) - floor
    drowned = camera.sure and share < MOSTLY and floor - camera.camera.offset > DROWNED * contrast
    if share >= FLOOR_SHARE and on_floor >= 4 and not drowned:
        return BackgroundEstimate(floor, True, f"{100 * share:.0f} % of the field lies on a floor")
    low = float(ordered[0]) - 3 * error
    if camera.sure:
        low -= CAUTION * max(low - camera.camera.offset, 0.0)
    why = "the object seems to fill the field" if drowned else "no dark place shows"
    return BackgroundEstimate(max(low, 0.0) if np.min(volume) >= 0 else low, False, why)


def _floor_from(ordered: NDArray[np.float64], error: float) -> float:
    """Mean of the lowest blocks that agree within their standard error, climbing from the darkest half per cent."""
    start = float(ordered[: max(3, ordered.size // 200)].mean())
    level = start
    for _ in range(20):
        near = ordered[ordered <= level + 1.5 * error]
        # the blocks above the cut are missing: the mean of a normal below +1.5 sigma is 0.139 sigma low
        step = float(near.mean()) + 0.139 * error
        if step <= level + 0.02 * error:
            break
        level = min(step, level + error)
    return level


def estimate_camera(volume: NDArray[Any], blocks: Blocks | None = None) -> CameraEstimate:
    """Find offset and gain from one stack: noise variance = gain · (mean − offset).

    Blocks are sorted into classes of equal mean; the median variance of a class is little moved by structure. Read
    noise lowers the offset found: variance and mean then agree, which is what the Poisson model needs.

    Parameters
    ----------
    volume
        Counts, (z, y, x).
    blocks
        Its blocks, if they are there already.

    Returns
    -------
    CameraEstimate
        Unsure for stacks without noise, or with noise that does not grow with the light: the gain is then such that
        the brightest voxels hold a plausible number of photo-electrons.

    References
    ----------
    J. R. Janesick, Photon Transfer, SPIE Press (2007).
    """
    blocks = blocks or blocks_of(volume)
    dark, bright = np.quantile(blocks.mean, [0.005, 0.999])
    span = float(bright - dark) or float(np.max(volume)) - float(dark) or 1.0
    edges = np.unique(np.quantile(blocks.mean, np.linspace(0, 1, 25)))
    place = np.clip(np.searchsorted(edges, blocks.mean, side="right") - 1, 0, max(edges.size - 2, 0))
    classes = [(blocks.mean[place == i], blocks.variance[place == i]) for i in range(max(edges.size - 1, 1))]
    means = np.array([m.mean() for m, _ in classes if m.size >= 6])
    spreads = np.array([np.median(v) for m, v in classes if m.size >= 6])
    gain = float("nan")
    if means.size >= 3 and np.all(spreads > 0) and np.ptp(means) > 0:
        weights = 1 / spreads  # the relative error of a variance is the same everywhere
        slope, _ = np.polyfit(means / span, spreads / span**2, 1, w=weights * span**2)
        gain = float(slope) * span
    if np.isfinite(gain) and span / MOST_ELECTRONS < gain < span / FEWEST_ELECTRONS * 4:
        offset = float(means[0] - spreads[0] / gain)
        return CameraEstimate(Camera(min(offset, float(dark)), gain), True, "noise grows with the light")
    if spreads.size and spreads[0] > 0:  # even noise: as many electrons as give it in the dark
        gain = float(np.clip(np.median(spreads) / span, span / MOST_ELECTRONS, span / FEWEST_ELECTRONS))
        return CameraEstimate(
            Camera(float(dark) - float(np.median(spreads)) / gain, gain), False, "noise does not grow with the light"
        )
    return CameraEstimate(Camera(min(0.0, float(dark)), span / MOST_ELECTRONS), False, "no noise shows")
