"""Figures from halves of the counts, held against what the truth says."""

from dataclasses import replace

import numpy as np
import pytest
from compare_cases import truth_case

from microdeconv.compare.case import Entry
from microdeconv.compare.figures import figures_of
from microdeconv.compare.thinned import HELD_DOWN, sharp_references
from microdeconv.compare.view import View, deviance_map


def figures(case):
    return {figure.key: figure for figure in figures_of(case)}


@pytest.mark.parametrize("shape", [(1, 192, 192), (24, 96, 96)])
def test_the_error_is_what_the_truth_says(shape):
    case = truth_case(shape)
    known = figures(replace(case, truth=None))
    view = View.of(case)
    sharp = sharp_references((case.truth, case.truth), case.psf)
    for entry in case.entries:
        # half of a half's noise stands for the noise of the whole
        noise = [(h - entry.image) / 2 for h in entry.halves]
        bias = entry.image / 2 - case.truth
        inner = view.inner
        energy = (case.truth * sharp.weigh(case.truth))[inner].sum()
        expected = (bias * sharp.weigh(bias))[inner].sum() + sum((n * sharp.weigh(n))[inner].sum() for n in noise) / 4
        beyond = sum((n * (n - sharp.weigh(n)))[inner].sum() for n in noise) / 4
        assert known["error"].values[entry.name] == pytest.approx(expected / energy, abs=0.02)
        assert known["noise_beyond"].values[entry.name] == pytest.approx(beyond / energy, rel=0.15)
    assert known["error"].values["true"] < known["error"].values["soft"]
    assert 0 < known["error"].noise < 0.02


def test_a_reference_is_the_object_within_what_passes():
    case = truth_case((1, 96, 96))
    delta = replace(case.psf, pixels=np.ones((1, 1, 1), np.float32))
    sharp = sharp_references((case.truth, case.truth), delta)
    weight = 1 / (1 + HELD_DOWN**2)
    assert np.allclose(sharp.weigh(case.truth), weight * case.truth, rtol=1e-3, atol=1e-3)
    assert np.allclose(sharp.references[0], weight * case.truth, rtol=1e-3, atol=1e-3)


def test_the_truth_foretells_the_other_half():
    case = truth_case()
    exact = replace(case.entries[0], halves=(case.entries[0].image,) * 2)
    known = figures(replace(case, truth=None, entries=(exact, *case.entries[1:])))
    assert known["heldout_deviance"].values["true"] == pytest.approx(1, abs=0.03)
    assert known["heldout_deviance"].values["soft"] > 1.05
    assert known["agreement"].values["true"] == pytest.approx(1)
    assert known["frc_halves"].values["true"] == pytest.approx(200)  # nm: two voxels
    assert known["frc_halves"].unit == "nm"


def test_deviance_has_its_known_values():
    counts, model = np.array([0.0, 2.0, 4.0], np.float32), np.array([1.5, 2.0, 2.0], np.float32)
    assert deviance_map(counts, model) == pytest.approx([3, 0, 2 * (2 - 4 + 4 * np.log(2))])


def test_results_without_halves_are_left_out():
    case = truth_case((1, 64, 64), voxel_um=None)
    bare = Entry("Huygens", case.entries[0].image)
    known = figures(replace(case, entries=(*case.entries, bare)))
    assert set(known["error"].values) == {"true", "soft"}
    assert known["frc_halves"].unit == "voxels"
    assert "Huygens" in known["chi_square"].values
    assert "error" not in figures(replace(case, entries=(bare,)))
