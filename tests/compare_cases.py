"""Cases whose answers are known: results made of the truth itself."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from microdeconv.camera import Camera
from microdeconv.compare.case import Case, Entry
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

EYE = Camera(100.0, 2.0)
BACKGROUND = 100 + 2 * 20.0
SIGMA = (1.2, 1.5, 1.5)


def truth_case(shape=(16, 96, 96), kind="tissue", photons=300.0, seed=1, **details) -> Case:
    """The truth and the truth softened, each as a result, with halves that have noise of their own."""
    psf = Psf(gaussian_psf(tuple(s if n > 1 else 0 for s, n in zip(SIGMA, shape, strict=True))), None, None, "Gaussian")
    scene = simulate(kind, shape, psf.pixels, Exposure(photons, 20, 100, 2.0, 0.0), seed)
    rng = np.random.default_rng(seed)
    level = 0.2 * float(scene.truth.std())
    entries = []
    for name, sigma in (("true", 0.0), ("soft", 1.5)):
        image = 2 * gaussian_filter(scene.truth, [sigma if n > 1 else 0 for n in shape])
        noise = [(2 * level * rng.standard_normal(shape)).astype(np.float32) for _ in range(2)]
        entries.append(Entry(name, image, psf, (image + noise[0], image + noise[1])))
    known = {"truth": scene.truth, "voxel_um": Zyx(0.2, 0.1, 0.1), "psf": psf}
    return Case(kind, scene.counts, BACKGROUND, EYE, tuple(entries), **{**known, **details})
