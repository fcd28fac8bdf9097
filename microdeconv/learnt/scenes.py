"""Objects for the training, and others that are kept for the test; drawn on grids (z, y, x) of any size, quickly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Volume = NDArray[np.float32]
Shape = tuple[int, int, int]


def draw(kinds: tuple[str, ...], shape: Shape, rng: Generator) -> Volume:
    """Draw the sum of several kinds of structure, one up to five times as bright as another, peaks about one."""
    total = np.zeros(shape, np.float32)
    for kind in kinds:
        drawn = ALL[kind](shape, rng)
        bright = float(np.quantile(drawn[:: max(shape[0] // 8, 1), ::2, ::2], 0.995)) or float(drawn.max())
        total += drawn * np.float32(rng.uniform(0.2, 1) / max(bright, 1e-6))
    return total


def filaments(shape: Shape, rng: Generator) -> Volume:
    """Curved lines, some in bundles, some crossing."""
    volume = np.zeros(shape, np.float32)
    number = max(3, int(shape[1] * shape[2] * rng.uniform(0.3, 3) // 5000))
    bend = rng.uniform(0.01, 0.12)
    bundles = rng.integers(1, 4)
    for _ in range(number):
        length = int(rng.uniform(0.3, 2) * shape[2])
        path = _walk(length, bend, shape, rng)
        for _ in range(bundles):
            offset = rng.normal(0, 2.0, 3) * (shape[0] > 1, 1, 1)
            _splat(volume, path + offset, rng.lognormal(0, 0.4))
    return _soft(volume, rng.uniform(0.6, 1.6))


def spots(shape: Shape, rng: Generator) -> Volume:
    """Vesicles: small round spots of log-normal brightness."""
    volume = np.zeros(shape, np.float32)
    planes = max(1.0, shape[0] / 6)
    number = max(3, int(shape[1] * shape[2] * planes * 10 ** rng.uniform(-3.8, -2.3)))
    _splat(volume, rng.uniform(0, 1, (number, 3)) * (np.array(shape) - 1), rng.lognormal(0, 0.7, number))
    return _soft(volume, rng.uniform(0.8, 2.6))


def clusters(shape: Shape, rng: Generator) -> Volume:
    """Spots close together, in groups."""
    volume = np.zeros(shape, np.float32)
    groups = int(rng.integers(2, 12))
    for _ in range(groups):
        number, spread = int(rng.integers(3, 60)), rng.uniform(3, 20)
        centre = rng.uniform(0, 1, 3) * shape
        places = centre + rng.normal(0, spread, (number, 3)) * (0.3 * (shape[0] > 1), 1, 1)
        _splat(volume, places, rng.lognormal(0, 0.5, number))
    return _soft(volume, rng.uniform(0.8, 2.0))


def nuclei(shape: Shape, rng: Generator) -> Volume:
    """Filled ellipsoids with texture and darker holes."""
    volume = np.zeros(shape, np.float32)
    texture = smooth_noise(shape, rng.uniform(2, 8), rng)
    depth = rng.uniform(0, 0.5)
    for _ in range(int(rng.integers(1, 7))):
        box, radius = _ellipsoid(shape, rng, rng.uniform(10, 60))
        inside = np.clip((1 - radius) * rng.uniform(5, 30), 0, 1) * (1 + depth * texture[box])
        for _ in range(int(rng.integers(0, 4))):
            hole, within = _ellipsoid(inside.shape, rng, rng.uniform(3, 10))
            inside[hole] *= 1 - rng.uniform(0.3, 1) * np.clip((1 - within) * 5, 0, 1)
        volume[box] = np.maximum(volume[box], np.clip(inside, 0, None) * rng.lognormal(0, 0.3))
    return _soft(volume, 0.7)


def shells(shape: Shape, rng: Generator) -> Volume:
    """Hollow ellipsoids: membranes, rings."""
    volume = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(2, 14))):
        size = np.exp(rng.uniform(np.log(5), np.log(50)))
        box, radius = _ellipsoid(shape, rng, size)
        volume[box] += np.exp(-0.5 * ((radius - 1) * size / rng.uniform(0.7, 2)) ** 2) * rng.lognormal(0, 0.4)
    return volume


def network(shape: Shape, rng: Generator) -> Volume:
    """Tubes and curved sheets: where a smooth random field is near a level."""
    field = smooth_noise(shape, rng.uniform(5, 16), rng)
    width = rng.uniform(0.06, 0.2)
    volume = np.exp(-0.5 * ((field - rng.uniform(-0.5, 0.5)) / width) ** 2)
    if rng.random() < 0.5:  # where two such sheets meet, or only some of it
        volume *= np.clip(smooth_noise(shape, rng.uniform(8, 25), rng), 0, None)
    return np.asarray(volume, np.float32)


def texture(shape: Shape, rng: Generator) -> Volume:
    """Structure at all scales that fills the field, with dark places."""
    total = sum(
        (smooth_noise(shape, s, rng) * w for s, w in zip((1.5, 4, 12), rng.uniform(0.1, 1, 3), strict=True)),
        start=np.zeros(shape, np.float32),
    )
    lit = smooth_noise(shape, rng.uniform(10, 30), rng) > rng.uniform(-1.5, 0.5)
    return np.asarray(np.exp(rng.uniform(0.4, 1.2) * total) * lit, np.float32)


def leaves(shape: Shape, rng: Generator) -> Volume:
    """Flat discs and polygons that hide one another."""
    volume = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(5, 40))):
        box, radius = _ellipsoid(shape, rng, np.exp(rng.uniform(np.log(4), np.log(40))), round_=rng.random() < 0.5)
        volume[box] = np.where(radius < 1, rng.uniform(0, 1), volume[box])
    return _soft(volume, 0.6)


def haze(shape: Shape, rng: Generator) -> Volume:
    """Smooth light everywhere."""
    lit = smooth_noise(shape, rng.uniform(20, 60), rng) + np.float32(rng.uniform(0, 2))
    return np.asarray(np.clip(lit, 0, None), np.float32)


def honeycomb(shape: Shape, rng: Generator) -> Volume:
    """Membranes between neighbouring cells (Voronoi)."""
    from scipy.spatial import cKDTree

    number = max(6, int(shape[1] * shape[2] * rng.uniform(0.5, 2) // 900))
    stretch = np.array([2.0, 1, 1])
    seeds = rng.uniform(-0.1, 1.1, (number, 3)) * shape * stretch * (shape[0] > 1, 1, 1)
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"), -1)
    near, _ = cKDTree(seeds).query((grid * stretch).reshape(-1, 3), k=2)
    gap = np.diff(np.asarray(near), axis=1).reshape(shape)
    return np.asarray(np.exp(-0.5 * (gap / rng.uniform(1.2, 2.4)) ** 2), np.float32)


def gratings(shape: Shape, rng: Generator) -> Volume:
    """Line gratings of several periods, or a Siemens star."""
    y, x = np.mgrid[: shape[1], : shape[2]].astype(np.float32)
    if rng.random() < 0.5:
        cy, cx = rng.uniform(0.3, 0.7, 2) * shape[1:]
        plane = np.sin(rng.integers(8, 24) * np.arctan2(y - cy, x - cx)) > 0
    else:
        angle = rng.uniform(0, np.pi)
        along = y * np.sin(angle) + x * np.cos(angle)
        block = (np.floor((y * np.cos(angle) - x * np.sin(angle)) / 40)).astype(int)
        plane = (along % rng.uniform(6, 22, 64)[block % 64]) / 6 < 0.5
    planes = np.ones(shape[0]) if shape[0] < 5 else np.abs(np.arange(shape[0]) - shape[0] / 2) < shape[0] / 4
    return _soft((planes[:, None, None] * plane).astype(np.float32), 0.7)


def trees(shape: Shape, rng: Generator) -> Volume:
    """Branching neurites that grow thinner, with a soma."""
    volume = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        root = rng.uniform(0.2, 0.8, 3) * shape
        box, radius = _ellipsoid(shape, rng, rng.uniform(6, 14), centre=root)
        volume[box] += 3 * np.clip((1 - radius) * 5, 0, 1)
        tips = [(root, rng.uniform(0, 2 * np.pi), 1.0) for _ in range(int(rng.integers(3, 6)))]
        while tips:
            place, angle, bright = tips.pop()
            steps = int(rng.integers(20, 80))
            angles = angle + np.cumsum(rng.normal(0, 0.08, steps))
            rise = rng.normal(0, 0.1 * (shape[0] > 1), steps)
            path = place + np.cumsum(np.stack([rise, np.sin(angles), np.cos(angles)], 1), axis=0)
            _splat(volume, path, bright)
            inside = 0 < path[-1, 1] < shape[1] and 0 < path[-1, 2] < shape[2]
            if inside and bright > 0.3:
                tips += [(path[-1], angles[-1] + turn, bright * 0.75) for turn in (0.5, -0.5)]
    return _soft(volume, 1.0)


def photographs(shape: Shape, rng: Generator) -> Volume:
    """Pieces of everyday photographs: nothing like fluorescence."""
    from scipy.ndimage import zoom

    picture = _photograph(int(rng.integers(0, len(PHOTOGRAPHS))))
    factor = max(1.0, *(n / m for n, m in zip(shape[1:], picture.shape, strict=True))) * rng.uniform(1, 1.3)
    larger = zoom(picture, factor, order=1)
    y, x = (int(rng.integers(0, m - n + 1)) for n, m in zip(shape[1:], larger.shape, strict=True))
    plane = larger[y : y + shape[1], x : x + shape[2]]
    return np.repeat(plane[None].astype(np.float32), shape[0], axis=0)


PHOTOGRAPHS = ("camera", "coins", "page", "text", "moon", "brick", "grass", "gravel")
TRAINING: dict[str, Callable[[Shape, Generator], Volume]] = {
    one.__name__: one for one in (filaments, spots, clusters, nuclei, shells, network, texture, leaves, haze)
}
UNSEEN: dict[str, Callable[[Shape, Generator], Volume]] = {
    one.__name__: one for one in (honeycomb, gratings, trees)
}  # fmt: skip
ALL = {**TRAINING, **UNSEEN, "photographs": photographs}


@cache
def _photograph(number: int) -> NDArray[np.float32]:
    from skimage import data

    picture = np.asarray(getattr(data, PHOTOGRAPHS[number])(), np.float32)
    return np.asarray(picture / picture.max(), np.float32)


def smooth_noise(shape: Shape, sigma: float, rng: Generator) -> Volume:
    """A random field of unit variance, smooth over about `sigma` voxels (half of that along z)."""
    from scipy.ndimage import gaussian_filter, zoom

    coarse = max(1.0, sigma / 2)
    sizes = [n if n == 1 else max(4, int(np.ceil(n / (coarse if axis else max(1.0, coarse / 2)))) + 1)
             for axis, n in enumerate(shape)]  # fmt: skip
    noise = rng.standard_normal(sizes, dtype=np.float32)
    noise = gaussian_filter(noise, [0 if n == 1 else sigma / coarse for n in sizes], truncate=3)
    field = zoom(noise, [n / m for n, m in zip(shape, sizes, strict=True)], order=1)
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def _walk(length: int, bend: float, shape: Shape, rng: Generator) -> NDArray[np.float64]:
    """A persistent random walk, steps of one voxel in the plane."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, length))
    rise = (rng.normal(0, 0.15) + np.cumsum(rng.normal(0, 0.01, length))) * (shape[0] > 1)
    steps = np.stack([rise, np.sin(angle), np.cos(angle)], 1)
    return np.asarray(rng.uniform(-0.2, 1.2, 3) * shape + np.cumsum(steps, axis=0))


def _splat(volume: Volume, places: NDArray[np.float64], light: float | NDArray[np.float64]) -> None:
    """Add light at places between voxels, shared out to the nearest four of a plane."""
    places = places * (volume.shape[0] > 1, 1, 1)
    low = np.floor(places[:, 1:]).astype(int)
    part = places[:, 1:] - low
    z = np.rint(places[:, 0]).astype(int)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1]) * light
            at = np.stack([z, low[:, 0] + dy, low[:, 1] + dx], 1)
            inside = np.all((at >= 0) & (at < volume.shape), axis=1)
            np.add.at(volume, tuple(at[inside].T), weight[inside].astype(np.float32))


def _ellipsoid(
    shape: Shape, rng: Generator, size: float, centre: NDArray[np.float64] | None = None, *, round_: bool = True
) -> tuple[tuple[slice, ...], Volume]:
    """A box, and the distance from a centre in it: one on the surface of a turned ellipsoid (or a box)."""
    middle = rng.uniform(0, 1, 3) * shape if centre is None else centre
    half = size * rng.uniform(0.6, 1.5, 3) * (0.5, 1, 1)
    reach = 1.6 * max(half[1], half[2]) + 3
    spans = (half[0] * 1.6 + 3, reach, reach)
    box = tuple(
        slice(max(0, min(n - 1, int(c - s))), max(1, min(n, int(c + s) + 1)))
        for n, c, s in zip(shape, middle, spans, strict=True)
    )
    grid = np.ogrid[box]
    z, y, x = (g - c for g, c in zip(grid, middle, strict=True))
    angle = rng.uniform(0, np.pi)
    u, v = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    z = z if shape[0] > 1 else 0 * z
    if round_:
        radius = np.sqrt((z / half[0]) ** 2 + (u / half[1]) ** 2 + (v / half[2]) ** 2)
    else:
        radius = np.maximum(np.maximum(np.abs(u / half[1]), np.abs(v / half[2])), np.abs(z / half[0]))
    return box, radius.astype(np.float32)


def _soft(volume: Volume, sigma: float) -> Volume:
    from scipy.ndimage import gaussian_filter

    soft: Volume = gaussian_filter(volume, (sigma / 3 if volume.shape[0] > 1 else 0, sigma, sigma), truncate=3)
    return soft
