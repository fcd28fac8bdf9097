"""The light of other beads taken out of a bead's window: wide-field cones reach far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microdeconv.psf.register import Patch, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.psf.beads import Spot

    Volume = NDArray[np.float32]
    Places = dict[tuple[int, int, int], tuple[NDArray[np.float64], float]]


def without_neighbours(
    patches: list[Patch], own: list[Spot], spots: tuple[Spot, ...], shape: tuple[int, ...], mean: Volume, fits: Places
) -> list[Patch]:
    """Take what the mean bead says of all other spots of one stack out of the windows.

    Parameters
    ----------
    patches
        Windows of this stack.
    own
        The bead of each.
    spots
        All spots of the stack. Those that were not fitted lie on their brightest voxel.
    shape
        Sizes (z, y, x) of the stack.
    mean
        The mean bead as far as it is known, its peak 1, ≥ 0.
    fits
        Offset (voxels) and height (counts) of the spots that were fitted, by place.
    """
    share = float(np.median([fits[spot.place][1] / spot.height for spot in spots if spot.place in fits]))
    models = {
        spot.place: shifted(mean, offset) * height
        for spot in spots
        for offset, height in [fits.get(spot.place, (np.zeros(3), share * spot.height))]
    }
    half = [n // 2 for n in mean.shape]
    light = np.zeros([n + 2 * h for n, h in zip(shape, half, strict=True)], np.float32)
    windows = {at: tuple(slice(p, p + 2 * h + 1) for p, h in zip(at, half, strict=True)) for at in models}
    for at, model in models.items():
        light[windows[at]] += model
    return [
        Patch(np.where(patch.seen, patch.counts - light[windows[spot.place]] + models[spot.place], 0), patch.seen)
        for patch, spot in zip(patches, own, strict=True)
    ]
