"""What is said of a network's result in a region."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import problem_of

from microdeconv.blur import Blur
from microdeconv.errors import UsageError
from microdeconv.learnt.explain import Box, explain, in_words, region_of, split_bands, surroundings
from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.physics import CHANNELS, STEPPED, scale_of
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf


def network_of(seed=0, **changes):
    """A network of which every weight acts, but that changes little."""
    torch.manual_seed(seed)
    network = IRDNet(Architecture(**{"widths": (4, 6, 8), **changes})).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and "enlarge" not in name and "strengths" not in name:
                value.add_(torch.randn_like(value) * 0.1 / value[0].numel() ** 0.5)
    return network


@pytest.fixture(scope="module")
def plane():
    """Filaments in a plane."""
    pixels = gaussian_psf((0.3, 1.5, 1.5)).sum(0, keepdims=True)
    psf = Psf(pixels / pixels.sum(), None, None, "Gaussian")
    scene = simulate("filaments", (1, 60, 52), psf.pixels, Exposure(300, 20, 0, read_noise=0), seed=3)
    return problem_of(scene.counts.astype(np.float32), psf, 20.0)


def test_regions():
    volume = np.zeros((9, 50, 40), np.float32)
    volume[6, 30, 20] = 1000
    brightest = region_of("brightest", volume)
    assert brightest.size == (5, 32, 32)
    assert all(s <= p < s + n for s, p, n in zip(brightest.start, (6, 30, 20), brightest.size, strict=True))
    assert region_of("centre", volume) == Box((2, 9, 4), (5, 32, 32))
    assert region_of((0, 49, 0), volume) == Box((0, 18, 0), (5, 32, 32))  # moved into the stack
    assert region_of((4, 20, 20, 8), volume) == Box((2, 16, 16), (5, 8, 8))
    assert region_of((4, 20, 20, 1, 8, 6), volume) == Box((4, 16, 17), (1, 8, 6))
    assert region_of((0, 5, 5), volume[:1]) == Box((0, 0, 0), (1, 32, 32))
    for asked, told in (((9, 0, 0), "outside"), ((0, -1, 0), "outside"), ((0, 0, 0, 41), "larger")):
        with pytest.raises(UsageError, match=told):
            region_of(asked, volume)


def test_surroundings_hold_the_region_and_begin_on_the_grid(psf):
    region = Box((3, 400, 301), (5, 32, 32))
    field = surroundings(region, psf, (20, 1000, 900))
    assert field.start[1] % 16 == field.start[2] % 16 == 0
    assert field.size[1] < 200
    inner = region.within(field)
    assert all(
        s >= 48 and s + n + 48 <= f for s, n, f in zip(inner.start[1:], inner.size[1:], field.size[1:], strict=True)
    )
    assert surroundings(region, psf, (8, 432, 333)).slices[1].stop == 432


@pytest.mark.parametrize(("frequency", "inside"), [(0.1, True), (0.2, True), (0.4, False)])
def test_waves_lie_in_the_band_or_not(plane, frequency, inside):
    # of a Gaussian of 1.5 pixels 2 % pass at 0.297 cycles a pixel
    y = torch.arange(60)[None, :, None].expand(1, 60, 52)
    wave = (2 * math.pi * frequency * y).cos()
    within, beyond = split_bands(plane.blur, wave)
    assert torch.allclose(within + beyond, wave, atol=1e-5)
    middle = (slice(None), slice(15, 45), slice(15, 37))
    right, wrong = (within, beyond) if inside else (beyond, within)
    assert wrong[middle].square().sum() < 0.02 * right[middle].square().sum()


def test_of_several_psfs_the_widest_band_counts():
    parts = []
    for sigma in (1.0, 3.0):
        pixels = gaussian_psf((0.3, sigma, sigma)).sum(0, keepdims=True)
        parts.append(Psf(pixels / pixels.sum(), None, None, "Gaussian"))
    from microdeconv.stack import PsfSet

    both = Blur(PsfSet(tuple(parts), ((0.0,), (0.0, 59.0), (0.0,)), "two"), (1, 60, 52))
    wave = (2 * math.pi * 0.3 * torch.arange(60.0)).cos()[None, :, None].expand(1, 60, 52)
    within, beyond = split_bands(both, wave)
    assert beyond.square().sum() < 0.1 * within.square().sum()


@pytest.mark.parametrize("changes", [{}, {"scales": 2, "decorrelate": "off"}], ids=str)
def test_an_explanation_in_a_plane(plane, changes):
    region, steps = Box((0, 24, 20), (1, 12, 12)), []
    network = network_of(**changes)
    told = explain(
        network, plane, region, scale_of(plane), top=2, patches=5, listen=lambda *step: steps.append(step)
    )  # fmt: skip
    figures = json.loads(json.dumps(told.figures, allow_nan=False))
    assert [one["channel"] for one in figures["channels"]] == [*CHANNELS[:1], *CHANNELS[2:9]]
    assert all(one["change"] > 0 for one in figures["channels"])
    assert figures["filters"]["channels"] == list(STEPPED)
    assert [len(one["field"]) for one in figures["filters"]["levels"]] == [4, 6, 8]
    assert [len(one["strongest"]) for one in figures["filters"]["levels"]] == [2, 2, 2]
    changed = told.pictures["occlusion"]
    assert changed.shape == (5, 5)
    assert changed[1:4, 1:4].mean() > 3 * changed[0].mean()
    assert figures["occlusion"]["most_outside"] < changed.max()
    bands = figures["bands"]
    for name in ("region", "field"):
        within, beyond = bands[name]["in_band"], bands[name]["out_of_band"]
        assert bands[name]["share_out_of_band"] == pytest.approx(beyond / (within + beyond))
    assert {"occlusion", "image", "begun", "result", "correction", "in band", "out of band"} <= set(told.pictures)
    assert np.allclose(told.pictures["result"] - told.pictures["begun"], told.pictures["correction"], atol=1e-2)
    assert ("occlusion", 25, 25) in steps


def test_an_explanation_in_a_volume(problem):
    region = Box((8, 16, 14), (5, 12, 12))
    told = explain(network_of(), problem, region, scale_of(problem), stage=0, top=1, patches=3)
    assert told.figures["filters"]["stage"] == 0
    assert told.figures["filters"]["channels"] == list(CHANNELS)
    assert all(p.shape == (48, 44) for name, p in told.pictures.items() if name != "occlusion")
    json.dumps(told.figures, allow_nan=False)


def test_a_network_that_does_nothing_is_said_to(plane):
    told = explain(IRDNet(Architecture(widths=(4, 6, 8))), plane, Box((0, 24, 20), (1, 12, 12)), 100.0, patches=3)
    assert told.figures["bands"]["region"]["share_out_of_band"] is None
    assert told.figures["bands"]["meaning"] == in_words(None, 0.0)
    assert all(one["change"] == 0 for one in told.figures["channels"])


def test_a_channel_that_no_weight_reads_counts_nothing(plane):
    network = network_of(decorrelate="off")
    with torch.no_grad():
        network.integrate.first.weight[:, 0] = 0
    told = explain(network, plane, Box((0, 24, 20), (1, 12, 12)), 100.0, patches=3)
    changes = {one["channel"]: one["change"] for one in told.figures["channels"]}
    assert changes.pop("RL 2") == 0
    assert min(changes.values()) > 0


def test_what_lies_far_away_does_not_act():
    """A patch beyond the reach of PSF and network leaves the region as it is."""
    psf = Psf(np.ones((1, 1, 1), np.float32), None, None, "point")
    counts = np.random.default_rng(0).poisson(50, (1, 40, 240)).astype(np.float32)
    problem = replace(problem_of(counts, psf, 1.0), level=49.0)
    told = explain(network_of(stages=0), problem, Box((0, 4, 4), (1, 32, 78)), 50.0, patches=8)
    assert told.pictures["occlusion"].shape[1] == 8
    assert told.pictures["occlusion"][:, -1].max() < 1e-6 < told.pictures["occlusion"][:, 0].min()


def test_a_stage_that_is_not_there(plane):
    with pytest.raises(UsageError, match="stages 0 to 2"):
        explain(network_of(), plane, Box((0, 24, 20), (1, 12, 12)), 100.0, stage=3)


def test_words_name_both_parts():
    said = in_words(0.25, 0.1)
    assert "75 % of its energy" in said
    assert "25 % lies" in said
    assert "nothing in the data can confirm" in said
