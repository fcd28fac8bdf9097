"""Beads in a stack: found, and refused where they cannot serve."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.psf.widths import fwhm
from microdeconv.stack import Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABOVE_NOISE = 8.0  # standard deviations of the smoothed background
ABOVE_DARK = 0.02  # of the brightest spot
MOST_SPOTS = 3000
TYPICAL = 15  # spots that tell how wide a bead is
REACH = 20  # voxels to each side, to measure a spot's width
CORE = Zyx(1.5, 2.0, 2.0)  # widths to each side that must lie within the field
APART = 3.0  # widths between beads, along z and across
CLUMP = 1.6  # times as wide as the others: several beads, or dirt
FULL_SCALE = tuple(2**bits - 1 for bits in (8, 10, 11, 12, 14, 16))
CLIPPED, LEVELLED = 2, 6  # voxels at the camera's full scale, at the stack's greatest value
GHOSTS = (
    (1.0, 0.6),
    (APART, 0.25),
    (20.0, 0.05),
)  # nearer (widths, across) to a brighter spot, and less than its share

SATURATED, BORDER, CLOSE, WIDE = "saturated", "at the border", "too close to another", "wider than the others"


class Spot(NamedTuple):
    """A bright spot.

    Attributes
    ----------
    place
        Its brightest voxel (z, y, x) after a slight smoothing.
    height
        Counts above the background.
    """

    place: tuple[int, int, int]
    height: float


class Found(NamedTuple):
    """What was found in one stack.

    Attributes
    ----------
    beads
        Those that can serve.
    spots
        All beads, refused ones too; their light is to be kept out of the others' windows.
    refused
        How many for which reason.
    width
        FWHM (z, y, x) of a typical bead, voxels; nan along an axis of one voxel.
    noise
        Standard deviation of the background, counts.
    """

    beads: tuple[Spot, ...]
    spots: tuple[Spot, ...]
    refused: Counter[str]
    width: Zyx
    noise: float


def find_beads(volume: NDArray[Any]) -> Found:
    """Find bright spots and keep those that are isolated, not saturated, inside the field and as wide as the others.

    A spot is a local maximum of the slightly smoothed stack, well above its noise. Maxima beside a much brighter one
    are its rings and cones, not beads. Assumes that most spots are single beads.

    Parameters
    ----------
    volume
        (z, y, x), counts; z is 1 in 2-D.
    """
    from scipy.ndimage import gaussian_filter

    light = volume.astype(np.float32)
    smooth = gaussian_filter(light, [0.7 if n > 1 else 0 for n in volume.shape[:1]] + [1.0, 1.0])
    background = float(np.median(smooth))
    spots = _peaks(smooth - background)
    noise = _spread(light - smooth)
    if not spots:
        return Found((), (), Counter(), Zyx(*(float("nan"),) * 3), noise)
    width = typical_width(smooth - background, spots)
    spots = _without_ghosts(spots, width)
    widest = [_width_at(smooth - background, spot) for spot in spots]
    reasons = [_reason(volume, spot, spots, width, own) for spot, own in zip(spots, widest, strict=True)]
    beads = tuple(spot for spot, reason in zip(spots, reasons, strict=True) if not reason)
    return Found(beads, tuple(spots), Counter(r for r in reasons if r), width, noise)


def _spread(values: NDArray[Any]) -> float:
    """Standard deviation, from the median of the absolute values."""
    return 1.4826 * float(np.median(np.abs(values)))


def _peaks(light: NDArray[np.float32]) -> list[Spot]:
    """Local maxima well above the noise, the brightest first."""
    from scipy.ndimage import maximum_filter

    least = max(ABOVE_NOISE * _spread(light), ABOVE_DARK * float(light.max()))
    size = [3 if n > 1 else 1 for n in light.shape[:1]] + [5, 5]
    at = np.argwhere((light == maximum_filter(light, size)) & (light > least))
    heights = light[tuple(at.T)]
    order = np.argsort(-heights, kind="stable")[:MOST_SPOTS]
    return [Spot((int(at[i, 0]), int(at[i, 1]), int(at[i, 2])), float(heights[i])) for i in order]


def typical_width(light: NDArray[np.float32], spots: list[Spot]) -> Zyx:
    """Median FWHM (z, y, x), voxels, of the brightest spots; an axis that no spot falls off along counts as wide."""
    widths = np.array([_width_at(light, spot) for spot in spots[:TYPICAL]])
    found = []
    for axis, n in enumerate(light.shape):
        finite = widths[np.isfinite(widths[:, axis]), axis]
        found.append(float("nan") if n == 1 else float(np.median(finite)) if finite.size else float(n))
    return Zyx(*found)


def _width_at(light: NDArray[np.float32], spot: Spot) -> Zyx:
    start = [max(0, p - REACH) for p in spot.place]
    part = light[tuple(slice(s, p + REACH + 1) for s, p in zip(start, spot.place, strict=True))]
    z, y, x = (p - s for p, s in zip(spot.place, start, strict=True))
    return fwhm(part, (z, y, x))


def _distances(spot: Spot, others: list[Spot], width: Zyx) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances to other spots along z and across, in widths."""
    away = np.abs(np.array([o.place for o in others], float).reshape(-1, 3) - spot.place)
    along = away[:, 0] / width.z if np.isfinite(width.z) else np.zeros(len(others))
    return along, np.hypot(away[:, 1] / width.y, away[:, 2] / width.x)


def _without_ghosts(spots: list[Spot], width: Zyx) -> list[Spot]:
    """Leave out the maxima that belong to a brighter spot: rings, cones, the foci beside an aberrated one's."""
    kept: list[Spot] = []
    for spot in spots:
        along, across = _distances(spot, kept, width)
        share = spot.height / np.array([k.height for k in kept])
        same = (along < 1) & (across < 1)  # noise makes two maxima of one
        if not (same.any() or any(((across < near) & (share < least)).any() for near, least in GHOSTS)):
            kept.append(spot)
    return kept


def _reason(volume: NDArray[Any], spot: Spot, spots: list[Spot], width: Zyx, own: Zyx) -> str:
    """Why a spot cannot serve; empty when it can."""
    if _is_saturated(volume, spot, width):
        return SATURATED
    for at, n, core, size in zip(spot.place, volume.shape, CORE, width, strict=True):
        if n > 1 and not core * size <= at <= n - 1 - core * size:
            return BORDER
    along, across = _distances(spot, spots, width)
    if np.count_nonzero((along < APART) & (across < APART)) > 1:  # itself is one
        return CLOSE
    if max(own.y / width.y, own.x / width.x) > CLUMP:
        return WIDE
    return ""


def _is_saturated(volume: NDArray[Any], spot: Spot, width: Zyx) -> bool:
    """Whether several voxels of the spot are at a camera's full scale, or at the stack's greatest value."""
    half = [round(w / 2) if np.isfinite(w) else 0 for w in width]
    core = volume[tuple(slice(max(0, p - h), p + h + 1) for p, h in zip(spot.place, half, strict=True))]
    top = float(core.max())
    level = np.count_nonzero(core == top)
    full = volume.dtype.kind in "ui" and (top in FULL_SCALE or top == np.iinfo(volume.dtype).max)
    return bool((full and level >= CLIPPED) or (top == float(volume.max()) and level >= LEVELLED))
