"""PSFs computed at several depths, where unlike indices of sample and immersion make it change on the way down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microdeconv.optics import Optics
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.stack import Psf, PsfSet, Zyx

UNLIKE = 0.02  # one less the correlation of two neighbours, in the mean: worth more PSFs between them
MOST = 8  # depths that are chosen
SAME_INDEX = 1e-4
SEEN = (31, 41, 41)  # voxels about the focus in which PSFs are compared


def changes_with_depth(optics: Optics, field: tuple[int, int, int]) -> bool:
    """Whether planes of a stack have unlike PSFs: it has several, and the indices differ."""
    mismatch = abs((optics.ri_sample or optics.ri_immersion or 1.0) - (optics.ri_immersion or 1.0))
    return field[0] > 1 and mismatch > SAME_INDEX


def compute_psfs(
    optics: Optics,
    voxel_um: Zyx,
    field: tuple[int, int, int],
    model: str = "auto",
    depths: int | Literal["auto", "off"] = "auto",
) -> Psf | PsfSet:
    """Compute the PSF of a stack: one, or one at each of several depths where it changes with depth.

    Plane k is taken at the depth `optics.depth_um` + k · voxel z, the focus' nominal place: as far as the stage went. A
    mismatch shifts the true focus as well; neither the PSFs nor the result are rescaled for that.

    Parameters
    ----------
    optics, voxel_um, model
        See `compute_psf`; `depth_um` is the first plane's.
    field
        Sizes (z, y, x) of the stack.
    depths
        "auto": evenly spread over the stack, as few as make neighbours' decorrelation (one less their correlation)
        0.02 in the mean, eight at most; the middle plane's alone when the ends are that alike. A number: as many,
        evenly spread, or the middle plane's.
        "off": that of `depth_um` for the whole stack.

    Returns
    -------
    Psf or PsfSet
        Its source tells the depths.

    Raises
    ------
    UsageError
        See `compute_psf`.

    References
    ----------
    See `Pupil`, and C. Preza, J.-A. Conchello, J. Opt. Soc. Am. A 21, 1593 (2004), for planes between depths.
    """
    if depths == "off" or not changes_with_depth(optics, field):
        return compute_psf(optics, voxel_um, auto_shape(optics, voxel_um, field), model)
    last = field[0] - 1

    def at(plane: float) -> Optics:
        return replace(optics, depth_um=(optics.depth_um or 0.0) + plane * voxel_um.z)

    if depths == "auto":
        depths = _enough(last, lambda plane: _core(compute_psf(at(plane), voxel_um, SEEN, model)))
    planes = _spread(last, depths)
    shape = auto_shape(at(last), voxel_um, field)
    parts = tuple(compute_psf(at(plane), voxel_um, shape, model) for plane in planes)
    told = ", ".join(f"{at(plane).depth_um:.4g}" for plane in planes)
    if len(parts) == 1:
        return replace(parts[0], source=f"{parts[0].source}, at a depth of {told} µm, the middle of the stack")
    source = f"{len(parts)} PSFs at depths of {told} µm: {parts[0].source}"
    return PsfSet(parts, (tuple(planes), (0.0,), (0.0,)), source, parts[0].notes)


def _core(psf: Psf) -> NDArray[np.float64]:
    """The PSF about its focus as a vector of length one."""
    vector = psf.pixels.astype(np.float64).ravel()
    return np.asarray(vector / np.linalg.norm(vector))


def _spread(last: int, number: int) -> list[float]:
    """Planes evenly spread from the first to the last, or the middle one.

    Denser where PSFs change faster, below the coverslip, is worse: unlike neighbours hurt most where most planes are.
    """
    return [last / 2] if number == 1 else [float(plane) for plane in np.linspace(0, last, number)]


def _enough(last: int, core_at: Callable[[float], NDArray[np.float64]]) -> int:
    """The least number of evenly spread planes whose neighbours are alike."""
    known = cache(core_at)
    for number in range(2, MOST + 1):
        unlike = [1 - float(known(a) @ known(b)) for a, b in pairwise(_spread(last, number))]
        if np.mean(unlike) <= UNLIKE:
            return number if number > 2 else 1
    return MOST
