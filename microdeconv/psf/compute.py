"""A PSF from optics: each kind of microscope put together from what its pupils let through, averaged over pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from microdeconv.errors import UsageError
from microdeconv.extent import support
from microdeconv.optics import PINHOLED, Model, Optics, completed, missing
from microdeconv.psf.pupil import Layers, Pupil
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

SUBPIXELS = 3  # Gauss-Legendre points of the mean over a pixel, along y and along x; more for coarse pixels
FINER = 10  # radial samples in the largest pixel that keeps all light (Nyquist's)
HELD = 0.8  # of a uniform cone's light; of wide-field light, which is denser near the axis, 0.93
FADED = 0.97  # of other PSFs' light
TRIAL = (101, 121, 121)  # voxels of half the axial and lateral resolution, to see how far such light reaches
MOST_VOXELS = 2**26


def compute_psf(optics: Optics, voxel_um: Zyx, shape: tuple[int, int, int], model: str = "auto") -> Psf:
    """Compute the PSF of a microscope.

    Widefield: the light of `Pupil`. Confocal, spinning disk: excitation × (emission ⊛ pinhole). Light sheet:
    detection × a Gaussian sheet. Two-photon: excitation². One Airy unit is 1.22 λ_emission / NA. Light is averaged over
    each pixel, but not along z. Unlike indices of sample and immersion move the focus: the PSF is taken round the
    brightest point of the axis, which lies in the middle voxel. z grows as the focus goes deeper into the sample, away
    from the coverslip: a stack that was taken the other way needs the PSF of the other way, which matters only here.

    Not modelled: light that comes through a spinning disk's other pinholes; the sheet's profile along its way.

    Parameters
    ----------
    optics
        See `Optics`; what may be assumed is.
    voxel_um
        (z, y, x) in µm.
    shape
        Odd sizes (z, y, x); z = 1 gives the plane in focus.
    model
        "scalar", "vectorial" or "auto".

    Returns
    -------
    Psf
        Sums to one; its notes tell what was assumed.

    Raises
    ------
    UsageError
        When values are missing or cannot be; the message has all that are missing.

    References
    ----------
    See `Pupil`. T. Wilson, J. Microsc. 244, 113 (2011), for the pinhole.
    """
    lacking = missing(optics)
    if lacking:
        raise UsageError("a PSF cannot be computed", f"give {' '.join(lacking)}")
    full, notes = completed(optics)
    _check_grid(voxel_um, shape)
    theory = Model(model).settled(full.na or 0.0)  # type: ignore[arg-type]
    excitation, emission = (_pupil(full, length, theory) for length in (full.excitation_nm, full.emission_nm))
    main = emission if full.modality in ("widefield", "light-sheet") else excitation
    steps = np.arange(shape[0]) - shape[0] // 2
    heights = np.asarray(main.focus_um() + steps * (voxel_um.z if shape[0] > 1 else 0.0), np.float64)
    pixels = _onto_pixels(main, heights, voxel_um, shape[1:])
    if full.modality == "two-photon":
        pixels **= 2
    elif full.modality == "light-sheet":
        sigma = (full.sheet_um or math.inf) / math.sqrt(8 * math.log(2))
        pixels *= np.exp(-0.5 * (steps * voxel_um.z / sigma) ** 2)[:, None, None]
    elif full.modality in PINHOLED:
        pixels *= _detected(emission, heights, voxel_um, shape[1:], full.pinhole_au or 1.0)
    pixels /= pixels.sum()
    return Psf(pixels.astype(np.float32), voxel_um, full, f"computed, {theory}, {full.modality}", notes)


def _check_grid(voxel_um: Zyx, shape: tuple[int, int, int]) -> None:
    if any(n < 1 or n % 2 == 0 for n in shape):
        raise UsageError(f"a PSF of {' x '.join(map(str, shape))} voxels", "its sizes (z y x) are odd")
    needed = voxel_um if shape[0] > 1 else voxel_um[1:]
    if not all(math.isfinite(size) and size > 0 for size in needed):
        raise UsageError(f"voxels of {' x '.join(f'{v:g}' for v in voxel_um)} µm", "give --voxel Z Y X in µm")


def _pupil(optics: Optics, wavelength_nm: float | None, theory: str) -> Pupil:
    layers = Layers(optics.ri_sample or 1.0, optics.ri_immersion or 1.0, optics.depth_um or 0.0)
    return Pupil(optics.na or 0.0, (wavelength_nm or 0.0) / 1000, layers, theory == "vectorial")


def _onto_pixels(
    pupil: Pupil, heights_um: NDArray[np.float64], voxel_um: Zyx, lateral: tuple[int, int]
) -> NDArray[np.float64]:
    """Intensity averaged over each pixel, (z, y, x), the axis through the middle pixel."""
    nyquist = pupil.wavelength_um / (4 * pupil.na)
    weights, radii = _pixel_weights(voxel_um, lateral, nyquist)  # of a quadrant: the light is round
    quadrant = np.clip(np.asarray(weights @ pupil.intensity(radii, heights_um)), 0, None)
    rows, columns = (np.abs(np.arange(n) - n // 2) for n in lateral)
    place = rows[:, None] * (lateral[1] // 2 + 1) + columns[None, :]
    return np.ascontiguousarray(quadrant.T)[:, place]


def _pixel_weights(
    voxel_um: Zyx, lateral: tuple[int, int], nyquist_um: float
) -> tuple[csr_array[np.float64], NDArray[np.float64]]:
    """Matrix that takes samples along the radius to the pixels of one quadrant, and the radii (µm) of the samples.

    Cubic (Catmull-Rom) interpolation to points within each pixel, summed by Gauss and Legendre's weights.
    """
    from scipy.sparse import csr_array

    spots, shares = [], []
    for n, size in zip(lateral, voxel_um[1:], strict=True):
        nodes, share = np.polynomial.legendre.leggauss(SUBPIXELS + math.floor(size / nyquist_um))
        spots.append((np.arange(n // 2 + 1)[:, None] + nodes / 2) * size)
        shares.append(share / 2)
    radius = np.hypot(spots[0][:, None, :, None], spots[1][None, :, None, :])
    shape = (radius.shape[0] * radius.shape[1], radius.shape[2] * radius.shape[3])
    step = nyquist_um / FINER
    at = radius.reshape(shape) / step
    left = np.floor(at).astype(np.int64)
    f = at - left
    cubic = (
        f * (-1 + f * (2 - f)), 2 + f * f * (3 * f - 5), f * (1 + f * (4 - 3 * f)), f * f * (f - 1),
    )  # fmt: skip
    n_radii = int(left.max()) + 3
    columns = np.concatenate([np.abs(left + shift) for shift in (-1, 0, 1, 2)], axis=1)
    values = np.concatenate([c * np.outer(*shares).ravel() / 2 for c in cubic], axis=1)
    starts = np.arange(shape[0] + 1) * columns.shape[1]
    weights = csr_array((values.ravel(), columns.ravel(), starts), shape=(shape[0], n_radii))
    weights.sum_duplicates()
    return weights, np.arange(n_radii, dtype=np.float64) * step


def _detected(
    emission: Pupil,
    heights_um: NDArray[np.float64],
    voxel_um: Zyx,
    lateral: tuple[int, int],
    pinhole_au: float,
) -> NDArray[np.float64]:
    """Emission convolved with the pinhole's disk, by the disk's own transform; light from beyond the window counts."""
    from scipy.fft import irfft2, next_fast_len, rfft2
    from scipy.special import j1

    radius = pinhole_au * 0.61 * emission.wavelength_um / emission.na
    wider = [math.ceil(radius / size) for size in voxel_um[1:]]
    seen = (lateral[0] + 2 * wider[0], lateral[1] + 2 * wider[1])
    pixels = _onto_pixels(emission, heights_um, voxel_um, seen)
    sizes = [next_fast_len(n + 2 * w, real=True) for n, w in zip(seen, wider, strict=True)]
    frequencies = np.fft.fftfreq(sizes[0], voxel_um.y)[:, None], np.fft.rfftfreq(sizes[1], voxel_um.x)[None, :]
    turns = 2 * np.pi * radius * np.hypot(*frequencies)
    disk = np.divide(2 * j1(turns), turns, out=np.ones_like(turns), where=turns > 0)
    inner = tuple(slice(w, w + n) for n, w in zip(lateral, wider, strict=True))
    planes = [irfft2(rfft2(plane, sizes) * disk, sizes)[inner] for plane in pixels]
    return np.asarray(np.clip(planes, 0, None), np.float64)


def auto_shape(optics: Optics, voxel_um: Zyx, field: tuple[int, int, int]) -> tuple[int, int, int]:
    """Odd sizes (z, y, x) for a PSF that serves a field, no larger than it can use.

    Wide-field light spreads in a cone and never ends: the PSF has 2 Z − 1 planes and is as wide as holds 93 % of the
    light in them, half the field to each side at most. A light sheet cuts the cone at 1.5 times its FWHM. Other light
    fades away from the focus: slabs along z, y and x hold 97 % of it each.

    Raises
    ------
    UsageError
        As `compute_psf`.
    """
    full, _ = completed(optics)
    na, index = full.na or 1.0, full.ri_immersion or 1.0
    length = (full.emission_nm or full.excitation_nm or 500.0) / 1000
    airy, axial = 0.61 * length / na, 2 * length * index / na**2
    planes = field[0] - 1 if field[0] > 1 else 0
    if planes and full.modality not in ("widefield", "light-sheet"):
        coarse = compute_psf(optics, Zyx(axial / 2, airy / 2, airy / 2), TRIAL, "scalar")
        steps = support(coarse, FADED)
        half_z = min(planes, math.ceil(steps[0] * axial / 2 / voxel_um.z))
        width = max(steps[1] * airy / 2, 5 * airy)
    else:
        sheet = math.ceil(1.5 * full.sheet_um / voxel_um.z) if full.sheet_um and planes else planes
        half_z = planes if full.modality == "widefield" else min(planes, sheet)
        cone = half_z * voxel_um.z * na / math.sqrt(index**2 - na**2) if half_z else 0.0
        width = max(_radius_holding(HELD) * cone, 8 * airy)
    most = math.sqrt(MOST_VOXELS / (2 * half_z + 1)) / 2
    half = [int(min(math.ceil(width / v), max(n // 2, 8), most)) for v, n in zip(voxel_um[1:], field[1:], strict=True)]
    return 2 * half_z + 1, 2 * half[0] + 1, 2 * half[1] + 1


def _radius_holding(share: float) -> float:
    """Radius, as a share of the widest plane's, of the cylinder that holds a share of a uniform cone's light."""
    radii, heights = np.linspace(0.01, 1, 500), np.linspace(1e-3, 1, 2000)
    held = np.minimum(1, (radii[:, None] / heights) ** 2).mean(axis=1)
    return float(radii[int(np.argmax(held >= share))])
