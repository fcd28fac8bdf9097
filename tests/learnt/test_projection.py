"""The way back through a U-Net: adjoint where it is linear, and it finds what fired."""

from dataclasses import replace

import pytest
import torch
from conftest import problem_of

from microdeconv.learnt.layers import pooled
from microdeconv.learnt.network import Architecture, IRDNet, views_of
from microdeconv.learnt.physics import CHANNELS, STEPPED
from microdeconv.learnt.projection import box_at, deviation, project, seen_by, traced
from microdeconv.simulate import gaussian_psf
from microdeconv.stack import Psf

PLANE, VOLUME = (1, 44, 38), (6, 36, 32)


def network_of(seed=0, **changes):
    """A network of which every weight acts."""
    torch.manual_seed(seed)
    network = IRDNet(Architecture(**{"widths": (6, 8, 10), **changes})).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "enlarge" not in name and "strengths" not in name and value.ndim > 1:
                fan = value[0].numel()
                value.add_(torch.randn_like(value) / fan**0.5 * 0.5)
    return network


def views_for(shape, place, scales=1):
    psf = Psf(gaussian_psf((1.2 if shape[0] > 1 else 1e-3, 1.2, 1.2)), None, None, "Gaussian")
    if shape[0] == 1:
        psf = replace(psf, pixels=psf.pixels[psf.shape[0] // 2][None] / psf.pixels[psf.shape[0] // 2].sum())
    problem = problem_of(torch.zeros(shape).numpy(), psf, 2.0)
    light = torch.zeros(problem.blur.object_shape)
    problem.blur.crop(light)[place] = 5000
    seen = torch.poisson(problem.blur.forward(light).clamp_min(0) + 2, torch.Generator().manual_seed(1))
    return views_of(replace(problem_of(seen.numpy(), psf, 2.0), level=3.0), 200.0, scales)


def linear(affine):
    return lambda x: affine(x) - affine(torch.zeros_like(x))


def down(trace, level, x):
    """The linear parts of the way down, with the switches as they were."""
    net = trace.network
    x = linear(net.first)(linear(trace.enter)(x))
    for one in range(level + 1):
        if one:
            _, switch = pooled(trace.levels[one - 1])
            x = 4 * torch.nn.functional.avg_pool2d(x * switch, 2)
            x = linear(net.narrow[one - 1])(x)
        unit, axial = net.units[one], net.axial[one]
        found = linear(unit.synthesis)(linear(unit.analysis)(x))
        x = x - found if unit.residual else found
        x = linear(lambda y, axial=axial: axial(y, trace.given.shape[0]))(x)
    return x


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("shape", [PLANE, VOLUME], ids=["plane", "volume"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"decorrelate": "pixels"}, {"decorrelate": "off", "unit": "plain", "transposed": False}],
    ids=["usual", "pixels", "plain"],
)
def test_without_rectifiers_it_is_the_adjoint(level, shape, changes):
    network = network_of(**changes)
    _, traces = traced(network, views_for(shape, (shape[0] // 2, 20, 15)))
    network.double()
    for trace in traces:
        levels = tuple(answers.double() for answers in trace.levels)
        trace = replace(trace, given=trace.given.double(), entered=trace.entered.double(), levels=levels)
        x, z = torch.randn_like(trace.given), torch.randn_like(trace.levels[level])
        with torch.no_grad():
            ahead = float((down(trace, level, x) * z).sum())
        back = float((x * project(trace, level, z, lambda y: y)).sum())
        assert ahead == pytest.approx(back, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [PLANE, VOLUME], ids=["plane", "volume"])
def test_an_isolated_bead_is_what_was_seen(seed, shape):
    bead = (shape[0] // 2, 20, 15)
    _, (trace, *_) = traced(network_of(seed), views_for(shape, bead))  # only the bank is sure to hold nothing else
    box = (slice(0, shape[0]), slice(4, 32), slice(2, 30))
    for level, near in enumerate((2, 2, 4)):  # at quarter size a voxel is 4 wide
        planes, y, x = box_at(box, level)
        fired = deviation(trace, level)[planes, :, y, x].square().mean((0, 2, 3))
        seen = seen_by(trace, level, int(fired.argmax()), box)
        assert seen.pattern.shape == shape
        peak = torch.unravel_index(seen.pattern.argmax(), shape)
        assert max(abs(int(p) - b) for p, b in zip(peak, bead, strict=True)) <= near
        assert sum(seen.shares.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"scales": 2}, {"shared": False, "stages": 3}, {"stages": 0}], ids=str)
def test_a_trace_changes_nothing_and_names_its_channels(changes):
    network = network_of(**changes)
    views = views_for(PLANE, (0, 20, 15), network.architecture.scales)
    result, traces = traced(network, views)
    with torch.no_grad():
        again = network([[view] for view in views])[-1][0]
    assert torch.equal(result, again)
    assert [trace.names for trace in traces] == [CHANNELS] + [STEPPED] * network.architecture.stages
    assert [trace.levels[2].shape[2:] for trace in traces] == [(11, 10)] * len(traces)
    assert all(trace.given.shape[2:] == PLANE[1:] for trace in traces)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_filter_that_did_not_fire_saw_nothing():
    network = network_of()
    with torch.no_grad():
        network.refine[0].axial[0].here.weight[3] = 0
        network.refine[0].units[0].synthesis.weight[:, 3] = 0
        network.refine[0].first.weight[3] = 0
    _, traces = traced(network, views_for(PLANE, (0, 20, 15)))
    seen = seen_by(traces[-1], 0, 3, (slice(0, 1), slice(0, 44), slice(0, 38)))
    assert float(seen.pattern.max()) == 0
    assert set(seen.shares.values()) == {0.0}
