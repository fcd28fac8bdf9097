"""Curves and maps, with known answers."""

import numpy as np
import pytest
from compare_cases import truth_case

from microdeconv.compare.figures import curves_of, figures_of
from microdeconv.compare.view import LOOKED_AT, View


def test_curves():
    case = truth_case()
    curves = curves_of(case)
    assert curves.unit == "µm"
    assert np.allclose(curves.truth["true"].correlation, 1)
    assert curves.truth["soft"].frequency[-1] == pytest.approx(5, rel=0.05)  # cycles per µm: half of 1 / 0.1 µm
    # |OTF| of a Gaussian of 1.5 pixels of 0.1 µm is 0.02 at 0.297 cycles per pixel
    assert curves.support == pytest.approx(2.97, abs=0.1)
    frequency, power = curves.power["true"]
    assert frequency[-1] == pytest.approx(5)
    assert power.max() == 1
    assert (curves.power["soft"][1][-20:] < power[-20:]).all()
    chi = curves.chi_square["true"]
    assert chi.shape == case.raw.shape[1:]
    assert chi.dtype == np.float32
    assert 1 < np.median(chi) < 1.6  # the largest of 16 planes' local means
    assert np.median(curves.chi_square["soft"]) > np.median(chi)


def test_one_view_serves_both():
    case = truth_case((1, 96, 96))
    view = View.of(case)
    assert figures_of(case, view) == figures_of(case)
    assert curves_of(case, view).support == curves_of(case).support


def test_only_a_part_of_a_large_stack_is_looked_at():
    case = truth_case((1, 64, 64))
    raw = np.broadcast_to(case.raw, (1600, 64, 64))
    view = View.of(case.__class__("large", raw, case.background, case.camera, ()))
    assert view.light.size <= LOOKED_AT
