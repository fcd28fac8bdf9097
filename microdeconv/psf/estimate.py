"""A PSF from the image itself: the optics' PSF, deformed as the image's unused counts and its spectrum say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.fit import Split, best_smoothness, folds, foretold, held_out_deviance
from microdeconv.psf.spectrum import SPREAD, SpectralEvidence
from microdeconv.psf.valley import lowest
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.psf.evidence import Judge
    from microdeconv.psf.spectrum import Spectral

STEPS = {
    "size": 0.12, "spherical": 0.25, "defocus": 0.25, "astigmatism": 0.25, "astigmatism45": 0.25, "coma_y": 0.25,
    "coma_x": 0.25, "blur": 0.03,
}  # fmt: skip
FAR = tuple((size, aberration) for aberration in (-0.8, -0.25, 0.25, 0.8) for size in (-0.1, 0.2))  # looks to begin
WIDE = tuple((size, 0.1) for size in (-0.25, -0.1, 0.05, 0.2, 0.35))  # with, in 3-D and in 2-D
FOLDS, SHARED = 4, 300_000  # ways of sharing out a plane's counts, at most; pixels of all ways together
START = {"spherical": 0.3, "defocus": 0.3, "blur": 0.01}  # not zero, where their gradient is
LOOKS = 50  # at PSFs, about
RARE = 0.15  # radians, expected of astigmatism and coma, and
SEEN = {"blur": 60.0}  # in log-odds, from which such a term is believed: of thick tissue, 40 spoke for a blur that
SEEN_ELSE = 20.0  # was none; of the others these do
TINY = 1e-8  # a variance that is none
CENTRED = 0.05  # voxels: near enough to the middle
MOST_LOOKS = 7  # along one deviation
TEMPER = 4.0  # of the held-out deviance: twice a log-likelihood, and not all that a wrong PSF loses is the PSF's fault
FITTED = (47, 63, 63)  # voxels of the PSF that are looked at, at most; the rest follows
SEARCHED = ("size", "spherical", "defocus")  # together, and
END, MOST_STARTS = 0.02, 3  # so near to their greatest values they are no estimate: another look to begin with
ENOUGH = 5.0  # in log-odds over the nominal PSF, from which an estimate is believed, and
SHARPER = 100.0  # where its peak is higher: optics seldom beat theory, and dim images deconvolve worse with it

Listen = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Estimated:
    """What came of an estimate.

    Attributes
    ----------
    psf
        The estimate, or the nominal PSF where the image cannot tell.
    deviations
        (value, standard error) by name, of what was found; see `AberratedModel`. An error of zero is not known.
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
    *,
    judge: Judge,
) -> Estimated:
    """Find how far the PSF of an image deviates from that of its optics.

    PSFs are compared on counts that the deconvolution did not see. Size and spherical aberration (defocus in 2-D) stand
    in for one another and are searched for together, from what the image's power spectrum tells (`SpectralEvidence`)
    and from looks all over; blur, astigmatism and coma follow, each believed only if it is clearly likelier. The
    nominal PSF is kept where the estimate is not, where it lies at the end of what is searched, and sooner against an
    estimate that is sharper. What is given is the mean over PSFs that the image cannot tell apart.

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
    judge
        Foretells the unused counts, as `learnt.foretelling.foretold_by_network` does: it must know what objects look
        like. In a volume total variation (`foretold`) takes its place where it foretells them better, as with the haze
        of a wide-field microscope; the rarer terms are judged with it anyway.

    Raises
    ------
    UsageError
        When the optics do not suffice for a nominal PSF.
    """
    nominal = compute_psf(optics, voxel_um, shape, theory)
    fitted = (min(shape[0], FITTED[0]), min(shape[1], FITTED[1]), min(shape[2], FITTED[2]))
    model = AberratedModel(completed(optics)[0], voxel_um, fitted)
    evidence = SpectralEvidence(light, model)
    start = np.array([START.get(name, 0.0) for name in model.terms])
    found = evidence.fit(start)
    flat = shape[0] == 1
    rare = judge if flat else _smooth_judge(split, centred_psf(model, found.deviations))
    others = () if flat else (foretold,)
    ways = min(FOLDS, max(SHARED // split.kept.numel(), 1)) if flat else 1
    search = _Search(model, evidence, folds(split, ways), judge, others, rare, listen)
    best, covariance, gain = search.settled(found, _within(nominal, fitted))
    whole = mean_psf(replace(model, shape=shape), best, covariance)
    errors = np.sqrt(np.diag(covariance))
    named = {n: (float(v), float(e)) for n, v, e in zip(model.terms, best, errors, strict=True) if v}
    ends = {name: bounds for name, bounds in zip(model.terms, model.bounds, strict=True) if name in SEARCHED}
    runs_off = [
        name for name, bounds in ends.items() if np.abs(named.get(name, (0.0, 0.0))[0] - np.array(bounds)).min() < END
    ]
    return _told(nominal, whole, named, gain, runs_off)


def _smooth_judge(split: Split, psf: Psf) -> Judge:
    """Foretell with total variation at the weight that suits best: rougher objects speak for blur."""
    return partial(held_out_deviance, smoothness=best_smoothness(split, psf))


def _told(
    nominal: Psf, found: Psf, named: Mapping[str, tuple[float, float]], gain: float, runs_off: list[str]
) -> Estimated:
    """Take the estimate, or the nominal PSF where it is not clearly likelier or goes too far, and say why."""
    enough = enough_for(nominal, found)
    if gain < enough or runs_off:
        odds = f"(log-odds {gain:.1f}, {enough:g} would do)"
        why = f"the image cannot tell it from the nominal PSF {odds}"
        if gain >= ENOUGH:
            why = f"the image speaks for a sharper PSF than that of the optics {odds}: check NA and wavelength"
        if runs_off:
            why = (
                f"the estimate runs to the end of what is searched ({', '.join(runs_off)}): check optics and background"
            )
        return Estimated(replace(nominal, source=f"{nominal.source}; {why}"), named, gain, sure=False, why=why)
    why = f"log-odds {gain:.1f} over the nominal PSF"
    words = ", ".join(f"{name} {value:+.2f}" for name, (value, _) in named.items() if abs(value) >= 0.005)
    psf = replace(found, optics=nominal.optics, source=f"estimated: {words}; {why}", notes=nominal.notes)
    return Estimated(psf, named, gain, sure=True, why=why)


def enough_for(nominal: Psf, found: Psf) -> float:
    """Log-odds over the nominal PSF, from which an estimate of the same shape is believed: more for a sharper one."""
    return SHARPER if found.pixels.max() > nominal.pixels.max() else ENOUGH


def centred_psf(model: AberratedModel, deviations: NDArray[np.float64]) -> Psf:
    """The PSF of deviations, its peak brought to the middle."""
    import torch

    given = torch.tensor(deviations, dtype=torch.float32)
    shift = [0.0, 0.0, 0.0]
    with torch.no_grad():
        for _ in range(4):
            pixels = model.psf(given, (shift[0], shift[1], shift[2])).numpy()
            off = _peak_off(pixels)
            if max(map(abs, off)) < CENTRED:
                break
            shift = [s - o * size for s, o, size in zip(shift, off, model.voxel_um, strict=True)]
    return Psf(pixels, model.voxel_um, None, "estimated")


def mean_psf(model: AberratedModel, deviations: NDArray[np.float64], covariance: NDArray[np.float64]) -> Psf:
    """The mean PSF over what cannot be told apart: its expected squared error is least, and no narrow one is chanced.

    Gauss-Hermite's three points along each axis of the deviations' covariance.
    """
    variances, axes = np.linalg.eigh(covariance)
    along = (axes * np.sqrt(3 * variances.clip(0))).T[variances > TINY]
    low, high = np.array(model.bounds).T
    pixels = np.zeros(model.shape, np.float32)
    for which in product((-1, 0, 1), repeat=len(along)):
        point = deviations + np.array(which) @ along
        share = math.prod(1 / 6 if side else 2 / 3 for side in which)
        pixels += np.float32(share) * centred_psf(model, np.clip(point, low, high)).pixels
    return Psf(pixels / pixels.sum(), model.voxel_um, None, "estimated")


def _within(psf: Psf, shape: tuple[int, int, int]) -> Psf:
    """The middle of a PSF."""
    inner = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(psf.pixels.shape, shape, strict=True))
    pixels = psf.pixels[inner]
    return replace(psf, pixels=pixels / pixels.sum())


@dataclass(slots=True)
class _Search:
    """Costs of PSFs, spectral and held-out together, and the way to the least."""

    model: AberratedModel
    evidence: SpectralEvidence
    ways: list[Split]
    judge: Judge
    others: tuple[Judge, ...]  # that may take its place
    rare: Judge  # of the rarer terms
    listen: Listen | None
    done: int = 0

    def cost_of(self, psf: Psf) -> float:
        """Negative log-posterior of a PSF without its prior."""
        import torch

        self.done += 1
        if self.listen:
            self.listen("estimating the PSF", self.done, max(self.done, LOOKS))
        fits = (self.judge(way, psf) for way in self.ways)
        spectral = self.evidence.cost(torch.from_numpy(psf.pixels))
        return spectral + sum(fit.deviance for fit in fits) / TEMPER

    def cost(self, deviations: NDArray[np.float64]) -> float:
        """Negative log-posterior of deviations."""
        spread = [SPREAD.get(name, RARE) for name in self.model.terms]
        return self.cost_of(centred_psf(self.model, deviations)) + float(np.square(deviations / spread).sum()) / 2

    def settled(self, found: Spectral, nominal: Psf) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Give the deviations at the least cost, their covariance, and the gain over the nominal PSF."""
        terms, volume = self.model.terms, self.model.shape[0] > 1
        places = [0, terms.index("spherical" if volume else "defocus")]
        bounds, steps = np.array(self.model.bounds)[places], np.array([STEPS[terms[place]] for place in places])
        bend = np.array([SPREAD[terms[place]] for place in places]) ** -2.0
        best = np.zeros(len(terms))

        def cost(pair: NDArray[np.float64]) -> float:
            return self.cost(_with(best, places, pair))

        size, aberration = found.deviations[places]
        starts = [np.array(pair) for pair in ((size, aberration), (size, -aberration), *(FAR if volume else WIDE))]
        starts.sort(key=cost)
        self._choose(centred_psf(self.model, _with(best, places, starts[0])))
        for start in starts[:MOST_STARTS]:
            settled = lowest(cost, start, steps, bounds, (1, 0.5), bend)
            if np.abs(settled.point[:, None] - bounds).min() >= END:
                break
        least, gain = settled.cost, self.cost_of(nominal) - settled.cost
        best = _with(best, places, settled.point)
        covariance = np.zeros((len(terms), len(terms)))
        covariance[np.ix_(places, places)] = settled.covariance
        if self.rare is not self.judge:
            self.judge = self.rare
            least = self.cost(best)
        for place, name in enumerate(terms):
            if place not in places and name in STEPS:
                moved, lower = self._along(place, STEPS[name], best, least)
                if lower < least - SEEN.get(name, SEEN_ELSE):
                    best, least, gain = moved, lower, gain + least - lower
        return best, covariance, gain

    def _choose(self, psf: Psf) -> None:
        """Take the judge that foretells best: what it knows of objects suits this one best."""
        judges = (self.judge, *self.others)
        if len(judges) > 1:
            self.judge = min(judges, key=lambda judge: sum(judge(way, psf).deviance for way in self.ways))

    def _along(
        self, place: int, step: float, best: NDArray[np.float64], cost: float
    ) -> tuple[NDArray[np.float64], float]:
        """Step to both sides, on as long as it falls, then to the vertex of the parabola through the lowest three."""
        low, high = self.model.bounds[place]
        middle = float(best[place])
        tried = {middle: cost}

        def look(value: float) -> None:
            value = float(np.clip(value, low, high))
            if value not in tried:
                tried[value] = self.cost(_with(best, [place], value))

        look(middle + step)
        look(middle - step)
        while (least := min(tried, key=tried.__getitem__)) in (min(tried), max(tried)) and len(tried) < MOST_LOOKS:
            look(least + step if least == max(tried) else least - step)
            if least in (low, high):
                break
        near = sorted(tried, key=lambda value: abs(value - least))[:3]
        if len(near) == 3 and min(near) < least < max(near):
            bend, slope, _ = np.polyfit(near, [tried[value] for value in near], 2)
            vertex = -slope / (2 * bend)
            if bend > 0 and abs(vertex - least) > step / 4:
                look(vertex)
        least = min(tried, key=tried.__getitem__)
        return _with(best, [place], least), tried[least]


def _with(deviations: NDArray[np.float64], places: list[int], values: Any) -> NDArray[np.float64]:
    changed = deviations.copy()
    changed[places] = values
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
