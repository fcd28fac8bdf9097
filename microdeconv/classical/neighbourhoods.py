"""Overlapping neighbourhoods of a grid: what lies in each, and values of each spread over the voxels between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ORDER = (1, 0, 2)  # axes: along x last, where little is left to be summed


class _Axis(NamedTuple):
    """Nodes along an axis: voxels between two, blocks, voxels before the grid in the first, the rise from 0 to 1."""

    spacing: int
    blocks: int
    before: int
    rise: Tensor


class Neighbourhoods:
    """Weights that fall linearly from one at a node to zero at the next nodes; at every voxel they sum to one.

    Nodes lie at multiples of their distance, counted from where the whole field begins: a tile has those of the whole.
    `total` and `spread` are each other's adjoints, Σ v · spread(r) = Σ total(v) · r: voxels v times the spread of
    wanted totals over their own have what is wanted in all.

    Parameters
    ----------
    shape
        Sizes (z, y, x) of the grid.
    start
        Where it begins, voxels (z, y, x).
    distance
        Of nodes along each axis, voxels; not asked along an axis of one voxel.
    device
        A torch device.

    Attributes
    ----------
    voxels
        float32 (z, y, x): to be filled before `total`.
    """

    voxels: Tensor

    def __init__(
        self, shape: Sequence[int], start: Sequence[int], distance: Sequence[int], device: str | torch.device
    ) -> None:
        import torch

        axes = []
        for n, first, apart in zip(shape, start, distance, strict=True):
            before = first % apart
            rise = torch.arange(apart, dtype=torch.float32, device=device) / apart
            axes.append(_Axis(apart, -(-(before + n) // apart), before, rise))
        self._axes = [(number, axes[number]) for number in ORDER if shape[number] > 1]
        whole = [axis.blocks * axis.spacing if n > 1 else 1 for n, axis in zip(shape, axes, strict=True)]
        self._whole = torch.zeros(whole, device=device)  # nothing but zeros beside `voxels`, whenever they are summed
        z, y, x = (slice(a.before, a.before + n) if n > 1 else slice(0, 1) for a, n in zip(axes, shape, strict=True))
        self._box = z, y, x
        self.voxels = self._whole[z, y, x]

    def total(self) -> Tensor:
        """Σ weight · voxel for each node, float32 (z, y, x)."""
        found = self._whole
        for number, axis in self._axes:
            sizes = list(found.shape)
            blocks = found.view([*sizes[:number], axis.blocks, axis.spacing, *sizes[number + 1 :]])
            found = blocks.new_zeros([*sizes[:number], axis.blocks + 1, *sizes[number + 1 :]])
            left, right = (found.narrow(number, k, axis.blocks) for k in (0, 1))
            for step in range(axis.spacing):
                voxels = blocks.select(number + 1, step)
                left.add_(voxels, alpha=1 - step / axis.spacing)
                right.add_(voxels, alpha=step / axis.spacing)
        return self._shared(found)

    def spread(self, nodes: Tensor) -> Tensor:
        """Σ weight · node for each voxel, float32 (z, y, x); `nodes` are overwritten."""
        import torch

        nodes = self._shared(nodes)
        for number, axis in reversed(self._axes):
            left, right = (nodes.narrow(number, k, axis.blocks).unsqueeze(number + 1) for k in (0, 1))
            rise = axis.rise.reshape([-1] + [1] * (2 - number))
            nodes = torch.lerp(left, right, rise).flatten(number, number + 1)
        return nodes[self._box]

    def _shared(self, nodes: Tensor) -> Tensor:
        """Give a quarter of each node to either neighbour, in place: so it matters less where the nodes lie."""
        for number, axis in self._axes:
            flow = nodes.diff(dim=number).mul_(0.25)
            nodes.narrow(number, 0, axis.blocks).add_(flow)
            nodes.narrow(number, 1, axis.blocks).sub_(flow)
        return nodes
