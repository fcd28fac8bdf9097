"""Figures of results where no truth is known, from the image itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from microdeconv.compare.decorrelation import decorrelation_resolution
from microdeconv.compare.parts import Parted, figure, moments, of_quarters, parted, pearson, spreads
from microdeconv.compare.view import View
from microdeconv.learnt.guard import outside_support

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.case import Entry, Figure

    Image = NDArray[np.float32]

SMOOTHED = 2.0  # voxels, standard deviation of the surroundings over which the map of chi-square is a mean


def blind_figures(view: View) -> list[Figure | None]:
    """All figures that need neither a truth nor halves."""
    entries = view.case.entries
    models = {e.name: view.predicted(e) for e in entries}
    light = view.light[view.inner]
    seen = {name: model[view.inner] for name, model in models.items() if model is not None}
    terms = {name: _centred(light, model) for name, model in seen.items()}
    gain = view.case.camera.gain
    finest, unit = _resolution(view)
    return [
        figure(
            "chi_square", "chi-square",
            "mean squared residual over the noise's variance; one where PSF, background and gain fit, less where noise "
            "is fitted", "near one", "",
            ((n, parted(lambda c, voxels: c / voxels, np.square(light - m) / m)) for n, m in seen.items()),
        ),
        figure(
            "flux", "flux",
            "light of the result over that of the image less its background; light from outside and noise made "
            "positive move it from one", "near one", "", ((e.name, _flux(view, e)) for e in entries),
        ),
        figure(
            "balance", "light foretold",
            "light of the blurred result with the background over the image's, away from its border", "near one", "",
            ((n, parted(lambda m, y, _: m / y if y > 0 else math.nan, m, light)) for n, m in seen.items()),
        ),
        figure(
            "rse", "re-blur error (RSE)", "root mean squared difference of the image and the blurred result brought to "
            "its scale and offset", "lower", "counts",
            ((n, parted(lambda *s: gain * _rse(*s), *m)) for n, m in terms.items()),
        ),
        figure(
            "rsp", "re-blur correlation (RSP)", "correlation of the image and the blurred result; one at best",
            "higher", "", ((n, parted(pearson, *m)) for n, m in terms.items()),
        ),
        figure(
            "decorrelation", "decorrelation resolution", "shortest lateral period of one plane above its noise; "
            "what a method invents counts as well; absent where nothing limits it", "lower", unit,
            ((e.name, of_quarters(finest, e.image[view.box], least=96)) for e in entries),
        ),
        figure(
            "sharpness", "sharpness", "energy of the gradient over that of the result; noise is sharp as well", "", "",
            ((e.name, _sharpness(e.image[view.box][view.inner])) for e in entries),
        ),
        figure(
            "outside_otf", "beyond the OTF", "share of the result's energy at frequencies that the PSF does not pass: "
            "inferred, not measured; noise and ringing as well as true detail of bright small things", "", "",
            ((e.name, _outside(view, e)) for e in entries),
        ),
    ]  # fmt: skip


def chi_square_map(view: View, entry: Entry) -> Image | None:
    """Chi-square of the surroundings of each voxel, its largest along z, float32 (y, x) of the view's box."""
    from scipy.ndimage import gaussian_filter

    model = view.predicted(entry)
    if model is None:
        return None
    sigma = [SMOOTHED if n > 1 else 0 for n in model.shape]
    return np.asarray(gaussian_filter(np.square(view.light - model) / model, sigma).max(axis=0), np.float32)


def _flux(view: View, entry: Entry) -> Parted:
    """Of the whole volume: light is moved within it."""
    raw = view.case.raw.astype(np.float32) - np.float32(view.case.background)
    return parted(lambda result, light, _: result / light if light > 0 else math.nan, entry.image, raw)


def _centred(light: Image, model: Image) -> tuple[NDArray[np.float64], ...]:
    return moments(light - light.mean(dtype=np.float64), model - model.mean(dtype=np.float64))


def _rse(*sums: float) -> float:
    """Root mean squared residual of image = α · model + β (S. Culley et al., Nat. Methods 15, 263 (2018))."""
    yy, mm, ym = spreads(*sums)
    return math.sqrt(max(yy - (ym * ym / mm if mm > 0 else 0.0), 0.0) / sums[-1])


def _resolution(view: View) -> tuple[Callable[[NDArray[np.generic]], float], str]:
    """What finds the resolution of the plane with most contrast, and its unit."""
    plane = int(np.argmax(view.light.var(axis=(1, 2))))
    voxel = view.case.voxel_um
    scale = 1.0 if voxel is None else 1000 * voxel.x

    def finest(image: NDArray[np.generic]) -> float:
        return scale * decorrelation_resolution(image[plane])

    return finest, "pixels" if voxel is None else "nm"


def _sharpness(image: Image) -> Parted:
    slopes = [np.gradient(image.astype(np.float64), axis=a) for a, n in enumerate(image.shape) if n > 1]
    energy = np.square(image, dtype=np.float64)
    steep = np.sum([np.square(slope) for slope in slopes], axis=0) if slopes else np.zeros_like(energy)
    return parted(lambda g, e, _: g / e if e > 0 else math.nan, steep, energy)


def _outside(view: View, entry: Entry) -> Parted | None:
    psf = view.psf_of(entry)
    if psf is None:
        return None
    return of_quarters(lambda image: outside_support(np.asarray(image, np.float32), psf), entry.image[view.box])
