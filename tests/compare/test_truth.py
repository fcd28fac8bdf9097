"""Results beside the truth, with known answers."""

from dataclasses import replace

import numpy as np
import pytest
from compare_cases import truth_case
from scipy.ndimage import fourier_shift, gaussian_filter

from microdeconv.compare.figures import figures_of
from microdeconv.compare.truth import against
from microdeconv.compare.view import View


def scene(shape=(16, 80, 80), seed=0):
    return gaussian_filter(
        np.random.default_rng(seed).random(shape).astype(np.float32), [1 if n > 1 else 0 for n in shape]
    )


def test_a_whole_shift_is_undone_to_the_bit_and_any_scale():
    truth = scene() - 0.3
    pair = against(7 * np.roll(truth, (1, -2, 3), (0, 1, 2)), truth)
    assert pair.shift == (-1, 2, -3)
    assert np.allclose(pair.result, pair.truth, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 80, 80), (1, 80, 80)])
def test_a_part_of_a_voxel_is_undone(shape):
    truth = scene(shape)
    moved = np.fft.ifftn(fourier_shift(np.fft.fftn(truth), (0, 0.5, -1.3))).real
    pair = against(moved, truth)
    assert pair.shift == pytest.approx((0, -0.5, 1.3), abs=0.11)
    before = against(moved, truth + 0 * moved).truth
    assert np.square(pair.result - before).mean() < 0.02 * before.var()


def test_nothing_is_moved_without_need():
    truth = scene()
    assert against(gaussian_filter(truth, 2), truth).shift == (0, 0, 0)
    assert against(np.roll(truth, 30, 2), truth).shift == (0, 0, 0)  # too far to be believed
    assert against(np.zeros_like(truth), truth).shift == (0, 0, 0)


def test_figures_of_the_truth_itself():
    case = truth_case()
    noisy = case.entries[0].image + np.random.default_rng(0).normal(0, 20, case.raw.shape).astype(np.float32)
    case = replace(case, entries=(replace(case.entries[0], name="noisy", image=noisy), *case.entries))
    known = {figure.key: figure.values for figure in figures_of(case)}
    assert "true" not in known["psnr"]  # it would be infinite
    assert known["nrmse"]["true"] == pytest.approx(0, abs=1e-6)
    assert known["ssim"]["true"] == pytest.approx(1)
    assert known["frc_truth"]["true"] == pytest.approx(1)
    assert known["shift"] == {"true": 0, "soft": 0, "noisy": 0}
    pair = against(noisy[View.of(case).box], case.truth[View.of(case).box])
    error = np.sqrt(np.square(pair.result - pair.truth).mean())
    assert known["psnr"]["noisy"] == pytest.approx(20 * np.log10(pair.truth.max() / error))
    assert known["nrmse"]["noisy"] == pytest.approx(error / np.sqrt(np.square(pair.truth).mean()))
    assert "spot_f1" not in known


def test_spots_are_counted_where_the_truth_is_made_of_them():
    case = truth_case((1, 160, 160), "beads", 500)
    known = {figure.key: figure.values for figure in figures_of(case)}
    assert known["spot_f1"]["true"] == 1
    assert known["spot_f1"]["soft"] < 1
