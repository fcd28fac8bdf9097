"""A PSF from optics: scalar and vectorial pupil integrals, aberrated by layers of unlike refractive index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microdeconv.errors import UsageError
from microdeconv.optics import PINHOLED, Optics, completed, missing
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from torch import Tensor

COVERSLIP_UM, COVERSLIP_RI = 170.0, 1.515
WORKING_UM = 150.0  # of the immersion medium, between objective and coverslip
SUBPIXELS = 3  # points that a pixel's light is averaged from, along y and along x
FINER = 2  # radial samples a subpixel
HELD = 0.8  # of a wide-field PSF's light that a computed one holds


@dataclass(frozen=True, slots=True)
class Layers:
    """Refractive indices and thicknesses (µm) on the way from a point to the objective, actual and by design.

    Attributes
    ----------
    ri_sample, ri_glass, ri_immersion
        As they are.
    ri_glass_design, ri_immersion_design
        As the objective was made for.
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


def compute_psf(
    optics: Optics, voxel_um: Zyx, shape: tuple[int, int, int], model: str = "vectorial", *, device: str = "cpu"
) -> Psf:
    """Compute the PSF of a microscope.

    Widefield: |∫ pupil|². Confocal, spinning disk: excitation × (emission ⊛ pinhole). Light sheet: detection × a
    Gaussian sheet. Two-photon: excitation². One Airy unit is 1.22 λ_emission / NA. Unlike indices of sample and
    immersion move the focus; the PSF is taken round its brightest plane. Light is averaged over each pixel. z grows with
    the distance from the objective to the focus it was set to.

    Parameters
    ----------
    optics
        See `Optics`; what may be assumed is.
    voxel_um
        (z, y, x) in µm; y and x must be equal.
    shape
        Odd sizes (z, y, x); z = 1 gives the plane in focus.
    model
        "scalar" or "vectorial".
    device
        A torch device with float64.

    Returns
    -------
    Psf
        Sums to one.

    Raises
    ------
    UsageError
        When values are missing or cannot be; the message has all that are missing.

    References
    ----------
    B. Richards, E. Wolf, Proc. R. Soc. A 253, 358 (1959). S. F. Gibson, F. Lanni, J. Opt. Soc. Am. A 9, 154 (1992).
    P. Török, P. Varga, Appl. Opt. 36, 2305 (1997). F. Aguet, thesis 4418, EPFL (2009), ch. 2.
    T. Wilson, J. Microsc. 244, 113 (2011), for the pinhole.
    """
    lacking = missing(optics)
    if lacking:
        raise UsageError("a PSF cannot be computed", f"give {' '.join(lacking)}")
    full, notes = completed(optics)
    if any(n % 2 == 0 for n in shape) or not math.isclose(voxel_um.y, voxel_um.x, rel_tol=1e-3):
        raise UsageError(f"a PSF of {shape} voxels of {voxel_um}", "sizes are odd, pixels are square")
    layers = Layers(full.ri_sample or 1.0, full.ri_immersion or 1.0, full.depth_um or 0.0)
    na = full.na or 0.0
    emission, excitation = (full.emission_nm or 0.0) / 1000, (full.excitation_nm or 0.0) / 1000
    main = excitation if full.modality == "two-photon" else emission
    heights = focus_um(na, main, layers) + (np.arange(shape[0]) - shape[0] // 2) * (voxel_um.z if shape[0] > 1 else 0.0)
    lateral = (shape[1], shape[2])
    pixels = intensity(na, main, layers, heights, voxel_um.x, lateral, model, device)
    if full.modality == "two-photon":
        pixels = pixels**2
    elif full.modality == "light-sheet":
        sigma = (full.sheet_um or 1.0) / math.sqrt(8 * math.log(2))
        pixels *= np.exp(-0.5 * ((heights - heights[shape[0] // 2]) / sigma) ** 2)[:, None, None]
    elif full.modality in PINHOLED:
        radius = (full.pinhole_au or 1.0) * 0.61 * emission / na
        lit = intensity(na, excitation, layers, heights, voxel_um.x, lateral, model, device)
        pixels = lit * through_pinhole(pixels, radius / voxel_um.x)
    pixels /= pixels.sum()
    return Psf(pixels.astype(np.float32), voxel_um, full, f"computed, {model}, {full.modality}", notes)


def focus_um(na: float, wavelength_um: float, layers: Layers) -> float:
    """Height of the brightest point on the axis, µm from the nominal focus."""
    if layers.depth_um == 0 and layers.ri_immersion_design in (None, layers.ri_immersion):
        return 0.0
    reach = 0.5 * layers.depth_um + 3
    heights = np.linspace(-reach, reach, int(2 * reach / 0.02) + 1)
    on_axis = intensity(na, wavelength_um, layers, heights, 1.0, (1, 1), "scalar", "cpu")[:, 0, 0]
    return float(heights[int(np.argmax(on_axis))])


def intensity(
    na: float,
    wavelength_um: float,
    layers: Layers,
    heights_um: NDArray[np.float64],
    pixel_um: float,
    lateral: tuple[int, int],
    model: str,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Intensity of a point's image, float64 (z, y, x), its axis through the middle pixel, not normalised.

    Scalar: |∫ J0(k n r sin θ) exp(i k W) sin θ cos θ dθ|². Vectorial, dipoles of all directions: |I0|² + 2 |I1|² + |I2|²
    with the transmission of the interfaces. W is Gibson and Lanni's path difference. Averaged over each pixel.
    """
    import torch

    y, x = (np.arange(n * SUBPIXELS) - (n * SUBPIXELS) // 2 for n in lateral)
    squared = y[:, None] ** 2 + x[None, :] ** 2
    distinct, place = np.unique(squared, return_inverse=True)
    reach = math.sqrt(float(distinct[-1]))
    radii = torch.linspace(0, reach + 4 / FINER, max(8, math.ceil(reach * FINER) + 5), dtype=torch.float64, device=device)
    heights = torch.as_tensor(heights_um, dtype=torch.float64, device=device)
    profile = _radial(na, wavelength_um, layers, heights, radii * (pixel_um / SUBPIXELS), model)
    values = _interpolated(profile, radii, torch.as_tensor(np.sqrt(distinct), device=device)).clamp_min_(0)
    fine = values.T.cpu().numpy()
    place = place.reshape(lateral[0], SUBPIXELS, lateral[1], SUBPIXELS)
    parts = [fine[:, place[:, i, :, j]] for i in range(SUBPIXELS) for j in range(SUBPIXELS)]
    return np.asarray(sum(parts) / len(parts))


def _radial(na: float, wavelength_um: float, layers: Layers, heights: Tensor, radii_um: Tensor, model: str) -> Tensor:
    """Intensity against radius and height, (r, z)."""
    import torch

    k = 2 * math.pi / wavelength_um
    alpha = math.asin(na / layers.ri_immersion)
    phase_range = k * (float(radii_um.max()) * na + float(heights.abs().max() + layers.depth_um) * na**2)
    theta, weight = _gauss_legendre(int(64 + phase_range / 2), alpha, radii_um.device)
    sine, cosine = theta.sin(), theta.cos()
    bessel_at = k * layers.ri_immersion * radii_um[:, None] * sine
    j0 = torch.special.bessel_j0(bessel_at)
    wave = torch.exp(1j * k * _path(layers, sine, heights))
    if model == "scalar":
        return _integrals(j0, (weight * sine * cosine)[:, None] * wave).abs().square_()
    j1 = torch.special.bessel_j1(bessel_at)
    j2 = torch.where(bessel_at > 1e-6, 2 * j1 / bessel_at.clamp_min(1e-6) - j0, 0.0)
    across, along, slope = _transmission(layers, sine, cosine)
    amplitude = (weight * sine * cosine.sqrt())[:, None] * wave
    i0 = _integrals(j0, amplitude * (across + along * slope)[:, None])
    i1 = _integrals(j1, amplitude * (along * (layers.ri_immersion / layers.ri_sample) * sine)[:, None])
    i2 = _integrals(j2, amplitude * (across - along * slope)[:, None])
    return i0.abs().square_() + 2 * i1.abs().square_() + i2.abs().square_()


def _gauss_legendre(n: int, upper: float, device: object) -> tuple[Tensor, Tensor]:
    import torch

    nodes, weights = np.polynomial.legendre.leggauss(min(n, 2000))
    return (
        torch.as_tensor((nodes + 1) * upper / 2, device=device),  # type: ignore[call-overload]
        torch.as_tensor(weights * upper / 2, device=device),  # type: ignore[call-overload]
    )


def _integrals(bessel: Tensor, amplitude: Tensor) -> Tensor:
    """∫ over θ as a product of matrices, (r, θ) · (θ, z)."""
    import torch

    return torch.complex(bessel @ amplitude.real, bessel @ amplitude.imag)


def _path(layers: Layers, sine: Tensor, heights: Tensor) -> Tensor:
    """Gibson and Lanni's optical path difference, (θ, z) in µm; complex where waves are evanescent."""
    across = (layers.ri_immersion * sine) ** 2
    design = layers.ri_immersion_design or layers.ri_immersion

    def axial(index: float) -> Tensor:
        return _root(index, across)

    gap = layers.ri_immersion * (
        layers.glass_design_um / layers.ri_glass_design
        + layers.immersion_design_um / design
        - layers.glass_um / layers.ri_glass
        - layers.depth_um / layers.ri_sample
    ) - heights
    fixed = (
        layers.depth_um * axial(layers.ri_sample)
        + layers.glass_um * axial(layers.ri_glass)
        - layers.glass_design_um * axial(layers.ri_glass_design)
        - layers.immersion_design_um * axial(design)
    )
    return fixed[:, None] + axial(layers.ri_immersion)[:, None] * gap


def _root(index: float, across: Tensor) -> Tensor:
    """√(n² − n_i² sin² θ), imaginary beyond the critical angle."""
    return (index**2 - across + 0j).sqrt()


def _transmission(layers: Layers, sine: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fresnel's transmission for s and p waves through both interfaces, and cos θ in the sample."""
    across = (layers.ri_immersion * sine) ** 2
    immersion = layers.ri_immersion * cosine
    glass = _root(layers.ri_glass, across)
    sample = _root(layers.ri_sample, across)
    s_wave = 4 * immersion * glass / ((immersion + glass) * (glass + sample))
    n_i, n_g, n_s = layers.ri_immersion, layers.ri_glass, layers.ri_sample
    p_wave = 4 * immersion * glass / ((n_g / n_i * immersion + n_i / n_g * glass) * (n_s / n_g * glass + n_g / n_s * sample))
    return s_wave, p_wave, sample / n_s


def _interpolated(values: Tensor, places: Tensor, wanted: Tensor) -> Tensor:
    """Cubic (Catmull-Rom) interpolation along the first axis, from even places; even about zero."""
    step = float(places[1] - places[0])
    at = wanted / step
    left = at.floor().clamp_max(values.shape[0] - 3).long()
    f = (at - left)[:, None]
    a, b, c, d = (values[(left + shift).abs()] for shift in (-1, 0, 1, 2))
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))


def through_pinhole(pixels: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Convolve each plane with a disk of a radius in pixels, by the disk's exact transform."""
    from scipy.fft import irfft2, next_fast_len, rfft2
    from scipy.special import j1

    sizes = [next_fast_len(n + 2 * math.ceil(radius) + 1, real=True) for n in pixels.shape[1:]]
    rho = 2 * np.pi * radius * np.hypot(np.fft.fftfreq(sizes[0])[:, None], np.fft.rfftfreq(sizes[1])[None, :])
    disk = np.ones_like(rho)
    disk[rho > 0] = 2 * j1(rho[rho > 0]) / rho[rho > 0]
    spread = irfft2(rfft2(pixels, sizes) * disk, sizes)
    return np.clip(spread[:, : pixels.shape[1], : pixels.shape[2]], 0, None)


def auto_shape(optics: Optics, voxel_um: Zyx, field: tuple[int, int, int]) -> tuple[int, int, int]:
    """Odd sizes (z, y, x) for a PSF that serves a field, no larger than it can use.

    Wide-field light spreads in a cone: the PSF has 2 Z − 1 planes and is as wide as holds 80 % of the light in them.
    Light that is gone a few Airy discs from the focus needs no more than these.
    """
    full, _ = completed(optics)
    na, index = full.na or 1.0, full.ri_immersion or 1.0
    length = (full.emission_nm or full.excitation_nm or 500.0) / 1000
    airy, axial = 0.61 * length / na, 2 * length * index / na**2
    planes = field[0] - 1 if field[0] > 1 else 0
    if full.modality in ("widefield", "light-sheet"):
        half_z = planes if full.modality == "widefield" else min(planes, math.ceil(1.5 * (full.sheet_um or 1) / voxel_um.z))
        cone = half_z * voxel_um.z * na / math.sqrt(index**2 - na**2)
        width = max(_radius_holding(HELD) * cone, 8 * airy)
    else:
        half_z = min(planes, math.ceil(3 * axial / voxel_um.z))
        width = 6 * airy
    half = [min(math.ceil(width / v), max(n // 2, 8)) for v, n in zip(voxel_um[1:], field[1:], strict=True)]
    return 2 * half_z + 1, 2 * half[0] + 1, 2 * half[1] + 1


def _radius_holding(share: float) -> float:
    """Radius, as a share of the widest plane's, of the cylinder that holds a share of a uniform cone's light."""
    radii, heights = np.linspace(0.01, 1, 500), np.linspace(1e-3, 1, 2000)
    held = np.minimum(1, (radii[:, None] / heights) ** 2).mean(axis=1)
    return float(radii[int(np.argmax(held >= share))])
