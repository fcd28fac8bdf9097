"""Objects with known truth, seen through a PSF by a camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Volume = NDArray[np.float32]
Shape = tuple[int, int, int]


class Exposure(NamedTuple):
    """How a scene is taken.

    Attributes
    ----------
    photons
        Photo-electrons at the 99.9th percentile of the blurred object.
    background
        Photo-electrons everywhere, besides the object.
    offset
        Counts without light.
    gain
        Counts for a photo-electron.
    read_noise
        Photo-electrons, rms.
    """

    photons: float = 200.0
    background: float = 20.0
    offset: float = 100.0
    gain: float = 1.0
    read_noise: float = 1.5


class Scene(NamedTuple):
    """Counts (uint16) and the object they came from (float32, photo-electrons), both (z, y, x) on the field."""

    counts: NDArray[np.uint16]
    truth: Volume


def simulate(kind: str, field: Shape, psf: Volume, exposure: Exposure, seed: int) -> Scene:
    """Draw an object, blur it and take its picture; light from outside the field comes in.

    The object is drawn on the field and the PSF's half-width around it and convolved linearly, so that nothing wraps.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    field
        Sizes (z, y, x) of the picture; z is 1 in 2-D.
    psf
        float32 (z, y, x), odd sizes, sums to one.
    exposure
        See `Exposure`.
    seed
        Of the random numbers.
    """
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(seed)
    half = tuple(k // 2 for k in psf.shape)
    drawn = KINDS[kind](tuple(n + 2 * h for n, h in zip(field, half, strict=True)), rng)
    blurred = np.clip(fftconvolve(drawn, psf, mode="valid"), 0, None)
    truth = drawn[tuple(slice(h, h + n) for h, n in zip(half, field, strict=True))]
    return _taken(blurred, truth, exposure, rng)


def simulate_varying(kind: str, field: Shape, psf_at: Callable[[int], Volume], exposure: Exposure, seed: int) -> Scene:
    """Draw an object, blur each of its planes with a PSF of its own and take its picture.

    Light comes in from the sides, none from above and below: the sample is as thick as the picture.

    Parameters
    ----------
    kind, field, exposure, seed
        See `simulate`.
    psf_at
        Gives the PSF of an object plane, (2 z − 1, y, x), all of one size, odd, sums to one.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    rng = np.random.default_rng(seed)
    first = psf_at(0)
    half = first.shape[1] // 2, first.shape[2] // 2
    drawn = KINDS[kind]((field[0], field[1] + 2 * half[0], field[2] + 2 * half[1]), rng)
    sizes = [next_fast_len(n + 2 * h, real=True) for n, h in zip(drawn.shape[1:], half, strict=True)]
    spectra = np.zeros((field[0], sizes[0], sizes[1] // 2 + 1), np.complex64)
    for number, plane in enumerate(drawn):  # seen at plane j, it is blurred with plane j − number of its PSF
        seen = psf_at(number)[field[0] - 1 - number : 2 * field[0] - 1 - number]
        spectra += rfft2(plane, sizes) * rfft2(seen, sizes)
    box = tuple(slice(2 * h, 2 * h + n) for h, n in zip(half, field[1:], strict=True))
    blurred = np.clip(irfft2(spectra, sizes)[(slice(None), *box)], 0, None)
    truth = drawn[:, half[0] : half[0] + field[1], half[1] : half[1] + field[2]]
    return _taken(blurred, truth, exposure, rng)


def _taken(blurred: Volume, truth: Volume, exposure: Exposure, rng: Generator) -> Scene:
    """The picture that a camera takes of a blurred object."""
    scale = exposure.photons / max(float(np.quantile(blurred, 0.999)), 1e-30)
    electrons = rng.poisson(blurred * scale + exposure.background) + rng.normal(0, exposure.read_noise, blurred.shape)
    counts = np.clip(np.round(electrons * exposure.gain + exposure.offset), 0, 65535)
    return Scene(counts.astype(np.uint16), (truth * scale).astype(np.float32))


def gaussian_psf(sigma: tuple[float, float, float]) -> Volume:
    """A Gaussian PSF with standard deviations (z, y, x) in voxels, cut at four of them; zero makes an axis flat."""
    axes = [np.arange(-np.ceil(4 * s), np.ceil(4 * s) + 1) for s in sigma]
    parts = [np.exp(-0.5 * (a / s) ** 2) if s else np.ones(1) for a, s in zip(axes, sigma, strict=True)]
    psf = np.einsum("z,y,x->zyx", *parts)
    normal: Volume = (psf / psf.sum()).astype(np.float32)
    return normal


def draw_filaments(shape: Shape, rng: Generator) -> Volume:
    """Persistent random walks of different brightness, about one for 1,600 pixels of the field."""
    volume = np.zeros(shape, np.float32)
    flat = np.array([0.4 if shape[0] > 1 else 0.0, 1, 1])
    for _ in range(max(4, shape[1] * shape[2] // 1600)):
        steps = rng.normal(size=(rng.integers(60, 400), 3)) * flat * (0.1, 0.12, 0.12)
        direction = np.cumsum(np.vstack([rng.normal(size=3) * flat, steps]), axis=0)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        path = np.round(rng.uniform(0, 1, 3) * shape + np.cumsum(direction, axis=0)).astype(int)
        inside = np.all((path >= 0) & (path < shape), axis=1)
        length = int(np.argmin(inside)) if not inside.all() else len(path)
        np.add.at(volume, tuple(path[:length].T), rng.lognormal(0, 0.4))
    return _softened(volume)


def draw_spots(shape: Shape, rng: Generator) -> Volume:
    """Points of log-normal brightness, one for 14,000 voxels (for 600 pixels in 2-D)."""
    volume = np.zeros(shape, np.float32)
    number = max(8, int(np.prod(shape)) // (14_000 if shape[0] > 1 else 600))
    place = tuple((rng.uniform(0, 1, (3, number)) * np.array(shape)[:, None]).astype(int))
    np.add.at(volume, place, rng.lognormal(2, 0.7, number).astype(np.float32))
    return _softened(volume)


def draw_beads(shape: Shape, rng: Generator) -> Volume:
    """Points of one brightness, one for 2,500 voxels (for 300 pixels in 2-D): no depth and no corner counts more."""
    volume = np.zeros(shape, np.float32)
    number = max(8, int(np.prod(shape)) // (2_500 if shape[0] > 1 else 300))
    place = tuple((rng.uniform(0, 1, (3, number)) * np.array(shape)[:, None]).astype(int))
    volume[place] = 10
    return _softened(volume)


def draw_nuclei(shape: Shape, rng: Generator) -> Volume:
    """Textured ellipsoids, about one for 13,000 pixels of the field."""
    volume = np.zeros(shape, np.float32)
    texture = _smooth_noise(shape, (1, 3, 3), rng)
    for _ in range(max(2, shape[1] * shape[2] // 13_000)):
        volume += (_radius(shape, rng) < 1) * np.clip(0.25 + 0.1 * texture, 0, None)
    return _softened(volume)


def draw_shells(shape: Shape, rng: Generator) -> Volume:
    """Hollow ellipsoids, about one for 6,500 pixels of the field."""
    volume = np.zeros(shape, np.float32)
    for _ in range(max(3, shape[1] * shape[2] // 6_500)):
        volume += (np.abs(_radius(shape, rng) - 1) < 0.08) * rng.lognormal(0, 0.3)
    return _softened(volume)


def draw_tissue(shape: Shape, rng: Generator) -> Volume:
    """Structure at all scales that fills the field, with dark holes."""
    texture = sum(a * _smooth_noise(shape, (s / 2, s, s), rng) for s, a in ((1, 0.5), (2, 0.6), (5, 0.8), (12, 0.6)))
    holes = _smooth_noise(shape, (4, 8, 8), rng) > -0.7
    return _softened(np.exp(0.8 * texture).astype(np.float32) * holes)


def draw_filled(shape: Shape, rng: Generator) -> Volume:
    """Structure everywhere on a bright ground: no dark place."""
    return _softened(np.float32(1.5) + np.exp(0.5 * _smooth_noise(shape, (1, 2, 2), rng)))


def draw_mixed(shape: Shape, rng: Generator) -> Volume:
    """Filaments, spots and nuclei together."""
    return draw_filaments(shape, rng) + draw_spots(shape, rng) + draw_nuclei(shape, rng)


def draw_bars(shape: Shape, rng: Generator) -> Volume:
    """Hollow bars of several widths along x."""
    volume = np.zeros(shape, np.float32)
    z, y, x = shape
    planes = slice(z // 3, max(z - z // 3, z // 3 + 1))
    for row in range(y // 8, y - y // 8, max(6, y // 9)):
        width = int(rng.integers(3, 6))
        volume[planes, row : row + width, x // 6 : x - x // 6] = 1
        volume[planes, row + 1 : row + width - 1, x // 6 + 1 : x - x // 6 - 1] = 0
    return volume


KINDS: dict[str, Callable[[Shape, Generator], Volume]] = {
    "filaments": draw_filaments,
    "spots": draw_spots,
    "beads": draw_beads,
    "nuclei": draw_nuclei,
    "shells": draw_shells,
    "tissue": draw_tissue,
    "filled": draw_filled,
    "mixed": draw_mixed,
    "bars": draw_bars,
}


def _radius(shape: Shape, rng: Generator) -> Volume:
    """Distance from a random centre, one on the surface of a random ellipsoid."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    centre = rng.uniform(0.1, 0.9, 3) * shape
    size = rng.uniform((0.15 * shape[0] + 1, 12, 12), (0.3 * shape[0] + 1, 30, 30))
    squared = ((z - centre[0]) / size[0]) ** 2 + ((y - centre[1]) / size[1]) ** 2 + ((x - centre[2]) / size[2]) ** 2
    radius: Volume = np.sqrt(squared).astype(np.float32)
    return radius


def _smooth_noise(shape: Shape, sigma: tuple[float, float, float], rng: Generator) -> Volume:
    from scipy.ndimage import gaussian_filter

    noise: Volume = gaussian_filter(
        rng.standard_normal(shape, dtype=np.float32), [s if n > 1 else 0 for s, n in zip(sigma, shape, strict=True)]
    )
    return np.asarray(noise / noise.std())


def _softened(volume: Volume) -> Volume:
    from scipy.ndimage import gaussian_filter

    soft: Volume = gaussian_filter(volume.astype(np.float32), (0.3 if volume.shape[0] > 1 else 0, 0.6, 0.6))
    return soft
