"""Samples are what they say: repeatable, of the photons asked for, blurred by the PSF that they carry."""

import numpy as np
import pytest
import torch
from skimage.registration import phase_cross_correlation

from microdeconv.blur import Blur
from microdeconv.learnt import scenes
from microdeconv.learnt.lenses import Lens, training_lens, unseen_lens
from microdeconv.learnt.samples import make_sample, taken, training_sample


@pytest.mark.parametrize("kind", scenes.ALL)
@pytest.mark.parametrize("shape", [(1, 70, 64), (6, 40, 48)])
def test_scenes_are_finite_positive_and_not_empty(kind, shape):
    drawn = scenes.draw((kind,), shape, np.random.default_rng(3))
    assert drawn.shape == shape
    assert drawn.dtype == np.float32
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0 < drawn.max()


@pytest.mark.parametrize("shape", [(1, 48, 48), (8, 32, 32)])
def test_the_same_seed_gives_the_same_sample(shape):
    one, other = (training_sample(np.random.default_rng(5), shape).flipped(np.random.default_rng(6)) for _ in range(2))
    np.testing.assert_array_equal(one.light, other.light)
    np.testing.assert_array_equal(one.psf.pixels, other.psf.pixels)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(1, 96, 96), (8, 48, 48)])
def test_truth_blurred_with_its_psf_is_the_picture(seed, shape):
    rng = np.random.default_rng(seed)
    sample = taken(rng, shape, ("texture", "shells"), training_lens(rng, shape[0]), 4000)
    blur = Blur(sample.psf, shape)
    whole = torch.zeros(blur.object_shape)
    blur.crop(whole).copy_(torch.from_numpy(sample.truth))
    inner = tuple(slice(min(n // 4, 12), n - min(n // 4, 12)) for n in shape)
    seen, light = (blur.forward(whole).numpy() + sample.background)[inner], sample.light[inner]
    alike = np.corrcoef(seen.ravel(), light.ravel())[0, 1]
    assert alike > (0.97 if shape[0] == 1 else 0.9)  # a volume gets light from planes above and below
    if light.std() > 0.05 * light.mean():
        moved, _, _ = phase_cross_correlation(light, seen, upsample_factor=20)
        assert np.abs(moved[1:]).max() <= 0.15


def test_turning_turns_the_psf_too():
    sample = make_sample(np.random.default_rng(1), (1, 64, 48), "unseen", "unseen", 500)
    turned = sample.flipped(np.random.default_rng(2))
    assert sorted(turned.light.shape) == sorted(sample.light.shape)
    assert turned.light.sum() == pytest.approx(sample.light.sum())
    assert turned.psf.pixels.sum() == pytest.approx(1)


def test_the_photons_are_those_asked_for():
    sample = make_sample(np.random.default_rng(3), (1, 96, 96), "seen", "seen", 1000)
    assert np.quantile(sample.light - sample.background, 0.999) == pytest.approx(1000, rel=0.2)


def test_without_a_kernel_the_user_knows_the_voxels_only():
    sample = training_sample(np.random.default_rng(4), (6, 32, 32), kernel=False)
    assert sample.psf.shape == (1, 1, 1)
    assert all(0.01 < v < 3 for v in sample.voxel_um)


@pytest.mark.parametrize("planes", [1, 9])
def test_lenses_give_psfs_that_sum_to_one(planes):
    rng = np.random.default_rng(7)
    for lens in [*(training_lens(rng, planes) for _ in range(8)), *(unseen_lens(rng) for _ in range(6))]:
        psf = lens.psf(planes, lens.half(), 2)
        assert psf.shape == (planes, 4 * lens.half() + 1, 4 * lens.half() + 1)
        assert psf.sum() == pytest.approx(1, rel=1e-4)
        assert psf.min() >= 0


def test_a_scaled_lens_is_wider():
    def width(lens):
        psf = lens.psf(1, 20)[0]
        y, x = np.mgrid[-20:21, -20:21]
        return np.sqrt((psf * np.minimum(y**2 + x**2, 100)).sum())

    for lens in (Lens("wide-field"), Lens("gaussian"), Lens("confocal")):
        assert width(lens.scaled(1.2)) > 1.05 * width(lens)
