"""Wiener deconvolution: one linear filter, quick."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from microdeconv.options import Auto, option, per_channel
from microdeconv.problem import Iterate, Problem

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.blur import Blur, Fading

RATIOS = tuple(10**exponent for exponent in (-4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5))


@dataclass(frozen=True, slots=True)
class Wiener:
    """Parameters of Wiener deconvolution."""

    noise_to_signal: float | Auto = option(
        "auto",
        "Noise-to-signal ratio (1 / SNR²): less is sharper and noisier; one number or one for each channel; "
        "auto: found from the split counts.",
        panel="Method",
        metavar="auto|X",
        low=1e-12,
        high=1e6,
        parse=per_channel(float),
    )
    prior: Literal["laplacian", "tikhonov"] = option(
        "laplacian",
        "What is held down: laplacian, fine detail most; tikhonov, all frequencies alike.",
        panel="Method",
    )


def wiener(problem: Problem, parameters: Wiener) -> Iterator[Iterate]:
    """Linear filter conj(OTF) / (|OTF|² + r |R|²), then nothing below zero.

    R is one (Tikhonov) or the transfer of the discrete Laplacian. The field is continued beyond its border by its
    mirror image, faded out to zero over the margin, so that no edge rings.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    parameters
        `noise_to_signal` must be a number.

    Yields
    ------
    Iterate
        Once; `image` on the object grid, photo-electrons, ≥ 0.

    References
    ----------
    B. R. Hunt, IEEE Trans. Comput. C-22, 805 (1973). F. Orieux, J.-F. Giovannelli, T. Rodet, J. Opt. Soc. Am. A 27,
    1593 (2010).
    """
    yield Iterate(restored(problem, parameters), None)


def restored(problem: Problem, parameters: Wiener, fading: Fading | None = None) -> Tensor:
    """Give what `wiener` does; see `Blur.restore` for `fading`."""
    blur = problem.blur
    weight = float(parameters.noise_to_signal)
    prior = _laplacian(blur).square_() if parameters.prior == "laplacian" else 1.0
    transfer = 1 / (blur.power() + weight * prior)
    continued = continue_field(problem.image - problem.background, blur.margin)
    return blur.restore(continued, transfer, fading).clamp_min_(0)


def _laplacian(blur: Blur) -> Tensor:
    """Transfer of the discrete Laplacian over the axes that the field has."""
    used = [f for f, n in zip(blur.frequencies(), blur.field, strict=True) if n > 1]
    return sum(((2 - 2 * (2 * math.pi * f).cos()) for f in used[1:]), start=2 - 2 * (2 * math.pi * used[0]).cos())


def continue_field(image: Tensor, margin: tuple[int, int, int]) -> Tensor:
    """Continue an image by its mirror image, faded to zero over a margin on every side (half a cosine)."""
    import torch

    for axis, (n, m) in enumerate(zip(tuple(image.shape), margin, strict=True)):
        if m == 0:
            continue
        place = torch.arange(-m, n + m, device=image.device)
        period = max(2 * n - 2, 1)
        folded = place.remainder(period)
        mirrored = torch.minimum(folded, period - folded) if n > 1 else torch.zeros_like(place)
        outside = torch.maximum(-place, place - (n - 1)).clamp_min(0) / (m + 1)
        fade = (1 + (math.pi * outside).cos()) / 2
        shape = [-1 if a == axis else 1 for a in range(3)]
        image = image.index_select(axis, mirrored) * fade.reshape(shape)
    return image
