"""What PSFs that change over the stack are worth; `measure/depth.py` has the whole tables."""

import numpy as np
import pytest
from measure.depth import OPTICS, aberrated_psf, deep_case, field_case, field_set, score

from microdeconv.psf.depths import compute_psfs
from microdeconv.stack import Zyx


def test_several_depths_beat_every_single_one():
    """Oil objective, watery sample, 30 µm deep: the truth has a PSF for each plane."""
    voxel, field = Zyx(0.75, 0.13, 0.13), (41, 32, 32)
    scene, psfs = deep_case("spots", field, voxel, width=33)
    words = {"iterations": 60, "photons": 200}
    singles = [score(scene, psfs[plane], **words)[0] for plane in (0, 10, 20, 30, 40)]
    several = score(scene, compute_psfs(OPTICS, voxel, field), **words)[0]
    assert several > singles[0] + 1.5
    assert several > max(singles) + 1.5


@pytest.mark.parametrize("kind", ["filaments", "tissue"])
def test_a_grid_of_psfs_beats_every_single_one(kind):
    """Coma and astigmatism grow from the middle outwards: the truth has 9 x 9 PSFs, 3 x 3 are given."""
    scene = field_case(kind, size=160, strength=0.5)
    places = ((0, 0), (0.35, 0.35), (0.5, 0.5), (0, 1))
    singles = [score(scene, aberrated_psf(*place, 0.5), 200)[0] for place in places]
    several = score(scene, field_set(3, 160, 0.5), 200)[0]
    assert several > max(singles) + 1.0
    assert np.isfinite(several)
