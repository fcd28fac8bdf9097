"""A PSF from the image itself: the optics' PSF, deformed as the image's spectrum and its unused counts say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.fit import Split, held_out_deviance
from microdeconv.psf.spectrum import SPREAD, SpectralEvidence
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.psf.spectrum import Spectral

STEPS = {
    "size": 0.12, "spherical": 0.2, "defocus": 0.15, "astigmatism": 0.25, "astigmatism45": 0.25, "coma_y": 0.25,
    "coma_x": 0.25,
}  # fmt: skip
RARE = 0.25  # radians, expected of astigmatism and coma, and
SEEN = 4.0  # in log-odds, from which such a one is believed
TEMPER = 4.0  # of the held-out deviance: twice a log-likelihood, and not all that a wrong PSF loses is the PSF's fault
FITTED = (47, 63, 63)  # voxels of the PSF that are looked at, at most; the rest follows
ENOUGH = 4.0  # in log-odds over the nominal PSF, from which an estimate is believed

Listen = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Estimated:
    """What came of an estimate.

    Attributes
    ----------
    psf
        The estimate, or the nominal PSF where the image cannot tell.
    deviations
        (value, standard error) by name, of what was found; see `AberratedModel`.
    gain
        Log-odds of the estimate over the nominal PSF, tempered.
    sure
        Whether it was believed.
    why
        In words, for a person.
    """

    psf: Psf
    deviations: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gain: float = 0.0
    sure: bool = False
    why: str = ""


def estimate_psf(
    light: NDArray[np.float32],
    split: Split,
    optics: Optics,
    voxel_um: Zyx,
    shape: tuple[int, int, int],
    theory: str = "auto",
    listen: Listen | None = None,
) -> Estimated:
    """Find how far the PSF of an image deviates from that of its optics.

    Size, aperture, spherical aberration (defocus in 2-D) and blur come from the image's power spectrum, by gradient
    (`SpectralEvidence`). What the power does not hold, the sign of the aberration, astigmatism and coma, is found by
    comparing PSFs on counts that the deconvolution did not see (`held_out_deviance`), and size and spherical aberration
    are settled by both together. The nominal PSF is kept where the estimate is not clearly likelier.

    Fitting object and PSF in turns runs to ever narrower PSFs; neither a marginal likelihood nor unused counts do.

    Parameters
    ----------
    light
        Whole volume (z, y, x), photo-electrons, background in it.
    split
        Counts of a telling part of it, from `split_counts`.
    optics
        As far as known; what may be assumed is.
    voxel_um, shape, theory
        Of the PSF, see `compute_psf`.
    listen
        Called with what is being done, the step and how many there may be.

    Raises
    ------
    UsageError
        When the optics do not suffice for a nominal PSF.
    """
    nominal = compute_psf(optics, voxel_um, shape, theory)
    fitted = (min(shape[0], FITTED[0]), min(shape[1], FITTED[1]), min(shape[2], FITTED[2]))
    model = AberratedModel(completed(optics)[0], voxel_um, fitted)
    search = _Search(light, split, model, _within(nominal, fitted), listen)
    found = search.spectral()
    best, cost = search.settled(found)
    gain = search.nominal_cost - cost
    named = {
        name: (float(value), float(error))
        for name, value, error in zip(search.model.terms, best, found.errors, strict=True)
        if value
    }
    if gain < ENOUGH:
        why = f"the image cannot tell it from the nominal PSF (log-odds {gain:.1f}, {ENOUGH:g} would do)"
        told = replace(nominal, source=f"{nominal.source}; {why}")
        return Estimated(told, named, gain, sure=False, why=why)
    why = f"log-odds {gain:.1f} over the nominal PSF"
    words = ", ".join(f"{name} {value:+.2f}" for name, (value, _) in named.items() if abs(value) >= 0.005)
    whole = centred_psf(replace(model, shape=shape), best)
    psf = replace(whole, optics=nominal.optics, source=f"estimated: {words}; {why}", notes=nominal.notes)
    return Estimated(psf, named, gain, sure=True, why=why)


def centred_psf(model: AberratedModel, deviations: NDArray[np.float64]) -> Psf:
    """The PSF of deviations, its peak brought to the middle."""
    import torch

    given = torch.tensor(deviations, dtype=torch.float32)
    shift = [0.0, 0.0, 0.0]
    with torch.no_grad():
        for _ in range(3):
            off = _peak_off(model.psf(given, (shift[0], shift[1], shift[2])).numpy())
            shift = [s - o * size for s, o, size in zip(shift, off, model.voxel_um, strict=True)]
        pixels = model.psf(given, (shift[0], shift[1], shift[2])).numpy()
    return Psf(pixels, model.voxel_um, None, "estimated")


def _within(psf: Psf, shape: tuple[int, int, int]) -> Psf:
    """The middle of a PSF."""
    inner = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(psf.pixels.shape, shape, strict=True))
    pixels = psf.pixels[inner]
    return replace(psf, pixels=pixels / pixels.sum())


class _Search:
    """Costs of PSFs, spectral and held-out together, and the way to the least."""

    def __init__(
        self, light: NDArray[np.float32], split: Split, model: AberratedModel, nominal: Psf, listen: Listen | None
    ) -> None:
        self.model, self.split = model, split
        self.evidence = SpectralEvidence(light, model)
        self._listen, self._done = listen, 0
        self._most = 3 + 3 * sum((name in STEPS) + (name in STEPS and name in SPREAD) for name in model.terms)
        self.nominal_cost = self._cost(nominal)

    def _cost(self, psf: Psf) -> float:
        """Negative log-posterior of a PSF without its prior."""
        import torch

        self._done += 1
        if self._listen:
            self._listen("estimating the PSF", self._done, self._most)
        return self.evidence.cost(torch.from_numpy(psf.pixels)) + held_out_deviance(self.split, psf).deviance / TEMPER

    def cost(self, deviations: NDArray[np.float64]) -> float:
        """Negative log-posterior of deviations."""
        spread = [SPREAD.get(name, RARE) for name in self.model.terms]
        return self._cost(centred_psf(self.model, deviations)) + float(np.square(deviations / spread).sum()) / 2

    def spectral(self) -> Spectral:
        """What the spectrum alone says."""
        start = np.zeros(len(self.model.terms))
        start[self.model.terms.index("spherical" if "spherical" in self.model.terms else "defocus")] = 0.3
        start[self.model.terms.index("blur")] = 0.01
        return self.evidence.fit(start)

    def settled(self, found: Spectral) -> tuple[NDArray[np.float64], float]:
        """Give the sign, then each deviation in turn the value at the least cost."""
        best = found.deviations.copy()
        cost = self.cost(best)
        if "spherical" in self.model.terms:
            other = best * np.array([-1 if name == "spherical" else 1 for name in self.model.terms])
            cost_of_other = self.cost(other)
            best, cost = (other, cost_of_other) if cost_of_other < cost else (best, cost)
        common = [i for i, name in enumerate(self.model.terms) if name in STEPS and name in SPREAD]
        for place in (*common, *common):  # twice: they stand in for one another
            best, cost = self._along(place, STEPS[self.model.terms[place]], best, cost)
        for place, name in enumerate(self.model.terms):
            if name in STEPS and name not in SPREAD:
                moved, least = self._along(place, STEPS[name], best, cost)
                best, cost = (moved, least) if least < cost - SEEN else (best, cost)
        return best, cost

    def _along(
        self, place: int, step: float, best: NDArray[np.float64], cost: float
    ) -> tuple[NDArray[np.float64], float]:
        """Look to both sides of a value, and at the vertex of the parabola through the three."""
        low, high = self.model.bounds[place]
        tried = {float(best[place]): cost}
        for value in (best[place] - step, best[place] + step):
            tried[float(np.clip(value, low, high))] = self.cost(_with(best, place, float(np.clip(value, low, high))))
        if len(tried) == 3:
            a, b, _ = np.polyfit(list(tried), list(tried.values()), 2)
            vertex = (
                float(np.clip(-b / (2 * a), min(tried), max(tried))) if a > 0 else min(tried, key=tried.__getitem__)
            )
            if min(abs(vertex - value) for value in tried) > step / 4:
                tried[vertex] = self.cost(_with(best, place, vertex))
        least = min(tried, key=tried.__getitem__)
        return _with(best, place, least), tried[least]


def _with(deviations: NDArray[np.float64], place: int, value: float) -> NDArray[np.float64]:
    changed = deviations.copy()
    changed[place] = value
    return changed


def _peak_off(pixels: NDArray[np.float32]) -> tuple[float, float, float]:
    """How far the peak lies from the middle, voxels, to a part of a voxel by a parabola through the logarithms."""
    top = np.unravel_index(int(np.argmax(pixels)), pixels.shape)
    off = []
    for axis, n in enumerate(pixels.shape):
        part = 0.0
        if 0 < top[axis] < n - 1:
            near = [tuple(int(t) + (s if a == axis else 0) for a, t in enumerate(top)) for s in (-1, 0, 1)]
            before, at, after = (math.log(max(float(pixels[i]), 1e-30)) for i in near)
            bend = before - 2 * at + after
            part = 0.5 * (before - after) / bend if bend < 0 else 0.0
        off.append(float(top[axis]) - n // 2 + part)
    return off[0], off[1], off[2]
