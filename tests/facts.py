"""Numerical facts that several tests state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def adjointness(forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], x_shape, y_shape) -> float:
    """Largest |⟨Hx, y⟩ − ⟨x, Hᵀy⟩| / (‖Hx‖ ‖y‖) over five draws of mean zero."""
    generator = torch.Generator().manual_seed(7)
    worst = 0.0
    for _ in range(5):
        x, y = torch.randn(x_shape, generator=generator), torch.randn(y_shape, generator=generator)
        hx, hty = forward(x), adjoint(y)
        assert hx.shape == torch.Size(y_shape)
        assert hty.shape == torch.Size(x_shape)
        left, right = float((hx.double() * y).sum()), float((x.double() * hty).sum())
        worst = max(worst, abs(left - right) / float(hx.double().norm() * y.double().norm()))
    return worst


def centroid(volume: np.ndarray) -> np.ndarray:
    """Centre of mass, in voxels."""
    grids = np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij")
    return np.array([(g * volume).sum() / volume.sum() for g in grids])
