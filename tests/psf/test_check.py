"""What a PSF is warned of, and what it is not."""

from dataclasses import replace

import numpy as np
import pytest

from microdeconv.optics import Optics
from microdeconv.psf.check import check_psf
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.evidence import Trial
from microdeconv.psf.file import ready
from microdeconv.psf.fit import KEPT_TO_CHECK, better, folds, foretold, scaled, split_counts, turned
from microdeconv.psf.widths import fwhm
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

OPTICS = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
VOXEL = Zyx(0.15, 0.08, 0.08)
GOOD = compute_psf(OPTICS, VOXEL, (31, 41, 41))
FIELD = (16, 48, 48)


def warned(psf, optics=OPTICS, voxel=VOXEL, split=None):
    return {one.name: one.warning for one in check_psf(psf, optics, voxel, split) if one.warning}


def test_a_right_psf_is_not_warned_of():
    assert warned(GOOD) == {}
    assert warned(Psf(GOOD.pixels, None, None, "measured"), None, None) == {}


@pytest.mark.parametrize(("factor", "word"), [(0.7, "too narrow"), (1.3, "too wide")])
def test_width_against_theory(factor, word):
    found = warned(scaled(GOOD, Zyx(factor, factor, factor)))
    assert f"probably {word}: {factor:.2f}" in found["width"]
    assert "voxel size is wrong" in found["width"]


def test_one_axis_is_named():
    assert "too wide along z" in warned(scaled(GOOD, Zyx(1.6, 1, 1)))["width"]


def test_swapped_axes():
    found = warned(replace(GOOD, pixels=np.ascontiguousarray(GOOD.pixels.swapaxes(0, 2))))
    assert "swapped" in found["width"]
    assert "swapped" in found["roundness"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_of_three_voxels(axis):
    padding = [(0, 6) if a == axis else (0, 0) for a in range(3)]
    psf = ready(np.pad(GOOD.pixels, padding), VOXEL, (24, 64, 64), VOXEL, background=False)
    assert psf.off is not None
    assert psf.off[axis] == pytest.approx(-3, abs=0.05)
    assert "-3.0" in warned(psf)["shift"]
    kept = ready(np.pad(GOOD.pixels, padding), VOXEL, (24, 64, 64), VOXEL, background=False, centre="none")
    assert "shifted" in warned(kept)["shift"]


def test_a_psf_that_is_cut_off():
    assert "cut off" in warned(replace(GOOD, pixels=GOOD.pixels[:, 17:24, 17:24]))["border"]


def test_sharper_than_light_can_be():
    point = np.zeros((1, 41, 41), np.float32)
    point[0, 20, 20] = 1
    assert "beyond" in warned(Psf(point, Zyx(0.3, 0.08, 0.08), None, ""), voxel=Zyx(0.3, 0.08, 0.08))["spectrum"]


def test_coarse_voxels_are_told_the_right_size():
    coarse = Zyx(0.6, 0.2, 0.2)
    found = warned(compute_psf(OPTICS, coarse, (15, 21, 21)), voxel=coarse)
    assert "Nyquist asks for 0.345 x 0.108 x 0.108 µm or less" in found["sampling"]


def test_the_psf_of_another_channel():
    found = warned(compute_psf(replace(OPTICS, emission_nm=610.0), VOXEL, (31, 41, 41)))
    assert found["emission"] == "the PSF was made for --emission 610, the channel has 520"


def test_scaled_has_the_widths_it_says():
    psf = Psf(gaussian_psf((2, 2, 2)), None, None, "")
    wide = scaled(psf, Zyx(1.5, 1.25, 0.75))
    assert np.divide(fwhm(wide.pixels), fwhm(psf.pixels)) == pytest.approx((1.5, 1.25, 0.75), rel=0.01)
    assert wide.pixels.sum() == pytest.approx(1)
    assert all(n % 2 for n in wide.pixels.shape)


def test_only_axes_that_differ_are_turned():
    assert not list(turned(Psf(gaussian_psf((2, 2, 2)), None, None, "")))
    assert [axes for axes, _ in turned(Psf(gaussian_psf((3, 1.5, 1.5)), None, None, ""))] == ["z and x", "z and y"]
    assert [axes for axes, _ in turned(Psf(gaussian_psf((0, 3, 1.5)), None, None, ""))] == ["y and x"]


@pytest.fixture(scope="module")
def split():
    psf = gaussian_psf((0, 2, 2))
    scene = simulate("filaments", (1, 128, 128), psf, Exposure(200, 20, 100), 3)
    return split_counts(scene.counts.astype(np.float32) - 100, 20, share=KEPT_TO_CHECK)


def test_the_split_keeps_few_counts_and_all_its_shares(split):
    assert split.background == pytest.approx(20 * 150 / 200, rel=0.1)
    assert float(split.held.sum() / split.kept.sum()) == pytest.approx(1 / 3, rel=0.02)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_the_right_width_foretells_best(split, factor):
    psf = Psf(gaussian_psf((0, 2, 2)), None, None, "")
    right, wrong = [foretold(split, psf)], [foretold(split, scaled(psf, Zyx(1, factor, factor)))]
    assert better([split], wrong, right) > 0
    assert better([split], right, right) == 0


def test_a_right_psf_of_a_smooth_volume_needs_two_judges():
    """Of textured ellipsoids, most of whose light comes from other planes, total variation alone wants a narrow PSF."""
    psf = compute_psf(replace(OPTICS, modality="confocal"), Zyx(0.1, 0.06, 0.06), (25, 31, 31))
    scene = simulate("nuclei", FIELD, psf.pixels, Exposure(200, 20, 100), 13)
    split = split_counts(scene.counts.astype(np.float32) - 100, 20, share=KEPT_TO_CHECK)
    trial = Trial.of(psf, split)
    smooth, stopped = trial.better(trial.rival(scaled(psf, Zyx(0.75, 0.75, 0.75))))
    assert stopped < 0 < smooth
    assert trial.better(trial.own) == [0, 0]


def test_no_count_judges_twice(split):
    ways = folds(split, 4)
    image = split.kept + split.held
    assert all(bool((way.kept + way.held == image).all()) for way in ways)
    assert bool((sum(way.held for way in ways) == image).all())
    assert [float(way.held.sum() / image.sum()) for way in ways] == pytest.approx([0.25] * 4, rel=0.03)


@pytest.mark.parametrize(("factor", "word"), [(1.0, ""), (0.7, "too narrow"), (1.3, "too wide")])
def test_the_image_tells_the_width(split, factor, word):
    found = warned(Psf(gaussian_psf((0, 2 * factor, 2 * factor)), None, None, ""), None, None, split)
    assert word in found.get("fit", "")
    assert bool(found) == bool(word)
