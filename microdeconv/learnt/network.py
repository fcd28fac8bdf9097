"""IRDNet: iterates of physics, integrated, then refined in stages that look back at the counts, from coarse to fine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from microdeconv.learnt.layers import Decorrelation, UNet
from microdeconv.learnt.physics import CHANNELS, STEPPED, View, coarser, data_step, observe
from microdeconv.problem import Problem
from microdeconv.tiles import Shape

SLOPE = 0.02  # below zero, in a training
GRID = 4  # pixels of the coarsest level of a U-Net: y and x are filled up to multiples
SEEN, SEEN_PLANES = 24, 5  # pixels and planes to each side that a U-Net sees, a multiple of the grid
HALO = (SEEN_PLANES, SEEN, SEEN)
BLOCK = 2_000_000  # voxels at most that pass a U-Net at once: about 130 floats each are held meanwhile
MOST_CUTS = 40  # blocks along an axis
FACTS = 3
COARSE = len(STEPPED) - 1  # the channel of the coarser object


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the network is made of; each idea has its switch.

    Attributes
    ----------
    widths
        Channels of the U-Nets at full, half and quarter size.
    stages
        Data steps, each followed by the second U-Net.
    scales
        Resolutions, each half of the next, all with the same weights.
    unit
        "ird": units take what they find off their input; "plain": two convolutions.
    transposed
        Transposed convolutions in units and on the way up; else ordinary ones.
    switches
        Values are unpooled to the places that they had; else interpolated.
    decorrelate
        Of what a U-Net is given: "channels", with their neighbouring "pixels", or "off".
    concatenated
        All stages' and scales' objects are integrated at the end; else the last one is the result.
    bank
        "full", or "one": a single Richardson-Lucy iterate stands for all of them.
    shared
        Whether the stages share their weights.
    voxel
        Whether the size of the voxels is told: for a network that gets no PSF.
    """

    widths: tuple[int, int, int] = (16, 32, 48)
    stages: int = 2
    scales: int = 1
    unit: Literal["ird", "plain"] = "ird"
    transposed: bool = True
    switches: bool = True
    decorrelate: Literal["off", "channels", "pixels"] = "channels"
    concatenated: bool = True
    bank: Literal["full", "one"] = "full"
    shared: bool = True
    voxel: bool = False


class IRDNet(nn.Module):
    """The network; its input is views of volumes, its output objects in units of their scale.

    Parameters
    ----------
    architecture
        See `Architecture`.

    References
    ----------
    L. Si-Yao et al., arXiv:1804.06042, iterates concatenated and integrated. X. Tao et al., CVPR 2018, scales with
    shared weights. Y. Sanghvi et al., arXiv:2110.15314, unrolled steps for few photons.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        given = len(CHANNELS) + 2 * a.voxel
        inner = {"transposed": a.transposed, "residual": a.unit == "ird", "switches": a.switches}
        pixels = a.decorrelate == "pixels"
        self.decorrelations = nn.ModuleList(
            [Decorrelation(given, pixels=pixels), Decorrelation(len(STEPPED), pixels=pixels)]
            if a.decorrelate != "off" else []
        )  # fmt: skip
        self.integrate = UNet(given, a.widths, **inner)
        self.refine = nn.ModuleList(UNet(len(STEPPED), a.widths, **inner) for _ in range(1 if a.shared else a.stages))
        self.strengths = nn.Sequential(nn.Linear(FACTS, 16), nn.PReLU(), nn.Linear(16, max(a.stages, 1)))
        self.enlarge = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1)
        self.enlarge.weight.data = _bilinear()
        nn.init.zeros_(self.enlarge.bias)  # type: ignore[arg-type]
        if a.concatenated:
            self.last = nn.Sequential(
                nn.Conv2d(a.stages + a.scales, 12, 1), nn.PReLU(12), nn.Conv2d(12, 1, 3, padding=1)
            )
            for parameter in self.last[2].parameters():
                nn.init.zeros_(parameter)

    def forward(self, scales: Sequence[Sequence[View]]) -> list[Tensor]:
        """Deconvolve a batch.

        Parameters
        ----------
        scales
            The batch's views, of equal fields, at each resolution, the coarsest first; see `views_of`.

        Returns
        -------
        list
            Objects (n, z, y, x) of all stages at all resolutions, the final one last.
        """
        found: list[Tensor] = []
        finer: list[Tensor] = []
        before: Tensor | None = None
        stages: list[Tensor] = []
        for views in scales:
            y, x = views[0].bank.shape[2:]
            coarse = None
            if before is not None:
                coarse = self.enlarge(before.flatten(0, 1)[:, None])[:, :, :y, :x]
                finer = [self.enlarge(one)[:, :, :y, :x] for one in finer] + [coarse]
            stages = self._stages(views, coarse)
            before = stages[-1]
            found += stages
        if self.architecture.concatenated:
            given = torch.cat([*finer, *(one.flatten(0, 1)[:, None] for one in stages)], 1)
            more = self.last(given)[:, 0].reshape(stages[-1].shape)
            found.append(self._positive(stages[-1] + more))
        return found

    def _stages(self, views: Sequence[View], coarse: Tensor | None) -> list[Tensor]:
        bank = torch.stack([self._bank(view) for view in views])
        begun = torch.stack([view.begun for view in views])
        x = self._positive(begun + self._passed(0, self.integrate, bank))
        stages = [x]
        strengths = nn.functional.softplus(self.strengths(torch.stack([view.facts for view in views])) - 3)
        for stage in range(self.architecture.stages):
            steps = [data_step(view, one, s[stage]) for view, one, s in zip(views, x, strengths, strict=True)]
            given = torch.stack(steps)
            known = given[:, :1] if coarse is None else coarse.reshape(-1, 1, *x.shape[1:])
            given = torch.cat([given, known], 1)
            network = self.refine[0 if self.architecture.shared else stage]
            x = self._positive(x + self._passed(1, network, given))
            stages.append(x)
        return stages

    def _positive(self, x: Tensor) -> Tensor:
        """Nothing below zero; a training sees a slope there, so that an object that is all dark can come back."""
        return nn.functional.leaky_relu(x, SLOPE) if self.training else nn.functional.relu(x)

    def _bank(self, view: View) -> Tensor:
        bank = view.bank
        if self.architecture.voxel:
            flat = [bank.new_full(bank.shape[1:], size) for size in view.sizes]
            bank = torch.cat([bank, torch.stack(flat)])
        if self.architecture.bank == "one":
            bank = bank.clone()
            bank[:7] = view.begun
        return bank

    def _passed(self, kind: int, network: nn.Module, given: Tensor) -> Tensor:
        """Decorrelate, fill up to the grid, pass through a U-Net, cut to size: (n, c, z, y, x) to (n, z, y, x).

        Without gradients large volumes pass block by block, each with all that its middle can see: the same values.
        """
        if torch.is_grad_enabled() or given[0, 0].numel() <= BLOCK:
            return self._at_once(kind, network, given)
        out = given.new_empty(given.shape[0], *given.shape[2:])
        field = (given.shape[2], given.shape[3], given.shape[4])
        for z, y, x in itertools.product(*map(_cores, field, _divided(field, BLOCK))):
            read = [_around(core, n, h) for core, n, h in zip((z, y, x), field, HALO, strict=True)]
            part = self._at_once(kind, network, given[(slice(None), slice(None), *read)])
            inner = [slice(c.start - r.start, c.stop - r.start) for c, r in zip((z, y, x), read, strict=True)]
            out[:, z, y, x] = part[(slice(None), *inner)]
        return out

    def _at_once(self, kind: int, network: nn.Module, given: Tensor) -> Tensor:
        flat = given.transpose(1, 2).flatten(0, 1)
        if len(self.decorrelations):
            flat = self.decorrelations[kind](flat)
        planes, y, x = given.shape[2:]
        if y % GRID or x % GRID:
            flat = nn.functional.pad(flat, (0, -x % GRID, 0, -y % GRID), mode="replicate")
        flat = flat.contiguous(memory_format=torch.channels_last)  # one name: what is passed on is let go
        out = network(flat, planes)
        cut: Tensor = out[:, 0, :y, :x]
        return cut.reshape(-1, planes, y, x)


@lru_cache(16)
def _divided(field: Shape, most: int) -> Shape:
    """Sizes (z, y, x) of blocks' middles such that no block is too large and the least is passed twice."""
    ways = []
    for size, halo, unit in zip(field, HALO, (1, GRID, GRID), strict=True):
        edges = dict.fromkeys(-(-size // (n * unit)) * unit for n in range(1, MOST_CUTS + 1))
        reads = [[r.stop - r.start for r in (_around(c, size, halo) for c in _cores(size, e))] for e in edges]
        ways.append([(edge, max(read), sum(read)) for edge, read in zip(edges, reads, strict=True)])
    fitting = [way for way in itertools.product(*ways) if math.prod(axis[1] for axis in way) <= most]
    best = min(
        fitting or itertools.product(*ways), key=lambda way: math.prod(axis[2 if fitting else 1] for axis in way)
    )
    return best[0][0], best[1][0], best[2][0]


def _cores(size: int, edge: int) -> list[slice]:
    return [slice(start, min(start + edge, size)) for start in range(0, size, edge)]


def _around(core: slice, size: int, halo: int) -> slice:
    return slice(max(core.start - halo, 0), min(core.stop + halo, size))


def views_of(
    problem: Problem, scale: float | None, scales: int, voxel_um: tuple[float, float, float] | None = None
) -> list[View]:
    """Give a problem's views at each resolution, the coarsest first; voxels are of a size (z, y, x) in µm, if known."""
    views = [observe(problem, scale, voxel_um)]
    for _ in range(scales - 1):
        problem, scale = coarser(problem), 4 * views[0].scale
        voxel_um = None if voxel_um is None else (voxel_um[0], 2 * voxel_um[1], 2 * voxel_um[2])
        views.insert(0, observe(problem, scale, voxel_um))
    return views


def object_found(
    network: IRDNet, problem: Problem, scale: float | None, voxel_um: tuple[float, float, float] | None = None
) -> Tensor:
    """Give the object that a network finds, photo-electrons; around the field it is a Richardson-Lucy iterate."""
    views = views_of(problem, scale, network.architecture.scales, voxel_um)
    whole = views[-1].start.clone()
    problem.blur.crop(whole).copy_(network([[view] for view in views])[-1][0])
    return whole.mul_(views[-1].scale)


def _bilinear() -> Tensor:
    line = (0.25, 0.75, 0.75, 0.25)
    return torch.tensor([[[[a * b for a in line] for b in line]]])  # a product of meta tensors wakes torch's compiler
