"""The frozen suite: that it is, and that it is told when it is not."""

from dataclasses import replace

import numpy as np
import pytest

from microdeconv.errors import UsageError
from microdeconv.learnt import suite
from microdeconv.learnt.suite import CELLS, LEVELS, Case, cases_of, frozen, hashes_of, is_frozen


def test_every_case_has_its_hashes():
    assert set(frozen()) == {case.key for case in cases_of((), quick=False)}
    assert len({tuple(pair) for pair in frozen().values()}) == len(frozen())
    quick = {case.key for case in cases_of((), quick=True)}
    assert quick < set(frozen())
    assert {case.cell.name for case in cases_of((), quick=True)} == set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_samples_are_those_that_were_frozen(name):
    case = Case(CELLS[name], 2)
    sample = case.sample()
    assert is_frozen(case, sample)
    assert sample.light.shape == sample.truth.shape == CELLS[name].shape
    assert LEVELS[2][0] <= sample.photons <= LEVELS[2][1]
    assert sample.psf.pixels.sum() == pytest.approx(1, abs=1e-3)


def test_last_bits_do_not_count_and_another_noise_does():
    case = Case(CELLS["2d-psf"], 1)
    sample = case.sample()
    for seed in range(20):
        off = 1 + 1e-6 * np.random.default_rng(seed).uniform(-1, 1)
        assert is_frozen(case, replace(sample, light=sample.light * np.float32(off)))
    noisier = sample.light + np.random.default_rng(0).normal(0, 1, sample.light.shape).astype(np.float32)
    assert not is_frozen(case, replace(sample, light=noisier))
    assert not is_frozen(case, Case(CELLS["2d-psf"], 5).sample())
    assert not is_frozen(Case(CELLS["2d-psf"], 999), sample)
    assert len(set(hashes_of(sample))) == 2


def test_wrong_psfs_are_wrong_as_they_say():
    def width(pixels):
        at = np.arange(pixels.shape[2]) - pixels.shape[2] // 2
        return np.sqrt((pixels.sum((0, 1)) * at**2).sum() / pixels.sum())

    from microdeconv.learnt.samples import believed

    for name, least, most in (("2d-narrow", 0.5, 0.97), ("2d-wide", 1.03, 1.6), ("2d-spherical", 0.5, 2)):
        sample = Case(CELLS[name], 0).sample()
        true = believed(sample.lens, 1).pixels
        assert least < width(sample.psf.pixels) / width(true) < most
        assert sample.psf.pixels.shape != true.shape or np.abs(sample.psf.pixels - true).max() > 1e-3 * true.max()
        assert sample.lens.kind != "gaussian" or name != "2d-spherical"


def test_empty_fields_are_empty():
    sample = Case(CELLS["2d-empty"], 0).sample()
    assert not sample.truth.any()
    assert sample.light.mean() == pytest.approx(sample.background, rel=0.05)
    assert sample.light.var() == pytest.approx(sample.background, rel=0.1)


def test_cells_by_their_beginnings():
    assert {case.cell.name for case in cases_of(("3d-s", "2d-photographs"), quick=True)} == {
        "3d-seen", "3d-structure", "3d-spherical", "3d-spots", "2d-photographs",
    }  # fmt: skip
    assert len(cases_of(("2d-both",), quick=False)) == suite.PLANES
    assert len(cases_of(("3d-both",), quick=False)) == suite.SURE_VOLUMES["3d-both"]
    assert len(cases_of(("3d-wide",), quick=False)) == suite.VOLUMES
    with pytest.raises(UsageError, match="did you mean 2d-seen"):
        cases_of(("2d-sen",), quick=True)


def test_the_text_of_the_file():
    import json

    case = Case(CELLS["2d-seen"], 0)
    assert json.loads(suite.freeze([case])) == {case.key: frozen()[case.key]}
