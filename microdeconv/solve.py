"""Runs a method: counts its steps, watches it, finds from held-out counts when to stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from microdeconv.camera import thin
from microdeconv.errors import DataError
from microdeconv.options import option, per_channel
from microdeconv.problem import Estimate, Iterate, Method, Problem, poisson_deviance

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.9  # of the counts are deconvolved, the rest judge
EQUAL = 1e-4  # of deviance for each held-out photo-electron above the background: less is no difference
EQUAL_AT_MOST = 0.005  # of deviance per voxel
FITTING = 1.1  # deviance per voxel of a model that fits; it is one, a little more for real cameras
MISFIT = 0.07  # of what the deviance is above that: steps that gain less fit the model's faults
PATIENCE = 6  # steps at least without a better judgement before the search ends
SEED = 20  # of the thinning: the same stack gives the same stop

Watch = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Stopping:
    """When an iterative method ends."""

    iterations: tuple[int | Literal["auto"], ...] | Literal["auto"] = option(
        "auto",
        "Steps, one number or one for each channel (8,12); auto: found from held-out counts.",
        panel="Method",
        metavar="auto|N",
        low=1,
        high=100_000,
        parse=per_channel(int),
        short="n",
    )
    max_iterations: int = option(
        150, "Most steps that auto may take.", panel="Method", metavar="N", low=1, high=100_000
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What held-out counts say: how many steps, with which parameters.

    Attributes
    ----------
    iterations
        Steps at the least held-out deviance; 1 for a method that is not iterative.
    parameters
        The method's, with nothing left at "auto".
    deviance
        (step, Poisson deviance per voxel of the held-out counts) of the run that won.
    capped
        The search ended at its cap, not at a minimum.
    """

    iterations: int
    parameters: Any
    deviance: tuple[tuple[int, float], ...]
    capped: bool

    @property
    def least(self) -> float:
        """The least deviance, per voxel: one where PSF, background and noise model fit."""
        return min(value for _, value in self.deviance)


def solve(problem: Problem, method: Method, parameters: Any, iterations: int, watch: Watch | None = None) -> Estimate:
    """Run a method for a number of steps.

    Parameters
    ----------
    problem
        See `Problem`.
    method, parameters
        An entry of the registry and its parameters, nothing at "auto".
    iterations
        Steps; a method that is not iterative makes one.
    watch
        Called after each step with its number.

    Returns
    -------
    Estimate
        `image` on the field, on the CPU.

    Raises
    ------
    DataError
        When the result is not finite.
    """
    import torch

    steps = iterations if method.iterative else 1
    with torch.inference_mode():
        step, last = 0, problem.image
        for step, iterate in enumerate(islice(method.run(problem, parameters), steps), 1):
            last = iterate.image
            if watch:
                watch(step)
        image = last if method.keeps_counts else problem.blur.crop(last)
        if not method.keeps_counts and not bool(torch.isfinite(image).all()):
            raise DataError(f"{method.name} gave values that are not finite", "check the PSF and the background")
        return Estimate(image.cpu().contiguous().numpy(), step)


def choose(problem: Problem, method: Method, parameters: Any, cap: int, watch: Watch | None = None) -> Choice:
    """Find the number of steps, and a parameter at "auto", that best foretell counts not used.

    Photo-electrons are shared out binomially: a share p is deconvolved with background p b; its model, times
    (1 − p) / p, is compared with the rest by the Poisson deviance. The first step as good as the least marks the stop.
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

    Returns
    -------
    Choice
        Nothing in its parameters is "auto".

    References
    ----------
    J. Batson, L. Royer, ICML 2019, for judging by independent noise. E. Reynaud et al.; S. Ramani et al.,
    IEEE Trans. Image Process. 17, 1540 (2008), for choosing parameters without a truth.
    """
    import torch

    generator = torch.Generator().manual_seed(SEED)
    with torch.inference_mode():
        kept, held = thin(problem.image.cpu(), SHARE, generator)
        device = problem.image.device
        part = replace(
            problem, image=kept.to(device), background=problem.background * SHARE, level=problem.level * SHARE
        )
        judged = [
            _judge(part, held.to(device), method, candidate, cap, watch)
            for candidate in _candidates(method, parameters)
        ]
    return min(judged, key=lambda choice: choice.least)


def _candidates(method: Method, parameters: Any) -> Iterator[Any]:
    if method.searched and getattr(parameters, method.searched[0]) == "auto":
        name, values = method.searched
        for value in values:
            yield replace(parameters, **{name: value})
    else:
        yield parameters


def _judge(part: Problem, held: Tensor, method: Method, parameters: Any, cap: int, watch: Watch | None) -> Choice:
    trace: list[tuple[int, float]] = []
    best = 0
    steps = cap if method.iterative else 1
    for step, iterate in enumerate(islice(method.run(part, parameters), steps), 1):
        # what an accelerated method predicts belongs to the object that its step began from, one step ago
        trace.append((max(step - 1, 1), _held_out(part, held, iterate)))
        if watch:
            watch(step)
        if trace[-1][1] < trace[best][1]:
            best = len(trace) - 1
        elif len(trace) - best > max(PATIENCE, best // 4):
            break
    least = trace[best][1]
    equal = min(EQUAL * part.level * (1 - SHARE) / SHARE, EQUAL_AT_MOST)
    enough = least + equal + MISFIT * max(least - FITTING, 0.0)
    stop = next(step for step, value in trace if value <= enough)
    return Choice(stop, parameters, tuple(trace), capped=method.iterative and stop >= cap - 1)


def _held_out(part: Problem, held: Tensor, iterate: Iterate) -> float:
    predicted = iterate.predicted if iterate.predicted is not None else part.predict(iterate.image)
    return poisson_deviance(held, predicted * ((1 - SHARE) / SHARE))
