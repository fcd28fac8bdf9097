"""Pupil integrals against other software and against themselves at finer steps."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile

from microdeconv.psf import pupil
from microdeconv.psf.pupil import Layers, Pupil

REFERENCES = Path(__file__).resolve().parents[2] / "../shared/data/reference-psfs"
HEIGHTS = np.arange(-10, 11) * 0.3


@pytest.mark.parametrize(
    ("name", "planes", "pixels", "bound"),
    [  # measured 2.6e-6 and 1.5e-8; the first file has float32 values
        ("psfgenerator_gibson_lanni_16x16x8.tif", 8, 16, 3e-5),
        ("sdeconv_gibson_lanni_128x128x18.tif", 18, 128, 2e-7),
    ],
)
def test_equals_psfgenerator_and_sdeconv(name: str, planes: int, pixels: int, bound: float) -> None:
    """Both leave out evanescent waves (NA 1.33 of 1.4) and interpolate linearly between radii half a pixel apart."""
    if not (REFERENCES / name).exists():
        pytest.skip("the shared reference PSFs are not here")
    reference = tifffile.imread(REFERENCES / name).astype(float)
    y = np.arange(pixels) - (pixels - 1) / 2
    radius = np.hypot(y[:, None], y[None, :]) * 0.1
    samples = np.arange(0, radius.max() + 0.1, 0.05)
    heights = (np.arange(planes) - (planes - 1) / 2) * 0.25
    layers = Layers(1.33, 1.5, ri_glass=1.5, ri_glass_design=1.5)
    profile = Pupil(1.33, 0.61, layers, vectorial=False).intensity(samples, heights)
    ours = np.stack([np.interp(radius, samples, profile[:, z]) for z in range(planes)])
    assert np.abs(ours / ours.max() - reference / reference.max()).max() < bound


@pytest.mark.parametrize("vectorial", [False, True])
@pytest.mark.parametrize("layers", [Layers(1.515, 1.515), Layers(1.33, 1.515, 3.0), Layers(1.45, 1.515, 40.0)])
def test_the_integral_has_converged(monkeypatch: pytest.MonkeyPatch, layers: Layers, vectorial: bool) -> None:
    """Critical angles and deep samples included; measured 2e-9 of the maximum."""
    light = Pupil(1.4, 0.52, layers, vectorial)
    radii = np.linspace(0, 5, 40)
    usual = light.intensity(radii, HEIGHTS)
    monkeypatch.setattr(pupil, "CYCLES", 1)
    assert np.abs(light.intensity(radii, HEIGHTS) - usual).max() < 2e-8 * usual.max()


def test_the_airy_pattern_at_low_aperture() -> None:
    """Scalar, in focus, NA 0.1: (2 J1(v) / v)², zero at 0.61 λ / NA."""
    light = Pupil(0.1, 0.5, Layers(1.0, 1.0), vectorial=False)
    radii = np.array([0.0, 0.61 * 0.5 / 0.1])
    centre, ring = light.intensity(radii, np.zeros(1))[:, 0]
    assert ring < 1e-5 * centre
    assert centre == pytest.approx((math.sin(math.asin(0.1)) ** 2 / 2) ** 2, rel=1e-9)


def test_both_theories_agree_at_low_aperture() -> None:
    radii = np.linspace(0, 8, 50)
    lights = (Pupil(0.1, 0.5, Layers(1.0, 1.0), vectorial) for vectorial in (False, True))
    scalar, vectorial = (light.intensity(radii, np.zeros(1))[:, 0] for light in lights)
    assert np.abs(scalar / scalar[0] - vectorial / vectorial[0]).max() < 5e-3


def test_equal_media_need_no_depth_and_unequal_ones_do() -> None:
    radii = np.linspace(0, 2, 10)
    same = [Pupil(1.2, 0.52, Layers(1.333, 1.333, d)).intensity(radii, HEIGHTS) for d in (0.0, 50.0)]
    np.testing.assert_allclose(same[0], same[1], rtol=1e-9, atol=1e-9 * same[0].max())
    unlike = [Pupil(1.2, 0.52, Layers(1.38, 1.333, d)).intensity(radii, HEIGHTS) for d in (0.0, 50.0)]
    assert unlike[1].max() < 0.5 * unlike[0].max()


def test_a_wrong_coverslip_aberrates() -> None:
    right = Pupil(0.95, 0.52, Layers(1.333, 1.0)).intensity(np.zeros(1), HEIGHTS)
    thick = Pupil(0.95, 0.52, Layers(1.333, 1.0, glass_um=190))
    spoilt = thick.intensity(np.zeros(1), thick.focus_um() + HEIGHTS)
    assert 0.05 * right.max() < spoilt.max() < 0.5 * right.max()


@pytest.mark.parametrize("index", [1.33, 1.45, 1.6])
@pytest.mark.parametrize("depth", [0.0, 1.0, 10.0, 60.0])
def test_the_focus_is_the_brightest_height(index: float, depth: float) -> None:
    light = Pupil(1.3, 0.52, Layers(index, 1.515, depth))
    focus = light.focus_um()
    wide = np.linspace(-depth - 5, depth + 5, 4001)
    on_axis = light.intensity(np.zeros(1), wide)[0]
    at_focus = light.intensity(np.zeros(1), np.array([focus]))[0, 0]
    assert at_focus > (1 - 1e-3) * on_axis.max()


@pytest.mark.parametrize("na", [1.4, 1.45, 1.49])
def test_light_beyond_the_samples_index_does_not_move_the_focus_at_the_coverslip(na: float) -> None:
    assert Pupil(na, 0.52, Layers(1.33, 1.515)).focus_um() == 0.0


def test_a_very_deep_focus_is_found_in_seconds() -> None:
    light = Pupil(1.0, 0.9, Layers(1.36, 1.333, 1000.0))
    assert light.intensity(np.zeros(1), np.array([light.focus_um()]))[0, 0] > 0
    assert light.focus_um() != 0.0
