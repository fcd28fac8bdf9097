"""Background, gain, offset and thinning against scenes whose truth is known."""

import numpy as np
import pytest
import torch

from microdeconv.camera import Camera, thin
from microdeconv.noise import estimate_background, estimate_camera, noise_colour
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.simulate import KINDS, Exposure, gaussian_psf, simulate
from microdeconv.stack import Zyx

CONFOCAL, FLAT = gaussian_psf((2, 1.5, 1.5)), gaussian_psf((0, 2, 2))
BRIGHT, DIM, HIGH, LOW = (
    Exposure(200, 20, 100), Exposure(20, 5, 100), Exposure(1000, 300, 200, 2.0), Exposure(50, 2, 0, 1.0, 0.5),
)  # fmt: skip


@pytest.fixture(scope="module")
def widefield():
    optics = Optics(na=1.4, emission_nm=520, ri_immersion=1.515)
    return compute_psf(optics, Zyx(0.3, 0.1, 0.1), (63, 61, 61), "scalar").pixels


def within(value, true):
    return abs(value - true) <= max(1.0, 0.05 * true)


@pytest.mark.parametrize("exposure", [BRIGHT, DIM, HIGH, LOW], ids=["bright", "dim", "high", "low"])
@pytest.mark.parametrize("kind", ["filaments", "spots", "nuclei", "shells", "tissue", "mixed", "bars"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_background_is_right_within_5_percent(kind, exposure, dimensions):
    """Fifty-six scenes where some dark place shows: sparse, dense and dim; 2-D and 3-D."""
    psf, field = (CONFOCAL, (32, 96, 96)) if dimensions == 3 else (FLAT, (1, 256, 256))
    for seed in (5, 6):
        estimate = estimate_background(simulate(kind, field, psf, exposure, seed).counts)
        assert within(estimate.value, exposure.offset + exposure.gain * exposure.background), estimate


@pytest.mark.parametrize("exposure", [BRIGHT, DIM, HIGH], ids=["bright", "dim", "high"])
@pytest.mark.parametrize("kind", ["nuclei", "shells", "mixed"])
def test_background_under_wide_field_haze(kind, exposure, widefield):
    estimate = estimate_background(simulate(kind, (32, 128, 128), widefield, exposure, 5).counts)
    assert within(estimate.value, exposure.offset + exposure.gain * exposure.background), estimate


@pytest.mark.parametrize("exposure", [BRIGHT, HIGH], ids=["bright", "high"])
@pytest.mark.parametrize("shape", ["wide-field", "confocal", "2-D"])
def test_where_the_object_fills_the_field_it_errs_low_and_says_so(shape, exposure, widefield):
    """In dimmer wide-field light an even haze cannot be told from a background: the noise hides its structure."""
    psf, field = {
        "wide-field": (widefield, (32, 128, 128)), "confocal": (CONFOCAL, (32, 96, 96)), "2-D": (FLAT, (1, 256, 256)),
    }[shape]  # fmt: skip
    estimate = estimate_background(simulate("filled", field, psf, exposure, 5).counts)
    assert not estimate.sure
    assert estimate.value <= 1.05 * (exposure.offset + exposure.gain * exposure.background) + 1


def test_filled_boxes_do_not_count():
    """A deskewed stack has a constant where nothing was seen."""
    counts = simulate("nuclei", (24, 96, 96), CONFOCAL, BRIGHT, 3).counts
    counts[:, :30] = 0
    assert within(estimate_background(counts).value, 120)


@pytest.mark.parametrize("gain", [0.4, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("kind", ["nuclei", "tissue", "mixed"])
def test_gain_and_offset_from_the_noise(kind, gain):
    exposure = Exposure(300, 20, 100, gain)
    estimate = estimate_camera(simulate(kind, (32, 96, 96), CONFOCAL, exposure, 2).counts)
    assert estimate.sure
    assert estimate.camera.gain == pytest.approx(gain, rel=0.15)
    effective = 100 - gain * 1.5**2  # read noise counts as a part of the offset
    assert estimate.camera.offset == pytest.approx(effective, abs=0.1 * 320 * gain)


def test_an_image_without_noise_gives_no_absurd_gain():
    smooth = np.exp(-(np.linspace(-3, 3, 80) ** 2))[None, :, None] * np.ones((1, 80, 80))
    estimate = estimate_camera((1000 * smooth).astype(np.float32))
    assert 0 < estimate.camera.gain < 1000
    assert np.isfinite(estimate.camera.offset)


@pytest.mark.parametrize("value", [0, 7])
def test_constant_and_tiny_stacks(value):
    for shape in ((4, 40, 40), (1, 3, 3), (1, 1, 1)):
        volume = np.full(shape, value, np.uint8)
        assert estimate_background(volume).value == value
        assert estimate_camera(volume).camera.gain > 0


def test_light_and_back():
    camera = Camera(100, 2)
    assert camera.to_light(np.array([100.0, 104.0])).tolist() == [0, 2]


def test_thinning_shares_counts_out_independently():
    generator = torch.Generator().manual_seed(3)
    light = torch.poisson(torch.full((200_000,), 20.0), generator=generator)
    first, second = thin(light, 0.8, generator)
    assert torch.equal(first + second, light)
    assert float(first.mean()) == pytest.approx(16, rel=0.01)
    assert float(first.var()) == pytest.approx(16, rel=0.02)
    assert float(second.var()) == pytest.approx(4, rel=0.02)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.01


def test_thinning_rounds_fractions_fairly():
    generator = torch.Generator().manual_seed(3)
    first, second = thin(torch.tensor([0.25, -3.0]).repeat(50_000, 1), 0.5, generator)
    total = (first + second).mean(0)
    assert float(total[0]) == pytest.approx(0.25, abs=0.01)
    assert float(total[1]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_what_they_say(kind):
    exposure = Exposure(200, 20, 100, 2.0)
    scene = simulate(kind, (12, 60, 50), CONFOCAL, exposure, 1)
    again = simulate(kind, (12, 60, 50), CONFOCAL, exposure, 1)
    assert scene.counts.shape == scene.truth.shape == (12, 60, 50)
    assert scene.truth.min() >= 0
    np.testing.assert_array_equal(scene.counts, again.counts)
    light = (scene.counts.astype(float) - 100) / 2 - 20
    assert np.quantile(light, 0.999) == pytest.approx(200, rel=0.25)


def test_noise_that_neighbours_share_is_told_from_structure():
    """Smoothed noise holds fewer independent photo-electrons; structure at all scales does not pass for it."""
    from scipy.ndimage import gaussian_filter

    scene = simulate("nuclei", (1, 256, 256), FLAT, Exposure(300, 20, 100), 2)
    smooth = gaussian_filter(scene.counts.astype(np.float32), (0, 1, 1))
    assert noise_colour(smooth) > 5
    assert estimate_camera(smooth).camera.gain == pytest.approx(1, rel=0.5)
    for kind in KINDS:
        counts = simulate(kind, (1, 256, 256), FLAT, Exposure(1000, 100, 100), 3).counts
        assert noise_colour(counts) == 1, kind


def test_blank_planes_do_not_count():
    counts = simulate("nuclei", (24, 96, 96), CONFOCAL, BRIGHT, 3).counts
    counts[0] = 0
    assert within(estimate_background(counts).value, 120)


def test_a_small_stack_has_a_plausible_gain():
    counts = np.random.default_rng(0).poisson(100, (10, 32, 32)).astype(np.uint16)
    estimate = estimate_camera(counts)
    assert not estimate.sure
    assert estimate.camera.gain == pytest.approx(1, rel=0.2)
