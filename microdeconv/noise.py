"""Offset, gain and background, estimated from a stack where nobody says them."""

from __future__ import annotations

from functools import cache
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
SQUARE = 16  # pixels along the squares whose spectra tell the noise's colour
COLOURED = 1.5  # the lower twentieth of ratios of white noise's powers lies at 0.5
WHITE = 0.6  # the lower twentieth of white noise's middle powers over its variance
TELLING = 60  # blocks: fewer do not tell an offset
LEAST_BLOCKS = 6  # in a class of like mean
FAR_BELOW = 0.3  # of the range: an offset so far below zero is a bad fit
MOST_ELECTRONS, FEWEST_ELECTRONS = 1e6, 4.0  # that the brightest voxels may hold, where the noise tells nothing

WINDOW = np.outer(*(np.hanning(SQUARE + 1)[:-1],) * 2)


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
    """Mean and noise variance of small blocks of a stack; blocks that a program filled are left out.

    `colour` is how many times stronger the noise is at the frequencies of structure than at the highest: 1 when white.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    size: int
    colour: float


def blocks_of(volume: NDArray[Any]) -> Blocks:
    """Cut a volume (or an even sample of a large one) into blocks; find mean and noise in each.

    The noise variance is that of the product of second differences along y and x, which is blind to smooth structure.
    Blocks that hold the same value throughout (fill of a deskewed or cropped stack) are left out, unless all do.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64, 300 (1996).
    """
    volume = without_blank_planes(volume)
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
        return Blocks(np.array([float(volume.flat[0])]), np.zeros(1), depth * height * width, 1.0)
    return Blocks(mean[kept], variance[kept], depth * height * width, noise_colour(volume))


def noise_colour(volume: NDArray[Any]) -> float:
    """How many times stronger noise is at middle frequencies than its second differences tell; 1 where it is white.

    Resampled, averaged or smoothed images have such noise: neighbours are no independent witnesses. It is told from
    structure by the frequencies just below the highest, which optics leave empty at usual sampling, and by the
    squares with least of it.
    """
    rows, columns = (n // SQUARE for n in volume.shape[1:])
    if rows * columns < 16:
        return 1.0
    planes = volume[:: max(1, volume.shape[0] * rows * columns // 4096), :, : columns * SQUARE]
    strips = (planes[:, row * SQUARE : (row + 1) * SQUARE] for row in range(rows))
    rough, middle, upper, top = np.concatenate([_square_figures(strip) for strip in strips], axis=1)
    told = rough > 0
    if np.count_nonzero(told) < 16:
        return 1.0
    rough, middle, upper, top = (figure[told] for figure in (rough, middle, upper, top))
    if np.quantile(upper / np.maximum(top, 1e-30), 0.05) < COLOURED:
        return 1.0
    squared = [squares for _, squares in _bands()[:2]]
    # as a Gaussian filter would have it, from the middle band on to frequency zero
    fall = np.log(np.quantile(middle / rough, 0.05) / np.quantile(upper / rough, 0.05))
    onward = np.exp(np.clip(fall * squared[0] / np.ptp(squared), 0, 2.5))
    return max(1.0, float(np.quantile(middle / rough, 0.05) * onward) / (WHITE * float(np.square(WINDOW).sum())))


def _square_figures(strip: NDArray[Any]) -> NDArray[np.float64]:
    """Noise variance and power in the three bands for each square of a strip (planes, `SQUARE`, width)."""
    apart = strip.astype(np.float32).reshape(len(strip), SQUARE, -1, SQUARE).swapaxes(1, 2)
    squares = apart.reshape(-1, SQUARE, SQUARE)
    rough = np.square(np.diff(np.diff(squares, 2, axis=1), 2, axis=2), dtype=np.float64).mean(axis=(1, 2)) / 36
    power = np.abs(np.fft.fft2((squares - squares.mean(axis=(1, 2), keepdims=True)) * WINDOW)) ** 2
    return np.stack([rough, *(power[:, band].mean(axis=1) for band, _ in _bands())])


@cache
def _bands() -> list[tuple[NDArray[np.bool_], float]]:
    """Frequencies of a square's transform, a middle, an upper and a top band, and their mean squares."""
    along = np.abs(np.fft.fftfreq(SQUARE))
    highest, squared = np.maximum(along[:, None], along[None, :]), along[:, None] ** 2 + along[None, :] ** 2
    bands = [(highest >= low) & (highest < high) for low, high in ((0.12, 0.26), (0.28, 0.4), (0.44, 1))]
    return [(band, float(squared[band].mean())) for band in bands]


def without_blank_planes(volume: NDArray[Any]) -> NDArray[Any]:
    """Leave out planes of one value throughout, unless all are: shutters close and programs fill."""
    told = np.array([plane.min() != plane.max() for plane in volume])
    return volume if told.all() or not told.any() else volume[told]


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
    error = max(float(error * np.sqrt(blocks.colour)), EVEN * float(ordered[-1] - ordered[0]))
    floor = _floor_from(ordered, error)
    on_floor = int(np.count_nonzero(np.abs(ordered - floor) <= 2.5 * error))
    share = on_floor / ordered.size
    camera = estimate_camera(volume, blocks)
    contrast = float(np.quantile(ordered, 0.999)) - floor
    drowned = camera.sure and share < MOSTLY and floor - camera.camera.offset > DROWNED * contrast
    if share >= FLOOR_SHARE and on_floor >= 4 and not drowned:
        return BackgroundEstimate(float(floor), True, f"{100 * share:.0f} % of the field lies on a floor")
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


def _sure(offset: float, gain: float, colour: float) -> CameraEstimate:
    """Noise that neighbours share is taken for fewer photo-electrons, each of more counts."""
    why = "noise grows with the light"
    if colour > 1:
        why += f", neighbours share it: {colour:.3g} times fewer independent photo-electrons"
    return CameraEstimate(Camera(offset, gain * colour), True, why)


def _classes(blocks: Blocks) -> NDArray[np.float64]:
    """Median mean, median variance and number for classes of blocks of like mean: equally many, or in equal steps."""
    number = int(np.clip(blocks.mean.size // LEAST_BLOCKS, 1, 24))
    steps = np.linspace(blocks.mean.min(), blocks.mean.max(), 8 if number > 8 else 2)
    edges = np.unique([*np.quantile(blocks.mean, np.linspace(0, 1, number + 1)), *steps])
    place = np.clip(np.searchsorted(edges, blocks.mean, side="right") - 1, 0, max(edges.size - 2, 0))
    kept = [place == i for i in range(max(edges.size - 1, 1)) if np.count_nonzero(place == i) >= LEAST_BLOCKS]
    figures = [(np.median(blocks.mean[one]), np.median(blocks.variance[one]), np.count_nonzero(one)) for one in kept]
    return np.array(figures, dtype=np.float64).reshape(-1, 3).T


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
    means, spreads, sizes = _classes(blocks)
    plausible = span / MOST_ELECTRONS, span / FEWEST_ELECTRONS * 4
    gain = 0.0
    if means.size >= 3 and np.all(spreads > 0) and np.ptp(means) > 0:
        # the relative error of a block's variance is the same everywhere
        gain = float(np.polyfit(means, spreads, 1, w=np.sqrt(sizes) / spreads)[0])
        if plausible[0] < gain < plausible[1] and blocks.mean.size >= TELLING:
            offset = float(means[0] - spreads[0] / gain)
            if offset >= min(0.0, float(np.min(volume))) - FAR_BELOW * span:
                return _sure(min(offset, float(dark)), gain, blocks.colour)
    if spreads.size and spreads[0] > 0 and np.min(volume) >= 0 and (gain > plausible[0] or blocks.mean.size < TELLING):
        ratio = float(np.median(spreads / np.maximum(means, 1e-6 * span)))
        if plausible[0] < ratio < plausible[1]:
            return CameraEstimate(Camera(0.0, ratio), False, "an offset of 0 is assumed, the noise does not tell it")
    if spreads.size and spreads[0] > 0:  # even noise: as many electrons as give it in the dark
        gain = float(np.clip(np.median(spreads) / span, span / MOST_ELECTRONS, span / FEWEST_ELECTRONS))
        return CameraEstimate(
            Camera(float(dark) - float(np.median(spreads)) / gain, gain), False, "noise does not grow with the light"
        )
    return CameraEstimate(Camera(min(0.0, float(dark)), span / MOST_ELECTRONS), False, "no noise shows")
