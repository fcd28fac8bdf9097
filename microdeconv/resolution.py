"""How far two images of one object agree, frequency by frequency: Fourier ring and shell correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
THRESHOLD = 1 / 7  # 0.143: where half of the data against the other half means as much as 0.5 against the truth
TAPER = 0.25  # of each axis is faded out, half of it at either end


class Curve(NamedTuple):
    """Correlation over spatial frequency.

    Attributes
    ----------
    frequency
        Middle of each ring or shell, cycles per unit of the voxel size; the first is one ring away from zero.
    correlation
        −1 to 1; 0 where either image has nothing.
    """

    frequency: Values
    correlation: Values

    @property
    def mean(self) -> float:
        """Mean over all rings up to Nyquist."""
        return float(self.correlation.mean())

    def resolution(self, threshold: float = THRESHOLD) -> float:
        """Period at which the curve first falls below a threshold, in units of the voxel size.

        Between two rings it is interpolated. A curve that is below from the start gives the period of its first ring,
        one that stays above that of its last: the image is at least so fine.
        """
        f, c = self.frequency, self.correlation
        below = np.flatnonzero(c < threshold)
        if not below.size:
            return float(1 / f[-1])
        k = int(below[0])
        if k == 0:
            return float(1 / f[0])
        part = (c[k - 1] - threshold) / (c[k - 1] - c[k])
        return float(1 / (f[k - 1] + part * (f[k] - f[k - 1])))


def fourier_correlation(
    one: NDArray[np.generic], other: NDArray[np.generic], voxel: Sequence[float] | None = None
) -> Curve:
    """Correlate two images on rings, or two volumes on shells, of equal spatial frequency.

    Their means are taken off and their borders faded out (Tukey's window). Rings are as wide as the longest
    axis's step of frequency and go up to the Nyquist frequency of the finest axis; beyond that of a coarser axis they
    are cut off along it. Axes of one voxel do not count.

    Parameters
    ----------
    one, other
        Of one shape, 2-D or 3-D.
    voxel
        Size of a voxel along each axis, in any unit, nanometres say; None: one, so that frequencies are in cycles per
        pixel.

    Raises
    ------
    ValueError
        When shapes or sizes do not fit, or no axis has four voxels.

    References
    ----------
    W. O. Saxton, W. Baumeister, J. Microsc. 127, 127 (1982). M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005).
    R. P. J. Nieuwenhuizen et al., Nat. Methods 10, 557 (2013), in light microscopy.
    """
    sizes = (1.0,) * one.ndim if voxel is None else tuple(float(v) for v in voxel)
    if one.shape != other.shape or len(sizes) != one.ndim:
        raise ValueError(f"shapes {one.shape} and {other.shape} and {len(sizes)} voxel sizes do not fit")
    axes = [(n, v) for n, v in zip(one.shape, sizes, strict=True) if n > 1]
    if not axes or max(n for n, _ in axes) < 4:
        raise ValueError(f"an image of shape {one.shape} has no rings")
    shape = tuple(n for n, _ in axes)
    spectra = [_spectrum(image.reshape(shape)) for image in (one, other)]
    steps = [np.fft.fftfreq(n, v) for n, v in axes[:-1]] + [np.fft.rfftfreq(*axes[-1])]
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*steps, indexing="ij", sparse=True)))
    width = min(1 / (n * v) for n, v in axes if n >= 4)
    rings = int(0.5 / min(v for _, v in axes) / width + 1e-9)
    ring = np.rint(radius / width).astype(int)
    twice = np.full(spectra[0].shape, 2.0)  # what a real image's spectrum has on its other half
    twice[..., 0] = 1
    if shape[-1] % 2 == 0:
        twice[..., -1] = 1

    def over_rings(values: Values) -> Values:
        return np.asarray(np.bincount(ring.ravel(), (values * twice).ravel(), rings + 1)[1 : rings + 1], np.float64)

    a, b = spectra
    power = np.sqrt(over_rings(np.abs(a) ** 2) * over_rings(np.abs(b) ** 2))
    shared = over_rings((a * b.conj()).real)
    correlation = np.divide(shared, power, out=np.zeros_like(shared), where=power > 0)
    return Curve(width * np.arange(1, rings + 1), correlation)


def _spectrum(image: NDArray[np.generic]) -> NDArray[np.complex128]:
    from scipy.fft import rfftn
    from scipy.signal.windows import tukey

    faded = image.astype(np.float64)
    faded -= faded.mean()
    for axis, n in enumerate(image.shape):
        window = tukey(n + 2, TAPER)[1:-1]  # its two zeros lie outside
        faded *= window.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    return np.asarray(rfftn(faded), np.complex128)
