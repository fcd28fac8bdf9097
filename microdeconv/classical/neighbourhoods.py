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

    @classmethod
    def of(cls, n: int, start: int, distance: int, device: str | torch.device) -> _Axis | None:
        """Plan an axis of n voxels; nothing where there is nothing to share."""
        import torch

        if n == 1 or not distance:
            return None
        before = start % distance
        rise = torch.arange(distance, dtype=torch.float32, device=device) / distance
        return cls(distance, -(-(before + n) // distance), before, rise)


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
        Of nodes along each axis, voxels; 0 along an axis whose voxels have nothing to do with one another.
    device
        A torch device.

    Attributes
    ----------
    voxels
        float32 (z, y, x): to be filled before `total`.
    """

    def __init__(
        self, shape: Sequence[int], start: Sequence[int], distance: Sequence[int], device: str | torch.device
    ) -> None:
        import torch

        axes = [_Axis.of(*along, device) for along in zip(shape, start, distance, strict=True)]
        self._axes = [(number, axis) for number in ORDER if (axis := axes[number])]
        whole = [axis.blocks * axis.spacing if axis else n for n, axis in zip(shape, axes, strict=True)]
        self._whole = torch.zeros(whole, device=device)  # nothing but zeros beside `voxels`, whenever they are summed
        first = [axis.before if axis else 0 for axis in axes]
        z, y, x = (slice(before, before + n) for before, n in zip(first, shape, strict=True))
        self._box = z, y, x
        self.voxels = self._whole[z, y, x]

    def total(self) -> Tensor:
        """Σ weight · voxel for each node, float32 (z, y, x)."""
        found = self._whole if self._axes else self._whole.clone()
        for number, axis in self._axes:
            sizes = list(found.shape)
            blocks = found.view([*sizes[:number], axis.blocks, axis.spacing, *sizes[number + 1 :]])
            found = blocks.new_zeros([*sizes[:number], axis.blocks + 1, *sizes[number + 1 :]])
            left, right = (found.narrow(number, k, axis.blocks) for k in (0, 1))
            for step in range(axis.spacing):
                voxels = blocks.select(number + 1, step)
                left.add_(voxels, alpha=1 - step / axis.spacing)
                if step:
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
