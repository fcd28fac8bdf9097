"""The network as the judge of PSFs: smooth objects do not speak for ones that are too wide."""

import numpy as np
import pytest

from microdeconv.learnt.foretelling import foretold_by_network
from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.estimate import centred_psf
from microdeconv.psf.fit import held_out_deviance, split_counts
from microdeconv.simulate import Exposure, simulate
from microdeconv.stack import Zyx

WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
VOXEL, SHAPE = Zyx(1, 0.1, 0.1), (1, 31, 31)
MODEL = AberratedModel(completed(WATER)[0], VOXEL, SHAPE)


def psf_of(size):
    return centred_psf(MODEL, np.array([size, *[0.0] * (len(MODEL.terms) - 1)]))


def test_smooth_objects_speak_for_the_true_psf():
    scene = simulate("nuclei", (1, 256, 256), psf_of(-0.22).pixels, Exposure(300, 30, 100), 24)
    split = split_counts(scene.counts.astype(np.float32) - 100, 30.0)
    true, narrow, wide = (psf_of(size) for size in (-0.22, -0.5, 0.3))
    right = foretold_by_network(split, true)
    assert right.predicted.shape == split.held.shape
    assert right.per_voxel == pytest.approx(1, abs=0.2)
    assert right.deviance < min(foretold_by_network(split, psf).deviance for psf in (narrow, wide))
    assert held_out_deviance(split, wide, 0.003).deviance < held_out_deviance(split, true, 0.003).deviance


def test_where_the_network_falls_short_steps_go_on():
    """An aberration beyond the training's: the network alone speaks against it."""
    optics, voxel, shape = (
        Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="confocal"),
        Zyx(0.25, 0.1, 0.1),
        (17, 25, 25),
    )
    model = AberratedModel(completed(optics)[0], voxel, shape)
    places = [model.terms.index(name) for name in ("size", "spherical")]
    found = {}
    for deviations in ((0.18, 1.0), (0.08, 0.9), (0.18, 0.8)):
        values = np.zeros(len(model.terms))
        values[places] = deviations
        found[deviations] = centred_psf(model, values)
    scene = simulate("shells", (16, 64, 64), found[0.18, 1.0].pixels, Exposure(100, 10, 100), 31)
    split = split_counts(scene.counts.astype(np.float32) - 100, 10.0)
    true, *others = (foretold_by_network(split, psf) for psf in found.values())
    assert true.steps > 0
    assert true.deviance < min(other.deviance for other in others)
