"""Richardson-Lucy deconvolution: the most likely object under Poisson noise, quickly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from microdeconv.options import option
from microdeconv.problem import Iterate, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.blur import Blur

Prior = Callable[["Tensor"], tuple["Tensor", float]]
Acceleration = Literal["preconditioned", "momentum", "none", "wiener-butterworth"]
ACCELERATION = option(
    "preconditioned",
    "How steps are made longer. preconditioned: sharpened steps with damped momentum; momentum: damped momentum alone; "
    "none: plain Richardson-Lucy; wiener-butterworth: unmatched back projector, a quick preview.",
    panel="Method",
)
SHARPENING = 0.7  # weight of the preconditioner at the start: less is quicker, and fits noise sooner
UNSHARPENED = 30.0  # beyond this weight the preconditioner does nothing worth its cost
SLACK = 1e-7  # relative rise of the objective that is still rounding
LEAST_SPREAD = 0.2  # of a voxel's light is seen, at least, where an unmatched step has its whole length
SMALLEST_FACTOR = 0.2  # a step takes at most this share of a voxel's light away, so that no voxel is lost for ever


@dataclass(frozen=True, slots=True)
class RichardsonLucy:
    """Parameters of Richardson-Lucy."""

    acceleration: Acceleration = ACCELERATION


def richardson_lucy(problem: Problem, parameters: RichardsonLucy) -> Iterator[Iterate]:
    """Most likely object under Poisson noise, by Richardson and Lucy's iteration, with longer steps.

    Plain: x ← x · Hᵀ(y / (H x + b)) / Hᵀ1, from a flat object. Momentum takes the step from x + β (x − x_previous),
    β the less of (k − 1) / (k + 2) and 1 − 2 / √(k + 3). Preconditioned steps are
    x ← x · (1 + P Hᵀ(y / (H x + b) − 1) / Hᵀ1) with the filter P = (1 + a) / (|OTF|² + a), which lifts the frequencies
    that the PSF holds down twice, once in H and once in Hᵀ. Where the object is positive the answer is that of plain
    steps, found sooner; where voxels are at zero the forces on them leak through P, and the answer is a near one. P
    does not keep the flux by itself, so each step is scaled to a plain step's flux, Σ y H x / (H x + b).

    Each plain step raises the likelihood. The others are watched: a step from which it fell is taken back, the
    momentum begins again and a is made larger, so that in the end the steps are plain ones. With b = 0 plain steps
    keep the flux after every step, with a background only near convergence. Run for ever it fits noise; `solve` stops
    it.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    parameters
        See `RichardsonLucy`.

    Yields
    ------
    Iterate
        `image` on the object grid, photo-electrons, ≥ 0; `predicted` of the point the step was made from.

    References
    ----------
    W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972). L. B. Lucy, Astron. J. 79, 745 (1974).
    H. Wang, P. C. Miller, IEEE Trans. Image Process. 23, 848 (2014), for the momentum.
    B. O'Donoghue, E. Candès, Found. Comput. Math. 15, 715 (2015), for beginning it again.
    M. Guo et al., Nat. Biotechnol. 38, 1337 (2020), for the Wiener-Butterworth back projector.
    """
    if parameters.acceleration == "none":
        return _plain(problem)
    if parameters.acceleration == "wiener-butterworth":
        return _unmatched(problem)
    return accelerated(problem, preconditioned=parameters.acceleration == "preconditioned")


def _plain(problem: Problem) -> Iterator[Iterate]:
    inverse = problem.blur.inverse_normalisation()
    x = problem.blur.flat(problem.level)
    while True:
        predicted = problem.predict(x)
        x = problem.blur.adjoint(problem.image / predicted).mul_(inverse).mul_(x).clamp_min_(0)
        yield Iterate(x, predicted)


def accelerated(
    problem: Problem, *, preconditioned: bool, momentum: bool = True, prior: Prior | None = None,
    start: Tensor | None = None,
) -> Iterator[Iterate]:  # fmt: skip
    """Watched steps, with damped momentum or not, preconditioned or not.

    Parameters
    ----------
    problem
        See `richardson_lucy`.
    preconditioned
        Whether steps are sharpened by P.
    momentum
        Whether a step begins beyond the last object.
    prior
        Gives for an object the factor that each step is multiplied by, and what is added to the objective.
    start
        The object to begin with, on the object grid; flat if not given. It stays as it is.

    Yields
    ------
    Iterate
        As `richardson_lucy`.
    """
    import torch

    blur, image = problem.blur, problem.image
    inverse = blur.inverse_normalisation()
    weight = SHARPENING if preconditioned else UNSHARPENED
    transfer = _sharpen(blur, weight)
    x, previous, point = (blur.flat(problem.level) if start is None else start.clone() for _ in range(3))
    factor, predicted, excess = (torch.empty_like(like) for like in (x, image, image))  # once: no memory in pieces
    total = float(image.sum(dtype=torch.float64))
    least = math.inf
    k = 0
    while True:
        k += 1
        torch.lerp(x, previous, -_momentum(k) if momentum else 0.0, out=point).clamp_min_(0)
        problem.predict(point, predicted)
        shrink, penalty = prior(point) if prior else (None, 0.0)
        objective = _objective(image, predicted, excess) + penalty
        if k > 1 and objective > least + SLACK * abs(least):
            weight *= 3
            transfer = None  # its memory is needed for the next
            transfer = _sharpen(blur, weight)
            x.copy_(previous)
            k, least = 0, math.inf
            continue
        least = min(least, objective)
        torch.div(image, predicted, out=excess)
        flux = total - problem.background * float(excess.sum(dtype=torch.float64))
        blur.adjoint(excess.sub_(1), transfer, factor).mul_(inverse).add_(1).clamp_min_(SMALLEST_FACTOR)
        previous, x, point = x, point.mul_(factor), previous
        if shrink is not None:
            x.mul_(shrink)
        elif transfer is not None:
            x.mul_(flux / max(float(torch.dot(x.flatten(), blur.normalisation.flatten())), problem.dark))
        yield Iterate(x, predicted)


def _momentum(k: int) -> float:
    return min((k - 1) / (k + 2), 1 - 2 / math.sqrt(k + 3))


def _objective(image: Tensor, predicted: Tensor, scratch: Tensor) -> float:
    """Poisson negative log-likelihood, up to a constant."""
    import torch

    torch.log(predicted, out=scratch)
    return float(predicted.sum(dtype=torch.float64)) - float(scratch.mul_(image).sum(dtype=torch.float64))


def _sharpen(blur: Blur, weight: float) -> Tensor | None:
    """OTF · P with P = (1 + a) / (|OTF|² + a), or nothing when a is so large that P is one."""
    if weight >= UNSHARPENED:
        return None
    return blur.filtered_otf(blur.power().add_(weight).reciprocal_().mul_(1 + weight))


def _unmatched(problem: Problem) -> Iterator[Iterate]:
    """Ratio steps with Guo's Wiener-Butterworth back projector in the place of Hᵀ."""
    blur = problem.blur
    transfer = blur.filtered_otf(_butterworth(blur) / blur.power().add_(0.01))
    spread = blur.adjoint(problem.image.new_ones(blur.field), transfer)
    inverse = (1 / spread.clamp_min(LEAST_SPREAD)).mul_(spread > 0.05)  # else light in the margin runs away
    x = blur.flat(problem.level)
    for _ in count():
        predicted = problem.predict(x)
        x = blur.adjoint(problem.image / predicted, transfer).mul_(inverse).clamp_min_(0).mul_(x)
        yield Iterate(x, predicted)


def _butterworth(blur: Blur) -> Tensor:
    """Falls to 0.001 where the OTF's modulus first falls to 0.02 along each axis, order 10."""
    power = blur.power().mean(0)
    distance = power.new_zeros(())
    for axis, frequency in enumerate(blur.frequencies()):
        along = power.amax(dim=tuple(a for a in range(3) if a != axis)).flatten()
        seen = frequency.flatten().abs()[along > 4e-4 * power.max()]
        distance = distance + (frequency / max(float(seen.max()), 1e-3)) ** 2
    return distance.pow(10).mul(1e6).add(1).rsqrt()
