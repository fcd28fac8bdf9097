"""PSFs for the training, and others that are kept for the test: pupils with aberrations, Gaussians, a line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Kind = Literal["wide-field", "confocal", "light-sheet", "gaussian", "line"]
ABERRATIONS = ("astigmatism", "astigmatism45", "coma_y", "coma_x", "spherical")
PUPIL_GRID = 160  # samples along the pupil's plane
SOFT = 0.7  # of a sample: width of the pupil's edge
REACH = 0.995  # of the light of a plane in focus lies within the kernel


@dataclass(frozen=True, slots=True)
class Lens:
    """What makes a PSF.

    Attributes
    ----------
    kind
        Of microscope.
    cutoff
        Highest frequency that the intensity can have, cycles per pixel.
    aperture
        NA over the immersion's index: how quickly it goes out of focus.
    z_step
        In units of λ / (2 n), of the planes.
    defocus
        Radians at the pupil's edge, over all planes.
    aberrations
        Zernike coefficients, radians rms, by name.
    sigma
        Of a Gaussian (z, y, x), pixels; of a light sheet along z (its first); a line's length and direction.
    """

    kind: Kind
    cutoff: float = 0.25
    aperture: float = 0.8
    z_step: float = 1.0
    defocus: float = 0.0
    aberrations: dict[str, float] = field(default_factory=dict)
    sigma: tuple[float, float, float] = (1.5, 1.5, 1.5)

    def psf(self, planes: int, half: int, finer: int = 1) -> NDArray[np.float32]:
        """Draw the PSF, (planes, 2 half finer + 1, …), on pixels `finer` times smaller; sums to one."""
        heights = np.arange(planes) - planes // 2
        size = half * finer
        if self.kind == "gaussian":
            pixels = self._gaussian(heights, size, finer)
        elif self.kind == "line":
            pixels = self._line(planes, size, finer)
        else:
            pixels = self._light(heights, size, finer)
            if self.kind == "confocal":
                pixels = pixels**2
            elif self.kind == "light-sheet" and planes > 1:
                pixels = pixels * np.exp(-0.5 * (heights / self.sigma[0]) ** 2)[:, None, None]
        return np.asarray(pixels / pixels.sum(), np.float32)

    def scaled(self, factor: float) -> Lens:
        """A lens whose PSF is wider by a factor in the plane (and by more along z)."""
        z, y, x = self.sigma
        return replace(self, cutoff=self.cutoff / factor, sigma=(z * factor, y * factor, x * factor))

    def aberrated(self, **more: float) -> Lens:
        """A lens with further aberrations, radians rms."""
        total = {k: self.aberrations.get(k, 0.0) + more.get(k, 0.0) for k in {*self.aberrations, *more}}
        return replace(self, aberrations=total)

    def half(self) -> int:
        """Half the width that holds nearly all of the light in focus, pixels."""
        if self.kind == "gaussian":
            return int(np.ceil(3.5 * max(self.sigma[1:])))
        if self.kind == "line":
            return int(np.ceil(self.sigma[1] / 2 + 3))
        spread = 1 + 0.8 * sum(abs(v) for v in self.aberrations.values()) + 0.3 * abs(self.defocus)
        return int(np.clip(np.ceil((1.6 if self.kind == "confocal" else 2.6) * spread / self.cutoff), 6, 20))

    def _gaussian(self, heights: NDArray[np.int64], size: int, finer: int) -> NDArray[np.float64]:
        z, y, x = self.sigma
        at = np.arange(-size, size + 1) / finer
        axial = np.exp(-0.5 * (heights / z) ** 2)
        plane = np.exp(-0.5 * (at / y) ** 2)[:, None] * np.exp(-0.5 * (at / x) ** 2)
        return np.asarray(axial[:, None, None] * plane)

    def _line(self, planes: int, size: int, finer: int) -> NDArray[np.float64]:
        _, length, angle = self.sigma
        y, x = np.mgrid[-size : size + 1, -size : size + 1] / finer
        along, across = y * np.sin(angle) + x * np.cos(angle), x * np.sin(angle) - y * np.cos(angle)
        plane = np.exp(-0.5 * (across / 0.6) ** 2) / (1 + np.exp((np.abs(along) - length / 2) * 3))
        axial = np.exp(-0.5 * ((np.arange(planes) - planes // 2) / 1.2) ** 2)
        return np.asarray(axial[:, None, None] * plane)

    def _light(self, heights: NDArray[np.int64], size: int, finer: int) -> NDArray[np.float64]:
        """Intensity of a scalar pupil brought to each plane by a Fourier transform."""
        n = max(PUPIL_GRID, 2 * size + 2)
        f = np.fft.fftfreq(n) * finer * 2 / self.cutoff  # one at the pupil's edge
        v, u = np.meshgrid(f, f, indexing="ij")
        rho = np.hypot(v, u)
        edge = SOFT * (f[1] - f[0])
        inside = np.clip((1 - rho) / edge + 0.5, 0, 1)
        rho = np.minimum(rho, 1.0)
        phase = self._phase(rho, v, u) + self.defocus * rho**2
        depth = 2 * np.pi * self.z_step / 2 * np.sqrt(1 - (self.aperture * rho) ** 2)
        planes = []
        for height in heights:
            wave = np.fft.fft2(inside * np.exp(1j * (phase + height * depth)))
            light = np.fft.fftshift(wave.real**2 + wave.imag**2)
            planes.append(light[n // 2 - size : n // 2 + size + 1, n // 2 - size : n // 2 + size + 1])
        return np.stack(planes)

    def _phase(self, rho: NDArray[np.float64], v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Zernike polynomials of unit rms (Noll's order)."""
        r2 = rho**2
        forms = {
            "astigmatism": np.sqrt(6) * (u**2 - v**2), "astigmatism45": np.sqrt(6) * 2 * u * v,
            "coma_y": np.sqrt(8) * (3 * r2 - 2) * v, "coma_x": np.sqrt(8) * (3 * r2 - 2) * u,
            "spherical": np.sqrt(5) * (6 * r2**2 - 6 * r2 + 1),
        }  # fmt: skip
        return sum((c * forms[name] for name, c in self.aberrations.items()), start=np.zeros_like(rho))


def training_lens(rng: Generator, planes: int) -> Lens:
    """A lens as microscopes have them, mostly good."""
    kinds: tuple[Kind, ...] = ("wide-field", "confocal", "gaussian") if planes == 1 else (
        "wide-field", "confocal", "light-sheet", "gaussian")  # fmt: skip
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "gaussian":
        sigma, uneven = rng.uniform(0.8, 2.6), rng.uniform(0.8, 1.25)
        return Lens(kind, sigma=(sigma * rng.uniform(0.5, 1.5), sigma * np.sqrt(uneven), sigma / np.sqrt(uneven)))
    aberrations = {}
    if rng.random() < 0.5:
        drawn = rng.normal(0, 1, len(ABERRATIONS))
        drawn *= rng.uniform(0, 0.3) / np.linalg.norm(drawn)
        aberrations = dict(zip(ABERRATIONS, drawn.tolist(), strict=True))
    if planes > 1 and rng.random() < 0.4:
        aberrations["spherical"] = aberrations.get("spherical", 0.0) + rng.normal(0, 0.3)
    return Lens(
        kind,
        cutoff=rng.uniform(0.13, 0.36) * (0.8 if kind == "confocal" else 1),
        aperture=rng.uniform(0.45, 0.95),
        z_step=np.exp(rng.uniform(np.log(0.6), np.log(3))),
        defocus=rng.normal(0, 0.5) if planes == 1 else 0.0,
        aberrations=aberrations,
        sigma=(np.exp(rng.uniform(np.log(1), np.log(6))), 0, 0),
    )


def unseen_lens(rng: Generator) -> Lens:
    """A lens of a kind that the training has not: strongly aberrated, wide, or a moving sample's."""
    kind = int(rng.integers(3))
    if kind == 0:
        sigma = rng.uniform(2.7, 3.4)
        return Lens("gaussian", sigma=(sigma / 2, sigma, sigma))
    if kind == 1:
        return Lens("line", sigma=(0, rng.uniform(5, 11), rng.uniform(0, np.pi)))
    drawn = rng.normal(0, 1, len(ABERRATIONS))
    drawn *= rng.uniform(0.6, 1.1) / np.linalg.norm(drawn)
    cutoff, aperture, z_step = rng.uniform(0.15, 0.34), rng.uniform(0.45, 0.95), rng.uniform(np.log(0.6), np.log(3))
    aberrations = dict(zip(ABERRATIONS, drawn.tolist(), strict=True))
    return Lens("wide-field", cutoff, aperture, np.exp(z_step), aberrations=aberrations)
