"""Estimated PSFs: what the image can tell is found, what it cannot is left alone."""

import numpy as np
import pytest
import torch

from microdeconv.camera import Camera
from microdeconv.learnt.foretelling import foretold_by_network
from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.blind import estimate_free
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.estimate import centred_psf, enough_for, estimate_psf, mean_psf
from microdeconv.psf.fit import split_counts
from microdeconv.psf.from_counts import light_of_counts, split_for, telling_box
from microdeconv.psf.spectrum import SpectralEvidence
from microdeconv.psf.widths import fwhm
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

CONFOCAL = Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="confocal", pinhole_au=1, excitation_nm=488)
VOXEL, SHAPE = Zyx(0.25, 0.1, 0.1), (15, 21, 21)
FLAT = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)


def model_of(optics=CONFOCAL, shape=SHAPE):
    return AberratedModel(completed(optics)[0], VOXEL, shape)


def true_psf(model, **values):
    return centred_psf(model, np.array([float(values.get(name, 0.0)) for name in model.terms]))


def seen(kind, psf, photons, field=(12, 56, 56), seed=3):
    scene = simulate(kind, field, psf.pixels, Exposure(photons, photons / 10, 100), seed)
    camera, background = Camera(100.0), 100 + photons / 10
    return light_of_counts(scene.counts, camera), split_for(scene.counts, camera, background, "cpu", 10**6)


def test_the_spectrum_tells_the_size_of_spherical_aberration():
    model = model_of()
    light, _ = seen("mixed", true_psf(model, spherical=0.8), 1000, (16, 72, 72))
    start = np.array([0.3 if name == "spherical" else 0.0 for name in model.terms])
    found = SpectralEvidence(light, model).fit(start)
    assert abs(found.deviations[model.terms.index("spherical")]) == pytest.approx(0.8, abs=0.25)
    assert np.all(found.errors >= 0)


def test_the_spectrum_prefers_the_true_size():
    model = model_of(FLAT, (1, 25, 25))
    light, _ = seen("spots", true_psf(model), 300, (1, 256, 256))
    evidence = SpectralEvidence(light, model)
    narrow, true, wide = (evidence.cost(torch.from_numpy(true_psf(model, size=s).pixels)) for s in (-0.35, 0.0, 0.35))
    assert true < narrow
    assert true < wide


def test_an_aberrated_psf_is_found_with_its_sign():
    model = model_of()
    truth = true_psf(model, spherical=-0.8)
    light, split = seen("mixed", truth, 1000, (12, 56, 56))
    found = estimate_psf(light, split, CONFOCAL, VOXEL, SHAPE, judge=foretold_by_network)
    nominal = compute_psf(CONFOCAL, VOXEL, SHAPE)
    assert found.sure
    assert found.deviations["spherical"][0] == pytest.approx(-0.8, abs=0.3)
    error, before = (np.square(p.pixels - truth.pixels).sum() for p in (found.psf, nominal))
    assert error < before / 3
    assert np.unravel_index(int(found.psf.pixels.argmax()), SHAPE) == tuple(n // 2 for n in SHAPE)
    assert found.psf.source.startswith("estimated")


def test_an_image_that_tells_nothing_keeps_the_nominal_psf():
    noise = np.random.default_rng(0).poisson(20, (6, 36, 36)).astype(np.float32)
    found = estimate_psf(noise, split_counts(noise, 20.0), CONFOCAL, VOXEL, SHAPE, judge=foretold_by_network)
    assert not found.sure
    np.testing.assert_array_equal(found.psf.pixels, compute_psf(CONFOCAL, VOXEL, SHAPE).pixels)
    assert "cannot tell" in found.psf.source


def test_a_sharper_psf_needs_more_evidence():
    model = model_of()
    nominal, sharp, wide = (true_psf(model, size=s) for s in (0, -0.1, 0.1))
    assert enough_for(nominal, wide) < enough_for(nominal, sharp)


def test_an_estimate_at_the_end_of_what_is_searched_is_none():
    shape = (1, 31, 31)
    light, split = seen("filaments", true_psf(model_of(FLAT, shape), size=1.0), 500, (1, 112, 112))
    found = estimate_psf(light, split, FLAT, VOXEL, shape, judge=foretold_by_network)
    assert found.deviations["size"][0] > 0.55
    assert not found.sure
    assert "runs to the end of what is searched (size)" in found.psf.source
    np.testing.assert_array_equal(found.psf.pixels, compute_psf(FLAT, VOXEL, shape).pixels)


def test_the_mean_over_what_cannot_be_told_apart():
    model = model_of(FLAT, (1, 25, 25))
    at, none = np.zeros(len(model.terms)), np.zeros((len(model.terms),) * 2)
    at[0] = 0.1
    sure = mean_psf(model, at, none)
    np.testing.assert_allclose(sure.pixels, true_psf(model, size=0.1).pixels, rtol=1e-5)
    unsure = none.copy()
    unsure[0, 0] = 0.1**2
    mean = mean_psf(model, at, unsure)
    three = [true_psf(model, size=0.1 + off * 0.1 * 3**0.5).pixels for off in (-1, 0, 1)]
    np.testing.assert_allclose(mean.pixels, three[0] / 6 + 2 * three[1] / 3 + three[2] / 6, rtol=1e-4, atol=1e-8)
    unsure[0, 0] = 10.0**2  # as far as the model's bounds, not beyond
    assert mean_psf(model, at, unsure).pixels.sum() == pytest.approx(1, abs=1e-5)


def test_a_plane_has_terms_of_its_own():
    shape = (1, 25, 25)
    model = model_of(FLAT, shape)
    light, split = seen("filaments", true_psf(model, size=0.3), 500, (1, 176, 176))
    found = estimate_psf(light, split, FLAT, VOXEL, shape, judge=foretold_by_network)
    assert found.psf.pixels.shape == shape
    assert found.sure
    assert fwhm(found.psf.pixels).x == pytest.approx(fwhm(true_psf(model, size=0.3).pixels).x, rel=0.12)


def test_free_form_narrows_a_psf_that_is_too_wide():
    truth = gaussian_psf((0, 1.6, 1.6))
    start = Psf(gaussian_psf((0, 2.3, 2.3)), None, None, "start")
    scene = simulate("spots", (1, 128, 128), truth, Exposure(300, 30, 100), 3)
    split = split_counts(scene.counts.astype(np.float32) - 100, 30.0)
    heard = []
    found = estimate_free(split, start, Optics(), lambda *told: heard.append(told))
    assert found.sure
    assert heard
    assert found.psf.pixels.shape == start.pixels.shape
    assert found.psf.pixels.min() >= 0
    assert found.psf.pixels.sum() == pytest.approx(1, abs=1e-4)
    assert abs(fwhm(found.psf.pixels).x - fwhm(truth).x) < 0.7 * abs(fwhm(start.pixels).x - fwhm(truth).x)


def test_free_form_keeps_to_the_band_of_the_optics():
    shape = (1, 31, 31)
    start = compute_psf(FLAT, VOXEL, shape)
    wide = true_psf(model_of(FLAT, shape), size=0.35)
    scene = simulate("spots", (1, 128, 128), wide.pixels, Exposure(1000, 50, 100), 3)
    found = estimate_free(split_counts(scene.counts.astype(np.float32) - 100, 50.0), start, FLAT)
    power = np.abs(np.fft.fft2(found.psf.pixels[0], (128, 128))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 0.1), np.fft.fftfreq(128, 0.1)))
    assert power[frequency > 1.1 * 2 * 1.2 / 0.52].sum() < 0.01 * power.sum()


def test_the_brightest_box():
    volume = np.zeros((10, 80, 80))
    volume[2:5, 50:60, 10:20] = 9
    box = telling_box(volume, 0.0, 20_000)
    assert volume[box].sum() == volume.sum()
    assert volume[box].size <= 20_000
