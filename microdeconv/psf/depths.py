"""PSFs computed at several depths, where unlike indices of sample and immersion make it change on the way down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microdeconv.optics import Optics
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.stack import Psf, PsfSet, Zyx

UNLIKE = 0.01  # one less the correlation of two neighbours, times their share of the stack: worth a PSF between them
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
        "auto": the ends of the stack, and the depth half-way between neighbours as long as their decorrelation times
        their share of the stack is more than 0.01, eight at most; the middle plane's alone when the ends are alike. A
        number: as many, evenly spread, or the middle plane's.
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
        planes = _chosen(last, lambda plane: _core(compute_psf(at(plane), voxel_um, SEEN, model)))
    else:
        planes = [last / 2] if depths == 1 else [float(p) for p in np.linspace(0, last, depths)]
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


def _chosen(last: int, core_at: Callable[[float], NDArray[np.float64]]) -> list[float]:
    """Halve the interval that has most to gain: long, between unlike PSFs; near the coverslip they change in a µm."""
    cores = {0.0: core_at(0.0), float(last): core_at(float(last))}
    while len(cores) < MOST:
        planes = sorted(cores)
        gains = [(1 - float(cores[a] @ cores[b])) * (b - a) / last for a, b in pairwise(planes)]
        best = int(np.argmax(gains))
        if gains[best] < UNLIKE:
            return planes if len(planes) > 2 else [last / 2]
        middle = (planes[best] + planes[best + 1]) / 2
        cores[middle] = core_at(middle)
    return sorted(cores)
