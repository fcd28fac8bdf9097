"""One channel at one time point of a stack, read and settled: what the `psf` commands look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.camera import CameraOptions
from microdeconv.errors import DataError, UsageError
from microdeconv.io.selection import Selection, pick
from microdeconv.machine import Machine, MachineOptions
from microdeconv.optics import Optics
from microdeconv.options import Option, Sourced, build, for_channel, layered, options_of
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import refuse_idle_optics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.settle import Settings
    from microdeconv.stack import Header


UNUSED = ("psf", "memory", "tile")  # nothing is deconvolved as a whole, and PSFs have words of their own


@dataclass(frozen=True, slots=True)
class OneChannel:
    """What was read, and what was settled: camera and background, machine, notes for a person."""

    header: Header
    number: int
    optics: Optics
    volume: NDArray[Any]
    settings: Settings
    machine: Machine
    notes: tuple[str, ...]


def channel_options(*more: type) -> dict[str, Option]:
    """Give the options that `read_channel` reads, and those of more groups, by key."""
    groups = (Optics, *more, Selection, CameraOptions, MachineOptions)
    return {one.key: one for group in groups for one in options_of(group) if one.key not in UNUSED}


def read_channel(path: Path, values: Mapping[str, Sourced], above: Any) -> OneChannel:
    """Read the first picked channel and time point of a stack; find its optics, background and gain.

    Parameters
    ----------
    path
        TIFF.
    values
        Of the options of `Selection`, `CameraOptions` and `MachineOptions`, by key.
    above
        Layers of options that lie over what the file says of its optics.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits.
    """
    from microdeconv.io.pixels import check_pixels
    from microdeconv.io.stacks import open_stack

    selection: Selection = build(Selection, values)
    stack = open_stack(path, selection)
    header = stack.header
    try:
        number, time = pick(selection.channel, header.size("C"))[0], pick(selection.time, header.size("T"))[0]
    except ValueError as reason:
        raise UsageError(f"--channel or --time: {reason}", f"{path} has {header.describe()}, from 0") from None
    own = header.channels[number].optics
    from_file = {o.key: getattr(own, o.field) for o in options_of(Optics)}
    found = layered(options_of(Optics), [("the file", from_file), *with_recipe(above)])
    optics = build(Optics, {k: Sourced(for_channel(v.value, number), v.source) for k, v in found.items()})
    refuse_idle_optics([(optics, found)])
    offset_given = values["offset"].value != "auto"
    volume, notes = check_pixels(stack.read(time, number), selection, path, offset_given=offset_given)
    if volume.min() == volume.max():
        raise DataError(f"{path}: blank, every voxel has the same value", "give a stack with something in it")
    from microdeconv.machine import machine_for, prepare
    from microdeconv.methods import METHODS
    from microdeconv.settle import DELTA, settle
    from microdeconv.solve import Stopping

    machine = machine_for(build(MachineOptions, values))
    prepare(machine)
    rl, camera = METHODS["rl"], build(CameraOptions, values)
    settings = settle(volume, DELTA, number, rl, rl.parameters(), camera, Stopping(iterations=1), machine)
    return OneChannel(header, number, optics, volume, settings, machine, (*header.notes, *notes, *settings.notes))
