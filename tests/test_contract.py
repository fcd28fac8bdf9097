"""Every method of the registry against the facts that a method must hold; a new one is tested by its one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CPU, computed_plane, problem_of

from microdeconv import quality
from microdeconv.camera import CameraOptions
from microdeconv.choose import choose
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.methods import METHODS
from microdeconv.options import options_of
from microdeconv.settle import settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping, solve
from microdeconv.stack import Psf

STEPS = 12
KNOWN = CameraOptions(background=20.0, offset=0.0, gain=1.0)
EVERY = list(METHODS.values())
RESTORING = [m for m in EVERY if not m.keeps_counts]
NUMBERS = {"regularisation": 0.002, "noise_to_signal": 0.01}
OTHERS = {  # a value of each parameter that is not its default
    "acceleration": "none",
    "regularisation": 0.02,
    "noise_to_signal": 0.1,
    "prior": "tikhonov",
}


def parameters_for(method, **changes):
    known = {o.field for o in options_of(method.parameters)}
    return method.parameters(**{k: v for k, v in {**NUMBERS, **changes}.items() if k in known})


def run(method, problem, **changes):
    return solve(problem, method, parameters_for(method, **changes), STEPS).image


CLASSICAL = [m for m in RESTORING if m.companion is None]  # a network knows what noise and points mostly look like
by_name = pytest.mark.parametrize("method", EVERY, ids=lambda m: m.name)
restoring = pytest.mark.parametrize("method", RESTORING, ids=lambda m: m.name)
classical = pytest.mark.parametrize("method", CLASSICAL, ids=lambda m: m.name)


def margin_of(method):
    return 0.25 if method.margin is None else method.margin


@by_name
def test_shape_dtype_inputs_and_repeatability(method, problem):
    before = problem.image.clone()
    first, second = run(method, problem), run(method, problem)
    assert first.shape == problem.image.shape
    assert first.dtype == np.float32
    assert torch.equal(problem.image, before)
    np.testing.assert_array_equal(first, second)


@restoring
def test_zero_gives_zero(method, psf):
    assert np.abs(run(method, problem_of(np.zeros((8, 20, 18)), psf, 0.0))).max() < 1e-6


@restoring
def test_flat_stays_flat_to_the_edge(method, psf):
    image = run(method, replace(problem_of(np.full((12, 30, 28), 100.0), psf, 0.0, margin_of(method)), level=100.0))
    inside = image[2:-2, 6:-6, 6:-6]
    if method.iterative:  # a linear filter's continued border may bend the outermost voxels
        inside = image
    assert np.abs(inside / 100 - 1).max() < {"rl": 1e-3, "rl-tv": 1e-2}.get(method.name, 0.05)


@classical
def test_a_psf_of_one_voxel_gives_the_image(method):
    counts = np.random.default_rng(0).poisson(50, (6, 16, 14)).astype(np.float32)
    delta = Psf(np.ones((1, 1, 1), np.float32), None, None, "one voxel")
    problem = problem_of(counts, delta, 0.0, margin_of(method))
    image = solve(problem, method, parameters_for(method, regularisation=0.0, noise_to_signal=1e-9), 60).image
    assert np.abs(image - counts).max() < 0.02 * counts.max()


@by_name
@pytest.mark.parametrize("value", [0.0, 1.0, 65535.0])
def test_finite_at_the_ends_of_the_scale(method, psf, value):
    light = np.zeros((8, 20, 18), np.float32)
    light[4, 10, 9] = value
    image = run(method, problem_of(light, psf, 0.0))
    assert np.isfinite(image).all()
    if not method.keeps_counts:
        assert image.min() >= 0


@classical
def test_scale(method, problem):
    bright = replace(problem, image=problem.image * 64, background=problem.background * 64, level=problem.level * 64)
    first, second = run(method, problem) * 64, run(method, bright)
    assert np.abs(first - second).max() < 1e-3 * first.max()


@classical
def test_shift(method, psf):
    light = np.zeros((14, 40, 40), np.float32)
    light[6, 15:18, 16:19] = 500
    light = np.asarray(problem_of(light, psf, 0.0).blur.forward(_on_object(light, psf)))
    one, other = (run(method, problem_of(np.roll(light, s, (0, 1, 2)), psf, 0.0)) for s in ((0, 0, 0), (1, 3, 2)))
    moved = np.roll(one, (1, 3, 2), (0, 1, 2))
    assert np.abs(moved - other)[3:-3, 6:-6, 6:-6].max() < 2e-2 * one.max()


def _on_object(light, psf):
    problem = problem_of(light, psf, 0.0)
    x = torch.zeros(problem.blur.object_shape)
    problem.blur.crop(x).copy_(torch.from_numpy(light))
    return x


@restoring
def test_better_than_the_raw_image(method, psf):
    scene = simulate("bars", (24, 64, 64), psf.pixels, Exposure(300, 10, 0, read_noise=0), seed=1)
    light = scene.counts.astype(np.float32)
    image = run(method, problem_of(light, psf, 10.0, margin_of(method)))
    assert quality.nrmse(image, scene.truth) < quality.nrmse(light - 10, scene.truth)


@pytest.mark.parametrize("method", [m for m in EVERY if m.companion is None], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("kind", "shape", "widths"),
    [
        ("mixed", (1, 250, 260), (0, 2.5, 2.5)),
        ("tissue", (3, 240, 240), (1.2, 1.5, 1.5)),
        ("mixed", (1, 300, 310), "confocal"),
    ],
    ids=["plane", "volume", "computed"],
)
def test_tiled_equals_whole(method, kind, shape, widths):
    """With the halo that is planned (`learnt/test_method.py` has the network's).

    Steps scaled and begun again by each tile for itself left up to 1e-1.
    """
    psf = computed_plane() if widths == "confocal" else Psf(gaussian_psf(widths), None, None, "Gaussian")
    counts = simulate(kind, shape, psf.pixels, Exposure(300, 20, 0), seed=2).counts
    settings = settle(counts, psf, 0, method, parameters_for(method), KNOWN, Stopping(iterations=STEPS), CPU)
    cuts = [plan_cut(shape, psf, method, CPU, tile, 0) for tile in ("off", 50)]
    assert all(part < n for part, n in zip(cuts[1].read[1:], shape[1:], strict=True))
    whole, tiled = (deconvolve_volume(counts, psf, method, settings, CPU, cut)[0] for cut in cuts)
    if method.keeps_counts:
        np.testing.assert_array_equal(tiled, whole)
    else:  # total variation makes much of what differs by rounding
        assert np.abs(tiled - whole).max() < (1e-3 if method.name == "rl-tv" else 1e-4) * whole.max()


@by_name
def test_the_generator_can_be_dropped(method, problem):
    iterates = method.run(problem, parameters_for(method))
    next(iterates)
    iterates.close()
    with pytest.raises(StopIteration):
        next(iterates)


@pytest.mark.parametrize(
    ("method", "name"),
    [(m, o.field) for m in EVERY if m.companion is None for o in options_of(m.parameters)],
    ids=lambda v: v if isinstance(v, str) else v.name,
)
def test_every_parameter_acts(method, name, problem):
    assert np.abs(run(method, problem) - run(method, problem, **{name: OTHERS[name]})).max() > 1e-3


@pytest.mark.parametrize("acceleration", ["preconditioned", "momentum", "none", "wiener-butterworth"])
def test_every_acceleration_of_rl_differs_and_improves(acceleration, problem, scene):
    raw = quality.nrmse(problem.image.numpy() - 20, scene.truth)
    assert quality.nrmse(run(METHODS["rl"], problem, acceleration=acceleration), scene.truth) < raw


@pytest.mark.parametrize("method", [m for m in RESTORING if m.searched], ids=lambda m: m.name)
def test_auto_parameters_are_found(method, problem):
    chosen = choose(problem, method, method.parameters(), 15)
    assert getattr(chosen.parameters, method.searched[0]) in method.searched[1]


@restoring
def test_settings_are_whole(method, scene, psf):
    settings = settle(
        scene.counts, psf, 0, method, method.parameters(), CameraOptions(), Stopping(max_iterations=20), CPU
    )
    assert settings.iterations >= 1
    if method.companion is None:
        assert "auto" not in [getattr(settings.parameters, o.field) for o in options_of(method.parameters)]
    else:
        assert settings.parameters.scale > 0
    assert settings.background == pytest.approx(120, abs=6)


def test_the_psf_of_these_tests_sums_to_one():
    assert gaussian_psf((1.5, 1.2, 1.2)).sum() == pytest.approx(1, abs=1e-6)
