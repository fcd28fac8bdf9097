"""The Python interface: arrays in, arrays out, with the options of `run`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeGuard, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from microdeconv.camera import CameraOptions
from microdeconv.engine import plan_cut
from microdeconv.errors import DataError, UsageError
from microdeconv.io.pixels import check_pixels
from microdeconv.io.selection import Selection
from microdeconv.io.tiff import ACCEPTED
from microdeconv.learnt.foretelling import foretold_by_network
from microdeconv.machine import MachineOptions, machine_for, threads_set
from microdeconv.methods import METHODS, method_named
from microdeconv.optics import Optics
from microdeconv.options import AUTO, Option, Sourced, build, convert, nearest, options_of, settled_for
from microdeconv.problem import Method
from microdeconv.psf.blind import estimate_free as free_form
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.estimate import Estimated
from microdeconv.psf.estimate import estimate_psf as parametric
from microdeconv.psf.file import SAME_VOXEL, ready
from microdeconv.psf.from_counts import ESTIMATED, light_of_counts, split_for
from microdeconv.psf.several import arranged
from microdeconv.refine import HELD
from microdeconv.refine import deconvolve as refined
from microdeconv.request import KEYWORD, PsfOptions, refuse_idle, refuse_surplus
from microdeconv.settle import DELTA, Settings, settle, settle_camera
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet, Zyx

GROUPS = (Stopping, PsfOptions, CameraOptions, Selection, MachineOptions)
INDENT = " " * 8  # of the docstring's list of options
Placed = tuple["ArrayLike | Psf", "float | tuple[float, ...]"]
AnyPsf = Psf | PsfSet | Sequence[Placed]
OF_FILES = ("psf", "axes", "series", "channel", "time", "voxel_um", "rgb")  # an array needs none of these


@dataclass(frozen=True, slots=True)
class Result:
    """A deconvolved image, and how it came about.

    Attributes
    ----------
    image
        What `deconvolve` gives.
    settings
        What was given or chosen: background, camera, iterations, parameters, and the source of each in words.
    psf
        The PSF as it was used; its source tells what was done to it.
    notes
        Warnings for a person.
    guard
        What the learnt method's guard found: trust, chi-square, light, log-odds of a wider PSF, and how much of the
        change lies outside the OTF's support.
    """

    image: NDArray[Any]
    settings: Settings
    psf: Psf | PsfSet
    notes: tuple[str, ...]
    guard: dict[str, Any] = field(default_factory=dict)


@overload
def deconvolve(
    image: ArrayLike,
    psf: ArrayLike | AnyPsf | None,
    method: str = ...,
    *,
    voxel_um: Zyx | None = ...,
    psf_voxel_um: Zyx | None = ...,
    details: Literal[False] = ...,
    **options: Any,
) -> NDArray[Any]: ...
@overload
def deconvolve(
    image: ArrayLike,
    psf: ArrayLike | AnyPsf | None,
    method: str = ...,
    *,
    voxel_um: Zyx | None = ...,
    psf_voxel_um: Zyx | None = ...,
    details: Literal[True],
    **options: Any,
) -> Result: ...
def deconvolve(
    image: ArrayLike,
    psf: ArrayLike | AnyPsf | None,
    method: str = "rl",
    *,
    voxel_um: Zyx | None = None,
    psf_voxel_um: Zyx | None = None,
    details: bool = False,
    **options: Any,
) -> NDArray[Any] | Result:
    """Deconvolve an image or a volume, with the options of `microdeconv run` as keywords.

    Parameters
    ----------
    image
        (y, x) or (z, y, x), counts, any real dtype.
    psf
        Array of as many dimensions and any scale, or a `Psf` made ready; identity does not look at it; None where
        nobody knows it, for learnt. Where it changes
        over the field: a `PsfSet`, or a list of pairs (PSF, place) that form a grid, each place z, (y, x) or (z, y, x),
        in voxels from the first plane, row and column.
    method
        "rl", "rl-tv", "wiener", "learnt" or "identity".
    voxel_um, psf_voxel_um
        (z, y, x) in µm, both or neither; the PSF is resampled where they differ.
    details
        Give a `Result`, which tells what was chosen.
    options
        Those of the method, and those of all:

        {options}

    Returns
    -------
    ndarray or Result
        float32 of the image's shape: counts above the background. Of identity float64: the counts as they came.

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
    >>> md.deconvolve(stack, psf, details=True).settings.iterations  # doctest: +SKIP
    """
    chosen = method_named(method)
    values = _values(chosen, options)
    refuse_idle(values, chosen, raw_psf=_is_raw(psf))
    refuse_surplus(values, 1)
    volume, shape, noted = _volume(image, chosen, values)
    machine_options: MachineOptions = build(MachineOptions, values)
    with threads_set(machine_options.threads):
        kernel = _kernel(psf, volume.shape, voxel_um, psf_voxel_um, chosen, build(PsfOptions, values))
        machine = machine_for(machine_options)
        held = volume.nbytes + (8 + HELD * (chosen.companion is not None)) * volume.size
        cut = plan_cut(volume.shape, kernel, chosen, machine, machine_options.tile, held)
        parameters, camera, stopping = (build(g, values) for g in (chosen.parameters, CameraOptions, Stopping))
        if chosen.check:
            noted += chosen.check(parameters, kernel is not DELTA, volume.shape[0], voxel_um)
        settings = settle(volume, kernel, 0, chosen, parameters, camera, stopping, machine, voxel_um=voxel_um)
        result, later, told = refined(volume, kernel, chosen, settings, machine, cut)
    result = result.reshape(shape)
    notes = (*noted, *kernel.notes, *settings.notes, *later)
    return Result(result, settings, kernel, notes, told) if details else result


def estimate_psf(
    image: ArrayLike, optics: Optics, voxel_um: Zyx, *, free: bool = False, start: Psf | None = None, **camera: Any
) -> Estimated:
    """Estimate the PSF of an image from the image itself, as `microdeconv psf estimate` does.

    Parameters
    ----------
    image
        (y, x) or (z, y, x), counts, any real dtype.
    optics
        As far as known; without `start` all that a computed PSF needs.
    voxel_um
        (z, y, x) in µm; z counts for nothing in 2-D.
    free
        A PSF of any form instead of the optics' with few deviations.
    start
        The first PSF for `free`; the optics' if not given.
    camera
        `background=`, `offset=`, `gain=`.

    Returns
    -------
    Estimated
        Its `psf` serves `deconvolve`; `sure` and `why` tell whether it is more than the optics' own.

    Raises
    ------
    UsageError, DataError
        As `deconvolve`, or when the optics do not suffice.
    """
    rl = METHODS["rl"]
    values = _values(rl, camera)
    volume, _, _ = _volume(image, rl, values)
    background, eye, _, _ = settle_camera(volume, settled_for(build(CameraOptions, values), 0))
    split = split_for(volume, eye, background, "cpu", ESTIMATED)
    if free and start is not None:
        return free_form(split, start, optics)
    shape = auto_shape(optics, Zyx(*voxel_um), (volume.shape[0], volume.shape[1], volume.shape[2]))
    if free:
        return free_form(split, compute_psf(optics, Zyx(*voxel_um), shape), optics)
    return parametric(light_of_counts(volume, eye), split, optics, Zyx(*voxel_um), shape, judge=foretold_by_network)


def _known(method: Method) -> dict[str, Option]:
    """The options of a method for arrays, by field."""
    found = (o for group in (method.parameters, *GROUPS) for o in options_of(group))
    return {o.field: o for o in found if o.field not in OF_FILES}


def _option_lines() -> Iterator[str]:
    """Give each option with its default, the methods that take it where not all do, and its help."""
    takers = {o.field: [n for n, m in METHODS.items() if o in options_of(m.parameters)] for o in _all_known()}
    for one in _all_known():
        where = f" ({', '.join(takers[one.field])})" if takers[one.field] else ""
        text = f"- {one.field}={one.default!r}{where}: {one.help}"
        yield textwrap.fill(text, 120, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ")


def _all_known() -> list[Option]:
    return list({field: o for method in METHODS.values() for field, o in _known(method).items()}.values())


deconvolve.__doc__ = (deconvolve.__doc__ or "").replace(INDENT + "{options}", "\n".join(_option_lines()))


def _values(method: Method, options: dict[str, Any]) -> dict[str, Sourced]:
    known = _known(method)
    values = {o.key: Sourced(o.default, "default") for o in known.values()}
    for name, raw in options.items():
        if name not in known:
            close = nearest(name, known)
            raise UsageError(f"{name} is no option of method {method.name}", f"did you mean {close}?" if close else "")
        values[known[name].key] = Sourced(convert(known[name], raw), KEYWORD)
    return values


def _array(values: ArrayLike, what: str) -> NDArray[Any]:
    """Give an array of real numbers, of a kind that files have too."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{what}: rows of unlike lengths", "give an array") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what}: values of type {array.dtype} are not taken", f"give one of {', '.join(ACCEPTED)}")
    return array if array.dtype.name in ACCEPTED else array.astype(np.float64)


def _volume(
    image: ArrayLike, method: Method, values: dict[str, Sourced]
) -> tuple[NDArray[Any], tuple[int, ...], list[str]]:
    """Give the counts (z, y, x), checked as those of a file are, the image's own shape, and notes."""
    array = _array(image, "the image")
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(f"the image: an array of shape {array.shape}", "give values (y, x) or (z, y, x)")
    volume, notes = check_pixels(
        array[None] if array.ndim == 2 else array, build(Selection, values), Path("the image"),
        raw=method.keeps_counts, offset_given=values["offset"].value != AUTO,
    )  # fmt: skip
    return volume, array.shape, notes


def _is_placed(psf: Any) -> TypeGuard[Sequence[Placed]]:
    """Whether it is a list of PSFs with places, not one array."""
    pairs = isinstance(psf, (list, tuple)) and len(psf) > 0
    return pairs and all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], (Psf, np.ndarray)) for p in psf)


def _is_raw(psf: Any) -> bool:
    """Whether anything of it is made ready yet."""
    return any(not isinstance(one, Psf) for one, _ in psf) if _is_placed(psf) else not isinstance(psf, (Psf, PsfSet))


def _kernel(
    psf: Any,
    field: tuple[int, ...],
    voxel_um: Zyx | None,
    psf_voxel_um: Zyx | None,
    method: Method,
    options: PsfOptions,
) -> Psf | PsfSet:
    """Make the PSF ready; refuse voxel sizes that could do nothing."""
    if method.keeps_counts or (psf is None and method.kernel_free):
        return DELTA
    if psf is None:
        raise UsageError("this method needs a PSF", "give an array, or compute one with microdeconv.compute_psf")
    if _is_placed(psf):
        pairs = []
        for one, place in psf:
            ready_one = _kernel(one, field, voxel_um, psf_voxel_um, method, options)
            if isinstance(ready_one, PsfSet):
                raise UsageError("a PsfSet has its places already", "give PSFs, each with a place")
            pairs.append((ready_one, tuple(float(p) for p in (place if isinstance(place, tuple) else (place,)))))
        return arranged(pairs, (field[0], field[1], field[2]))
    if isinstance(psf, (Psf, PsfSet)):
        if psf_voxel_um is not None:
            raise UsageError("psf_voxel_um does not apply to a PSF made ready", "leave it out")
        if voxel_um and psf.voxel_um and not np.allclose(voxel_um, psf.voxel_um, rtol=SAME_VOXEL, equal_nan=True):
            raise DataError(f"the PSF was made for voxels of {psf.voxel_um}, not {voxel_um}", "make it for these")
        if any((one.shape[0] > 1) != (field[0] > 1) for one in psf.parts):
            raise DataError("the PSF and the image are not both 2-D or both 3-D", "make a PSF for this image")
        return psf
    if (voxel_um is None) != (psf_voxel_um is None):
        raise UsageError("one of voxel_um and psf_voxel_um alone does nothing", "give both or neither")
    own, wanted = (None if v is None else Zyx(*v) for v in (psf_voxel_um, voxel_um))
    return ready(
        _array(psf, "the PSF"), own, (field[0], field[1], field[2]), wanted,
        centre=options.psf_centre, background=options.psf_background == "subtract",
    )  # fmt: skip
