"""Richardson-Lucy deconvolution: the most likely object under Poisson noise, quickly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from microdeconv.classical.neighbourhoods import Neighbourhoods
from microdeconv.extent import support
from microdeconv.options import option
from microdeconv.problem import Iterate, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.blur import Blur

Prior = Callable[["Tensor"], "Tensor"]
Acceleration = Literal["preconditioned", "momentum", "none", "wiener-butterworth"]
ACCELERATION = option(
    "preconditioned",
    "How steps are made longer. preconditioned: sharpened steps with damped momentum; momentum: damped momentum alone; "
    "none: plain Richardson-Lucy; wiener-butterworth: unmatched back projector, a quick preview.",
    panel="Method",
)
SHARPENING = 0.6  # weight of the preconditioner at the start: less is quicker, and fits noise sooner
SHARP = 10  # the step from which on the weight grows, so that none leads too far:
GROWTH = (2.0, 1.5)  # when there are so many times the steps, by this factor; each change makes the filter anew
FADING = 3  # the filter ends where the zeros between two borders do, and fades from so much of the way on
LEAST, MOST = 0.2, 5.0  # that a step multiplies a voxel with; the most, of sharpened ones
LIGHT = 0.97  # of the PSF's: neighbourhoods lie half as far apart as it reaches along each axis, but
CLOSEST = 2  # so many voxels at least; farther apart steps sway, and tiles feel their borders
TINY = 1e-30  # where there is no light at all, no quotient is taken
LEAST_SPREAD = 0.2  # of a voxel's light is seen, at least, where an unmatched step has its whole length


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
    steps, found sooner; where voxels are at zero the forces on them leak through P, and the answer is a near one.

    A sharpened step has its gain where the object is bright, and so too much light: each voxel is multiplied by what
    brings its neighbourhood the light that a plain step would give it. That makes it steady too. It need not raise the
    likelihood, as each plain one does; a grows with the number of steps, so that in the end they are nearly plain.
    Nothing is decided by sums over the field, so that tiles agree with the whole.

    With b = 0 plain steps keep the flux after every step, with a background only near convergence. Run for ever it
    fits noise; `solve` stops it.

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
    """Longer steps, with damped momentum or not, preconditioned or not.

    Parameters
    ----------
    problem
        See `richardson_lucy`.
    preconditioned
        Whether steps are sharpened by P.
    momentum
        Whether a step begins beyond the last object.
    prior
        Gives for an object the factor that the step from it is multiplied by.
    start
        The object to begin with, on the object grid; flat if not given. It stays as it is.

    Yields
    ------
    Iterate
        As `richardson_lucy`.
    """
    import torch

    blur, image = problem.blur, problem.image
    inverse, weight, due = blur.inverse_normalisation(), SHARPENING, 1.0
    near = _neighbourhoods(blur) if preconditioned else None
    transfer: Tensor | None = None
    x, previous, point = (blur.flat(problem.level) if start is None else start.clone() for _ in range(3))
    factor, predicted, excess = (torch.empty_like(like) for like in (x, image, image))  # once: no memory in pieces
    for k in count(1):
        if preconditioned and k >= due:
            transfer = None  # its memory is needed for the next
            transfer = _sharpen(blur, weight)
            weight, due = weight * GROWTH[1], max(SHARP, due * GROWTH[0])
        torch.lerp(x, previous, -_momentum(k) if momentum else 0.0, out=point).clamp_min_(0)
        shrink = prior(point) if prior else None
        torch.div(image, problem.predict(point, predicted), out=excess).sub_(1)
        if near is None or transfer is None:
            point.mul_(blur.adjoint(excess, None, factor).mul_(inverse).add_(1).clamp_min_(LEAST))
        else:
            blur.adjoints(excess, transfer, factor, near.voxels)
            near.voxels.mul_(inverse)
            factor.mul_(inverse).add_(1).clamp_(LEAST, MOST)
            light = torch.mul(point, blur.normalisation, out=previous)
            point.mul_(factor).mul_(_evened(near, factor, light))
        previous, x, point = x, point, previous
        yield Iterate(x if shrink is None else x.mul_(shrink), predicted)


def _neighbourhoods(blur: Blur) -> Neighbourhoods:
    start = [o - m for o, m in zip(blur.origin, blur.margin, strict=True)]
    reach = [max(along) for along in zip(*(support(one, LIGHT) for one in blur.psf.parts), strict=True)]
    distance = [max((r + 1) // 2, CLOSEST) if n > 1 else 0 for r, n in zip(reach, blur.psf.shape, strict=True)]
    return Neighbourhoods(blur.object_shape, start, distance, blur.device)


def _evened(near: Neighbourhoods, factor: Tensor, light: Tensor) -> Tensor:
    """What brings each neighbourhood of the seen light, stepped by `factor`, the light that a plain step would give it.

    `voxels` are the plain step's factor less one.
    """
    import torch

    torch.addcmul(light, near.voxels, light, out=near.voxels)
    wanted = near.total().add_(TINY)
    torch.mul(light, factor, out=near.voxels)
    return near.spread(wanted.div_(near.total().add_(TINY)).clamp_min_(LEAST))


def _momentum(k: int) -> float:
    return min((k - 1) / (k + 2), 1 - 2 / math.sqrt(k + 3))


def _sharpen(blur: Blur, weight: float) -> Tensor:
    """OTF · P with P = (1 + a) / (|OTF|² + a)."""
    sharpening = blur.power().add_(weight).reciprocal_().mul_(1 + weight)
    y, x = blur.apart
    return blur.filtered_otf(sharpening, ((y // FADING, x // FADING), (y, x)))


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
