"""No deconvolution at all: proves reading, tiling and writing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from microdeconv.problem import Iterate, Problem


@dataclass(frozen=True, slots=True)
class Identity:
    """No parameters."""


def identity(problem: Problem, parameters: Identity) -> Iterator[Iterate]:  # noqa: ARG001
    """Give the image back, bit for bit, on its field.

    Parameters
    ----------
    problem
        Only `image` is used.
    parameters
        None.

    Yields
    ------
    Iterate
        The image itself.
    """
    yield Iterate(problem.image, None)
