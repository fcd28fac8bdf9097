"""How near a result is to a known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
SSIM_WINDOW = 11  # voxels along each axis


def inner(volume: NDArray[np.generic]) -> NDArray[np.generic]:
    """The middle 80 % along each axis, where the border does not count."""
    return volume[tuple(slice(n // 10, n - n // 10) for n in volume.shape)]


def scaled(result: NDArray[np.generic], truth: NDArray[np.generic]) -> Values:
    """The result times the factor that brings it nearest to the truth (least squares)."""
    x, t = result.astype(np.float64), truth.astype(np.float64)
    power = float((x * x).sum())
    return x * (float((x * t).sum()) / power) if power else x


def _compared(result: NDArray[np.generic], truth: NDArray[np.generic], rescale: bool) -> Values:
    return scaled(result, truth) if rescale else result.astype(np.float64)


def nrmse(result: NDArray[np.generic], truth: NDArray[np.generic], *, rescale: bool = True) -> float:
    """Root of the mean squared error over the root of the truth's mean square, after the best scale or as it is."""
    t = truth.astype(np.float64)
    return float(np.sqrt(np.square(_compared(result, truth, rescale) - t).mean() / np.square(t).mean()))


def psnr(result: NDArray[np.generic], truth: NDArray[np.generic], *, rescale: bool = True) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the truth's maximum, after the best scale or as it is."""
    t = truth.astype(np.float64)
    return float(10 * np.log10(t.max() ** 2 / np.square(_compared(result, truth, rescale) - t).mean()))


def ssim(result: NDArray[np.generic], truth: NDArray[np.generic], *, rescale: bool = True) -> float:
    """Structural similarity (scikit-image, Gaussian weights), after the best scale or as it is.

    Of volumes with fewer planes than its window the mean over the planes.

    References
    ----------
    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004).
    """
    from skimage.metrics import structural_similarity

    x, t = _compared(result, truth, rescale).squeeze(), truth.astype(np.float64).squeeze()
    planes = [(x, t)] if min(t.shape) >= SSIM_WINDOW or t.ndim == 2 else zip(x, t, strict=True)
    known = {"data_range": t.max() - t.min(), "gaussian_weights": True}
    return float(np.mean([structural_similarity(a, b, **known) for a, b in planes]))  # type: ignore[no-untyped-call]
