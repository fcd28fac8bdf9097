"""Why the network gives what it gives in a region: filters, surroundings, channels, and what data can confirm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.blur import Blur
from microdeconv.errors import UsageError
from microdeconv.extent import support
from microdeconv.fft import Shape
from microdeconv.learnt.guard import PASSED
from microdeconv.problem import Problem
from microdeconv.stack import Psf, PsfSet

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.learnt.network import IRDNet
    from microdeconv.learnt.physics import View
    from microdeconv.learnt.projection import Slices, Trace

EDGE, PLANES = 32, 5  # voxels of a region that nobody gave the size of
PSF_SHARE = 0.97  # of the PSF's energy comes from within the surroundings
REACH, REACH_PLANES = 48, 8  # voxels that the network looks beyond
GRID = 16  # surroundings begin at multiples, so that pooling takes the same voxels together as in a run
PATCHES = (9, 5)  # along y and x, of small and of large fields
SMALL = 150_000  # voxels
PATCH_LEAST = 4  # voxels
FLAT = ("noise",)  # channels that are no picture: their mean stands for them
FACTS = ("log NSR",)  # channels of one number

Sizes = tuple[float, float, float]
Listen = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a stack: its first voxel and its sizes (z, y, x)."""

    start: Shape
    size: Shape

    @property
    def slices(self) -> Slices:
        """To cut it out."""
        z, y, x = (slice(s, s + n) for s, n in zip(self.start, self.size, strict=True))
        return z, y, x

    def within(self, outer: Box) -> Box:
        """The same voxels, counted from the first one of a box around them."""
        z, y, x = (s - o for s, o in zip(self.start, outer.start, strict=True))
        return replace(self, start=(z, y, x))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found.

    Attributes
    ----------
    figures
        Numbers and words, ready for JSON.
    pictures
        Arrays (y, x) by name: means over the region's planes of the field, and the occlusion map.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def region_of(asked: str | tuple[int, ...], volume: NDArray[Any]) -> Box:
    """Settle the region.

    Parameters
    ----------
    asked
        "brightest", "centre", or its middle voxel z y x and, behind that, one edge for y and x or the sizes z y x.
    volume
        Counts (z, y, x).

    Raises
    ------
    UsageError
        When it does not lie in the volume.
    """
    field_ = volume.shape[0], volume.shape[1], volume.shape[2]
    size = (min(PLANES, field_[0]), min(EDGE, field_[1]), min(EDGE, field_[2]))
    if isinstance(asked, str):
        middle = _brightest(volume, size) if asked == "brightest" else (field_[0] // 2, field_[1] // 2, field_[2] // 2)
    else:
        z, y, x, *rest = asked
        middle = z, y, x
        if len(rest) == 1:
            size = (size[0], rest[0], rest[0])
        elif rest:
            size = (rest[0], rest[1], rest[2])
    told = "x".join(map(str, field_))
    if any(not 0 <= m < n for m, n in zip(middle, field_, strict=True)):
        said = " ".join(map(str, middle))
        raise UsageError(f"--region {said}: is outside the stack of {told} voxels (z y x)", "count from 0")
    if any(s > n for s, n in zip(size, field_, strict=True)):
        said = "x".join(map(str, size))
        raise UsageError(f"--region of {said} voxels is larger than the stack of {told} (z y x)", "give smaller sizes")
    z, y, x = (min(max(m - s // 2, 0), n - s) for m, s, n in zip(middle, size, field_, strict=True))
    return Box((z, y, x), size)


def _brightest(volume: NDArray[Any], size: Shape) -> Shape:
    from scipy.ndimage import uniform_filter

    means = uniform_filter(volume.astype(np.float32), size)
    z, y, x = np.unravel_index(int(means.argmax()), means.shape)
    return int(z), int(y), int(x)


def surroundings(region: Box, psf: Psf | PsfSet, field: Shape) -> Box:
    """What of a field acts on a region through the PSF and the network: all that is computed."""
    reaches = [support(one, PSF_SHARE) for one in psf.parts]
    more = (REACH_PLANES, REACH, REACH)
    start, size = [], []
    for axis, n in enumerate(field):
        beyond = max(reach[axis] for reach in reaches) + more[axis]
        first = max(region.start[axis] - beyond, 0)
        first -= first % GRID if axis else 0
        start.append(first)
        size.append(min(region.start[axis] + region.size[axis] + beyond, n) - first)
    return Box((start[0], start[1], start[2]), (size[0], size[1], size[2]))


def explain(
    network: IRDNet, problem: Problem, region: Box, scale: float, *, voxel_um: Sizes | None = None,
    stage: int | None = None, top: int = 4, patches: int | None = None,
    listen: Listen | None = None,
) -> Explanation:  # fmt: skip
    """Explain a network's result in a region of a field.

    Parameters
    ----------
    network
        Trained.
    problem
        Of the field: the region and its surroundings, in photo-electrons.
    region
        Counted from the field's first voxel.
    scale
        See `scale_of`; of the whole volume, so that it agrees with a run.
    voxel_um
        (z, y, x), for a network that gets no PSF.
    stage
        Whose filters are looked at: 0 for the integration, 1 and on for the refinements; the last by default.
    top
        Filters of each level that are projected.
    patches
        Of the occlusion map, along y and x; chosen by the field's size by default.
    listen
        Called with what is being done, the step and how many there are.

    Raises
    ------
    UsageError
        For a stage that the network does not have.
    """
    import torch

    from microdeconv.learnt.network import views_of
    from microdeconv.learnt.projection import traced

    stages = network.architecture.stages
    chosen = stages if stage is None else stage
    if not 0 <= chosen <= stages:
        raise UsageError(f"--stage {chosen}: the network has stages 0 to {stages}", "leave it out for the last one")
    network.eval()
    listen = listen or _silent
    told = Explanation()
    with torch.no_grad():
        views = views_of(problem, scale, network.architecture.scales, voxel_um)
        result, traces = traced(network, views)
        _look(told, views[-1], result, region)
        _bands(told, views[-1], result, region)
        told.figures["filters"] = {"stage": chosen, **_filters(told, traces[chosen], region, top)}
        told.figures["channels"] = _channels(network, views, result, region, listen)
        told.figures["occlusion"] = _occlusion(told, network, views[-1], result, region, patches, listen)
    return told


def _silent(work: str, step: int, steps: int) -> None:
    del work, step, steps


def _flat(volume: Tensor, region: Box) -> NDArray[np.float32]:
    """A picture of a volume: the mean over the region's planes."""
    return np.asarray(volume[region.slices[0]].mean(0).cpu().numpy(), np.float32)


def _look(told: Explanation, view: View, result: Tensor, region: Box) -> None:
    """What went in and what came out, in photo-electrons."""
    scale, box = view.scale, region.slices
    image = view.problem.image - view.problem.background
    told.pictures["image"] = _flat(image, region)
    told.pictures["begun"] = _flat(view.begun * scale, region)
    told.pictures["result"] = _flat(result * scale, region)
    change = _change(view.begun[box], result[box])
    told.figures["result"] = {
        "scale": scale, "background": view.problem.background, "light": float(result[box].sum()) * scale,
        "light_of_rl": float(view.begun[box].sum()) * scale, "change_from_rl": change,
    }  # fmt: skip


def _change(other: Tensor, result: Tensor) -> float:
    """Root mean square of a difference, relative to the result's."""
    return float((other - result).square().mean().sqrt() / result.square().mean().sqrt().clamp_min(1e-12))


def split_bands(blur: Blur, correction: Tensor) -> tuple[Tensor, Tensor]:
    """Split a volume into what lies where the OTF passes more than `PASSED`, and the rest.

    Parameters
    ----------
    blur
        The forward model; of several PSFs the one that passes most counts.
    correction
        float32 (z, y, x) on the field; continued beyond it by its mirror image, faded out.
    """
    import torch

    from microdeconv.classical.wiener import continue_field

    passed = blur.power().amax(0)
    point = np.zeros(blur.psf.shape, np.float32)
    point[tuple(n // 2 for n in point.shape)] = 1
    alike = Blur(Psf(point, None, None, "point"), blur.field, blur.device)  # the same grid, passing everything
    mask = (passed > PASSED**2).to(torch.float32)
    inside = alike.crop(alike.restore(continue_field(correction, alike.margin), mask))
    return inside, correction - inside


def _bands(told: Explanation, view: View, result: Tensor, region: Box) -> None:
    """Energy of the correction where the data can confirm it, and where they cannot."""
    correction = result - view.begun
    inside, outside = split_bands(view.problem.blur, correction)
    found: dict[str, Any] = {"otf_least": PASSED}
    for name, box in (("region", region.slices), ("field", (slice(None),) * 3)):
        within, beyond = (float(part[box].square().sum(dtype=part.double().dtype)) for part in (inside, outside))
        total = within + beyond
        share = beyond / total if total > 0 else None
        found[name] = {
            "in_band": within * view.scale**2, "out_of_band": beyond * view.scale**2, "share_out_of_band": share,
        }  # fmt: skip
    found["meaning"] = in_words(found["region"]["share_out_of_band"], told.figures["result"]["change_from_rl"])
    told.figures["bands"] = found
    told.pictures["correction"] = _flat(correction * view.scale, region)
    told.pictures["in band"] = _flat(inside * view.scale, region)
    told.pictures["out of band"] = _flat(outside * view.scale, region)


def in_words(share: float | None, change: float) -> str:
    """What the share of a correction's energy out of band means, for a person."""
    if share is None:
        return "The network left the Richardson-Lucy iterate as it was: there is no correction to judge."
    return (
        f"The correction is {100 * change:.2g} % as strong as the result. {100 * (1 - share):.0f} % of its energy lies "
        f"at frequencies of which the microscope passes more than {100 * PASSED:.0f} %: the counts can confirm or "
        f"deny that part. {100 * share:.0f} % lies at frequencies of which next to nothing reaches the camera: nothing "
        "in the data can confirm that part, it is what the network learnt to expect of such structures."
    )


def _filters(told: Explanation, trace: Trace, region: Box, top: int) -> dict[str, Any]:
    """How much each filter is used, and what the strongest in the region saw."""
    from microdeconv.learnt.projection import LEVELS, box_at, deviation, seen_by

    levels = []
    for level in range(LEVELS):
        fired = deviation(trace, level)
        planes, y, x = box_at(region.slices, level)
        everywhere = fired.square().mean((0, 2, 3)).sqrt()
        here = fired[planes, :, y, x].square().mean((0, 2, 3)).sqrt()
        strongest = []
        for number in here.argsort(descending=True)[:top].tolist():
            seen = seen_by(trace, level, number, region.slices)
            told.pictures[f"filter {level} {number}"] = _flat(seen.pattern, region)
            peak = np.unravel_index(int(seen.pattern.argmax()), tuple(seen.pattern.shape))
            strongest.append({"filter": number, "peak": [int(p) for p in peak], "shares": seen.shares})
        levels.append({"level": level, "field": everywhere.tolist(), "region": here.tolist(), "strongest": strongest})
    return {"channels": list(trace.names), "levels": levels}


def _channels(
    network: IRDNet, views: list[View], result: Tensor, region: Box, listen: Listen
) -> list[dict[str, Any]]:  # fmt: skip
    """The change of the result when a channel is replaced by the iterate that the network begins with."""
    from microdeconv.learnt.physics import CHANNELS, START

    found: list[dict[str, Any]] = []
    for number, name in enumerate(CHANNELS):
        listen("channels", number + 1, len(CHANNELS))
        if name in FACTS or number == START:
            continue
        changed = []
        for view in views:
            bank = view.bank.clone()
            bank[number] = bank[number].mean() if name in FLAT else view.begun
            changed.append(replace(view, bank=bank))
        other = network([[view] for view in changed])[-1][0]
        by = "its mean" if name in FLAT else CHANNELS[START]
        found.append(
            {"channel": name, "replaced_by": by, "change": _change(other[region.slices], result[region.slices])}
        )
    return found


def _occlusion(
    told: Explanation, network: IRDNet, view: View, result: Tensor, region: Box, patches: int | None, listen: Listen
) -> dict[str, Any]:  # fmt: skip
    """The change of the result in the region when a patch of the counts is replaced by the background."""
    from microdeconv.learnt.network import views_of

    problem, scales = view.problem, network.architecture.scales
    fields = problem.blur.field
    number = patches or PATCHES[math.prod(fields) > SMALL]
    first = [max(region.start[a] - region.size[a], 0) for a in (1, 2)]
    last = [min(region.start[a] + 2 * region.size[a], fields[a]) for a in (1, 2)]
    edge = [max(-(-(b - a) // number), PATCH_LEAST) for a, b in zip(first, last, strict=True)]
    ys, xs = (list(range(a, b, e)) for a, b, e in zip(first, last, edge, strict=True))
    changes = np.zeros((len(ys), len(xs)), np.float32)
    for place, (row, column) in enumerate(np.ndindex(*changes.shape)):
        listen("occlusion", place + 1, changes.size)
        image = problem.image.clone()
        y, x = ys[row], xs[column]
        image[:, y : min(y + edge[0], last[0]), x : min(x + edge[1], last[1])] = problem.background
        views = views_of(replace(problem, image=image), view.scale, scales, view.voxel_um)
        other = network([[view] for view in views])[-1][0]
        changes[row, column] = _change(other[region.slices], result[region.slices])
    told.pictures["occlusion"] = changes
    return {
        "first": first,
        "last": last,
        "patch": edge,
        "change": changes.tolist(),
        **_outside(changes, ys, xs, edge, region),
    }


def _outside(
    changes: NDArray[np.float32], ys: list[int], xs: list[int], edge: list[int], region: Box
) -> dict[str, Any]:  # fmt: skip
    """The most that a patch wholly outside the region changes, and where it is."""
    best: dict[str, Any] = {"most_outside": None, "most_outside_at": None}
    box = region.slices[1:]
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            apart = any(
                at + e <= s.start or at >= s.stop for at, e, s in zip((y, x), edge, box, strict=True)
            )  # fmt: skip
            if apart and changes[row, column] > (best["most_outside"] or 0):
                best = {"most_outside": float(changes[row, column]), "most_outside_at": [y, x]}
    return best
