"""What a network's object leaves unexplained of the image, made up for by steps that do not see the noise."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from microdeconv.problem import Problem

STEPS = 14  # from the network's object, with Nesterov's momentum: the image that they go to has no noise
DIMMEST = 0.2  # of a prediction, at least, is taken to be the object's: no step is longer than five of the usual
CHANGED = (0.2, 3.0)  # times, at least and at most, that a step makes a voxel brighter
LEFT = 0.2  # of a voxel's light, at least, that momentum leaves
FAINT = 1e-3  # of the object's mean: what the network leaves dark may come back
WIDTHS = (1.0, 2.0, 4.0)  # voxels (half as many along z): bands of the residual end at Gaussians of these widths
AROUND = 2.0  # times its width: a band's power is that of surroundings so wide
MORE = 1.5  # times the noise's power: what is not so strong is taken for noise


def reconciled(problem: Problem, start: Tensor) -> Tensor:
    """Make an object explain the image, without the image's noise.

    A network is taught to be near the truth, not to explain the counts: it may be off by a few per cent over whole
    regions, where the counts know better. What its residual holds above the noise, band by band and place by place, is
    added to the image that it foretells, and steps go on from its object towards that. Where the residual is noise the
    object stays.

    Parameters
    ----------
    problem
        `image` in photo-electrons.
    start
        (z, y, x) on the object grid, photo-electrons; it stays as it is.

    Returns
    -------
    Tensor
        float32 on the object grid, photo-electrons, ≥ 0.

    References
    ----------
    P. C. Hansen, Discrete Inverse Problems, SIAM (2010), ch. 5, for judging a solution by its residual: noise alone.
    """
    import torch

    predicted = problem.predict(start)
    spread = predicted.sqrt()
    residual = (problem.image - predicted).div_(spread)
    found = torch.from_numpy(above_noise(residual.cpu().numpy())).to(start.device)
    image = found.mul_(spread).add_(predicted).clamp_min_(problem.dark)
    return towards(replace(problem, image=image), start.clamp_min(FAINT * problem.level))


def towards(problem: Problem, start: Tensor) -> Tensor:
    """Go some steps from an object towards one that explains an image without noise.

    x ← x · (1 + Hᵀ(y / m − 1) / Hᵀ((m₀ − b) / m₀)), m the prediction, m₀ the first one: the step of Richardson-Lucy,
    made longer where most of the light is background, which holds that one's steps short. All steps are the same
    functions of what lies around, none looks at the whole, so that tiles agree.

    Parameters
    ----------
    problem
        `image` in photo-electrons, ≥ 0, without noise.
    start
        (z, y, x) on the object grid, photo-electrons, > 0; it is used up.

    Returns
    -------
    Tensor
        float32 on the object grid, photo-electrons, ≥ 0.

    References
    ----------
    A. R. De Pierro, IEEE Trans. Med. Imaging 14, 132 (1995), for the length of the steps: with the first prediction's
    curvature they never lead too far. Y. Nesterov, Sov. Math. Dokl. 27, 372 (1983), for the momentum.
    """
    import torch

    blur = problem.blur
    predicted = problem.predict(start)
    length = blur.inverse_normalisation()
    length.div_(blur.adjoint(1 - problem.background / predicted).mul_(length).clamp_(DIMMEST, 1))
    x, previous, point, factor = start, start.clone(), torch.empty_like(start), torch.empty_like(start)
    for k in range(1, STEPS + 1):
        torch.lerp(x, previous, -(k - 1) / (k + 2), out=point)
        torch.maximum(point, torch.mul(x, LEFT, out=factor), out=point)
        excess = torch.div(problem.image, problem.predict(point, predicted), out=predicted).sub_(1)
        blur.adjoint(excess, out=factor).mul_(length).add_(1).clamp_(*CHANGED)
        previous, x, point = x, point.mul_(factor), previous
    return x


def above_noise(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find what of a residual is more than noise of variance one: Wiener's filter, with the power seen around a place.

    Parameters
    ----------
    residual
        (z, y, x), (image − model) / √model.

    Returns
    -------
    ndarray
        float32 (z, y, x).
    """
    found, finer, below = np.zeros_like(residual), residual, 0.0
    for width in (*WIDTHS, 0.0):
        smooth = _smoothed(residual, width) if width else np.zeros_like(residual)
        band = finer - smooth
        power = _smoothed(band * band, AROUND * (width or below))
        noise = _noise(below, width, tuple(n == 1 for n in residual.shape))
        found += np.clip(1 - MORE * noise / np.maximum(power, 1e-12), 0, 1) * band
        finer, below = smooth, width
    return found


@cache
def _noise(below: float, width: float, flat: tuple[bool, ...]) -> float:
    """Power that white noise of variance one has between two widths; a width of 0 is no Gaussian at all."""
    half = [0 if one else int(4 * WIDTHS[-1]) for one in flat]
    point = np.zeros([2 * n + 1 for n in half], np.float32)
    point[tuple(half)] = 1
    coarse = _smoothed(point, width) if width else np.zeros_like(point)
    return float(np.square((_smoothed(point, below) if below else point) - coarse, dtype=np.float64).sum())


def _smoothed(values: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    sigma = [0 if n == 1 else width / 2 if axis == 0 else width for axis, n in enumerate(values.shape)]
    return np.asarray(gaussian_filter(values, sigma, mode="reflect", truncate=3), np.float32)
