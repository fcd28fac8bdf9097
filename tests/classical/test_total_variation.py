"""Total variation: its gradient, and that it smooths."""

import numpy as np
import pytest
import torch
from conftest import problem_of

from microdeconv import quality
from microdeconv.classical.richardson_lucy import RichardsonLucy
from microdeconv.classical.total_variation import TotalVariation, curvature_of
from microdeconv.errors import UsageError
from microdeconv.methods import METHODS
from microdeconv.simulate import Exposure, simulate
from microdeconv.solve import solve


def variation_of(x, smallest):
    """Σ √(|∇x|² + s²), forward differences with none at the last voxel."""
    slopes = [torch.diff(x, dim=axis, append=x.narrow(axis, x.shape[axis] - 1, 1)) for axis in range(3)]
    return float((sum(slope**2 for slope in slopes) + smallest**2).sqrt().sum(dtype=torch.float64))


def test_curvature_is_minus_the_gradient_of_the_variation():
    x = torch.rand(4, 5, 6, dtype=torch.float64)
    curvature, variation = curvature_of(x, 0.1), variation_of(x, 0.1)
    for place in [(0, 0, 0), (2, 3, 4), (3, 4, 5), (1, 0, 5)]:
        moved = x.clone()
        moved[place] += 1e-6
        slope = (variation_of(moved, 0.1) - variation) / 1e-6
        assert slope == pytest.approx(-float(curvature[place]), abs=1e-4)


def test_weight_zero_is_richardson_lucy(problem):
    with_prior = solve(problem, METHODS["rl-tv"], TotalVariation(0.0, "momentum"), 10).image
    without = solve(problem, METHODS["rl"], RichardsonLucy("momentum"), 10).image
    np.testing.assert_allclose(with_prior, without, rtol=1e-4, atol=1e-3)


def test_more_weight_is_smoother_and_helps_in_dim_light(psf):
    scene = simulate("bars", (20, 60, 60), psf.pixels, Exposure(15, 2, 0), seed=2)
    problem = problem_of(scene.counts, psf, 4.25)
    images = [solve(problem, METHODS["rl-tv"], TotalVariation(w), 60).image for w in (0.0, 0.01, 0.04)]
    variations = [variation_of(torch.from_numpy(i), 1e-3) for i in images]
    assert variations[0] > variations[1] > variations[2]
    assert quality.nrmse(images[1], scene.truth) < quality.nrmse(images[0], scene.truth)


def test_the_unmatched_back_projector_is_refused(problem):
    with pytest.raises(UsageError, match="wiener-butterworth"):
        solve(problem, METHODS["rl-tv"], TotalVariation(0.01, "wiener-butterworth"), 3)
