"""The learnt method of the registry: bank, network, an object that explains the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from microdeconv.errors import UsageError
from microdeconv.learnt.card import doubts
from microdeconv.options import AUTO, Auto, option
from microdeconv.problem import Iterate, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.learnt.weights import Model
    from microdeconv.stack import Psf, PsfSet

WITH_PSF, WITHOUT_PSF = "small", "free"  # models that are shipped
Trust = float | Literal["auto", "off"]


def read_trust(raw: Any) -> Trust:
    """Read `auto`, `off` or a share from 0 to 1.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = str(raw).strip().lower()
    if text in ("auto", "off"):
        return text  # type: ignore[return-value]
    try:
        share = float(text)
    except ValueError:
        raise ValueError("neither auto, off nor a number") from None
    if not 0 <= share <= 1:
        raise ValueError("beyond 0 to 1")
    return share


@dataclass(frozen=True, slots=True)
class Learnt:
    """Parameters of the learnt method.

    Attributes
    ----------
    scale
        Typical brightness of the object, photo-electrons; found once for all tiles.
    voxel_um
        (z, y, x); for the network that gets no PSF.
    unlike
        How unlike the training's pictures the volume is, see `Usual.distance`.
    """

    model: str | Auto = option(
        "auto",
        "The network: a name of `models list` or a file (safetensors); auto: the shipped one, with a PSF or without.",
        panel="Method",
        metavar="auto|NAME|FILE",
        parse=str,
    )
    trust: Trust = option(
        "auto",
        "How much of the network's change is taken over the classical result; auto: what unused counts confirm, place "
        "by place; off: all of it, unchecked.",
        panel="Method",
        metavar="auto|off|0..1",
        parse=read_trust,
    )
    scale: float = 0.0
    voxel_um: tuple[float, float, float] | None = None
    unlike: float | None = None


def check(parameters: Learnt, kernel: bool, planes: int, voxel_um: tuple[float, float, float] | None) -> list[str]:
    """Load the network before any voxel is read, so that what is wrong with it is told at once; give its doubts.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits, see `load_model`; `UsageError` for a network that wants a PSF where there is none, or
        none where there is one.
    """
    if not kernel and parameters.trust != AUTO:
        raise UsageError("--trust does not apply without a PSF: nothing can judge the network", "leave it out")
    card = _model(parameters.model, kernel, "cpu").card
    if card.get("psf") in ("needed", "none") and (card["psf"] == "needed") != kernel:
        wants, remedy = ("a PSF", "give one, or the optics") if kernel is False else ("no PSF", "give --psf none")
        raise UsageError(f"the network {card.get('name', parameters.model)} wants {wants}", remedy)
    return doubts(card, planes, voxel_um)


@lru_cache(4)
def _model(name: str, kernel: bool, device: str) -> Model:
    from microdeconv.learnt.weights import load_model

    return load_model((WITH_PSF if kernel else WITHOUT_PSF) if name == AUTO else name, device)


def prepare(problem: Problem, parameters: Learnt, voxel_um: tuple[float, float, float] | None) -> Learnt:
    """Find the scale of a volume from a telling part of it, and how unlike the training's pictures it is."""
    import torch

    from microdeconv.learnt.physics import observe, scale_of

    model = _model_for(problem, parameters)
    with torch.inference_mode():
        if model.usual is None:
            return replace(parameters, scale=scale_of(problem), voxel_um=voxel_um)
        view = observe(problem, None, voxel_um)
    return replace(parameters, scale=view.scale, voxel_um=voxel_um, unlike=model.usual.distance(view.bank))


def _model_for(problem: Problem, parameters: Learnt) -> Model:
    return _model(parameters.model, problem.blur.psf.shape != (1, 1, 1), str(problem.blur.device))


def through(psf: Psf | PsfSet) -> Psf | PsfSet:
    """The PSF between the network's object and the image; see `promised`."""
    from microdeconv.learnt.physics import promised

    return promised(psf)


def learnt(problem: Problem, parameters: Learnt) -> Iterator[Iterate]:
    """Deconvolve with the network and make its object explain the image; the guard stands above tiles, in `refine`.

    Parameters
    ----------
    problem
        `image` in photo-electrons. Without a PSF nothing tells what an object should explain: it stays the network's.
    parameters
        See `Learnt`; without a scale the problem's own is found.

    Yields
    ------
    Iterate
        Once; `image` on the object grid, photo-electrons, ≥ 0.

    References
    ----------
    See `IRDNet` and `reconciled`.
    """
    import torch

    from microdeconv.learnt.reconciled import reconciled

    with torch.inference_mode():
        found = object_of(problem, parameters)
        yield Iterate(found if problem.blur.psf.shape == (1, 1, 1) else reconciled(problem, found), None)


def object_of(problem: Problem, parameters: Learnt) -> Tensor:
    """Give the object that the network alone finds, see `object_found`."""
    import torch

    from microdeconv.learnt.network import object_found

    with torch.inference_mode():
        network = _model_for(problem, parameters).network
        return object_found(network, problem, parameters.scale or None, parameters.voxel_um)
