"""Noise taken out of a PSF's tails without cutting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]

TURNS = 4  # waves round the axis that are kept everywhere: enough for astigmatism, coma and trefoil
FINER = 2  # radial samples in a voxel
BEYOND = 8  # radial samples past the axis, so that splines see no rim there
CERTAIN = 2.0  # times the noise that the power must exceed: its local estimate scatters
BROAD = (2.0, 5.0)  # voxels, standard deviations of the means over z, y and x that the far tails come down to


def denoise(volume: Volume, error: Volume, ratio: float = 1.0) -> Volume:
    """Smooth more and more where the light sinks into the noise: over circles round the axis, then over neighbours.

    From the broadest mean to the volume itself, what a finer mean adds to a broader one is kept by the share
    w = max(0, 1 − noise / power): its local power, and the part of it that the beads' scatter explains (Wiener's
    filter, locally). Near the focus w is 1; far from it only broad means are left, which still hold the light's
    amount. Negative values stay, as they balance the positive ones.

    Parameters
    ----------
    volume
        (z, y, x), odd sizes, the axis through the middle.
    error
        Standard error of each voxel.
    ratio
        Size of a voxel along y over that along x.

    References
    ----------
    J. S. Lee, IEEE Trans. Pattern Anal. Mach. Intell. 2, 165 (1980), for the local filter.
    """
    from scipy.ndimage import gaussian_filter

    slow = np.stack([slow_part(plane, ratio) for plane in volume])
    means = [volume, slow, *(gaussian_filter(slow, _along(volume, sigma)) for sigma in BROAD)]
    circle = _circle_size(volume.shape, ratio)
    noise = np.square(error, dtype=np.float64)
    behind = [np.ones_like(circle), circle, *(_mean_size(volume, sigma) * circle / sigma for sigma in BROAD)]
    behind = [np.maximum.accumulate(behind, axis=0)[i] for i in range(len(behind))]
    found = means[-1].astype(np.float64)
    for level in range(len(means) - 2, -1, -1):
        added = means[level].astype(np.float64) - means[level + 1]
        sigma = _along(volume, max(1.5, 2 * BROAD[level - 1] if level > 1 else 1.5))
        power = gaussian_filter(np.square(added), sigma)
        explained = gaussian_filter(noise * (1 / behind[level] - 1 / behind[level + 1]), sigma)
        found += np.maximum(0, 1 - CERTAIN * explained / np.maximum(power, 1e-30)) * added
    return np.asarray(found, np.float32)


def non_negative(volume: Volume) -> Volume:
    """Set negative values to zero and lower the positive ones round them as much: clipping alone adds light."""
    from scipy.ndimage import gaussian_filter

    clipped = np.maximum(volume, 0)
    sigma = _along(volume, BROAD[-1])
    wanted, there = np.maximum(gaussian_filter(volume, sigma), 0), gaussian_filter(clipped, sigma)
    return np.asarray(clipped * np.minimum(1, wanted / np.maximum(there, 1e-30)), np.float32)


def _circle_size(shape: tuple[int, ...], ratio: float) -> NDArray[np.float64]:
    """Voxels behind each value of a plane's slow part: those on its circle in the window, for each free number."""
    half_y, half_x = (n // 2 for n in shape[1:])
    y, x = np.ogrid[-half_y : half_y + 1, -half_x : half_x + 1]
    circle = np.rint(np.hypot(y * ratio, x)).astype(int)
    return np.asarray(np.maximum(1, np.bincount(circle.ravel())[circle] / (2 * TURNS + 1)), np.float64)


def _along(volume: Volume, sigma: float) -> list[float]:
    return [sigma if n > 1 else 0 for n in volume.shape]


def _mean_size(volume: Volume, sigma: float) -> float:
    """Voxels that a Gaussian mean stands for."""
    return float((2 * np.sqrt(np.pi) * sigma) ** sum(n > 1 for n in volume.shape))


def slow_part(plane: Volume, ratio: float = 1.0) -> Volume:
    """The part of a plane that makes at most `TURNS` waves round its middle, by cubic splines in polar coordinates."""
    from scipy.ndimage import map_coordinates

    half_y, half_x = (n // 2 for n in plane.shape)
    farthest = int(np.ceil(np.hypot(half_y * ratio, half_x)))
    radii = np.arange(-BEYOND, FINER * (farthest + 2)) / FINER
    number = 8 * max(8, int(np.ceil(np.pi * farthest / 4)))
    angles = 2 * np.pi * np.arange(number) / number
    rows = half_y + np.outer(radii, np.sin(angles)) / ratio
    columns = half_x + np.outer(radii, np.cos(angles))
    polar = map_coordinates(plane, [rows, columns], order=3, mode="nearest")
    inside = (rows >= 0) & (rows <= 2 * half_y) & (columns >= 0) & (columns <= 2 * half_x)
    # beyond the sides a circle is seen in its corners only: its mean there stands for all of it
    seen = np.maximum(inside.sum(axis=1, keepdims=True), 1)
    level = (polar * inside).sum(axis=1, keepdims=True) / seen
    waves = np.fft.rfft(np.where(inside, polar, level), axis=1)
    waves[:, TURNS + 1 :] = 0
    slow = np.fft.irfft(waves, number, axis=1)
    y, x = np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1]
    turn = np.mod(np.arctan2(y * ratio, x), 2 * np.pi) * number / (2 * np.pi)
    wrapped = np.pad(slow, ((0, 0), (3, 3)), mode="wrap")
    places = [FINER * np.hypot(y * ratio, x) + BEYOND, turn + 3]
    return np.asarray(map_coordinates(wrapped, places, order=3, mode="nearest"), np.float32)
