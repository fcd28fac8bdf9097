"""Resolution of a single image: where its phases cease to count for more than their amplitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

FILTERS = 24  # widths of the high-pass that are tried
DROP = 5e-4  # by which a curve falls behind its top for that to be a top
TAPER = 0.1  # of each axis is faded out


def decorrelation_resolution(image: NDArray[np.generic]) -> float:
    """Find the shortest period, in pixels, that an image holds above its noise.

    The correlation of the image's spectrum with the same spectrum of amplitudes one, within a growing circle, has a
    top where the circle has all of the signal and little noise. High-passes of growing strength push the top out; the
    furthest one is the cut-off. It depends on neither thresholds nor a second image, but what a method invents (noise
    sharpened to grains, edges clipped at zero) counts as signal.

    Parameters
    ----------
    image
        (y, x), evenly sampled.

    Returns
    -------
    float
        Pixels, at least 2; NaN where no top is found: a blank image, or one of noise alone.

    References
    ----------
    A. Descloux et al., Nat. Methods 16, 918 (2019).
    """
    radius, amplitude, energy, number = _rings(image)
    if energy.sum() <= 0:
        return math.nan
    tops = [_top(radius, amplitude, energy, number)]
    # σ from many pixels to a sixth of one: the high-pass 1 − exp(−2 π² σ² f²)
    for sigma in np.geomspace(0.15, max(image.shape) / 4, FILTERS):
        passed = 1 - np.exp(-2 * (np.pi * sigma * radius) ** 2)
        tops.append(_top(radius, amplitude * passed, energy * passed**2, number))
    furthest = max(tops)
    return 1 / furthest if furthest > 0 else math.nan


def _rings(image: NDArray[np.generic]) -> tuple[Values, Values, Values, Values]:
    """Radius (cycles per pixel), Σ |F|, Σ |F|² and the number of samples on each ring up to Nyquist."""
    from scipy.fft import rfft2
    from scipy.signal.windows import tukey

    faded = image.astype(np.float64)
    faded -= faded.mean()
    y, x = faded.shape
    faded *= np.outer(tukey(y + 2, TAPER)[1:-1], tukey(x + 2, TAPER)[1:-1])
    modulus = np.abs(rfft2(faded))
    frequency = np.hypot(np.fft.fftfreq(y)[:, None], np.fft.rfftfreq(x)[None, :])
    rings = max(y, x) // 2
    ring = np.rint(frequency * 2 * rings).astype(int).ravel()
    twice = np.full(modulus.shape, 2.0)
    twice[:, 0] = 1

    def over(values: Values) -> Values:
        return np.asarray(np.bincount(ring, (values * twice).ravel(), rings + 1)[1 : rings + 1], np.float64)

    return np.arange(1, rings + 1) / (2 * rings), over(modulus), over(modulus**2), over(np.ones_like(modulus))


def _top(radius: Values, amplitude: Values, energy: Values, number: Values) -> float:
    """Frequency of the curve's last top that it falls behind, or zero."""
    scale = math.sqrt(float(energy.sum()))
    if scale <= 0:
        return 0.0
    curve = np.cumsum(amplitude) / (scale * np.sqrt(np.maximum(np.cumsum(number), 1)))
    end = curve.size
    while end > 1:
        top = int(np.argmax(curve[:end]))
        if top < end - 1 and curve[top] - curve[top:end].min() >= DROP:
            return float(radius[top]) if top else 0.0
        end = top  # it still rises there: not a top
    return 0.0
