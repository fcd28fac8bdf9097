"""What an image's power spectrum says of the PSF that it was taken with, whatever the object was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv.fft import good_size, half_frequencies, power_spectrum

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy.optimize import OptimizeResult
    from torch import Tensor

    from microdeconv.psf.aberrated import AberratedModel

SEGMENT = (48, 96, 96)  # voxels along a segment, at most
LOWEST = 1.5  # samples of the spectrum from zero: nearer to it the window's own light counts
TEMPER = (
    64.0  # an object's spectrum is no clean power law: smooth ones speak for the wrong PSF, unless they count little
)
SPREAD = {"size": 0.2, "aperture": 0.03, "spherical": 0.7, "defocus": 0.3, "blur": 0.03}  # expected deviations
STEEP, STEEPNESS = 3.0, 1.5  # mean and spread of the object's exponent
NOISY = 0.05  # spread of the logarithm of the noise over its Poisson value
STEPS = 25  # of the optimiser, each a few evaluations


class Spectral(NamedTuple):
    """The likeliest deviations, their standard errors, and the objective there."""

    deviations: NDArray[np.float64]
    errors: NDArray[np.float64]
    objective: float


class SpectralEvidence:
    """Marginal likelihood of a PSF: the object is a random field whose power falls with frequency.

    The image's power at a frequency f is exponentially distributed about |OTF(f)|² S(f) + N, with S an isotropic power
    law, a (1 + f² / f₀²)^(−p/2), that is fitted along, and N the Poisson noise. Unlike the best fit of object and PSF
    together, which always likes a sharper PSF best, this knows that a likely object has power at all frequencies. The
    sign of aberrations is not in the power.

    Parameters
    ----------
    light
        (z, y, x), photo-electrons, background in it.
    model
        Gives PSFs and their voxel size.

    References
    ----------
    P. Whittle, Ark. Mat. 2, 423 (1953). P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967). A. Levin et al.,
    CVPR 2009, for marginal likelihood against joint fits.
    """

    def __init__(self, light: NDArray[np.float32], model: AberratedModel) -> None:
        import torch

        self.model = model
        power, noise, segments = _welch(light)
        self.grid = (power.shape[0], power.shape[1], 2 * (power.shape[2] - 1))
        along = zip(half_frequencies(self.grid), model.voxel_um, self.grid, strict=True)
        squared = sum(((f / size) ** 2 for f, size, n in along if n > 1), torch.zeros(()))  # cycles per µm
        lowest = LOWEST / min(n * size for n, size in zip(self.grid[1:], model.voxel_um[1:], strict=True))
        self._kept = squared.expand(power.shape) > lowest**2
        self._squared, self._power = squared.expand(power.shape)[self._kept], power[self._kept].float()
        self.noise, self.weight = noise, segments / TEMPER

    def cost(self, psf: Tensor) -> float:
        """Negative tempered log-posterior of a PSF, its object's spectrum fitted; only differences count."""
        passed = self._passed(psf)
        return float(self._minimised(lambda _: passed, np.zeros(0), []).fun)

    def fit(self, start: NDArray[np.float64]) -> Spectral:
        """Find the deviations of greatest posterior probability.

        Parameters
        ----------
        start
            One for each of the model's terms; those without an expected spread stay.
        """
        import torch

        terms = [i for i, name in enumerate(self.model.terms) if name in SPREAD]
        spread = np.array([SPREAD[self.model.terms[i]] for i in terms])
        fixed, place = torch.tensor(start, dtype=torch.float32), torch.tensor(terms)

        def passed(scaled: Tensor) -> Tensor:
            return self._passed(self.model.psf(fixed.index_put((place,), scaled * torch.tensor(spread).float())))

        bounds = [
            (low / s, high / s) for (low, high), s in zip([self.model.bounds[i] for i in terms], spread, strict=True)
        ]
        found = self._minimised(passed, start[terms] / spread, bounds)
        best, errors = start.copy(), np.zeros_like(start)
        best[terms] = found.x[4:] * spread
        errors[terms] = spread * np.sqrt(np.clip(np.diag(found.hess_inv @ np.eye(found.x.size))[4:], 0, 1))
        return Spectral(best, errors, float(found.fun))

    def _passed(self, psf: Tensor) -> Tensor:
        """|OTF|² at the samples that count."""
        return power_spectrum(_cut(psf, self.grid), self.grid)[self._kept]

    def _log_likelihood(self, passed: Tensor, spectrum: Tensor) -> Tensor:
        """Of the power, tempered; `spectrum` is (log a, log f₀, p, log of the noise over Poisson's)."""
        import torch

        power = (spectrum[0] - spectrum[2] / 2 * torch.log1p(self._squared * (-2 * spectrum[1]).exp())).exp()
        expected = passed * power + self.noise * spectrum[3].exp()
        return -self.weight * (expected.log() + self._power / expected).sum()

    def _minimised(
        self, passed: Callable[[Tensor], Tensor], start: NDArray[np.float64], bounds: list[tuple[float, float]]
    ) -> OptimizeResult:
        """Fit the object's spectrum, and deviations in units of their spread, by torch's gradient."""
        import torch
        from scipy.optimize import minimize

        def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            given = torch.tensor(values, dtype=torch.float32, requires_grad=True)
            unlikely = (given[4:] ** 2).sum() + ((given[2] - STEEP) / STEEPNESS) ** 2 + (given[3] / NOISY) ** 2
            cost = unlikely / 2 - self._log_likelihood(passed(given[4:]), given[:4])
            cost.backward()  # type: ignore[no-untyped-call]
            return float(cost.detach()), np.asarray(given.grad, np.float64)

        bright = math.log(max(float(self._power.mean()) - self.noise, 0.1 * self.noise) * 10)
        first = np.concatenate([[bright, math.log(0.7), STEEP, 0.0], start])
        limits = [(-20.0, 40.0), (math.log(0.05), math.log(8)), (0.0, 8.0), (-0.3, 0.3), *bounds]
        return minimize(objective, first, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": STEPS})


def _cut(psf: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """The middle of a PSF that fits a grid."""
    for axis, (n, most) in enumerate(zip(tuple(psf.shape), grid, strict=True)):
        if n > most:
            psf = psf.narrow(axis, (n - most) // 2, most)
    return psf


def _welch(light: NDArray[np.float32]) -> tuple[Tensor, float, float]:
    """Mean power of half-overlapping windowed segments, the Poisson noise in it, and how many segments count."""
    import torch

    segment = tuple(min(n, good_size(most) if n > most else n) for n, most in zip(light.shape, SEGMENT, strict=True))
    segment = (segment[0], segment[1], segment[2] - segment[2] % 2)
    window = np.einsum("z,y,x->zyx", *(np.hanning(n + 2)[1:-1] if n > 1 else np.ones(1) for n in segment))
    total, noise, number = torch.zeros((), dtype=torch.float64), 0.0, 0
    for place in np.ndindex(*(max(1, 2 * (n // s) - 1) for n, s in zip(light.shape, segment, strict=True))):
        starts = [min(i * max(s // 2, 1), n - s) for i, s, n in zip(place, segment, light.shape, strict=True)]
        part = light[tuple(slice(a, a + s) for a, s in zip(starts, segment, strict=True))].astype(np.float64)
        flat = (part - (part * window).sum() / window.sum()) * window
        total = total + power_spectrum(torch.from_numpy(flat))
        noise += float((part * window**2).sum())
        number += 1
    area = float((window**2).sum())
    covered = math.prod(light.shape) / math.prod(segment)
    return total / (number * area), noise / (number * area), min(covered, number)
