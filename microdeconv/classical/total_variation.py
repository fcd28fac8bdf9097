"""Richardson-Lucy with total variation: smooth within structures, sharp at their edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, repeat
from typing import TYPE_CHECKING

from microdeconv.classical.richardson_lucy import ACCELERATION, Acceleration, accelerated
from microdeconv.errors import UsageError
from microdeconv.options import Auto, option, per_channel
from microdeconv.problem import Iterate, Problem

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (0.0005, 0.002, 0.008)
LEAST_FACTOR = 0.5  # the prior may at most double, or take away a third of, a voxel in one step


@dataclass(frozen=True, slots=True)
class TotalVariation:
    """Parameters of Richardson-Lucy with total variation."""

    regularisation: float | Auto = option(
        "auto",
        "Weight of the total variation (Huygens' acuity, the other way round): more is smoother; "
        "one number or one for each channel; auto: found from the split counts.",
        panel="Method",
        metavar="auto|X",
        low=0.0,
        high=0.1,
        parse=per_channel(float),
    )
    acceleration: Acceleration = ACCELERATION


def total_variation(problem: Problem, parameters: TotalVariation) -> Iterator[Iterate]:
    """Most likely object under Poisson noise and a total-variation prior.

    x ← x · Hᵀ(y / (H x + b)) / Hᵀ1 / (1 − λ div(∇x / |∇x|)), the steps made longer as in `richardson_lucy`.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    parameters
        `regularisation` λ must be a number, ≥ 0, without unit.

    Yields
    ------
    Iterate
        `image` on the object grid, photo-electrons, ≥ 0; `predicted` of the point the step was made from.

    Raises
    ------
    UsageError
        With the acceleration wiener-butterworth, which has no likelihood that a prior could be weighed against.

    References
    ----------
    N. Dey et al., Microsc. Res. Tech. 69, 260 (2006), eq. 9.
    """
    weight = float(parameters.regularisation)
    if parameters.acceleration == "wiener-butterworth":
        raise UsageError(
            "--acceleration wiener-butterworth does not go with --method rl-tv",
            "use --method rl, or another acceleration",
        )
    momentum = parameters.acceleration != "none"
    return _smoothed(problem, repeat(weight), parameters.acceleration == "preconditioned", momentum)


def falling_variation(problem: Problem, first: float, last: float, steps: int) -> Iterator[Iterate]:
    """Objects of ever less total variation weight: smooth ones first, then finer ones, in the end noise.

    Each is near the answer for its weight, since it begins at that for a slightly larger one: all weights are seen for
    little more than the price of one.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    first, last
        Weights, as of `total_variation`.
    steps
        In which the weight falls, by the same factor each.

    Yields
    ------
    Iterate
        As `total_variation`.
    """
    return _smoothed(problem, (first * (last / first) ** min(k / steps, 1) for k in count()), False, True)


def _smoothed(problem: Problem, weights: Iterator[float], preconditioned: bool, momentum: bool) -> Iterator[Iterate]:
    smallest = 1e-3 * max(problem.level, problem.dark)

    def prior(x: Tensor) -> Tensor:
        return 1 / curvature_of(x, smallest).mul_(-next(weights)).add_(1).clamp_(LEAST_FACTOR, 1.5)

    return accelerated(problem, preconditioned=preconditioned, momentum=momentum, prior=prior)


def curvature_of(x: Tensor, smallest: float) -> Tensor:
    """Give div(∇x / √(|∇x|² + s²)), by forward differences, with zero flow through the border.

    Parameters
    ----------
    x
        float32 (z, y, x).
    smallest
        s, in the unit of x: slopes below it count as flat.
    """
    axes = [a for a in range(3) if x.shape[a] > 1]
    slopes = {a: x.diff(dim=a) for a in axes}
    length = x.new_full(x.shape, smallest**2)
    for a, slope in slopes.items():
        length.narrow(a, 0, x.shape[a] - 1).addcmul_(slope, slope)
    length.rsqrt_()
    divergence = x.new_zeros(x.shape)
    for a, slope in slopes.items():
        n = x.shape[a] - 1
        flow = slope.mul_(length.narrow(a, 0, n))
        divergence.narrow(a, 0, n).add_(flow)
        divergence.narrow(a, 1, n).sub_(flow)
    return divergence
