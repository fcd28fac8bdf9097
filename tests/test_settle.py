"""What is settled from one volume: what was given is kept, the rest is chosen from its data."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CPU

from microdeconv import quality
from microdeconv.camera import CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.methods import METHODS
from microdeconv.psf.from_counts import telling_box
from microdeconv.settle import JUDGED, settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet

RL = METHODS["rl"]
GIVEN = CameraOptions(background=(120.0,), offset=(100.0,), gain=(1.0,))


def settled(volume, psf, **stopping):
    return settle(volume, psf, 0, RL, RL.parameters(), GIVEN, Stopping(**stopping), CPU)


def test_given_values_are_kept(scene, psf):
    settings = settled(scene.counts, psf, iterations=(7,))
    assert (settings.background, settings.camera.offset, settings.camera.gain) == (120.0, 100.0, 1.0)
    assert settings.iterations == 7
    assert settings.sources["iterations"] == "given"


def test_each_channel_has_its_own_parameter(scene, psf):
    method = METHODS["rl-tv"]
    weights = method.parameters(regularisation=(0.001, 0.003))
    for channel, weight in enumerate((0.001, 0.003, 0.003)):
        found = settle(scene.counts, psf, channel, method, weights, GIVEN, Stopping(iterations=3), CPU)
        assert found.parameters.regularisation == weight


@pytest.mark.parametrize(("kind", "loss"), [("tissue", 0.3), ("mixed", 0.3), ("nuclei", 0.3)])
def test_the_stop_is_near_the_best(kind, loss, psf):
    """The best stop is the one that the truth would choose; dB lost against it."""
    scene = simulate(kind, (16, 56, 56), psf.pixels, Exposure(200, 20, 100), seed=11)
    chosen = settled(scene.counts, psf)
    cut = plan_cut(scene.counts.shape, psf, RL, CPU, "off", 0)

    def score(steps):
        image, _ = deconvolve_volume(scene.counts, psf, RL, replace(chosen, iterations=steps), CPU, cut)
        return quality.psnr(image, scene.truth)

    best = max(score(n) for n in range(4, 2 * chosen.iterations + 20, 3))
    assert score(chosen.iterations) > best - loss


def test_the_stop_is_judged_on_the_brightest_part():
    volume = np.zeros((80, 300, 300), np.float32)
    volume[50:60, 200:220, 100:120] = 9
    part = volume[telling_box(volume, 0.0, JUDGED)]
    assert part.size <= JUDGED
    assert part.sum() == volume.sum()


def test_the_part_that_is_judged_has_the_psf_of_its_place(psf):
    """The object shines far from the first PSF's place, where another is right."""
    volume = np.full((12, 500, 500), 110, np.uint16)
    scene = simulate("tissue", (12, 150, 150), psf.pixels, Exposure(200, 10, 100), seed=2)
    volume[:, 350:, 350:] = scene.counts
    wrong = Psf(gaussian_psf((1.5, 3.5, 3.5)), None, None, "wrong")
    parts = (wrong, wrong, wrong, psf)
    given = CameraOptions(background=(110.0,), offset=(100.0,), gain=(1.0,))
    found = settle(
        volume, PsfSet(parts, ((0.0,), (0.0, 350.0), (0.0, 350.0)), "four"), 0, RL, RL.parameters(), given,
        Stopping(max_iterations=8), CPU,
    )  # fmt: skip
    assert found.choice.least < 1.1
