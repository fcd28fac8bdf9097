"""Fourier ring and shell correlation with known answers."""

import numpy as np
import pytest
from scipy.fft import fftn, ifftn
from scipy.ndimage import gaussian_filter

from microdeconv.resolution import fourier_correlation


def noise(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(64, 64), (1, 63, 80), (12, 40, 40)])
def test_an_image_agrees_with_itself_whatever_its_scale(shape):
    curve = fourier_correlation(noise(shape, 0), 3 * noise(shape, 0) + 5)
    assert curve.correlation == pytest.approx(1)
    assert curve.mean == pytest.approx(1)
    assert curve.resolution() == pytest.approx(1 / curve.frequency[-1])
    assert curve.frequency[-1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shape", [(256, 256), (16, 96, 96)])
def test_independent_noise_does_not_agree(shape):
    curve = fourier_correlation(noise(shape, 1), noise(shape, 2))
    assert abs(curve.mean) < 0.03
    assert np.abs(curve.correlation[10:]).max() < 0.2


def test_it_crosses_where_the_noise_takes_over():
    """An ideal low pass at 0.2 cycles per pixel, much above the noise below it and absent beyond."""
    shape = (256, 256)
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    truth = ifftn(fftn(noise(shape, 3)) * (f < 0.2)).real
    curve = fourier_correlation(truth + 0.5 * noise(shape, 4), truth + 0.5 * noise(shape, 5))
    assert curve.resolution() == pytest.approx(5, rel=0.03)
    assert curve.correlation[5:45].mean() == pytest.approx(0.8, abs=0.02)  # 1 / (1 + 0.25)
    assert curve.mean == pytest.approx(0.4 * 0.8, abs=0.02)


def test_a_voxel_size_gives_units():
    truth = gaussian_filter(noise((128, 128), 6), 2)
    pair = truth + 0.01 * noise((128, 128), 7), truth + 0.01 * noise((128, 128), 8)
    assert fourier_correlation(*pair, (65, 65)).resolution() == pytest.approx(
        65 * fourier_correlation(*pair).resolution()
    )


def test_unequal_voxels():
    """A volume blurred alike in nanometres along all axes has its crossing there, whatever its voxels are."""
    voxel, sigma = np.array((200.0, 100.0, 100.0)), 250.0

    def crossing(shape, voxel):
        truth = gaussian_filter(noise(shape, 9), sigma / voxel, mode="wrap")
        level = 0.02 * truth.std()
        return fourier_correlation(
            truth + level * noise(shape, 10), truth + level * noise(shape, 11), voxel
        ).resolution()

    fine, coarse = crossing((96, 96, 96), np.array((100.0,) * 3)), crossing((48, 96, 96), voxel)
    assert coarse == pytest.approx(fine, rel=0.06)


def test_the_ends_of_a_curve():
    curve = fourier_correlation(noise((64, 64), 12), -noise((64, 64), 12))
    assert curve.resolution() == pytest.approx(64)
    assert fourier_correlation(np.zeros((8, 8)), np.ones((8, 8))).correlation == pytest.approx(0)
    for shapes, voxel in ((((8, 8), (8, 9)), None), (((8, 8), (8, 8)), (1, 1, 1)), (((1, 3), (1, 3)), None)):
        with pytest.raises(ValueError, match="shape"):
            fourier_correlation(np.zeros(shapes[0]), np.zeros(shapes[1]), voxel)
