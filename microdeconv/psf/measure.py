"""A PSF measured from beads: found, registered, averaged, freed of background, bead size and noise."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.errors import DataError
from microdeconv.extent import support
from microdeconv.psf.bead_size import without_bead
from microdeconv.psf.beads import APART, CORE, Found, Spot, find_beads
from microdeconv.psf.neighbours import without_neighbours
from microdeconv.psf.register import Mean, Patch, average, shifted, stretches
from microdeconv.psf.tails import denoise, non_negative
from microdeconv.psf.widths import fwhm
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.optics import Optics

MOST_BEADS = 150  # the brightest serve; more would take memory and tell little
WIDEST = Zyx(6.0, 20.0, 20.0)  # FWHM to each side of the window, where the field allows
LEAST_WIDE = 4.0  # FWHM across, whatever the neighbours
MOST_VOXELS = 4e5  # of a window
TO_NEIGHBOUR = 0.8  # of the distance to the nearest bead
KEPT = 0.998  # of the light along each axis: the window is cropped to it
MISFIT = 4.0  # times the median share of a bead that the mean does not explain
ALWAYS_LIKE, NEVER_LIKE = 0.01, 0.5  # shares that are never, always too much
FEW = 5  # beads: fewer average little noise, and do not tell an outlier
LARGE = 1.5  # bead diameters for a FWHM from which on its correction is a guess
UNLIKE = "unlike the others"


class Bead(NamedTuple):
    """One bead, a row of the table.

    Attributes
    ----------
    field
        Name of its stack.
    place_um
        Its peak (z, y, x) from the first voxel's middle.
    height, background
        Counts.
    snr
        Height over the noise near the peak.
    fwhm_um
        Of the PSF that it shows: the measured PSF's, stretched as fits this bead best.
    alike
        Correlation with the mean bead.
    used
        False where it was refused for being unlike the others.
    """

    field: str
    place_um: Zyx
    height: float
    background: float
    snr: float
    fwhm_um: Zyx
    alike: float
    used: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured PSF and what it rests on.

    Attributes
    ----------
    psf
        Its peak in the middle voxel, sum 1.
    beads
        Those that were laid on one another, the few that turned out unlike the others too.
    refused
        How many spots for which reason.
    fwhm_um
        Of the PSF.
    seen_um
        Of the mean bead, its size included.
    """

    psf: Psf
    beads: tuple[Bead, ...]
    refused: Counter[str]
    fwhm_um: Zyx
    seen_um: Zyx

    @property
    def used(self) -> int:
        """How many beads the PSF is the mean of."""
        return sum(bead.used for bead in self.beads)


class Place(NamedTuple):
    """A bead and where it was found."""

    field: int
    spot: Spot


def measure_psf(
    fields: dict[str, NDArray[Any]], voxel_um: Zyx, bead_um: float | None = None, optics: Optics | None = None
) -> Measured:
    """Measure a PSF from stacks of beads.

    Assumes that the PSF is the same all over the field and in all stacks, that most bright spots are single beads of
    one size, and that counts grow in proportion to light. *Not checked*: that the beads' refractive index and
    depth are those of the sample to be deconvolved.

    Parameters
    ----------
    fields
        Stacks (z, y, x) by name, counts; z is 1 in 2-D, and then the PSF is 2-D.
    voxel_um
        (z, y, x), µm, of all of them.
    bead_um
        Diameter, µm; None: the beads are taken for points.
    optics
        Kept with the PSF.

    Raises
    ------
    DataError
        When no bead serves; it says how many were refused and why.

    References
    ----------
    R. W. Cole, T. Jinadasa, C. M. Brown, Nat. Protoc. 6, 1929 (2011). P. Theer, C. Mongis, M. Knop, Nat. Methods 11,
    981 (2014), PSFj.
    """
    founds = {name: find_beads(volume) for name, volume in fields.items()}
    refused = sum((found.refused for found in founds.values()), Counter[str]())
    places = [Place(i, spot) for i, found in enumerate(founds.values()) for spot in found.beads]
    if not places:
        raise DataError(f"{', '.join(fields)}: {_nothing(refused)}", _remedy(refused))
    notes = []
    if len(places) > MOST_BEADS:
        notes.append(f"{len(places)} beads: the {MOST_BEADS} brightest serve")
        places = sorted(places, key=lambda p: -p.spot.height)[:MOST_BEADS]
    width = _common_width(list(founds.values()))
    volumes = list(fields.values())
    half = _window(places, list(founds.values()), volumes, width)
    patches = [_patch(volumes[p.field], p.spot, list(founds.values())[p.field].spots, half, width) for p in places]
    core = tuple(slice(h - c, h + c + 1) for h, c in zip(half, _half_core(width, half), strict=True))
    heights, ratio = np.array([p.spot.height for p in places]), voxel_um.y / voxel_um.x
    mean = average(patches, heights, width, core)
    kept = _alike(mean)
    if sum(len(found.spots) for found in founds.values()) > 1:  # once more, without the light of the others
        light = non_negative(denoise(mean.pixels, mean.error, ratio))
        patches = _apart(patches, places, list(founds.values()), volumes, mean, light)
        mean = _with(mean, kept, average([patches[i] for i in kept], heights[kept], width, core))
    refused[UNLIKE] += len(patches) - len(kept)
    pixels = denoise(mean.pixels, mean.error, ratio)
    seen = _in_um(fwhm(pixels, half), voxel_um)
    source = f"measured from {len(kept)} bead{'s' * (len(kept) != 1)}"
    if bead_um:
        pixels, steps = without_bead(pixels, mean.error, bead_um, voxel_um)
        source += f" of {bead_um:g} µm, whose size was taken out in {steps} steps"
    psf, lost = _finished(pixels, voxel_um, optics, source)
    widths = _in_um(fwhm(psf.pixels, _middle(psf.pixels)), voxel_um)
    notes += _warnings(len(kept), seen, bead_um, lost, volumes)
    beads = _table(list(fields), places, patches, mean, kept, widths, voxel_um, core)
    psf = Psf(psf.pixels, voxel_um, optics, source, tuple(notes))
    return Measured(psf, beads, +refused, widths, seen)


def told(refused: Counter[str]) -> str:
    """Say how many were refused and why."""
    return ", ".join(f"{number} {reason}" for reason, number in refused.most_common() if number)


def _nothing(refused: Counter[str]) -> str:
    total = refused.total()
    return f"no bead serves, {total} refused ({told(refused)})" if total else "no beads found"


def _remedy(refused: Counter[str]) -> str:
    most = refused.most_common(1)[0][0] if refused else ""
    return {
        "": "give a stack of bright spots, well above the noise",
        "saturated": "take it with less light or a shorter exposure",
        "at the border": "take more planes above and below, or a wider field",
        "too close to another": "dilute the beads",
    }.get(most, "give other beads")


def _common_width(founds: list[Found]) -> Zyx:
    """Median over the stacks that have beads."""
    widths = np.array([found.width for found in founds if found.spots])
    return Zyx(*(float(w) for w in np.median(widths, axis=0)))


def _half_core(width: Zyx, half: tuple[int, ...]) -> tuple[int, ...]:
    sizes = (math.ceil(c * w) if math.isfinite(w) else 0 for c, w in zip(CORE, width, strict=True))
    return tuple(min(size, h) for size, h in zip(sizes, half, strict=True))


def _window(places: list[Place], founds: list[Found], volumes: list[NDArray[Any]], width: Zyx) -> tuple[int, int, int]:
    """Half-widths (z, y, x): as far as light may reach, short of the nearest beads, seen by a quarter of them."""
    nearest = []
    for one in places:
        others = np.array([s.place for s in founds[one.field].spots if s != one.spot], float).reshape(-1, 3)
        away = np.hypot(*(others - one.spot.place).T[1:])
        nearest.append(float(away.min()) if away.size else math.inf)
    apart = TO_NEIGHBOUR * float(np.median(nearest))
    across = max(width.y, width.x)
    reach = min(max(apart, LEAST_WIDE * across), WIDEST.x * across)
    room = [[min(at, n - 1 - at) for at, n in zip(p.spot.place, volumes[p.field].shape, strict=True)] for p in places]
    most = np.quantile(room, 0.75, axis=0, method="lower")
    deep = int(min(most[0], math.ceil(WIDEST.z * width.z))) if math.isfinite(width.z) else 0
    reach = min(reach, max(math.sqrt(MOST_VOXELS / (2 * deep + 1)) / 2, LEAST_WIDE * across))
    return deep, int(min(most[1], reach)), int(min(most[2], reach))


def _patch(volume: NDArray[Any], spot: Spot, spots: tuple[Spot, ...], half: tuple[int, int, int], width: Zyx) -> Patch:
    """Cut the window round a bead; what lies outside the field or in another bead is not seen."""
    start = [p - h for p, h in zip(spot.place, half, strict=True)]
    grid = np.ogrid[tuple(slice(s, s + 2 * h + 1) for s, h in zip(start, half, strict=True))]
    seen = np.ones(tuple(2 * h + 1 for h in half), bool)
    for axis, n in enumerate(volume.shape):
        seen &= (grid[axis] >= 0) & (grid[axis] < n)
    own = np.hypot((grid[1] - spot.place[1]) / width.y, (grid[2] - spot.place[2]) / width.x)
    for other in spots:
        if other != spot:
            across = np.hypot((grid[1] - other.place[1]) / width.y, (grid[2] - other.place[2]) / width.x)
            near = (across < APART) & (across < own)
            deep = np.abs(grid[0] - other.place[0]) < 2 * APART * width.z if math.isfinite(width.z) else True
            seen &= ~(near & deep)
    inside = tuple(np.clip(g, 0, n - 1) for g, n in zip(grid, volume.shape, strict=True))
    return Patch(np.where(seen, volume[inside], 0).astype(np.float32), seen)


def _alike(mean: Mean) -> list[int]:
    """The beads that the mean explains as well as the others."""
    number = len(mean.heights)
    if number < 3:
        return list(range(number))
    unlike = (1 - mean.alike**2) * np.minimum(1, mean.heights / np.median(mean.heights))  # the dim are noisier
    limit = min(max(MISFIT * float(np.median(unlike)), ALWAYS_LIKE), NEVER_LIKE)
    return [i for i in range(number) if unlike[i] <= limit] or [int(np.argmin(unlike))]


def _with(mean: Mean, kept: list[int], better: Mean) -> Mean:
    """The better mean of the kept beads; the others keep what was found of them before."""
    for name in ("offsets", "heights", "backgrounds", "alike"):
        getattr(mean, name)[kept] = getattr(better, name)
    return mean._replace(pixels=better.pixels, error=better.error)


def _apart(
    patches: list[Patch], places: list[Place], founds: list[Found], volumes: list[NDArray[Any]], mean: Mean, light: Any
) -> list[Patch]:
    """The windows without the light of other beads."""
    cleaned = list(patches)
    for number, (found, volume) in enumerate(zip(founds, volumes, strict=True)):
        here = [i for i, place in enumerate(places) if place.field == number]
        if here and len(found.spots) > 1:
            fits = {places[i].spot.place: (mean.offsets[i], float(mean.heights[i])) for i in here}
            own = [places[i].spot for i in here]
            parts = without_neighbours([patches[i] for i in here], own, found.spots, volume.shape, light, fits)
            for i, patch in zip(here, parts, strict=True):
                cleaned[i] = patch
    return cleaned


def _middle(volume: NDArray[Any]) -> tuple[int, int, int]:
    return volume.shape[0] // 2, volume.shape[1] // 2, volume.shape[2] // 2


def _in_um(widths: Zyx, voxel_um: Zyx) -> Zyx:
    return Zyx(*(w * v for w, v in zip(widths, voxel_um, strict=True)))


def _finished(pixels: NDArray[Any], voxel_um: Zyx, optics: Optics | None, source: str) -> tuple[Psf, float]:
    """Non-negative, cropped to where the light is, sum 1; and the share of light that the crop cost."""
    light = non_negative(pixels)
    half = support(Psf(light, voxel_um, optics, source), KEPT)
    inner = tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(pixels.shape, half, strict=True))
    part = light[inner].astype(np.float64)
    kept = float(part.sum() / light.sum(dtype=np.float64))
    return Psf(np.asarray(part / part.sum(), np.float32), voxel_um, optics, source), 1 - kept


def _warnings(number: int, seen: Zyx, bead_um: float | None, lost: float, volumes: list[NDArray[Any]]) -> list[str]:
    notes = []
    if number < FEW:
        notes.append(f"{number} bead{'s' * (number != 1)} only: noise is averaged little, a dirty bead not noticed")
    across = min(seen.y, seen.x)
    if bead_um and bead_um > LARGE * across:
        notes.append(f"beads of {bead_um:g} µm seen {across:.3g} µm wide: is the diameter, or the voxel size, right?")
    elif bead_um and bead_um > 0.7 * across:
        notes.append(f"beads of {bead_um:g} µm hide a PSF that is much smaller: take beads below half its width")
    if any(math.isinf(s) for s in seen):
        notes.append("the PSF does not fall to its half within the stack: take more planes")
    if lost > 0.01:
        notes.append(f"{100 * lost:.2g} % of its light lies outside the window")
    if volumes[0].shape[0] == 1:
        notes.append("one plane: a 2-D PSF, for 2-D images only")
    return notes


def _table(
    names: list[str], places: list[Place], patches: list[Patch], mean: Mean, kept: list[int], widths: Zyx,
    voxel_um: Zyx, core: tuple[slice, ...],
) -> tuple[Bead, ...]:  # fmt: skip
    """One row a bead."""
    rows = []
    for i, (place, patch) in enumerate(zip(places, patches, strict=True)):
        model = shifted(mean.pixels, mean.offsets[i])[core]
        left = patch.counts[core] - mean.heights[i] * model - mean.backgrounds[i]
        near = patch.seen[core] & (model > 0.5)
        noise = float(np.sqrt(np.mean(np.square(left[near])))) if near.any() else math.nan
        stretch = stretches(patch, mean.pixels, mean.offsets[i], core)
        at = Zyx(*((p + o) * v for p, o, v in zip(place.spot.place, mean.offsets[i], voxel_um, strict=True)))
        own = Zyx(*(w * s for w, s in zip(widths, stretch, strict=True)))
        height, background = float(mean.heights[i]), float(mean.backgrounds[i])
        snr = height / max(noise, 1e-12)
        rows.append(Bead(names[place.field], at, height, background, snr, own, float(mean.alike[i]), i in kept))
    return tuple(rows)
