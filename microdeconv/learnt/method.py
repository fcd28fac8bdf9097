"""The learnt method of the registry: bank, network, an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from microdeconv.options import Auto, option
from microdeconv.problem import Iterate, Problem

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


def prepare(problem: Problem, parameters: Learnt, voxel_um: tuple[float, float, float] | None) -> Learnt:
    """Find the scale of a volume from a telling part of it."""
    import torch

    from microdeconv.learnt.physics import scale_of

    with torch.inference_mode():
        return replace(parameters, scale=scale_of(problem), voxel_um=voxel_um)


def check(parameters: Learnt) -> None:
    """Load the network that was named, if one was: what is wrong with it is told before any voxel is read.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits, see `load_model`.
    """
    from microdeconv.learnt.weights import load_model

    if parameters.model != "auto":
        load_model(parameters.model)


def learnt(problem: Problem, parameters: Learnt) -> Iterator[Iterate]:
    """Deconvolve with the network alone; the guard stands above the tiles, in `refine`.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    parameters
        See `Learnt`; without a scale the problem's own is found.

    Yields
    ------
    Iterate
        Once; `image` on the object grid, photo-electrons, ≥ 0. Its margin is a Richardson-Lucy iterate's.

    References
    ----------
    See `IRDNet`.
    """
    import torch

    from microdeconv.learnt.network import views_of
    from microdeconv.learnt.physics import scale_of
    from microdeconv.learnt.weights import load_model

    with torch.inference_mode():
        name = parameters.model
        if name == "auto":
            name = WITHOUT_PSF if problem.blur.psf.shape == (1, 1, 1) else WITH_PSF
        network = load_model(name, str(problem.blur.device)).network
        scale = parameters.scale or scale_of(problem)
        views = views_of(problem, scale, network.architecture.scales, parameters.voxel_um)
        whole = views[-1].start.clone()
        problem.blur.crop(whole).copy_(network([[view] for view in views])[-1][0])
        yield Iterate(whole.mul_(scale), None)
