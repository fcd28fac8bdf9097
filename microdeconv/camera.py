"""Counts and light: offset, gain, background, and counts shared out at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microdeconv.options import Auto, option, per_channel

if TYPE_CHECKING:
    import torch

PANEL = "Image"


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """How counts become light."""

    background: float | Auto = option(
        "auto",
        "Counts where there is no object, offset included; one number or one for each channel.",
        panel=PANEL,
        metavar="auto|X",
        parse=per_channel(float),
    )
    offset: float | Auto = option(
        "auto",
        "Counts without any light; auto: from the noise.",
        panel=PANEL,
        metavar="auto|X",
        parse=per_channel(float),
    )
    gain: float | Auto = option(
        "auto",
        "Counts for one photo-electron; auto: from the noise.",
        panel=PANEL,
        metavar="auto|X",
        low=1e-9,
        high=1e9,
        parse=per_channel(float),
    )


@dataclass(frozen=True, slots=True)
class Camera:
    """counts = gain · photo-electrons + offset; read noise is taken as a part of the offset."""

    offset: float = 0.0
    gain: float = 1.0

    def to_light(self, counts: Any) -> Any:
        """Photo-electrons from counts."""
        return (counts - self.offset) / self.gain


def thin(light: torch.Tensor, share: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Share out photo-electrons binomially: for Poisson counts the two parts are independent.

    Fractions of an electron are rounded up or down at random, in proportion.

    Parameters
    ----------
    light
        float32, photo-electrons; what is below zero counts as none.
    share
        Probability for an electron to fall to the first part.
    generator
        Of random numbers, on the tensor's device.

    Returns
    -------
    tuple
        The first and the second part, whole numbers in float32.
    """
    import torch

    electrons = light.clamp_min(0)
    electrons = (electrons + torch.rand(electrons.shape, generator=generator, device=light.device)).floor_()
    first = torch.binomial(electrons, torch.full_like(electrons, share), generator=generator)
    return first, electrons - first
