"""How near a result is to a known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def inner(volume: NDArray[np.generic]) -> NDArray[np.generic]:
    """The middle 80 % along each axis, where the border does not count."""
    return volume[tuple(slice(n // 10, n - n // 10) for n in volume.shape)]


def scaled(result: NDArray[np.generic], truth: NDArray[np.generic]) -> Values:
    """The result times the factor that brings it nearest to the truth (least squares)."""
    x, t = result.astype(np.float64), truth.astype(np.float64)
    power = float((x * x).sum())
    return x * (float((x * t).sum()) / power) if power else x


def nrmse(result: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Root of the mean squared error over the root of the truth's mean square, after the best scale."""
    t = truth.astype(np.float64)
    return float(np.sqrt(np.square(scaled(result, truth) - t).mean() / np.square(t).mean()))


def psnr(result: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the truth's maximum, after the best scale."""
    t = truth.astype(np.float64)
    return float(10 * np.log10(t.max() ** 2 / np.square(scaled(result, truth) - t).mean()))


def ssim(result: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Structural similarity (scikit-image, Gaussian weights), after the best scale.

    References
    ----------
    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004).
    """
    from skimage.metrics import structural_similarity

    t = truth.astype(np.float64).squeeze()
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            scaled(result, truth).squeeze(), t, data_range=t.max() - t.min(), gaussian_weights=True
        )
    )
