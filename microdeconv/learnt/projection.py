"""What in its input made a filter fire: activations projected back to it through the stored switches (a "deconvnet").

Every layer on the way down a U-Net is affine but for the pooling, which has its switches, and the units' rectifiers. So
the way back is the transposed filters of each layer, unpooling, and a rectifier where one stood.

References
----------
M. D. Zeiler, R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from microdeconv.learnt.layers import UNet, Unit, pooled, unpooled
from microdeconv.learnt.network import IRDNet
from microdeconv.learnt.physics import CHANNELS, STEPPED, View

LEVELS = 3  # full, half and quarter size
SIZES = ("voxel size", "z step")  # channels of a network that is told them
Affine = Callable[[Tensor], Tensor]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Trace:
    """One pass of one volume through a U-Net.

    Attributes
    ----------
    network
        The U-Net.
    names
        Of the channels that it is given.
    given
        float32 (planes, channels, y, x), as they are named.
    entered
        The same as the U-Net got them: decorrelated, y and x filled up.
    levels
        Answers (planes, filters, y, x) at full, half and quarter size.
    enter
        The affine way from `given` to `entered`.
    """

    network: UNet
    names: tuple[str, ...]
    given: Tensor
    entered: Tensor
    levels: tuple[Tensor, ...]
    enter: Affine


class Seen(NamedTuple):
    """What a filter saw.

    Attributes
    ----------
    pattern
        float32 (z, y, x) ≥ 0: root of the summed squares of the projection over the channels, each times its spread.
    shares
        Of the pattern's energy, by channel.
    """

    pattern: Tensor
    shares: dict[str, float]


class _Recorder:
    """Listens to a network's U-Nets while it works."""

    def __init__(self, network: IRDNet, field: tuple[int, ...]) -> None:
        self.traces: list[Trace] = []
        self._handles: list[Any] = []
        self._given: Tensor | None = None
        self._field = field
        self._levels: list[Tensor] = []
        decorrelations = [*network.decorrelations] or [None, None]
        for one in network.decorrelations:
            self._handles.append(one.register_forward_pre_hook(self._decorrelates))
        kinds: list[tuple[Any, int]] = [(network.integrate, 0), *((one, 1) for one in network.refine)]
        for unet, kind in kinds:
            self._handles += [a.register_forward_hook(self._answers) for a in [*unet.axial][:LEVELS]]
            self._handles.append(unet.register_forward_hook(self._ended(decorrelations[kind], kind)))

    def _decorrelates(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        del module
        self._given = given[0]

    def _answers(self, module: nn.Module, given: Any, answer: Tensor) -> None:
        del module, given
        self._levels.append(answer)

    def _ended(self, decorrelation: nn.Module | None, kind: int) -> Callable[..., None]:
        def end(unet: UNet, given: tuple[Tensor, int], answer: Tensor) -> None:
            del answer
            entered = given[0]
            y, x = self._field[-2:]
            named = entered[:, :, :y, :x] if self._given is None else self._given
            names = STEPPED if kind else (*CHANNELS, *SIZES)[: named.shape[1]]
            enter = _entrance(decorrelation, entered.shape[2] - named.shape[2], entered.shape[3] - named.shape[3])
            self.traces.append(Trace(unet, names, named, entered, tuple(self._levels), enter))
            self._levels, self._given = [], None

        return end

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()


def _entrance(decorrelation: nn.Module | None, more_y: int, more_x: int) -> Affine:
    def enter(given: Tensor) -> Tensor:
        inner = given if decorrelation is None else decorrelation(given)
        return pad(inner, (0, more_x, 0, more_y), mode="replicate")

    return enter


def traced(network: IRDNet, views: Sequence[View]) -> tuple[Tensor, list[Trace]]:
    """Deconvolve a volume and keep what its U-Nets did at the finest resolution.

    Parameters
    ----------
    network
        In evaluation mode.
    views
        Of the volume, the coarsest resolution first.

    Returns
    -------
    tuple
        The object, float32 (z, y, x) in units of the view's scale; a trace of the integration and of each stage.
    """
    recorder = _Recorder(network, views[-1].problem.blur.field)
    try:
        with torch.no_grad():
            found = network([[view] for view in views])[-1][0]
    finally:
        recorder.stop()
    return found, recorder.traces[-1 - network.architecture.stages :]


def adjoint(affine: Affine, like: Tensor, z: Tensor) -> Tensor:
    """Give Aᵀ z for the linear part A of an affine layer: what its transposed filters make of z.

    Parameters
    ----------
    affine
        The layer.
    like
        A tensor of the shape of its input.
    z
        Of the shape of its output.
    """
    with torch.enable_grad():
        x = torch.zeros_like(like, requires_grad=True)
        return torch.autograd.grad(affine(x), x, z)[0]


def deviation(trace: Trace, level: int) -> Tensor:
    """What each filter of a level answers, less its median over the field: filters are signed and have no zero."""
    answers = trace.levels[level]
    middle = answers.transpose(0, 1).flatten(1).median(1).values
    return answers - middle[:, None, None]


def box_at(box: Slices, level: int) -> Slices:
    """The voxels of a level (0, 1, 2) that hold a box of the field: y and x are halved at each."""
    planes, *sides = box
    y, x = (slice(s.start >> level, -(-s.stop >> level)) for s in sides)
    return planes, y, x


def project(trace: Trace, level: int, z: Tensor, rectify: Affine = relu) -> Tensor:
    """Project answers of a level back to the channels that the U-Net was given.

    Parameters
    ----------
    trace
        A pass.
    level
        0, 1 or 2: full, half and quarter size.
    z
        Of the shape of `trace.levels[level]`.
    rectify
        Stands where the way down has its rectifiers; without any, the projection is the adjoint of the linear parts.

    Returns
    -------
    Tensor
        Of the shape of `trace.given`.
    """
    network, planes = trace.network, trace.given.shape[0]
    for one in range(level, -1, -1):
        mix = network.axial[one]
        z = adjoint(lambda x, mix=mix: mix(x, planes), z, z)  # type: ignore[misc]
        z = _back_through(network.units[one], z, rectify)  # type: ignore[arg-type]
        if one:
            smaller, switch = pooled(trace.levels[one - 1])
            z = unpooled(adjoint(network.narrow[one - 1], smaller, z), switch)
    return adjoint(trace.enter, trace.given, adjoint(network.first, trace.entered, z))


def _back_through(unit: Unit, z: Tensor, rectify: Affine) -> Tensor:
    found = rectify(adjoint(unit.synthesis, z, -z if unit.residual else z))
    back = adjoint(unit.analysis, z, found)
    return z + back if unit.residual else back


def seen_by(trace: Trace, level: int, number: int, box: Slices) -> Seen:
    """What in its input a filter saw where it fired within a box of the field.

    Parameters
    ----------
    trace
        A pass.
    level
        0, 1 or 2.
    number
        The filter.
    box
        Slices (z, y, x) of the field.
    """
    planes, y, x = box_at(box, level)
    fired = deviation(trace, level)
    alone = torch.zeros_like(fired)
    alone[planes, number, y, x] = fired[planes, number, y, x]
    spread = trace.given.transpose(0, 1).flatten(1).std(1)
    weighted = (project(trace, level, alone) * spread[:, None, None]).square()
    energies = weighted.sum((0, 2, 3))
    total = float(energies.sum()) or 1.0
    shares = {name: float(energy) / total for name, energy in zip(trace.names, energies, strict=True)}
    return Seen(weighted.sum(1).sqrt(), shares)
