"""A stack's counts made ready for those who judge and estimate PSFs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.psf.fit import KEPT, KEPT_TO_CHECK, split_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.camera import Camera
    from microdeconv.psf.fit import Split

CHECKED = 60_000  # voxels, at most, on which a PSF is checked, and
ESTIMATED = 300_000  # on which one is estimated: fewer do not tell


def telling_box(volume: NDArray[Any], background: float, most: int) -> tuple[slice, ...]:
    """Find the brightest box of at most so many voxels: it decides most of the likelihood.

    Parameters
    ----------
    volume
        Counts (z, y, x).
    background
        Counts, offset included.
    most
        Voxels.
    """
    depth = min(volume.shape[0], 64, math.ceil(most ** (1 / 3)))
    edge = int((most / depth) ** 0.5)
    if volume.size <= most:
        return tuple(slice(0, n) for n in volume.shape)
    sizes = (depth, min(edge, volume.shape[1]), min(edge, volume.shape[2]))
    box = []
    for axis, size in enumerate(sizes):
        others = tuple(a for a in range(3) if a != axis)
        profile = np.cumsum(np.concatenate([[0.0], volume.mean(axis=others, dtype=np.float64) - background]))
        start = int(np.argmax(profile[size:] - profile[:-size]))
        box.append(slice(start, start + size))
        volume = volume[tuple(box[-1] if a == axis else slice(None) for a in range(3))]
    return tuple(box)


def split_for(volume: NDArray[Any], camera: Camera, background: float, device: str, most: int = CHECKED) -> Split:
    """Share out the photo-electrons of a telling part of a volume, for `check_psf` and `estimate_psf`.

    Parameters
    ----------
    volume
        Counts (z, y, x).
    camera
        Its offset and gain.
    background
        Counts, offset included.
    device
        A torch device.
    most
        Voxels of the part, at most.
    """
    part = light_of_counts(volume[telling_box(volume, background, most)], camera)
    share = KEPT_TO_CHECK if most == CHECKED else KEPT
    return split_counts(part, max((background - camera.offset) / camera.gain, 0.0), device, share)


def light_of_counts(volume: NDArray[Any], camera: Camera) -> NDArray[np.float32]:
    """Photo-electrons, float32, none below zero."""
    light = (volume - np.float32(camera.offset)) / np.float32(camera.gain)
    return np.asarray(light.clip(0), np.float32)
