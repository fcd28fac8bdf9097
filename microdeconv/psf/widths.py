"""How wide a PSF is, and how lopsided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.stack import Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

FINER = 20  # points for each voxel along the profiles


class Lopsided(NamedTuple):
    """How far a PSF is from round and even.

    Attributes
    ----------
    lateral
        FWHM along y over FWHM along x: 1 for a round spot.
    axial
        (Light above the focus − light below) / their sum: 0 for an even one; nan in 2-D.
    """

    lateral: float
    axial: float


def fwhm(volume: NDArray[Any], peak: tuple[int, int, int] | None = None) -> Zyx:
    """Full width at half maximum along z, y and x through the peak, voxels; nan along an axis of one voxel.

    Profiles are taken through the brightest voxel, interpolated by cubic splines; the half is that of the profile's
    own interpolated maximum. Where a profile does not fall to the half within the volume its width is infinite.

    Parameters
    ----------
    volume
        (z, y, x), background taken off.
    peak
        Brightest voxel, where it is known.
    """
    top = peak or np.unravel_index(int(np.argmax(volume)), volume.shape)
    widths = [float("nan")] * 3
    for axis in range(3):
        if volume.shape[axis] > 1:
            index = tuple(slice(None) if a == axis else top[a] for a in range(3))
            widths[axis] = _width(np.asarray(volume[index], np.float64), int(top[axis]))
    return Zyx(*widths)


def _width(profile: NDArray[np.float64], top: int) -> float:
    from scipy.interpolate import CubicSpline

    if profile.size < 4:
        return float("inf")
    first, last = max(0, top - 1), min(profile.size - 1, top + 1)
    spline = CubicSpline(np.arange(profile.size), profile)
    near = np.linspace(first, last, FINER * (last - first) + 1)
    middle = float(near[int(np.argmax(spline(near)))])
    half = float(spline(middle)) / 2
    total = 0.0
    for end in (0, profile.size - 1):
        place = np.linspace(middle, end, max(2, int(FINER * abs(end - middle)) + 1))
        below = np.flatnonzero(spline(place) <= half)
        if not below.size:
            return float("inf")
        after, before = place[below[0]], place[max(below[0] - 1, 0)]
        high, low = float(spline(before)), float(spline(after))
        total += abs(before - middle) + (abs(after - before) * (high - half) / (high - low) if high > low else 0.0)
    return total


def lopsided(volume: NDArray[Any]) -> Lopsided:
    """Tell how far a PSF, its peak in the middle, is from round and even.

    Parameters
    ----------
    volume
        (z, y, x), odd sizes, ≥ 0.
    """
    widths = fwhm(volume, (volume.shape[0] // 2, volume.shape[1] // 2, volume.shape[2] // 2))
    planes = volume.sum(axis=(1, 2), dtype=np.float64)
    middle = planes.size // 2
    above, below = float(planes[middle + 1 :].sum()), float(planes[:middle].sum())
    axial = (above - below) / (above + below) if above + below > 0 and planes.size > 1 else float("nan")
    return Lopsided(widths.y / widths.x, axial)
