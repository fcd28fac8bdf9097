"""Neighbourhoods: their weights, their adjoint, and that a part has those of the whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microdeconv.classical.neighbourhoods import Neighbourhoods

places = st.tuples(*[st.integers(-20, 20)] * 3)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 23), st.integers(1, 30))
distances = st.tuples(*[st.integers(0, 7)] * 3)


@given(sizes, places, distances, st.integers(0, 100))
def test_adjoint_and_weights(shape, start, distance, seed):
    random = torch.Generator().manual_seed(seed)
    near = Neighbourhoods(shape, start, distance, "cpu")
    voxels = near.voxels.copy_(torch.rand(shape, generator=random)).clone()
    total = near.total()
    assert float(total.sum()) == pytest.approx(float(voxels.sum()), rel=1e-5)
    nodes = torch.rand(total.shape, generator=random)
    assert float((near.spread(nodes.clone()) * voxels).sum()) == pytest.approx(float((nodes * total).sum()), rel=1e-4)
    assert bool((near.spread(torch.ones_like(nodes)) == 1).all())


@pytest.mark.parametrize("axis", [1, 2])
def test_a_part_has_the_nodes_of_the_whole(axis):
    shape, distance, first = [3, 60, 70], (2, 3, 4), 13
    field = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    whole, part = (Neighbourhoods(s, o, distance, "cpu") for s, o in _whole_and_part(shape, axis, first))
    whole.voxels.copy_(field)
    part.voxels.copy_(field.narrow(axis, first, part.voxels.shape[axis]))
    one, other = (near.spread(near.total()) for near in (whole, part))
    reach = 4 * distance[axis]  # of what lies beyond the part's border
    inner = part.voxels.shape[axis] - 2 * reach
    torch.testing.assert_close(other.narrow(axis, reach, inner), one.narrow(axis, first + reach, inner))


def _whole_and_part(shape, axis, first):
    start = [-2, -12, -12]
    yield shape, start
    yield (
        [n - first - 5 if a == axis else n for a, n in enumerate(shape)],
        [s + first * (a == axis) for a, s in enumerate(start)],
    )


def test_planes_that_share_nothing_are_each_for_itself():
    both, alone = (
        Neighbourhoods((2, 9, 9), (0, 0, 0), (0, 3, 3), "cpu"),
        Neighbourhoods((1, 9, 9), (0, 0, 0), (0, 3, 3), "cpu"),
    )
    both.voxels.copy_(torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(1)))
    alone.voxels.copy_(both.voxels[1:])
    torch.testing.assert_close(both.spread(both.total())[1:], alone.spread(alone.total()), rtol=0, atol=0)
