"""Small bright spots: finding them, and counting those that are really there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 2.0  # voxels: a found spot at most so far from a true one is it
LEVELS = 16  # brightnesses tried as the least that counts


class Match(NamedTuple):
    """Found spots against true ones: those that are both, those that are only found, those that are only true."""

    hits: int
    false: int
    missed: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; one where there is nothing and nothing was found."""
        all_ = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / all_ if all_ else 1.0


def find_spots(image: NDArray[np.generic], least: float) -> NDArray[np.int64]:
    """Places (n, axes) of local maxima brighter than `least`, the brightest first; the border counts as well."""
    from skimage.feature import peak_local_max

    flat = np.asarray(image, np.float32).squeeze()
    found = peak_local_max(flat, min_distance=1, threshold_abs=least, exclude_border=False)  # type: ignore[no-untyped-call]
    return np.asarray(found, np.int64)


def match_spots(found: NDArray[np.int64], true: NDArray[np.int64], near: float = NEAR) -> Match:
    """Pair found and true places, one to one, so that as many as possible lie within `near` voxels.

    Parameters
    ----------
    found, true
        Places (n, axes), voxels.
    near
        Voxels.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not len(found) or not len(true):
        return Match(0, len(found), len(true))
    distance = cdist(found, true)
    far = 2 * near * (1 + min(distance.shape))  # one pair more is worth any distances
    rows, columns = linear_sum_assignment(np.where(distance <= near, distance, far))
    hits = int(np.count_nonzero(distance[rows, columns] <= near))
    return Match(hits, len(found) - hits, len(true) - hits)


def best_f1(image: NDArray[np.generic], true: NDArray[np.int64], near: float = NEAR) -> float:
    """The best F1 over the least brightness that counts, so that no method suffers from another's threshold."""
    top = float(image.max())
    if top <= 0 or not len(true):
        return match_spots(find_spots(image, max(top, 0.0)), true, near).f1
    found = find_spots(image, top * 0.02)
    bright = np.asarray(image).squeeze()[tuple(found.T)]
    return max(match_spots(found[bright > t], true, near).f1 for t in top * np.geomspace(0.02, 0.8, LEVELS))
