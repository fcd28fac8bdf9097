"""PSFs at several depths: when, where and how many."""

from dataclasses import replace

import numpy as np
import pytest

from microdeconv.optics import Optics
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.depths import compute_psfs
from microdeconv.stack import Psf, PsfSet, Zyx

WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
OIL = Optics(na=1.4, emission_nm=520, ri_immersion=1.515, ri_sample=1.33, depth_um=2.0)
VOXEL, FIELD = Zyx(0.4, 0.15, 0.15), (26, 24, 24)


def test_one_psf_where_nothing_changes():
    plain = compute_psf(WATER, VOXEL, auto_shape(WATER, VOXEL, FIELD))
    for optics in (WATER, replace(WATER, ri_sample=1.333)):
        found = compute_psfs(optics, VOXEL, FIELD, depths="auto")
        assert isinstance(found, Psf)
        np.testing.assert_array_equal(found.pixels, plain.pixels)
    assert isinstance(compute_psfs(OIL, VOXEL, (1, 24, 24)), Psf)
    off = compute_psfs(OIL, VOXEL, FIELD, depths="off")
    np.testing.assert_array_equal(off.pixels, compute_psf(OIL, VOXEL, auto_shape(OIL, VOXEL, FIELD)).pixels)


def test_a_slight_mismatch_needs_one_in_the_middle():
    found = compute_psfs(replace(WATER, ri_sample=1.3345), VOXEL, FIELD)
    assert isinstance(found, Psf)
    assert found.optics.depth_um == pytest.approx(5)
    assert "at a depth of 5 µm, the middle of the stack" in found.source


def test_a_mismatch_needs_several_evenly_spread():
    found = compute_psfs(replace(OIL, depth_um=None), VOXEL, FIELD)
    assert isinstance(found, PsfSet)
    np.testing.assert_allclose(found.places[0], np.linspace(0, 25, 8))
    assert "8 PSFs at depths of 0, " in found.source


def test_where_psfs_change_less_fewer_are_enough():
    def number(optics):
        return len(compute_psfs(optics, VOXEL, FIELD).parts)

    below_the_coverslip, deeper = number(replace(OIL, depth_um=0.0)), number(replace(OIL, depth_um=6.0))
    assert 2 < deeper < below_the_coverslip <= 8


def test_a_number_is_spread_evenly_from_the_first_plane():
    found = compute_psfs(OIL, VOXEL, FIELD, "scalar", 3)
    assert found.places == ((0.0, 12.5, 25.0), (0.0,), (0.0,))
    assert [one.optics.depth_um for one in found.parts] == pytest.approx([2, 7, 12])
    shape = found.shape
    np.testing.assert_array_equal(
        found.parts[1].pixels, compute_psf(replace(OIL, depth_um=7.0), VOXEL, shape, "scalar").pixels
    )
    assert compute_psfs(OIL, VOXEL, FIELD, "scalar", 1).optics.depth_um == pytest.approx(7)
