"""Runs a method: counts its steps and watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from microdeconv.errors import DataError
from microdeconv.options import Auto, option, per_channel
from microdeconv.problem import Estimate, Method, Problem

Watch = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Stopping:
    """When an iterative method ends."""

    iterations: int | Auto = option(
        "auto",
        "Steps, one number or one for each channel (8,12); auto: found from the split counts.",
        panel="Method",
        metavar="auto|N",
        low=1,
        high=100_000,
        parse=per_channel(int),
        short="n",
    )
    max_iterations: int = option(
        200, "Most steps that auto may take.", panel="Method", metavar="N", low=1, high=100_000
    )


def solve(
    problem: Problem, method: Method, parameters: Any, iterations: int, watch: Watch | None = None,
    *, predict: bool = False,
) -> Estimate:  # fmt: skip
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
    predict
        Whether what the image should be is wanted as well.

    Returns
    -------
    Estimate
        On the field, on the CPU.

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
        predicted = problem.predict(last).cpu().numpy() if predict else None
        return Estimate(image.cpu().contiguous().numpy(), step, predicted)
