"""How far a PSF's light reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microdeconv.stack import Psf


def support(psf: Psf, share: float) -> tuple[int, int, int]:
    """Half-widths (z, y, x), voxels, of the smallest centred slabs that each hold a share of the energy.

    Parameters
    ----------
    psf
        Its sizes are odd.
    share
        0 to 1.
    """
    z, y, x = (_half_width(psf, axis, share) for axis in range(3))
    return z, y, x


def _half_width(psf: Psf, axis: int, share: float) -> int:
    import numpy as np

    profile = psf.pixels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
    middle = profile.size // 2
    folded = profile[middle:].copy()
    folded[1:] += profile[:middle][::-1]
    within = np.cumsum(folded)
    return int(np.searchsorted(within, share * within[-1] * (1 - 1e-9)))
