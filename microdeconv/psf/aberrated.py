"""A PSF with few parameters that torch can differentiate: size, aperture, aberrations, an extra Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microdeconv.fft import filtered_planes, good_size, light_of
from microdeconv.optics import PINHOLED, Optics

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.stack import Zyx

SOFT = 0.2  # of a sample of the pupil plane: width of the pupil's edge, so that the aperture has a gradient
FINEST = 0.07  # of the pupil's radius: samples of its plane
WIDEST = 0.98  # of the immersion's index: the largest aperture
SHARPEST = 1.4  # factor on frequencies that the grid has room for
VOLUME_TERMS = ("size", "aperture", "spherical", "astigmatism", "astigmatism45", "coma_y", "coma_x", "blur")
PLANE_TERMS = ("size", "defocus", "astigmatism", "astigmatism45", "blur")


@dataclass(frozen=True, slots=True)
class AberratedModel:
    """PSF of a microscope from its optics and from deviations.

    Light from dipoles of all directions alike passes a pupil with the phase Σ c Z and is brought to each plane by a
    Fourier transform (vectorial Debye integral). The deviations are zero for the nominal PSF: `size` and `aperture` are
    natural logarithms of factors on the wavelengths and on NA, the Zernike coefficients c (unit rms) are radians of the
    emission, `blur` is the standard deviation, µm, of a lateral Gaussian.

    Parameters
    ----------
    optics
        As `optics.completed` gives them; an index mismatch is left to `spherical`.
    voxel_um
        µm.
    shape
        Odd sizes (z, y, x).

    References
    ----------
    B. M. Hanser et al., J. Microsc. 216, 32 (2004), for PSFs from pupils. R. J. Noll, J. Opt. Soc. Am. 66, 207 (1976).
    B. Richards, E. Wolf, Proc. R. Soc. A 253, 358 (1959).
    """

    optics: Optics
    voxel_um: Zyx
    shape: tuple[int, int, int]

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the deviations, in the order in which `psf` takes them."""
        return VOLUME_TERMS if self.shape[0] > 1 else PLANE_TERMS

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Least and greatest value of each of `terms`."""
        widest = math.log(WIDEST * (self.optics.ri_immersion or 1.0) / (self.optics.na or 1.0))
        limits = {"size": (-0.5, 0.6), "aperture": (-0.4, min(widest, 0.3)), "blur": (0.0, 0.3)}
        return tuple(limits.get(name, (-2.0, 2.0)) for name in self.terms)

    def psf(self, deviations: Tensor, shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
        """Give the PSF, float32 (z, y, x), summing to one.

        Parameters
        ----------
        deviations
            float32, one for each of `terms`.
        shift_um
            How far the light is moved along z, y and x, µm: aberrations move the peak, which belongs in the middle.
        """
        import torch

        given = dict(zip(self.terms, deviations, strict=True))
        optics = self.optics
        if optics.modality == "two-photon":
            light = self._light(optics.excitation_nm or 0.0, given, shift_um) ** 2
        elif optics.modality in PINHOLED:
            light = self._light(optics.excitation_nm or 0.0, given, shift_um)
            light = light * filtered_planes(self._light(optics.emission_nm or 0.0, given, shift_um), self._pinhole())
        else:
            light = self._light(optics.emission_nm or 0.0, given, shift_um)
        if optics.modality == "light-sheet":
            sigma = (optics.sheet_um or math.inf) / math.sqrt(8 * math.log(2))
            light = light * torch.exp(-0.5 * ((self._heights() - shift_um[0]) / sigma) ** 2)[:, None, None]
        light = filtered_planes(light, self._pixel(given["blur"]))
        finer = self._finer()
        rows, columns = (
            (torch.arange(n) - n // 2) * finer % size for n, size in zip(self.shape[1:], self._grid(), strict=True)
        )
        pixels = light[:, rows][:, :, columns].clamp_min(0)
        return pixels / pixels.sum()

    def _finer(self) -> int:
        """Samples of the light along a voxel: enough for the sharpest PSF in question."""
        shortest = min(w for w in (self.optics.emission_nm, self.optics.excitation_nm) if w) / 1000
        coarsest = shortest / (4 * self._aperture_limit() * SHARPEST)
        return math.ceil(max(self.voxel_um.y, self.voxel_um.x) / coarsest * 0.999)

    def _aperture_limit(self) -> float:
        return min(WIDEST * (self.optics.ri_immersion or 1.0), SHARPEST * (self.optics.na or 1.0))

    def _grid(self) -> tuple[int, int]:
        """Samples along y and x: as many as show the pupil finely enough for the farthest plane."""
        shortest = min(w for w in (self.optics.emission_nm, self.optics.excitation_nm) if w) / 1000
        least = shortest / (self.optics.na or 1.0) / FINEST
        wide = [max(n, math.ceil(least / size)) for n, size in zip(self.shape[1:], self.voxel_um[1:], strict=True)]
        y, x = (good_size(n, even=True) * self._finer() for n in wide)
        return y, x

    def _heights(self) -> Tensor:
        import torch

        return (torch.arange(self.shape[0]) - self.shape[0] // 2) * (self.voxel_um.z if self.shape[0] > 1 else 0.0)

    def _frequencies(self) -> tuple[Tensor, Tensor]:
        """Cycles per µm along y and x, in the order of the transform."""
        import torch

        y, x = (
            torch.fft.fftfreq(n, size / self._finer()) for n, size in zip(self._grid(), self.voxel_um[1:], strict=True)
        )
        return y[:, None], x[None, :]

    def _light(self, wavelength_nm: float, given: dict[str, Tensor], shift_um: tuple[float, float, float]) -> Tensor:
        """Intensity (z, y, x) on the fine grid, its centre at the corner."""
        import torch

        index, ratio = self.optics.ri_immersion or 1.0, (self.optics.emission_nm or wavelength_nm) / wavelength_nm
        wavelength = wavelength_nm / 1000 * given["size"].exp()
        na = (self.optics.na or 1.0) * given.get("aperture", torch.zeros(())).exp()
        fy, fx = self._frequencies()
        sine_y, sine_x = fy * wavelength / index, fx * wavelength / index
        sine = (sine_y**2 + sine_x**2).clamp_min(1e-12).sqrt()
        cosine = (1 - sine.clamp_max(0.9999) ** 2).sqrt()
        sample = wavelength / na * max(fy.abs().flatten()[1].item(), fx.abs().flatten()[1].item())
        rho = sine * index / na
        amplitude = torch.sigmoid((1 - rho) / (SOFT * sample)) * (rho < 1 + 8 * SOFT * sample) * (sine < 1)
        wave = ratio * _aberration(given, rho, sine_y / sine, sine_x / sine)
        wave = wave + 2 * math.pi * (fy * shift_um[1] + fx * shift_um[2])
        defocus = 2 * math.pi * index / wavelength * (cosine - 1) * (self._heights() - shift_um[0])[:, None, None]
        pupil = torch.polar(amplitude / cosine.sqrt(), wave) * torch.exp(1j * defocus)
        if (self.optics.na or 1.0) < 0.7:
            return light_of(pupil)
        azimuth_y, azimuth_x = sine_y / sine, sine_x / sine
        parts = (  # of the field along x and y, for dipoles along x, y and z; the mixed part counts twice
            (1, cosine * azimuth_x**2 + azimuth_y**2), (2, (cosine - 1) * azimuth_x * azimuth_y), (1, sine * azimuth_x),
            (1, cosine * azimuth_y**2 + azimuth_x**2), (1, sine * azimuth_y),
        )  # fmt: skip
        return sum((times * light_of(pupil * part) for times, part in parts), torch.zeros(()))

    def _pinhole(self) -> Tensor:
        """Transfer of the pinhole's disk."""
        import torch

        radius = (
            (self.optics.pinhole_au or 1.0) * 0.61 * (self.optics.emission_nm or 0.0) / 1000 / (self.optics.na or 1.0)
        )
        fy, fx = self._frequencies()
        turns = 2 * math.pi * radius * (fy**2 + fx**2).sqrt()
        return torch.where(turns > 1e-6, 2 * torch.special.bessel_j1(turns) / turns.clamp_min(1e-6), 1.0)

    def _pixel(self, blur_um: Tensor) -> Tensor:
        """Transfer of a pixel's area and of the extra Gaussian."""
        import torch

        fy, fx = self._frequencies()
        area = torch.sinc(fy * self.voxel_um.y) * torch.sinc(fx * self.voxel_um.x)
        return area * torch.exp(-2 * (math.pi * blur_um) ** 2 * (fy**2 + fx**2))


def _aberration(given: dict[str, Tensor], rho: Tensor, azimuth_y: Tensor, azimuth_x: Tensor) -> Tensor:
    """Σ c Z over the pupil, radians of the emission; Zernike terms of unit rms."""
    import torch

    two, four = rho**2, rho**4
    terms = {
        "defocus": math.sqrt(3) * (2 * two - 1),
        "spherical": math.sqrt(5) * (6 * four - 6 * two + 1),
        "astigmatism": math.sqrt(6) * two * (azimuth_x**2 - azimuth_y**2),
        "astigmatism45": math.sqrt(6) * two * 2 * azimuth_x * azimuth_y,
        "coma_y": math.sqrt(8) * (3 * two - 2) * rho * azimuth_y,
        "coma_x": math.sqrt(8) * (3 * two - 2) * rho * azimuth_x,
    }
    return sum((given[name] * shape for name, shape in terms.items() if name in given), torch.zeros(()))
