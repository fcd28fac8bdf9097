"""Makes the plan of one huge stack: tiles of whole shards, and what is chosen once for all of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import microdeconv
from microdeconv.engine import BASE_MEMORY, Cut, plan_cut
from microdeconv.errors import MemoryShortError, MicrodeconvError, UsageError
from microdeconv.huge.choose_once import settled_once
from microdeconv.huge.scheme import FORMAT, PLAN, Scheme, write_psf
from microdeconv.io.atomic import atomic_output
from microdeconv.io.names import MARKS
from microdeconv.io.ngff import NEWEST, describe
from microdeconv.io.zarr_chunks import Grid, read_grid
from microdeconv.io.zarr_write import create_levels, plan_levels
from microdeconv.machine import prepare
from microdeconv.options import AUTO, for_channel
from microdeconv.pipeline import Outcome, record_of
from microdeconv.planning import Plan, held_bytes, plan
from microdeconv.psf.named import is_estimate
from microdeconv.request import Request
from microdeconv.settle import Listen
from microdeconv.tiles import Tiling

EDGES = (1024, 768, 512, 256, 128, 64, 32, 16)  # of tiles that are chosen; the usual shard, then whole chunks
STEP = 16  # edges are multiples of it


def make(request: Request, folder: Path, asked: Mapping[str, str], workers: int, listen: Listen) -> Scheme:
    """Settle everything and write it down; the folder is whole or absent.

    Parameters
    ----------
    request
        What is asked for.
    folder
        Of the plan.
    asked
        The options as text, kept so that a rerun with others is refused.
    workers
        That share this machine's memory.
    listen
        Called with what is being done.

    Raises
    ------
    MicrodeconvError
        Of the kind that fits, `CannotCreateError` among them where another process has just made the plan.
    """
    todo, edge = _cut_for(request, workers)
    outcome = Outcome(todo.outputs.result, notes=list(todo.notes))
    outcome.psfs = {channel.number: channel.psf for channel in todo.channels}
    prepare(todo.machine)  # the threads asked for: sums of other threads choose with other roundings
    for channel in todo.channels:
        outcome.settings[channel.number], notes = settled_once(todo, channel, listen)
        outcome.notes += notes
    header = todo.header_out
    levels = plan_levels(header)
    version = str(header.extras.get("ngff", NEWEST))
    unknown = [(math.nan, math.nan)] * header.size("C")
    attributes = describe(header, [one.factor for one in levels], unknown, record_of(todo, outcome), version)
    told = {
        "format": FORMAT, "microdeconv": microdeconv.__version__, "asked": dict(asked), **_layout(todo, edge),
        "identity": identity(request.input), "selection": _selection(todo),
        "levels": [list(one.shape) for one in levels],
        "channels": [_channel(todo, outcome, c.number) for c in todo.channels],
        "overwrite": bool(todo.values["overwrite"].value), "notes": list(dict.fromkeys(outcome.notes)),
        "ngff": version, "attributes": attributes,
    }  # fmt: skip
    with atomic_output(folder, overwrite=False, parents=bool(todo.values["parents"].value), tree=True) as partial:
        create_levels(partial / "image", header, levels, edge)
        scheme = Scheme(folder, json.loads(json.dumps(told)))
        refuse_shared_shards(scheme.tiling, read_grid(partial / "image" / "0"), header.axes)
        for c, channel in enumerate(todo.channels):
            write_psf(partial / f"psf-{c}.npz", channel.psf)
        (partial / PLAN).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return scheme


def sketch(request: Request, folder: Path, workers: int) -> Scheme:
    """Give the tiles that `make` would plan, without what is chosen from the data; nothing is written.

    Raises
    ------
    MicrodeconvError
        As `make`.
    """
    todo, edge = _cut_for(request, workers)
    return Scheme(folder, {**_layout(todo, edge), "channels": [{"number": c.number} for c in todo.channels]})


def _cut_for(request: Request, workers: int) -> tuple[Plan, int]:
    """Plan a stack and cut it; give the plan and the tiles' edge."""
    todo = plan(request, whole=False)
    refuse_what_needs_all(todo)
    edge = _edge(todo, workers)
    return replace(todo, channels=tuple(replace(c, cut=_cut(todo, n, edge)) for n, c in enumerate(todo.channels))), edge


def _layout(todo: Plan, edge: int) -> dict[str, Any]:
    """Tell which tiles there are, and what each takes."""
    header = todo.header_out
    return {
        "input": str(todo.request.input.resolve()), "method": todo.method.name, "times": list(todo.times),
        "edge": edge, "field": list(todo.stack.header.volume_shape), "axes": header.axes, "dtype": header.dtype.name,
        "halo": [max(c.cut.halo[axis] for c in todo.channels) for axis in (0, 1)], "memory": memory_of(todo),
    }  # fmt: skip


def refuse_what_needs_all(todo: Plan) -> None:
    """Refuse what a tile alone cannot do.

    Raises
    ------
    UsageError
        Naming the option.
    """
    method, values = todo.method, todo.values
    if method.companion is not None:
        raise UsageError(f"--tiles --method {method.name}: its guard judges the whole stack", "use rl, or `run`")
    if is_estimate(values["psf"].value) and not method.keeps_counts:
        raise UsageError("--tiles --psf estimate: it is estimated from the whole stack",
                         "write it once with psf estimate, and give the file")  # fmt: skip
    if values["nan"].value == "median":
        raise UsageError("--tiles --nan median: neighbours may lie in another tile", "mend the stack first, or use run")
    if values["tile"].value == "off":
        raise UsageError("--tiles --tile off: there must be tiles", "leave it out, or give their edge")
    for key in ("preview", "report", "record"):
        if values[key].value:
            raise UsageError(f"--tiles --{key}: is not written for tiles", "the record stands inside; see look")
    edge = values["tile"].value
    if edge != AUTO and edge % STEP:
        near = max(STEP, round(edge / STEP) * STEP)
        raise UsageError(f"--tile {edge}: tiles are made of whole chunks, multiples of {STEP}", f"such as {near}")


def refuse_shared_shards(tiling: Tiling, grid: Grid, axes: str) -> None:
    """Refuse tiles of which two would write into one file: the later would undo what the earlier wrote.

    Raises
    ------
    MicrodeconvError
        Naming the place.
    """
    for axis, spans in (("Y", tiling.rows), ("X", tiling.columns)):
        size = grid.chunk[axes.index(axis)]
        for core, _ in spans:
            if core.start % size:
                raise MicrodeconvError(f"a tile begins at {axis.lower()} {core.start}, inside a shard of {size} voxels")


def identity(path: Path) -> dict[str, Any]:
    """Tell a stack from another: size and time of a file; metadata of a folder, whose chunks are too many to ask."""
    if not path.is_dir():
        found = path.stat()
        return {"bytes": found.st_size, "time": found.st_mtime_ns}
    files = [path / mark for mark in MARKS] + [path / "0" / mark for mark in MARKS]
    told = hashlib.sha256(b"".join(one.read_bytes() for one in files if one.is_file()))
    return {"metadata": told.hexdigest()}


def _edge(todo: Plan, workers: int) -> int:
    asked = todo.values["tile"].value
    if asked != AUTO:
        return int(asked)
    for edge in EDGES:
        try:
            cuts = [_cut(todo, n, edge) for n in range(len(todo.channels))]
        except MemoryShortError:
            continue
        if max(_memory(todo, cut) for cut in cuts) <= todo.machine.memory // workers:
            return edge
    raise MemoryShortError(
        f"even a tile of {EDGES[-1]} voxels does not fit into the memory of each of {workers} worker(s)",
        "give more with --memory, fewer --workers, or a smaller PSF",
    )


def _cut(todo: Plan, place: int, edge: int) -> Cut:
    return plan_cut(todo.stack.header.volume_shape, todo.channels[place].psf, todo.method, todo.machine, edge, 0)


def _memory(todo: Plan, cut: Cut) -> int:
    return BASE_MEMORY + cut.tile_bytes + held_bytes(cut.read, todo.stack.header, todo.header_out, todo.method)


def memory_of(todo: Plan) -> int:
    """Give the bytes that a worker needs."""
    return max(_memory(todo, channel.cut) for channel in todo.channels)


def _selection(todo: Plan) -> dict[str, Any]:
    kept = ("axes", "series", "rgb", "missing_chunks", "nan", "negative")
    return {key: todo.values[key].value for key in kept}


def _channel(todo: Plan, outcome: Outcome, number: int) -> dict[str, Any]:
    chosen = outcome.settings[number]
    return {
        "number": number, "camera": _plain(asdict(chosen.camera)), "background": float(chosen.background),
        "level": float(chosen.level), "iterations": int(chosen.iterations),
        "parameters": _plain(asdict(chosen.parameters)),
        "offset_given": for_channel(todo.values["offset"].value, number) != AUTO,
    }  # fmt: skip


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
