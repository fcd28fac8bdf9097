"""Light of a point through an objective: scalar and vectorial pupil integrals, aberrated by unlike media.

In numpy: the integrals take a tenth of a second, and torch several seconds to wake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Waves = NDArray[np.complex128]

COVERSLIP_UM, COVERSLIP_RI = 170.0, 1.515
WORKING_UM = 150.0  # of the immersion medium, between objective and coverslip
NODES, CYCLES = 20, 3  # of a Gauss-Legendre panel, and turns of the phase that it may span
PARAXIAL = 0.95  # of the aperture: rays that tell where the focus may lie


@dataclass(frozen=True, slots=True)
class Layers:
    """Refractive indices and thicknesses (µm) on the way from a point to the objective, actual and by design.

    Attributes
    ----------
    ri_sample, ri_glass, ri_immersion
        As they are.
    ri_glass_design, ri_immersion_design
        As the objective was made for; None: the immersion's.
    glass_um, glass_design_um, immersion_design_um
        Thicknesses.
    depth_um
        Of the point below the coverslip.
    """

    ri_sample: float
    ri_immersion: float
    depth_um: float = 0.0
    ri_glass: float = COVERSLIP_RI
    ri_glass_design: float = COVERSLIP_RI
    ri_immersion_design: float | None = None
    glass_um: float = COVERSLIP_UM
    glass_design_um: float = COVERSLIP_UM
    immersion_design_um: float = WORKING_UM

    def travelled(self) -> tuple[tuple[float, float], ...]:
        """(index, thickness) of each layer whose path a ray gains, negative where the design's path is taken off."""
        design = self.ri_immersion_design or self.ri_immersion
        return (
            (self.ri_sample, self.depth_um),
            (self.ri_glass, self.glass_um),
            (self.ri_glass_design, -self.glass_design_um),
            (design, -self.immersion_design_um),
        )

    def gap_um(self) -> float:
        """Thickness of the immersion medium that brings the paraxial focus onto the point."""
        return -self.ri_immersion * sum(thickness / index for index, thickness in self.travelled())


@dataclass(frozen=True, slots=True)
class Pupil:
    """An objective that looks at a point: numerical aperture, wavelength in vacuum (µm), layers, theory of light.

    Scalar: h = |∫ J0(k n r sin θ) exp(i k W) sin θ cos θ dθ|². Vectorial, for dipoles of all directions alike:
    h = |I0|² + 2 |I1|² + |I2|², with √cos θ apodisation and Fresnel's transmission of both interfaces. W is Gibson and
    Lanni's path difference. Waves beyond the critical angle of the sample are evanescent and contribute so.

    References
    ----------
    B. Richards, E. Wolf, Proc. R. Soc. A 253, 358 (1959). S. F. Gibson, F. Lanni, J. Opt. Soc. Am. A 9, 154 (1992).
    P. Török, P. Varga, Appl. Opt. 36, 2305 (1997). F. Aguet, thesis 4418, EPFL (2009), ch. 2.
    """

    na: float
    wavelength_um: float
    layers: Layers
    vectorial: bool = True

    @property
    def wavenumber(self) -> float:
        """2π / λ, radians per µm."""
        return 2 * math.pi / self.wavelength_um

    def intensity(self, radii_um: Reals, heights_um: Reals) -> Reals:
        """Give the intensity at radii and heights, not normalised.

        Parameters
        ----------
        radii_um
            Distances from the axis, in object space.
        heights_um
            How far the objective has moved towards the coverslip from where paraxial rays focus on the point.

        Returns
        -------
        NDArray
            float64 (r, z), ≥ 0.
        """
        theta, weight = self._nodes(float(radii_um.max()), heights_um)
        sine, cosine = np.sin(theta), np.cos(theta)
        bessel_at = self.wavenumber * self.layers.ri_immersion * np.outer(radii_um, sine)
        wave = np.exp(1j * self.wavenumber * self._path(sine, heights_um))
        return (self._vectorial if self.vectorial else self._scalar)(bessel_at, weight, sine, cosine, wave)

    def focus_um(self) -> float:
        """Height of the brightest point on the axis.

        Each cone of rays crosses the axis at a height of its own; the brightest point lies among these.
        """
        layers = self.layers
        passed = min(self.na, *(index for index, thickness in layers.travelled() if thickness))
        sine = np.linspace(0, PARAXIAL * passed / layers.ri_immersion, 200)
        immersion = layers.ri_immersion * np.sqrt(1 - sine**2)
        across = (layers.ri_immersion * sine) ** 2
        crossing = layers.gap_um() + immersion * sum(t / np.sqrt(n**2 - across) for n, t in layers.travelled() if t)
        if np.ptp(crossing) < 1e-6:
            return 0.0
        step = self.wavelength_um / (layers.ri_immersion - math.sqrt(layers.ri_immersion**2 - self.na**2)) / 8
        low, high = float(crossing.min()) - 8 * step, float(crossing.max()) + 8 * step
        for _ in range(2):
            heights = np.arange(low, high, step)
            parts = np.array_split(heights, 1 + heights.size // 4096)
            on_axis = np.concatenate([self.intensity(np.zeros(1), part)[0] for part in parts])
            best = float(heights[int(np.argmax(on_axis))])
            low, high, step = best - step, best + step, step / 50
        return best

    def _nodes(self, reach_um: float, heights_um: Reals) -> tuple[Reals, Reals]:
        """Angles and their weights: Gauss-Legendre in panels that keep up with the phase.

        √(n² − n_i² sin² θ) is steep at a critical angle; θ = a + (b − a)(3 t² − 2 t³) makes it smooth in t.
        """
        alpha = math.asin(self.na / self.layers.ri_immersion)
        ends = np.array([heights_um.min(), heights_um.max()])
        path = self._path(np.sin(np.linspace(0, alpha, 2000)), ends).real
        turned = np.abs(np.diff(path, axis=0)).sum(axis=0).max()
        panels = 3 + math.ceil((float(turned) + reach_um * self.na) / self.wavelength_um / CYCLES)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        t = ((np.arange(panels)[:, None] + (nodes + 1) / 2) / panels).ravel()
        share = np.tile(weights / (2 * panels), panels) * 6 * t * (1 - t)
        critical = {n for n in (self.layers.ri_sample, self.layers.ri_glass) if n < self.na}
        knots = [0.0, *(math.asin(n / self.layers.ri_immersion) for n in sorted(critical)), alpha]
        theta = np.concatenate([a + (b - a) * t * t * (3 - 2 * t) for a, b in pairwise(knots)])
        return theta, np.concatenate([(b - a) * share for a, b in pairwise(knots)])

    def _path(self, sine: Reals, heights_um: Reals) -> Waves:
        """Gibson and Lanni's path difference, (θ, z) in µm, imaginary parts where waves are evanescent."""
        across = (self.layers.ri_immersion * sine) ** 2
        fixed = np.sum([thickness * _root(index, across) for index, thickness in self.layers.travelled()], axis=0)
        moved = np.outer(_root(self.layers.ri_immersion, across), self.layers.gap_um() - heights_um)
        return np.asarray(fixed[:, None] + moved)

    def _scalar(self, bessel_at: Reals, weight: Reals, sine: Reals, cosine: Reals, wave: Waves) -> Reals:
        from scipy.special import j0

        return _light(j0(bessel_at), (weight * sine * cosine)[:, None] * wave)

    def _vectorial(self, bessel_at: Reals, weight: Reals, sine: Reals, cosine: Reals, wave: Waves) -> Reals:
        from scipy import special

        j0, j1 = special.j0(bessel_at), special.j1(bessel_at)
        j2 = 2 * j1 / np.maximum(bessel_at, 1e-6) - j0
        j2[bessel_at <= 1e-6] = 0
        s_wave, p_wave, sample_cosine = self._transmission(sine, cosine)
        sample_sine = self.layers.ri_immersion / self.layers.ri_sample * sine
        amplitude = (weight * sine * np.sqrt(cosine))[:, None] * wave
        light = _light(j0, amplitude * (s_wave + p_wave * sample_cosine)[:, None])
        light += 2 * _light(j1, amplitude * (p_wave * sample_sine)[:, None])
        light += _light(j2, amplitude * (s_wave - p_wave * sample_cosine)[:, None])
        return light

    def _transmission(self, sine: Reals, cosine: Reals) -> tuple[Waves, Waves, Waves]:
        """Fresnel's transmission for s and p waves through both interfaces, and cos θ in the sample."""
        immersed, glassy, sampled = self.layers.ri_immersion, self.layers.ri_glass, self.layers.ri_sample
        across = (immersed * sine) ** 2
        immersion, glass, sample = immersed * cosine, _root(glassy, across), _root(sampled, across)
        s_wave = 4 * immersion * glass / ((immersion + glass) * (glass + sample))
        into_glass = glassy / immersed * immersion + immersed / glassy * glass
        into_sample = sampled / glassy * glass + glassy / sampled * sample
        return s_wave, 4 * immersion * glass / (into_glass * into_sample), sample / sampled


def _root(index: float, across: Reals) -> Waves:
    """√(n² − n_i² sin² θ), imaginary beyond the critical angle."""
    return np.asarray(np.sqrt(index**2 - across + 0j))


def _light(bessel: Reals, amplitude: Waves) -> Reals:
    """|∫|² over θ: a product of matrices, (r, θ) · (θ, z), real and imaginary parts side by side."""
    parts = (bessel @ amplitude.view(np.float64)).reshape(len(bessel), -1, 2)
    parts *= parts
    return parts[..., 0] + parts[..., 1]
