"""Counts shared out to two halves: what the results of both agree on is no noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.camera import Camera, thin

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 22  # of the sharing out: those who make the halves' results and those who judge them must have the same halves


def halves_of_counts(raw: NDArray[Any], camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share out photo-electrons to two halves whose noise is independent, always in the same way.

    Parameters
    ----------
    raw
        Counts (z, y, x).
    camera
        Offset and gain.

    Returns
    -------
    tuple
        float32 (z, y, x), photo-electrons, their offset taken off; each has half of the background. A result of one,
        for `Entry.halves`, is multiplied by 2 · gain.
    """
    import torch

    light = torch.from_numpy(np.asarray(camera.to_light(raw.astype(np.float32)), np.float32))
    one, other = thin(light, 0.5, torch.Generator().manual_seed(SEED))
    return one.numpy(), other.numpy()
