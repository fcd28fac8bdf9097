"""The Python interface: arrays in, arrays out, with the options of `run`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.camera import CameraOptions
from microdeconv.engine import DELTA, deconvolve_volume, plan_cut, settle
from microdeconv.errors import DataError, UsageError
from microdeconv.machine import MachineOptions, machine_for
from microdeconv.methods import method_named
from microdeconv.options import Sourced, build, convert, nearest, options_of
from microdeconv.psf.file import ready
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, Zyx

GROUPS = (Stopping, CameraOptions, MachineOptions)


def deconvolve(
    image: NDArray[Any],
    psf: NDArray[Any] | Psf | None,
    method: str = "rl",
    *,
    voxel_um: Zyx | None = None,
    psf_voxel_um: Zyx | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Deconvolve an image or a volume, with the options of `microdeconv run` as keywords.

    Parameters
    ----------
    image
        (y, x) or (z, y, x), counts, any real dtype.
    psf
        Array of as many dimensions and any scale, or a `Psf` made ready; None for the method identity.
    method
        "rl", "rl-tv", "wiener" or "identity".
    voxel_um, psf_voxel_um
        (z, y, x) in µm; the PSF is resampled where both are given and differ.
    options
        `iterations=20`, `background=100`, `acceleration="none"`, `device="cpu"`, `tile=256`, …

    Returns
    -------
    ndarray
        float32 of the image's shape: counts above the background.

    Raises
    ------
    UsageError
        For an option that does not exist or does not apply.
    DataError
        For an image or a PSF that cannot be used.

    Examples
    --------
    >>> import microdeconv as md
    >>> sharp = md.deconvolve(stack, psf, method="rl", iterations="auto")  # doctest: +SKIP
    """
    volume = image[None] if image.ndim == 2 else image
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise DataError(f"an image of shape {image.shape}", "give finite values (y, x) or (z, y, x)")
    chosen = method_named(method)
    groups = (*GROUPS, chosen.parameters)
    known = {o.field: o for group in groups for o in options_of(group)}
    values = {o.key: Sourced(o.default, "default") for o in known.values()}
    for name, raw in options.items():
        if name not in known:
            close = nearest(name, known)
            raise UsageError(f"{name} is no option of method {method}", f"did you mean {close}?" if close else "")
        values[known[name].key] = Sourced(convert(known[name], raw), "given")
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    kernel = _kernel(psf, shape, voxel_um, psf_voxel_um, needed=not chosen.keeps_counts)
    stopping, camera, machine_options = (build(group, values) for group in GROUPS)
    machine = machine_for(machine_options)
    cut = plan_cut(shape, kernel, chosen, machine, machine_options.tile, volume.nbytes + 8 * volume.size)
    settings = settle(volume, kernel, 0, chosen, build(chosen.parameters, values), camera, stopping, machine)
    result, _ = deconvolve_volume(volume, kernel, chosen, settings, machine, cut)
    return result.reshape(image.shape)


def _kernel(
    psf: NDArray[Any] | Psf | None,
    shape: tuple[int, int, int],
    voxel_um: Zyx | None,
    psf_voxel_um: Zyx | None,
    *,
    needed: bool,
) -> Psf:
    if not needed:
        return DELTA
    if psf is None:
        raise UsageError("this method needs a PSF", "give an array, or compute one with microdeconv.compute_psf")
    return psf if isinstance(psf, Psf) else ready(psf, psf_voxel_um, shape, voxel_um)
