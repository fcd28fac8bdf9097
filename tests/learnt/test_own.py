"""A user's own pictures: parted, thinned, judged."""

from dataclasses import replace

import numpy as np
import pytest
from networks import tiny

from microdeconv.errors import DataError
from microdeconv.learnt.network import Architecture
from microdeconv.learnt.own import Own, batches, finer, held_samples, judge_of, no_truth, parted, surely_better
from microdeconv.learnt.physics import halved
from microdeconv.learnt.recipe import Recipe
from microdeconv.simulate import gaussian_psf
from microdeconv.stack import Psf

RECIPE = Recipe(Architecture(widths=(4, 6, 8), stages=1), plane=(1, 40, 40), batch=3, volume=(4, 24, 24), validated=5)


def own(shape, *, known=False):
    """A picture whose values tell where they are."""
    light = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 251
    psf = Psf(gaussian_psf((1.0 if shape[0] > 1 else 0, 1.2, 1.2)), None, None, "")
    return Own("a", light, 2 * light if known else no_truth(), psf, 3.0)


@pytest.mark.parametrize("shape", [(1, 64, 48), (1, 50, 300), (6, 64, 64)], ids=str)
def test_tiles_that_judge_are_never_trained_on(shape):
    region, tiles = parted(own(shape))
    count = np.zeros(shape, int)
    count[region] += 1
    for tile in tiles:
        count[tile] += 1
    assert np.all(count == 1)
    assert all(min(t.stop - t.start for t in tile[1:]) >= 10 for tile in tiles)
    assert np.prod([s.stop - s.start for s in region]) >= 0.6 * np.prod(shape)


def test_crops_lie_in_the_region():
    picture = own((1, 100, 60), known=True)
    picture.light[:, 80:] = 1e6  # the band
    for step in (0, 2, 4):
        for sample in batches([picture])(RECIPE, step):
            assert sample.light.shape == (1, 40, 40)
            assert sample.light.max() < 1e6
            assert np.array_equal(2 * sample.light, sample.truth)


def test_scenes_beside_a_stack_have_its_psf_and_background():
    picture = own((4, 60, 60))
    [sample] = batches([picture])(RECIPE, 1)
    assert sample.truth.size
    assert sample.held is None
    assert sample.light.shape == (4, 24, 24)
    assert sample.background == pytest.approx(3, rel=0.5, abs=2)
    [mine] = batches([picture])(RECIPE, 0)
    assert mine.held is not None
    assert 0.5 <= mine.share <= 0.9
    assert mine.background == pytest.approx(3 * mine.share)


def test_a_finer_psf_is_the_same_psf():
    psf = Psf(gaussian_psf((1.5, 1.6, 2.0)), None, None, "")
    fine = finer(psf)
    assert fine.shape == (psf.shape[0], 2 * psf.shape[1] - 1, 2 * psf.shape[2] - 1)
    back = halved(Psf(fine, None, None, "")).pixels

    def spread(pixels, axis):
        line = pixels.sum(tuple(a for a in range(3) if a != axis))
        at = np.arange(line.size) - line.size // 2
        assert (at * line).sum() == pytest.approx(0, abs=1e-3)
        return (at**2 * line).sum() / line.sum()

    for axis, more in ((0, 0), (1, 0.125), (2, 0.125)):
        assert spread(back, axis) == pytest.approx(spread(psf.pixels, axis) + more, rel=0.02)
    wide = Psf(np.ones((41, 101, 101), np.float32) / 41 / 101**2, None, None, "")
    assert finer(wide).shape == (17, 97, 97)


def test_judges_and_what_is_surely_better():
    pictures = [own((1, 64, 48), known=True), own((1, 64, 48))]
    samples = held_samples(pictures, RECIPE)
    assert len(samples) == 5
    again = held_samples(pictures, RECIPE)
    assert all(np.array_equal(a.light, b.light) for a, b in zip(samples, again, strict=True))
    figures = judge_of(pictures, RECIPE)(tiny(), "cpu")
    assert len(figures) == 5
    assert np.isfinite(figures).all()
    assert figures[-1] < 0  # a deviance with its sign turned
    assert surely_better([1, 2, 3], [1.1, 2.2, 3.1])
    assert not surely_better([1, 2, 3], [1.1, 2.2, 2.8])
    assert not surely_better([1, 2, 3], [1, 2, 3])
    assert surely_better([1], [2])
    assert surely_better([0] * 8, [9, 1, 1, 1, 2, 1, 1, 1])  # every one, though by very different amounts
    assert not surely_better([0] * 8, [9, -1, -1, 1, -2, 1, 1, 1])


def test_small_pictures_are_refused():
    with pytest.raises(DataError, match="too few"):
        parted(own((1, 40, 40)))
    assert parted(replace(own((1, 48, 16)), background=0.0))
