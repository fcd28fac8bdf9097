"""Fields of beads with a known PSF, for tests and measurements."""

import numpy as np
from scipy.fft import irfftn, rfftn

from microdeconv.psf.bead_size import sphere_transfer

RIM = 8  # voxels round the PSF, so that a shift does not wrap


def bead_field(psf, voxel_um, field, photons, *, number=30, apart=26, bead_um=0.0, background=10.0, seed=1):
    """Counts (uint16, gain 1, offset 100, read noise 1.5) of beads at random places between the voxels, and the places.

    The PSF (z, y, x), odd sizes, is moved by Fourier phases, which keep all of it. The beads' peaks vary by a fifth
    about `photons`; they lie within 1.5 voxels of the middle plane and `apart` voxels from the sides, twice that from
    each other.
    """
    rng = np.random.default_rng(seed)
    flat = field[0] == 1
    box = np.pad(psf.astype(float), [(0 if n == 1 else RIM,) * 2 for n in psf.shape])
    spectrum = rfftn(box) * (sphere_transfer(bead_um, voxel_um, box.shape) if bead_um else 1)
    peak = irfftn(spectrum, box.shape).max()
    waves = np.fft.fftfreq(box.shape[0]), np.fft.fftfreq(box.shape[1]), np.fft.rfftfreq(box.shape[2])
    wide = np.zeros([n + 2 * b for n, b in zip(field, box.shape, strict=True)])
    places = []
    for _ in range(20_000):
        at = [
            0.0 if flat else field[0] / 2 + rng.uniform(-1.5, 1.5),
            *(rng.uniform(apart, n - apart) for n in field[1:]),
        ]
        if len(places) < number and all(np.hypot(*(np.array(at) - q)[1:]) > 2 * apart for q in places):
            places.append(np.array(at))
    for at in places:
        whole = np.floor(at).astype(int)
        turns = sum(np.ix_(*waves)[a] * (at - whole)[a] for a in range(3))
        bead = irfftn(spectrum * np.exp(-2j * np.pi * turns), box.shape) * photons / peak * rng.uniform(0.8, 1.25)
        wide[tuple(slice(w + b - b // 2, w + 2 * b - b // 2) for w, b in zip(whole, box.shape, strict=True))] += bead
    light = np.clip(wide[tuple(slice(b, b + n) for n, b in zip(field, box.shape, strict=True))], 0, None) + background
    counts = rng.poisson(light) + rng.normal(0, 1.5, light.shape) + 100
    return counts.round().clip(0, 65535).astype(np.uint16), np.array(places)


def likeness(one, other):
    """Correlation of two PSFs, both centred, where both have voxels."""
    sizes = [min(pair) for pair in zip(one.shape, other.shape, strict=True)]
    cut = [
        p[tuple(slice(n // 2 - s // 2, n // 2 + s // 2 + 1) for n, s in zip(p.shape, sizes, strict=True))]
        for p in (one, other)
    ]
    return float(np.corrcoef(cut[0].ravel(), cut[1].ravel())[0, 1])
