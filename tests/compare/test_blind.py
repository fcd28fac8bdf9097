"""Figures that need nothing but the image, with known answers."""

from dataclasses import replace

import numpy as np
import pytest
from compare_cases import truth_case

from microdeconv.compare.case import Entry
from microdeconv.compare.figures import curves_of, figures_of
from microdeconv.compare.view import View


def figures(case):
    return {figure.key: figure for figure in figures_of(case)}


@pytest.mark.parametrize("shape", [(1, 128, 128), (16, 80, 80)])
def test_the_truth_fits(shape):
    case = truth_case(shape)
    known = figures(case)
    assert known["chi_square"].values["true"] == pytest.approx(1, abs=0.06)
    assert known["chi_square"].values["soft"] > 1.1
    assert known["balance"].values["true"] == pytest.approx(1, abs=0.01)
    assert known["flux"].values["true"] == pytest.approx(1, abs=0.06)
    view = View.of(case)
    light = view.light[view.inner]
    assert known["rse"].values["true"] == pytest.approx(2 * np.sqrt(light.mean()), rel=0.05)  # counts: gain 2


def test_re_blur_error_does_not_see_scale_and_offset():
    case = truth_case((1, 128, 128))
    brighter = Entry("brighter", 3 * case.entries[0].image, case.psf)
    known = figures(replace(case, entries=(*case.entries, brighter)))
    for key in ("rse", "rsp"):
        assert known[key].values["brighter"] == pytest.approx(known[key].values["true"], rel=0.01)
    assert known["flux"].values["brighter"] == pytest.approx(3 * known["flux"].values["true"])
    assert known["chi_square"].values["brighter"] > 10
    assert known["sharpness"].values["brighter"] == pytest.approx(known["sharpness"].values["true"])


def test_sharpness_of_a_wave():
    case = truth_case((1, 120, 120))
    wave = np.cos(2 * np.pi * np.arange(120) / 12, dtype=np.float32)
    known = figures(replace(case, truth=None, entries=(Entry("wave", np.tile(wave, (1, 120, 1)), case.psf),)))
    assert known["sharpness"].values["wave"] == pytest.approx(np.sin(2 * np.pi / 12) ** 2, rel=0.03)


def test_noise_lies_beyond_the_otf():
    case = truth_case((1, 128, 128))
    noise = np.random.default_rng(0).normal(0, 1, (1, 128, 128)).astype(np.float32)
    known = figures(replace(case, entries=(*case.entries, Entry("noise", noise, case.psf))))
    # |OTF| of a Gaussian of 1.5 pixels falls to 0.02 at 0.297 cycles: what is beyond that disc of the square
    expected = 1 - np.pi * (np.sqrt(-2 * np.log(0.02)) / (2 * np.pi * 1.5)) ** 2
    assert known["outside_otf"].values["noise"] == pytest.approx(expected, abs=0.03)
    assert known["outside_otf"].values["soft"] < 0.01


def test_a_result_is_blurred_by_its_own_psf():
    case = truth_case((1, 128, 128))
    delta = replace(case.psf, pixels=np.ones((1, 1, 1), np.float32))
    raw = Entry("raw", case.raw.astype(np.float32) - np.float32(case.background), delta)
    known = figures(replace(case, entries=(*case.entries, raw)))
    assert known["chi_square"].values["raw"] == pytest.approx(0, abs=1e-6)
    assert known["rsp"].values["raw"] == pytest.approx(1)


def test_without_a_psf_what_needs_none_is_left():
    case = truth_case((1, 64, 64), psf=None)
    bare = replace(case, truth=None, entries=tuple(replace(e, psf=None) for e in case.entries))
    assert {f.key for f in figures_of(bare)} == {"agreement", "frc_halves", "flux", "decorrelation", "sharpness"}
    curves = curves_of(bare)
    assert curves.support is None
    assert not curves.chi_square


def test_a_constant_image_gives_no_wrong_numbers():
    case = truth_case((1, 64, 64))
    flat = replace(
        case, raw=np.full((1, 64, 64), 140, np.uint16), truth=np.zeros((1, 64, 64), np.float32),
        entries=(Entry("nothing", np.zeros((1, 64, 64), np.float32), case.psf),),
    )  # fmt: skip
    for figure in figures_of(flat):
        assert np.isfinite(list(figure.values.values())).all()
    curves_of(flat)
