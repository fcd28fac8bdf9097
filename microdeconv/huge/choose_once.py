"""What is chosen from the data of one huge stack, once for all tiles: as `run` does, or from a part that fits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.camera import CameraOptions
from microdeconv.io.pixels import check_pixels
from microdeconv.io.selection import Selection
from microdeconv.options import AUTO, for_channel, settled_for
from microdeconv.pipeline import read_volume
from microdeconv.planning import ChannelPlan, Plan
from microdeconv.settle import Listen, Settings, settle, settle_camera
from microdeconv.solve import Stopping

EACH = 20  # bytes a voxel that choosing takes, beside the volume
BLOCK = 256  # edge of the blocks that stand for a volume that does not fit
MOST = 16  # such blocks


def settled_once(todo: Plan, channel: ChannelPlan, listen: Listen) -> tuple[Settings, list[str]]:
    """Settle background, gain, steps and parameters of a channel; notes for a person.

    A volume that fits into memory is taken whole, so that the result is that of `run`. Of a larger one, blocks spread
    over the field tell background, gain and mean light, and the brightest block the number of steps.
    """
    header = todo.stack.header
    size = math.prod(header.volume_shape) * (header.dtype.itemsize + EACH)
    if size <= todo.machine.memory:
        volume, notes = read_volume(todo, todo.times[0], channel.number)
        settings = _settle(todo, channel, volume, listen, None)
        return settings, [*notes, *settings.notes]
    blocks = _blocks(todo, channel.number, todo.machine.memory)
    sample = np.concatenate(blocks, axis=2)
    seen = settle_camera(sample, settled_for(todo.group(CameraOptions), channel.number))
    brightest = max(blocks, key=lambda block: float(block.mean(dtype=np.float64)))
    settings = _settle(todo, channel, brightest, listen, seen)
    light = float(sample.mean(dtype=np.float64)) - settings.background
    level = max(light, 1e-6 * abs(settings.background), 1e-30) / settings.camera.gain
    edge = blocks[0].shape[1]
    told = f"the stack does not fit into memory: {len(blocks)} blocks of {edge} voxels tell its background and steps"
    return replace(settings, level=level), [told, *settings.notes]


def _settle(todo: Plan, channel: ChannelPlan, volume: NDArray[Any], listen: Listen, seen: Any) -> Settings:
    return settle(
        volume, channel.psf, channel.number, todo.method, todo.parameters, todo.group(CameraOptions),
        todo.group(Stopping), todo.machine, listen, voxel_um=todo.stack.header.voxel_um, seen=seen,
    )  # fmt: skip


def _blocks(todo: Plan, c: int, memory: int) -> list[NDArray[Any]]:
    """Blocks of all planes on an even grid over the field, as many as fit."""
    header = todo.stack.header
    planes, height, width = header.volume_shape
    room = memory // (planes * (header.dtype.itemsize + EACH))
    edge = max(16, min(BLOCK, height, width, math.isqrt(room)))
    along = max(1, math.isqrt(min(MOST, room // edge**2)))
    given = for_channel(todo.values["offset"].value, c) != AUTO
    found = []
    for y in _starts(height, edge, along):
        for x in _starts(width, edge, along):
            part = todo.stack.part(todo.times[0], c, slice(y, y + edge), slice(x, x + edge))
            found.append(check_pixels(part, todo.group(Selection), todo.request.input, raw=todo.method.keeps_counts,
                                      offset_given=given)[0])  # fmt: skip
    return found


def _starts(size: int, edge: int, count: int) -> list[int]:
    return [round((size - edge) * (n + 0.5) / count) for n in range(count)]
