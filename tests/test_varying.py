"""What PSFs that change over the stack are worth; `measure/depth.py` has the whole tables."""

from measure.depth import OPTICS, aberrated_psf, deep_case, field_case, field_set, score, single_psf

from microdeconv.psf.depths import compute_psfs
from microdeconv.stack import Zyx


def test_several_depths_beat_every_single_one():
    """Oil objective, watery sample, 30 µm deep: the truth has a PSF for each plane. Measured: 1.7 and 10 dB."""
    voxel, field = Zyx(0.75, 0.13, 0.13), (41, 40, 40)
    scene = deep_case("beads", field, voxel, seed=1)
    singles = [score(scene, single_psf(k, field, voxel), 200, iterations=40)[0] for k in (0, 20, 30, 40)]
    several = score(scene, compute_psfs(OPTICS, voxel, field), 200, iterations=40)[0]
    assert several > singles[0] + 8
    assert several > max(singles) + 1.5


def test_a_grid_of_psfs_beats_every_single_one():
    """Coma and astigmatism grow from the middle outwards: the truth has 9 x 9 PSFs, 3 x 3 are given."""
    scene = field_case("filaments", size=160, strength=0.5)
    places = ((0, 0), (0.35, 0.35), (0.5, 0.5), (0, 1))
    singles = [score(scene, aberrated_psf(*place, 0.5), 200)[0] for place in places]
    assert score(scene, field_set(3, 160, 0.5), 200)[0] > max(singles) + 1.0
