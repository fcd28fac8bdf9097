"""The question a method gets, and the answers it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from microdeconv.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from microdeconv.blur import Blur
    from microdeconv.stack import Psf, PsfSet

# Below this share of the mean light a prediction counts as dark: no quotient is taken with less.
DARK = 1e-6


@dataclass(frozen=True, slots=True)
class Problem:
    """One volume, or one tile of it, to be deconvolved.

    Attributes
    ----------
    image
        float32 (z, y, x), photo-electrons, ≥ 0; nobody writes to it.
    blur
        The forward model, on the same device.
    background
        Photo-electrons a voxel without any object gives, ≥ 0.
    level
        Mean light of the whole volume above the background, photo-electrons: the flat start, the same in every tile.
    """

    image: Tensor
    blur: Blur
    background: float
    level: float

    @property
    def dark(self) -> float:
        """The least prediction that is divided by, photo-electrons."""
        return DARK * max(self.level, self.background, 1e-30)

    def predict(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """H x + b on the field, never darker than `dark`; into `out` if it is given."""
        return self.blur.forward(x, out).add_(self.background).clamp_min_(self.dark)


class Iterate(NamedTuple):
    """One step's result.

    Attributes
    ----------
    image
        float32 on the object grid, photo-electrons; live: copy it to keep it.
    predicted
        H x + b on the field of the object the step began from, where the method has it anyway.
    """

    image: Tensor
    predicted: Tensor | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a method ended with.

    Attributes
    ----------
    image
        float32 (z, y, x) on the field, photo-electrons.
    iterations
        Steps made.
    predicted
        float32 (z, y, x), photo-electrons: what the image should be, H x + b, where it was asked for.
    """

    image: NDArray[np.float32]
    iterations: int
    predicted: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """An entry of the registry.

    Attributes
    ----------
    name
        What people call it.
    run
        A generator of iterates from a problem and parameters.
    parameters
        The frozen dataclass of its options.
    iterative
        Whether it goes on for ever and is stopped from outside.
    margin
        The object margin it wants, as a share of the PSF's half-width; None: the forward model's own.
    searched
        The field of `parameters` whose "auto" is found from the split counts, if any, and the values tried for it.
    companion
        The iterative method beside it: its stop is chosen for this one too, and its result stands in for this one's
        where the guard says so.
    prepare
        Finds, from a telling part of the volume and the voxel size, what its parameters need and all tiles share.
    halo
        Voxels, beside some times the PSF's reach, from which a border is felt: steps carry its influence further.
    room
        Zeros more along y and x that its filters need between one border and the other, see `Blur`.
    align
        Tiles begin at multiples of so many voxels.
    kernel_free
        Whether it can do without a PSF.
    keeps_counts
        Whether it gives back counts as they came, background and all, in float64.
    floats
        Floats held at the worst moment per voxel of the transform grid, of the object grid and of the field, for the
        plan of memory; `tests/measure/memory.py` measures what is really taken.
    block
        Floats held besides per voxel of what is passed at once, and how many voxels of the field these are at most.
    base
        Bytes held besides whatever the size: what it alone wakes of the libraries.
    through
        Gives the PSF between its result and the image, where the result is not at the object's own resolution.
    check
        Refuses parameters that cannot work, before any voxel is read, and gives warnings: of parameters, whether there
        is a PSF, the number of planes, and the voxel size.
    """

    name: str
    run: Callable[[Problem, Any], Iterator[Iterate]]
    parameters: type
    iterative: bool = True
    margin: float | None = None
    searched: tuple[str, tuple[float, ...]] | None = None
    companion: Method | None = None
    prepare: Callable[[Problem, Any, tuple[float, float, float] | None], Any] | None = None
    halo: int = 24
    room: int = 0
    align: int = 1
    kernel_free: bool = False
    keeps_counts: bool = False
    floats: tuple[float, float, float] = (7.0, 7.0, 6.0)
    block: tuple[float, int] = (0.0, 0)
    base: int = 0
    through: Callable[[Psf | PsfSet], Psf | PsfSet] | None = None
    check: Callable[[Any, bool, int, tuple[float, float, float] | None], list[str]] | None = None

    @property
    def stopped(self) -> Method:
        """The method whose stop is chosen: the companion, or itself."""
        return self.companion or self


def poisson_deviance(counts: Tensor, predicted: Tensor) -> float:
    """Give 2 Σ (m − y + y log(y / m)) / n for counts y ≥ 0 and a model m > 0, per voxel.

    Raises
    ------
    DataError
        When it is not finite: the iteration has broken down.
    """
    import torch

    terms = torch.xlogy(counts, counts / predicted).add_(predicted).sub_(counts)
    value = 2 * float(terms.sum(dtype=torch.float64)) / counts.numel()
    if not math.isfinite(value):
        raise DataError(
            "the estimate is no longer finite", "check the PSF and the background, or use --acceleration none"
        )
    return value
