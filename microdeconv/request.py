"""What is asked for: every option of `run`, and the layers that their values come from. Torch stays asleep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from microdeconv.camera import CameraOptions
from microdeconv.errors import UsageError
from microdeconv.io.selection import Selection
from microdeconv.machine import MachineOptions
from microdeconv.methods import METHODS, method_named
from microdeconv.optics import Model, Optics
from microdeconv.options import Option, Sourced, build, layered, option, options_of
from microdeconv.problem import Method
from microdeconv.solve import Stopping

LINE = "command line"  # the source of what was typed


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """Which method."""

    method: Literal["rl", "rl-tv", "wiener", "identity"] = option(
        "rl", "rl: Richardson-Lucy; rl-tv: with total variation; wiener: linear; identity: none.", panel="Method",
        short="m",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PsfOptions:
    """Where the PSF comes from."""

    psf: Path | None = option(
        None, "A PSF file (TIFF); computed from the optics if not given.", panel="PSF and optics", metavar="FILE"
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
    format: Literal["same", "tiff", "ome-tiff"] = option("same", "Container of the result.", panel="Output")
    preview: bool = option(False, "Write a PNG of maximum projections before and after.", panel="Output")
    record: bool = option(
        False, "Write how it was made beside the result (JSON); it always stands inside.", panel="Output"
    )
    overwrite: bool = option(False, "Replace outputs that exist.", panel="Output")
    parents: bool = option(False, "Make missing output folders.", panel="Output")


SHARED: tuple[type, ...] = (
    MethodOptions, Stopping, PsfOptions, Optics, Model, Selection, CameraOptions, MachineOptions, OutputOptions,
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
        return layered(all_options(), self.layers)


def method_of(values: Mapping[str, Sourced]) -> tuple[Method, Any]:
    """Give the method and its parameters; refuse options that are given but do not apply to it.

    Raises
    ------
    UsageError
        Naming the option.
    """
    method = method_named(values["method"].value)
    own = {o.key for o in options_of(method.parameters)}
    others = {o.key: o for m in METHODS.values() for o in options_of(m.parameters) if o.key not in own}
    if not method.iterative:
        others |= {o.key: o for o in options_of(Stopping)}
    for key, one in others.items():
        if values[key].source == LINE:
            raise UsageError(f"--{one.flag} does not apply to --method {method.name}", "leave it out")
    return method, build(method.parameters, values)
