"""The network's result is taken as far as unused counts confirm it, and never unseen."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CPU

from microdeconv import quality, refine
from microdeconv.camera import CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.learnt.card import shipped
from microdeconv.learnt.guard import LIKELIER, ODDS
from microdeconv.learnt.method import Learnt
from microdeconv.methods import METHODS
from microdeconv.psf.fit import scaled
from microdeconv.refine import deconvolve
from microdeconv.settle import DELTA, settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet, Zyx

LEARNT = METHODS["learnt"]
KNOWN = CameraOptions(background=20.0, offset=0.0, gain=1.0)
pytestmark = pytest.mark.skipif("small" not in shipped(), reason="no network is shipped")


@pytest.fixture(scope="module", name="blurred")
def _blurred():
    psf = Psf(gaussian_psf((0, 1.6, 1.6)), None, None, "Gaussian")
    return simulate("mixed", (1, 128, 128), psf.pixels, Exposure(150, 20, 0, read_noise=0), 3), psf


def refined(scene, psf, camera=KNOWN, **parameters):
    chosen = Learnt(**parameters)
    settings = settle(scene.counts, psf, 0, LEARNT, chosen, camera, Stopping(), CPU)
    cut = plan_cut(scene.counts.shape, psf, LEARNT, CPU, "auto", 0)
    return deconvolve(scene.counts, psf, LEARNT, settings, CPU, cut), settings, cut


def test_no_trust_is_the_classical_result_and_full_trust_the_networks(blurred):
    scene, psf = blurred
    none, settings, cut = refined(scene, psf, trust=0.0)
    plain = METHODS["rl"].parameters()
    rl, _ = deconvolve_volume(scene.counts, psf, METHODS["rl"], replace(settings, parameters=plain), CPU, cut)
    bare, _ = deconvolve_volume(scene.counts, psf, LEARNT, settings, CPU, cut)
    np.testing.assert_allclose(none.image, rl, atol=1e-4 * rl.max())
    np.testing.assert_allclose(refined(scene, psf, trust=1.0)[0].image, bare, atol=1e-4 * rl.max())
    np.testing.assert_allclose(refined(scene, psf, trust=0.25)[0].image, 0.75 * rl + 0.25 * bare, atol=1e-4 * rl.max())


def test_unchecked_is_said(blurred):
    found, _, _ = refined(*blurred, trust="off")
    assert any("unchecked" in note for note in found.notes)
    assert found.told["trust"] == 1


def test_what_counts_confirm_is_taken_and_is_no_worse(blurred):
    scene, psf = blurred
    found, _, _ = refined(scene, psf)
    rl = refined(scene, psf, trust=0.0)[0].image
    assert 0 < found.told["trust"] <= 1
    assert 0.7 < found.told["chi_square"] < 1.05
    assert 0 <= found.told["change_outside_otf"] <= 1
    gained = quality.psnr(found.image, scene.truth) - quality.psnr(rl, scene.truth)
    assert gained > -0.05


def test_a_psf_that_does_not_fit_leaves_the_classical_result(blurred):
    scene, psf = blurred
    wide = scaled(psf, Zyx(1, 2.2, 2.2))
    found, _, _ = refined(scene, wide)
    assert found.told["trust"] == 0
    assert any("do not fit" in note and "classical result is kept" in note for note in found.notes)
    assert any("do not fit" in note for note in refined(scene, wide, trust=0.5)[0].notes)


def test_a_psf_that_is_too_narrow_leaves_the_classical_result(blurred):
    scene, psf = blurred
    found, _, _ = refined(scene, scaled(psf, Zyx(1, 0.75, 0.75)))
    assert found.told["log_odds_of_wider_psf"] > LIKELIER
    assert found.told["trust"] == 0
    assert any("wider PSF" in note and "classical result is kept" in note for note in found.notes)


def test_whether_the_psf_is_too_narrow_is_asked_once_for_a_channel(blurred, monkeypatch):
    scene, psf = blurred
    first, settings, cut = refined(scene, psf)

    def asked(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(refine, "wider_is_likelier", asked)
    known = replace(settings, wider=first.told[ODDS])
    second = deconvolve(scene.counts, psf, LEARNT, known, CPU, cut)
    np.testing.assert_array_equal(second.image, first.image)
    assert second.told == first.told
    narrow = deconvolve(scene.counts, psf, LEARNT, replace(settings, wider=LIKELIER + 1), CPU, cut)
    assert narrow.told["trust"] == 0
    assert any("wider PSF" in note and "classical result is kept" in note for note in narrow.notes)
    plain = refined(scene, psf, trust=0.0)[0].image
    np.testing.assert_array_equal(narrow.image, plain)


def test_where_several_psfs_stand_no_wider_one_is_asked_for(blurred):
    scene, psf = blurred
    several = PsfSet((psf, psf), ((0.0,), (0.0, 100.0), (0.0,)), "two")
    found, _, _ = refined(scene, several)
    assert "log_odds_of_wider_psf" not in found.told
    assert 0 < found.told["trust"] < refined(scene, psf)[0].told["trust"]


def test_a_blank_image_keeps_the_classical_result():
    psf = Psf(gaussian_psf((0, 1.6, 1.6)), None, None, "Gaussian")
    volume = np.full((1, 40, 40), 100, np.uint16)
    settings = settle(volume, psf, 0, LEARNT, Learnt(), CameraOptions(), Stopping(), CPU)
    found = deconvolve(volume, psf, LEARNT, settings, CPU, plan_cut(volume.shape, psf, LEARNT, CPU, "auto", 0))
    assert found.told["trust"] == 0
    assert any("blank" in note for note in found.notes)


def test_an_unsure_gain_leaves_the_classical_result(blurred):
    scene, psf = blurred
    _, settings, cut = refined(scene, psf, trust=0.0)
    unsure = replace(settings, parameters=replace(settings.parameters, trust="auto"))
    unsure = replace(unsure, sources={**settings.sources, "gain": "unsure: few voxels"})
    found = deconvolve(scene.counts, psf, LEARNT, unsure, CPU, cut)
    assert found.told["trust"] == 0
    assert any("gain is unsure" in note for note in found.notes)


@pytest.mark.skipif("free" not in shipped(), reason="no network for users without a PSF is shipped")
def test_without_a_psf_it_is_a_guess_and_says_so(blurred):
    scene, _ = blurred
    settings = settle(scene.counts, DELTA, 0, LEARNT, Learnt(), KNOWN, Stopping(), CPU, voxel_um=(1, 0.1, 0.1))
    cut = plan_cut(scene.counts.shape, DELTA, LEARNT, CPU, "auto", 0)
    found = deconvolve(scene.counts, DELTA, LEARNT, settings, CPU, cut)
    assert any("guesses" in note for note in found.notes)
    raw = scene.counts.astype(np.float32) - 20
    assert quality.psnr(found.image, scene.truth) > quality.psnr(raw, scene.truth)


def test_a_method_without_a_companion_passes_through(blurred):
    scene, psf = blurred
    rl = METHODS["rl"]
    settings = settle(scene.counts, psf, 0, rl, rl.parameters(), KNOWN, Stopping(iterations=5), CPU)
    cut = plan_cut(scene.counts.shape, psf, rl, CPU, "auto", 0)
    found = deconvolve(scene.counts, psf, rl, settings, CPU, cut)
    alone, _ = deconvolve_volume(scene.counts, psf, rl, settings, CPU, cut)
    np.testing.assert_array_equal(found.image, alone)
    assert found.told == {}
