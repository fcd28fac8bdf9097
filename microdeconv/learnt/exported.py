"""The learnt method without its last steps and its guard as one torch module, as programs of bioimage.io call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microdeconv.blur import Blur
from microdeconv.learnt.network import IRDNet, views_of
from microdeconv.learnt.physics import promised
from microdeconv.learnt.recipe import Recipe, recipe_of
from microdeconv.noise import estimate_background
from microdeconv.problem import Problem
from microdeconv.psf.file import ready
from microdeconv.stack import Psf

LEAST = 1e-3  # of the background, at least, that the mean light above it is taken for


class Exported(nn.Module):
    """Deconvolves planes and stacks: the background is estimated, the PSF made ready, then physics and network.

    Parameters
    ----------
    architecture
        As a card holds it.
    """

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.network = IRDNet(recipe_of({"architecture": architecture}, Recipe()).architecture)

    def forward(self, raw: Tensor, psf: Tensor | None = None) -> Tensor:
        """Deconvolve.

        Parameters
        ----------
        raw
            float32 (n, 1, z, y, x), photo-electrons: gain 1, offset taken off. What is below zero counts as none.
        psf
            float32 (1 or n, 1, z, y, x), any scale, on the voxels of `raw`; None for a network that needs none.

        Returns
        -------
        Tensor
            float32 of the shape of `raw`: photo-electrons above the background, which is estimated for each volume.

        Raises
        ------
        DataError
            For a PSF that cannot be one, or one of planes for a volume.
        """
        psfs = [None] * len(raw) if psf is None else psf.expand(len(raw), *psf.shape[1:])
        return torch.stack([self._one(volume[0], kernel) for volume, kernel in zip(raw, psfs, strict=True)])[:, None]

    def _one(self, volume: Tensor, kernel: Tensor | None) -> Tensor:
        light = volume.float().clamp_min(0)
        field = (light.shape[0], light.shape[1], light.shape[2])
        known = _point() if kernel is None else ready(kernel[0].cpu().numpy(), None, field, background=False)
        background = max(estimate_background(light.cpu().numpy()).value, 0.0)
        level = max(float(light.mean()) - background, LEAST * max(background, 1.0))
        problem = Problem(light, Blur(promised(known), field, light.device), background, level)
        views = views_of(problem, None, self.network.architecture.scales)
        found: Tensor = self.network([[view] for view in views])[-1][0]
        return found * views[-1].scale


def _point() -> Psf:
    return Psf(np.ones((1, 1, 1), np.float32), None, None, "none")
