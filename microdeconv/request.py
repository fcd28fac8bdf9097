"""What is asked for: every option of `run`, and the layers that their values come from. Torch stays asleep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from microdeconv.camera import CameraOptions
from microdeconv.errors import UsageError
from microdeconv.io.selection import Selection
from microdeconv.machine import MachineOptions
from microdeconv.methods import METHODS, method_named
from microdeconv.optics import DepthOptions, Model, Optics, idle
from microdeconv.options import Option, Repeated, Sourced, build, layered, option, options_of
from microdeconv.problem import Method
from microdeconv.psf.named import PsfFile, files_of, is_estimate, is_none, read_psf_file
from microdeconv.psf.recipes import with_recipe
from microdeconv.solve import Stopping

COMPUTED = (Model, DepthOptions)  # options of PSFs that are computed
BATCH = "batch"  # the source of what a batch gives each of its workers: it settles no result and is not recorded
LINE, KEYWORD = TYPED = ("command line", "keyword")  # the sources of what was typed for this one run


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """Which method."""

    method: Literal["rl", "rl-tv", "wiener", "learnt", "identity"] = option(
        "rl",
        "rl: Richardson-Lucy; rl-tv: with total variation; wiener: linear; learnt: rl refined by a network, as far as "
        "unused counts confirm it; identity: none.",
        panel="Method",
        short="m",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PsfOptions:
    """Where the PSF comes from."""

    psf: tuple[PsfFile, ...] | None = option(
        None,
        "A PSF file (TIFF); computed from the optics if not given; estimate: found in the image, from the optics "
        "on; none: not known (learnt guesses). Repeat it for a PSF that changes: FILE@Z, FILE@Y,X "
        "or FILE@Z,Y,X, µm below the coverslip (the first plane is at --depth) and from the first row and column.",
        panel="PSF and optics",
        metavar="FILE[@PLACE]|estimate|none",
        parse=Repeated(read_psf_file),
    )
    psf_centre: Literal["peak", "centroid", "none"] = option(
        "peak", "What of a PSF file is put in the middle; none: its middle voxel stays.", panel="PSF and optics"
    )
    psf_background: Literal["subtract", "keep"] = option(
        "subtract", "Whether the constant that the rim of a PSF file shows is taken off.", panel="PSF and optics"
    )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is written, and how."""

    dtype: Literal["same", "uint16", "float32"] = option(
        "same",
        "Type of the result; values are never stretched, those beyond it are clipped and counted.",
        panel="Output",
    )
    format: Literal["same", "tiff", "ome-tiff", "ome-zarr"] = option(
        "same", "Container of the result; same: the input's, unless the name that -o gives tells it.", panel="Output"
    )
    ome_zarr: Literal["auto", "0.4", "0.5"] = option(
        "auto", "Version of an OME-Zarr result; auto: the input's, else 0.5. Bio-Formats and QuPath ask for 0.4.",
        panel="Output",
    )  # fmt: skip
    preview: bool = option(False, "Write a PNG of maximum projections before and after.", panel="Output")
    record: bool = option(
        False, "Write how it was made beside the result (JSON); it always stands inside.", panel="Output"
    )
    report: bool = option(
        False, "Write a page (HTML) beside the result: pictures, figures, settings; of the first channel.",
        panel="Output",
    )  # fmt: skip
    overwrite: bool = option(False, "Replace outputs that exist.", panel="Output")
    parents: bool = option(False, "Make missing output folders.", panel="Output")


SHARED: tuple[type, ...] = (
    MethodOptions, Stopping, PsfOptions, Optics, Model, DepthOptions, Selection, CameraOptions, MachineOptions,
    OutputOptions,
)  # fmt: skip


def all_options() -> tuple[Option, ...]:
    """Every option of `run`, those of all methods among them, each once."""
    found: dict[str, Option] = {}
    for group in (*SHARED, *(m.parameters for m in METHODS.values())):
        for one in options_of(group):
            known = found.setdefault(one.key, one)
            if known.help != one.help:
                raise TypeError(f"two methods describe --{one.flag} differently")
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    input
        A stack.
    output, folder
        The result's name, or its folder, where they are given.
    settings
        Where settings are saved, if they are.
    kept
        Other inputs and files that are read: nothing is written over them.
    layers
        (source in words, values by key), the weakest first.
    """

    input: Path
    output: Path | None = None
    folder: Path | None = None
    settings: Path | None = None
    kept: tuple[Path, ...] = ()
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def values(self) -> dict[str, Sourced]:
        """The value of each option with its source, before the file is asked."""
        return layered(all_options(), with_recipe(self.layers))


def method_of(values: Mapping[str, Sourced]) -> tuple[Method, Any]:
    """Give the method and its parameters; refuse options that are given but can do nothing.

    Raises
    ------
    UsageError
        Naming the option.
    """
    method = method_named(values["method"].value)
    is_estimate(values["psf"].value)
    if is_none(values["psf"].value) and not (method.kernel_free or method.keeps_counts):
        raise UsageError(f"--psf none: {method.name} needs a PSF", "give one, the optics, or --method learnt")
    refuse_idle(values, method, raw_psf=bool(files_of(values["psf"].value)))
    return method, build(method.parameters, values)


def refuse_idle(values: Mapping[str, Sourced], method: Method, *, raw_psf: bool) -> None:
    """Refuse options that were typed and can do nothing. A configuration is let be: it may serve several methods.

    Parameters
    ----------
    values
        By key; options that nobody could type may be missing.
    method
        The one that is used.
    raw_psf
        Whether the PSF comes from a file or an array, and is made ready.

    Raises
    ------
    UsageError
        Naming the first of them.
    """
    for key, (one, what) in idle_options(method, raw_psf=raw_psf).items():
        if key in values and values[key].source in TYPED:
            raise UsageError(f"{said(one, values[key])} does not apply to {what}", "leave it out")


def idle_options(method: Method, *, raw_psf: bool) -> dict[str, tuple[Option, str]]:
    """Give the options that can do nothing, by key, each with what it does not apply to.

    Parameters
    ----------
    method, raw_psf
        See `refuse_idle`.
    """
    own = {o.key for o in options_of(method.parameters)}
    idle = [o for m in METHODS.values() for o in options_of(m.parameters) if o.key not in own]
    idle += [] if method.stopped.iterative else options_of(Stopping)
    if method.keeps_counts:
        idle += [o for group in (PsfOptions, Optics, *COMPUTED, CameraOptions) for o in options_of(group)]
        idle += [o for o in options_of(Selection) if o.key in ("nan", "negative")]
    why = {o.key: (o, f"--method {method.name}") for o in idle}
    if raw_psf:
        why |= {o.key: (o, "a PSF that is given") for group in COMPUTED for o in options_of(group) if o.key not in why}
    else:
        made = (o for o in options_of(PsfOptions) if o.key != "psf" and o.key not in why)
        why |= {o.key: (o, "a PSF that is computed or made ready") for o in made}
    return why


def refuse_idle_optics(channels: Sequence[tuple[Optics, Mapping[str, Sourced]]]) -> None:
    """Refuse an excitation, a pinhole or a sheet that was typed where no channel's modality has a use for it.

    Parameters
    ----------
    channels
        The optics of each, and where their values came from, by key.

    Raises
    ------
    UsageError
        Naming the first of them.
    """
    first, sources = channels[0]
    for key in idle(first):
        if sources[key].source in TYPED and all(key in idle(optics) for optics, _ in channels):
            modality = first.modality or "widefield"
            raise UsageError(f"--{key} does not apply to {modality} microscopes", "leave it out, or give --modality")


def refuse_surplus(values: Mapping[str, Sourced], channels: int) -> list[str]:
    """Refuse more values, one for each channel, than there are channels; of a configuration give a note.

    Raises
    ------
    UsageError
        Naming the option.
    """
    each = {o.key: o for o in all_options() if o.each_channel and o.key in values}
    surplus = [k for k in each if isinstance(values[k].value, tuple) and len(values[k].value) > channels]
    for key in surplus:
        if values[key].source in TYPED:
            words = f"{said(each[key], values[key])}: {len(values[key].value)} values for {channels} channel(s)"
            raise UsageError(words, "give one for all, or one for each")
    names = ", ".join(surplus)
    return [f"{names}: more values than the {channels} channel(s), the last are not used"] if surplus else []


def said(one: Option, value: Sourced) -> str:
    """Name an option as it was given."""
    return one.field if value.source == KEYWORD else f"--{one.flag}"
