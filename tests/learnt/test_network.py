"""The network's parts and the whole: known answers before any training, and the same values however it is cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import problem_of

from microdeconv.learnt import network as networks
from microdeconv.learnt.layers import CLOSE, Axial, Decorrelation, UNet, Unit, pooled, unpooled
from microdeconv.learnt.network import Architecture, IRDNet, views_of
from microdeconv.learnt.physics import scale_of
from microdeconv.methods import METHODS
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf

SMALL = Architecture(widths=(4, 6, 8))


def views(shape, scales=1, seed=1, voxel_um=None):
    psf = Psf(gaussian_psf((0 if shape[0] == 1 else 1, 1.5, 1.5)), None, None, "")
    scene = simulate("mixed", shape, psf.pixels, Exposure(200, 20, 0, read_noise=0), seed)
    problem = problem_of(scene.counts.astype(np.float32), psf, 20.0)
    return views_of(problem, scale_of(problem), scales, voxel_um)


def shaken(network, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network.eval()


def test_decorrelated_channels_are_decorrelated():
    torch.manual_seed(0)
    mixing = torch.randn(5, 5)
    x = torch.einsum("ij,njyx->niyx", mixing, torch.randn(4, 5, 30, 30)) + 3
    layer = Decorrelation(5).train()
    out = layer(x).transpose(0, 1).flatten(1)
    assert out.mean(1).abs().max() < 1e-3
    torch.testing.assert_close(torch.cov(out), torch.eye(5), rtol=0, atol=0.05)


def test_decorrelation_with_neighbours_sharpens():
    torch.manual_seed(0)
    x = torch.nn.functional.avg_pool2d(torch.randn(4, 2, 62, 62), 3, stride=1)
    layer = Decorrelation(2, pixels=True).train()
    out = layer(x)
    assert out.shape == x.shape
    neighbours = float((out[..., 1:] * out[..., :-1]).mean() / out.square().mean())
    assert abs(neighbours) < 0.2 < float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean())


def test_units_and_axial_mixing_begin_as_the_identity():
    x = torch.randn(6, 4, 8, 8)
    torch.testing.assert_close(Unit(4)(x), x)
    torch.testing.assert_close(Axial(4)(x, 3), x)


def test_axial_mixing_sees_one_plane_to_each_side():
    layer = shaken(Axial(3))
    x = torch.zeros(5, 3, 4, 4)
    x[2] = 1
    changed = (layer(x, 5) != 0).flatten(1).any(1)
    assert changed.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(layer(x, 1), x)


def test_unpooling_puts_a_spot_where_it_was():
    x = torch.zeros(1, 2, 16, 16)
    x[:, :, 5, 11] = 1
    smaller, switch = pooled(x)
    torch.testing.assert_close(smaller, torch.nn.functional.max_pool2d(x, 2))
    torch.testing.assert_close(UNet(2, (2, 2, 2))._up(smaller, switch), x)


def test_a_switch_is_shared_by_what_is_close_and_never_jumps():
    """Two places change their order: what comes up follows, a little at a time."""
    x = torch.zeros(1, 1, 2, 2)
    before = None
    for lead in torch.linspace(-2 * CLOSE, 2 * CLOSE, 401):
        x[0, 0, 0] = torch.tensor([1.0, 1.0 + lead])
        smaller, switch = pooled(x)
        assert float(smaller) <= float(x.max()) <= float(smaller) + CLOSE
        assert float(switch.sum()) == pytest.approx(1, abs=1e-6)
        up = unpooled(smaller, switch)
        assert before is None or float((up - before).abs().max()) < 0.02
        before = up
    assert switch[0, 0, 0].tolist() == [0, 1]
    assert pooled(torch.ones(1, 1, 4, 4))[1].unique().tolist() == [0.25]


@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 33, 30), (5, 18, 22)])
def test_before_any_training_it_gives_the_iterate_that_it_begins_with(shape, scales):
    seen = views(shape, scales)
    with torch.no_grad():
        found = IRDNet(replace(SMALL, scales=scales)).eval()([[one] for one in seen])
    torch.testing.assert_close(found[-1][0], seen[-1].begun)
    assert len(found) == scales * (1 + SMALL.stages) + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": "plain"},
        {"transposed": False},
        {"switches": False},
        {"decorrelate": "off"},
        {"decorrelate": "pixels"},
        {"concatenated": False},
        {"bank": "one"},
        {"shared": False},
        {"stages": 0},
        {"voxel": True},
    ],
    ids=str,
)
def test_every_switch_changes_the_network_and_works(changes):
    seen = views((4, 20, 20))
    usual, other = IRDNet(SMALL), IRDNet(replace(SMALL, **changes))
    with torch.no_grad():
        found = shaken(other)([seen])[-1]
    assert found.shape == (1, 4, 20, 20)
    assert torch.isfinite(found).all()
    names = {n: tuple(p.shape) for n, p in usual.state_dict().items()}
    differs = names != {n: tuple(p.shape) for n, p in other.state_dict().items()}
    kinds = [type(m) for m in usual.modules()] != [type(m) for m in other.modules()]
    with torch.no_grad():
        values = not torch.equal(found, shaken(usual)([seen])[-1])
    assert differs or kinds or values


@pytest.mark.parametrize("shape", [(1, 90, 75), (14, 60, 50)])
def test_block_by_block_gives_the_same(shape, monkeypatch):
    seen = [[view] for view in views(shape)]
    network = shaken(IRDNet(SMALL))
    with torch.inference_mode():
        whole = network(seen)[-1]
        monkeypatch.setattr(networks, "BLOCK", 20_000 if shape[0] > 1 else 3000)
        parts = network(seen)[-1]
    assert float((whole - parts).abs().max()) < 1e-5 * float(whole.max())


@pytest.mark.parametrize("field", [(1, 3000, 2000), (64, 256, 256), (300, 90, 1000)])
def test_blocks_are_of_the_size_that_is_planned_with_and_little_is_passed_twice(field):
    block = METHODS["learnt"].block[1]
    assert block == networks.BLOCK
    middles = networks._divided(field, block)
    passed, largest = 1.0, 1
    for size, edge, halo in zip(field, middles, networks.HALO, strict=True):
        reads = [networks._around(core, size, halo) for core in networks._cores(size, edge)]
        passed *= sum(r.stop - r.start for r in reads) / size
        largest *= max(r.stop - r.start for r in reads)
    assert largest <= block
    assert passed < 1.7


def test_a_batch_gives_what_its_members_give():
    network = shaken(IRDNet(SMALL))
    one, other = views((1, 32, 32), seed=1), views((1, 32, 32), seed=2)
    with torch.inference_mode():
        both = network([[*one, *other]])[-1]
        torch.testing.assert_close(both[1], network([other])[-1][0], rtol=1e-4, atol=1e-5)


def test_told_the_voxel_size_it_answers_otherwise():
    network = shaken(IRDNet(replace(SMALL, voxel=True)))
    with torch.inference_mode():
        small, large = (network([views((1, 32, 32), voxel_um=(1, v, v))])[-1] for v in (0.05, 0.3))
    assert float((small - large).abs().max()) > 1e-3
