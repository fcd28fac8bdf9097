"""Finds from the counts themselves when to stop a method, and a parameter that nobody gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from microdeconv.camera import thin
from microdeconv.problem import Iterate, Method, Problem, poisson_deviance

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.solve import Watch

KEPT = 0.9  # of the counts are used, the rest judge, where predictions are compared
SPACING = 1.2  # ratio of the steps that are compared
FURTHER = 3.0  # times the best step so far: the reference must have gone this far, and
LEAST = 30  # steps at least
ALMOST = 0.05  # of the noise at the least risk: an earlier step may be worse by so much
PATIENCE = 6  # compared steps without a better one before a further candidate is given up
UNFIT = 1.5  # deviance of unused counts per voxel from which PSF or noise model do not fit, and
GAIN = 0.85  # of its deviance, which a doubling of the steps must then come below to be worth it
SEED = 20  # of the thinning: the same stack gives the same stop


@dataclass(frozen=True, slots=True)
class Choice:
    """What the counts say: how many steps, with which parameters.

    Attributes
    ----------
    iterations
        The fewest steps at almost the least risk; 1 for a method that is not iterative.
    parameters
        The method's, with nothing left at "auto".
    risk
        (step, estimated squared error of the object, as a share of its square, up to a constant) of what won.
    least
        The least Poisson deviance per voxel of counts that were not used: one where PSF, background and noise fit.
    capped
        The best step may lie beyond the cap.
    """

    iterations: int
    parameters: Any
    risk: tuple[tuple[int, float], ...]
    least: float
    capped: bool


def choose(
    problem: Problem,
    method: Method,
    parameters: Any,
    cap: int,
    watch: Watch | None = None,
    *,
    noise_known: bool = True,
) -> Choice:
    """Find the number of steps, and a parameter at "auto", with the least expected error.

    Photo-electrons are shared out binomially to two halves with independent noise, and both are deconvolved. With aₖ
    and bₖ the two objects after k steps and K a late step, whose object is sharp but noisy, the squared error of aₖ is
    ⟨aₖ, bₖ⟩ − ⟨aₖ, b_K⟩ − ⟨bₖ, a_K⟩ + V, up to a constant: the noise of the reference is independent and drops out. V,
    half of |aₖ − bₖ|², is the noise of a half; all counts have half of that, so half of V is taken. A parameter's
    values are compared by the same figure with the first value's reference. Judging objects, not predictions, sees
    what the PSF hides from the image: fine structure is worth more steps than the image can tell. The middle 80 % of
    each axis is judged: near a border much of the light is missing, and a few bright voxels there would decide alone.
    Where the risk is flat the fewest steps are taken: the first look that is above the least risk by no more than a
    twentieth of the noise there.

    b_K is not the object: it has too little of edges and too much of points, so that plates and bars are stopped
    early and isolated points late, which no split of the counts can tell.

    The noise of two halves tells nothing of a wrong PSF, whose errors both share. Where the model does not fit the
    counts (and their noise is known), steps end as well when twice as many would not fit them much better.

    A method that is not iterative has no reference: its model of nine tenths of the counts foretells the rest.

    Assumes that `image` is in photo-electrons: with a wrong gain the stop is early (too low) or late.

    Parameters
    ----------
    problem
        A whole volume or a representative part of it.
    method, parameters
        The method and its parameters; the one that `method.searched` names may be "auto".
    cap
        Most steps.
    watch
        Called after each step with its number.
    noise_known
        Whether the gain is known or was told by the noise.

    Returns
    -------
    Choice
        Nothing in its parameters is "auto".

    Raises
    ------
    DataError
        When the iteration breaks down.

    References
    ----------
    J. Batson, L. Royer, ICML 2019, and A. Krull et al., CVPR 2019, for judging by independent noise. S. Ramani et al.,
    IEEE Trans. Image Process. 17, 1540 (2008), for choosing parameters without a truth.
    """
    import torch

    with torch.inference_mode():
        candidates = list(_candidates(method, parameters))
        if not method.iterative:
            part, held = _thinned(problem, KEPT)
            return min((_foretold(part, held, method, one) for one in candidates), key=lambda choice: choice.least)
        halves = _halves(problem)
        first = _Race(halves, method, candidates[0], cap, noise_known)
        best = first.run_alone(watch)
        for other in candidates[1:]:
            found = _Race(halves, method, other, cap, noise_known).run_against(first, watch)
            best = min(best, found, key=lambda choice: min(risk for _, risk in choice.risk))
    return best


def _candidates(method: Method, parameters: Any) -> Iterator[Any]:
    if method.searched and getattr(parameters, method.searched[0]) == "auto":
        name, values = method.searched
        for value in values:
            yield replace(parameters, **{name: value})
    else:
        yield parameters


def _thinned(problem: Problem, share: float) -> tuple[Problem, Tensor]:
    """Give the problem with a share of the counts, and the other counts."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    kept, held = (half.to(problem.image.device) for half in thin(problem.image.cpu(), share, generator))
    part = replace(problem, image=kept, background=problem.background * share, level=problem.level * share)
    return part, held


def _halves(problem: Problem) -> tuple[Problem, Problem]:
    one, other = _thinned(problem, 0.5)
    return one, replace(one, image=other)


def _foretold(part: Problem, held: Tensor, method: Method, parameters: Any) -> Choice:
    iterate = next(method.run(part, parameters))
    predicted = part.predict(iterate.image) * ((1 - KEPT) / KEPT)
    deviance = poisson_deviance(held, predicted)
    return Choice(1, parameters, ((1, deviance),), deviance, capped=False)


@dataclass(slots=True)
class _Race:
    """A method run on both halves, looked at after steps that grow by a ratio."""

    halves: tuple[Problem, Problem]
    method: Method
    parameters: Any
    cap: int
    noise_known: bool
    steps: list[int] = field(default_factory=list)
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    own: list[float] = field(default_factory=list)  # ⟨a, b⟩ + V / 2
    noise: list[float] = field(default_factory=list)  # V / 2
    deviances: list[float] = field(default_factory=list)

    def run_alone(self, watch: Watch | None) -> Choice:
        """Go on until the reference is far beyond the best step; every object looked at is kept."""
        best, risk = 0, [0.0]
        for a, b in self._looks(watch):
            self.kept.append((a, b))
            risk = self._risks(self.kept, (a, b))
            best = min(range(len(risk)), key=risk.__getitem__)
            if self.steps[-1] >= max(LEAST, FURTHER * self.steps[best]):
                break
        return self._choice(risk, best)

    def run_against(self, first: _Race, watch: Watch | None) -> Choice:
        """Compare with the last object of another race; none is kept."""
        risk: list[float] = []
        best = 0
        for pair in self._looks(watch):
            risk += self._risks([pair], first.kept[-1], len(risk))
            best = best if risk[best] <= risk[-1] else len(risk) - 1
            if len(risk) - best > PATIENCE or self.steps[-1] >= first.steps[-1]:
                break
        return self._choice(risk, best)

    def _looks(self, watch: Watch | None) -> Iterator[tuple[Tensor, Tensor]]:
        runs = (islice(self.method.run(half, self.parameters), self.cap) for half in self.halves)
        wanted = 1.0
        for step, (one, other) in enumerate(zip(*runs, strict=True), 1):
            if watch:
                watch(step)
            if step < round(wanted) and step < self.cap:
                continue
            while round(wanted) <= step:
                wanted *= SPACING
            a, b = self._middle(one.image), self._middle(other.image)
            self.steps.append(step)
            self.deviances.append(poisson_deviance(self.halves[1].image, self._predicted(one)))
            shared = _dot(a, b)
            self.noise.append((_dot(a, a) + _dot(b, b) - 2 * shared) / 4)
            self.own.append(shared + self.noise[-1])
            yield a, b

    def _middle(self, x: Tensor) -> Tensor:
        field = self.halves[0].blur.crop(x)
        return field[tuple(slice(n // 10, n - n // 10) for n in field.shape)].clone()

    def _predicted(self, iterate: Iterate) -> Tensor:
        return iterate.predicted if iterate.predicted is not None else self.halves[0].predict(iterate.image)

    def _risks(
        self, pairs: list[tuple[Tensor, Tensor]], reference: tuple[Tensor, Tensor], start: int = 0
    ) -> list[float]:
        scale = self._scale()
        crossed = (_dot(a, reference[1]) + _dot(b, reference[0]) for a, b in pairs)
        return [(own - cross) / scale for own, cross in zip(self.own[start:], crossed, strict=True)]

    def _choice(self, risk: list[float], best: int) -> Choice:
        bound = risk[best] + ALMOST * self.noise[best] / self._scale()
        first = next(place for place, one in enumerate(risk) if one <= bound)
        best = min(best, self._fitted())
        capped = self.steps[-1] >= self.cap and self.steps[best] > self.cap / SPACING**2
        trace = tuple(zip(self.steps, risk, strict=True))
        return Choice(self.steps[min(first, best)], self.parameters, trace, min(self.deviances), capped)

    def _scale(self) -> float:
        return max(self.own[0], 1e-30)

    def _fitted(self) -> int:
        """The first look from which twice the steps would not fit a model that is wrong much better; the last else."""
        last = len(self.steps) - 1
        if not self.noise_known or min(self.deviances) < UNFIT:
            return last
        for place, (step, deviance) in enumerate(zip(self.steps, self.deviances, strict=True)):
            later = [d for s, d in zip(self.steps, self.deviances, strict=True) if s >= 2 * step]
            if later and later[0] > GAIN * deviance:
                return place
        return last


def _dot(a: Tensor, b: Tensor) -> float:
    import torch

    return float(torch.dot(a.flatten().double(), b.flatten().double()))
