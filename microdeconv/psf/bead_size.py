"""A bead's own size, taken out of its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.stack import Zyx

    Volume = NDArray[np.float32]

MOST_STEPS = 200
WITHIN = 0.3  # standard errors: what a fit may leave, in the bright part
GAIN = 0.02  # of what is left: a step that takes less away than this fits noise
BRIGHT = 0.05  # of the peak
PEDESTAL = 0.01  # of the peak, added to both sides: where a small sphere's transfer is cut at the grid's highest
# frequency the model swings about zero, and a ratio of two near-zeros would run away


def sphere_transfer(diameter_um: float, voxel_um: Zyx, sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Fourier transform of an evenly filled sphere of unit volume, on the grid of `rfftn`.

    3 (sin u − u cos u) / u³, u = π · diameter · frequency. In 2-D it is that of the sphere's projection.
    """
    steps = [v if n > 1 else 1.0 for v, n in zip(voxel_um, sizes, strict=True)]
    z, y = (np.fft.fftfreq(n, d) for n, d in zip(sizes[:2], steps[:2], strict=True))
    x = np.fft.rfftfreq(sizes[2], steps[2])
    u = np.pi * diameter_um * np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    small = u < 1e-2
    safe = np.where(small, 1, u)
    return np.asarray(np.where(small, 1 - u**2 / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3))


def without_bead(picture: Volume, error: Volume, diameter_um: float, voxel_um: Zyx) -> tuple[Volume, int]:
    """Find the PSF whose light, spread over a sphere, gives the picture: Richardson and Lucy's iteration.

    Started from the picture itself. It stops when the mean square of what is left in the part brighter than 5 % of
    the peak falls below (0.3 standard errors)², when a step lowers it by less than 2 %, or after 200 steps.

    Parameters
    ----------
    picture
        (z, y, x), free of background; negative values count as zero.
    error
        Standard error of each voxel.
    diameter_um
        µm.
    voxel_um
        µm.

    Returns
    -------
    tuple
        The PSF, ≥ 0, with the picture's sum; the number of steps.
    """
    from scipy.fft import irfftn, next_fast_len, rfftn

    reach = [int(np.ceil(diameter_um / v)) + 2 if n > 1 else 0 for v, n in zip(voxel_um, picture.shape, strict=True)]
    sizes = tuple(next_fast_len(n + 2 * r, real=True) for n, r in zip(picture.shape, reach, strict=True))
    transfer = sphere_transfer(diameter_um, voxel_um, sizes)
    inner = tuple(slice(r, r + n) for r, n in zip(reach, picture.shape, strict=True))
    seen = np.maximum(picture, 0).astype(np.float64)
    rims = [(r, s - n - r) for r, s, n in zip(reach, sizes, picture.shape, strict=True)]
    found = np.pad(seen, rims, mode="edge")
    pedestal = PEDESTAL * float(seen.max())
    bright = seen > BRIGHT * seen.max()
    allowed = WITHIN**2 * float(np.mean(np.square(error[bright], dtype=np.float64)))

    last = np.inf

    def spread(light: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(irfftn(rfftn(light) * transfer, sizes))  # even: its own adjoint

    step = 0
    for step in range(MOST_STEPS):  # noqa: B007 - how many it took is told
        model = spread(found)[inner]
        left = float(np.mean(np.square(seen - model)[bright]))
        if left <= allowed or left > (1 - GAIN) * last:
            break
        last = left
        ratio = np.ones(sizes)
        ratio[inner] = (seen + pedestal) / np.maximum(model + pedestal, pedestal / 10)
        found = found * np.maximum(spread(ratio), 0)
    psf = found[inner]
    return np.asarray(psf * (seen.sum() / psf.sum()), np.float32), step
