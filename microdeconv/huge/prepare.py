"""A huge stack before its first tile: the plan that stands is taken when it fits what is asked, else one is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from microdeconv.batch.journal import difference
from microdeconv.batch.pool import Share, shares, visible_gpus
from microdeconv.batch.shards import Shard
from microdeconv.batch.units import Common, Layers
from microdeconv.errors import CannotCreateError, UsageError
from microdeconv.huge.make import identity, make, sketch
from microdeconv.huge.scheme import Scheme, load, work_folder
from microdeconv.io.atomic import discard
from microdeconv.io.names import named_zarr
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import read_header
from microdeconv.machine import USABLE, memory_limit, thread_count
from microdeconv.options import AUTO, build
from microdeconv.psf.named import files_of
from microdeconv.request import Request
from microdeconv.settle import Listen


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for.

    Attributes
    ----------
    input, output
        The stack and its result.
    layers
        Values of the options, the weakest layer first.
    kept
        Files that are read.
    workers
        A number, or "auto".
    shard
        The part that this process does.
    device
        "all", or nothing.
    restart
        Whether a plan that stands is thrown away.
    """

    input: Path
    output: Path
    layers: Layers
    kept: tuple[Path, ...] = ()
    workers: str = AUTO
    shard: Shard = field(default_factory=Shard)
    device: str = ""
    restart: bool = False

    @property
    def common(self) -> Common:
        """The options, as a batch has them."""
        return Common(self.output.parent, self.layers, self.kept)


def prepared(asked: Asked, listen: Listen, *, write: bool = True) -> tuple[Scheme, list[str]]:
    """Give the plan, made now or before, and notes for a person.

    Parameters
    ----------
    asked
        What was asked for.
    listen
        Called with what is being done.
    write
        Whether a plan that is missing is made; else it is sketched, and nothing is written.

    Raises
    ------
    UsageError
        When the result cannot be made of tiles.
    CannotCreateError
        When a plan stands that was made for something else.
    MicrodeconvError
        Of the kind that fits.
    """
    if not named_zarr(asked.output):
        raise UsageError(f"-o {asked.output}: tiles are written to OME-Zarr alone", "end the name in .ome.zarr")
    folder = work_folder(asked.output)
    if asked.restart and folder.is_dir():
        load(folder)  # nothing else is removed
        if write:
            discard(folder)
    read_header(asked.input, build(Selection, asked.common.values))  # a bad file is told at once
    settings = _settings(asked)
    if not folder.exists() or (asked.restart and not write):
        request = Request(asked.input, asked.output, None, None, (asked.input, *asked.kept), asked.layers)
        if not write:
            scheme = sketch(request, folder, _most(asked))
            return scheme, [f"would plan {scheme.count:,} tiles of {scheme.told['edge']} voxels"]
        try:
            scheme = make(request, folder, settings, _most(asked), listen)
        except CannotCreateError:
            if not folder.is_dir():
                raise
        else:
            return scheme, [f"planned {scheme.count:,} tiles of {scheme.told['edge']} voxels", *scheme.told["notes"]]
    scheme = load(folder)
    _refuse_another(scheme, asked, settings)
    return scheme, [f"{folder}: goes on with the plan of {scheme.count:,} tiles"]


def _settings(asked: Asked) -> dict[str, str]:
    """Options that settle the result, and the bytes of a PSF that is given, as text."""
    common = asked.common
    found = dict(common.settings)
    for number, one in enumerate(files_of(common.values["psf"].value)):
        if one.path.is_file():
            found[f"psf file {number}"] = hashlib.sha256(one.path.read_bytes()).hexdigest()[:12]
    return found


def _refuse_another(scheme: Scheme, asked: Asked, settings: dict[str, str]) -> None:
    before = scheme.told["asked"]
    remedy = "give the same, another -o, or --restart, which begins anew"
    if Path(scheme.told["input"]).resolve() != asked.input.resolve():
        raise CannotCreateError(f"{scheme.folder}: the plan of another stack, {scheme.told['input']}", remedy)
    if scheme.told["identity"] != identity(asked.input):
        raise CannotCreateError(f"{scheme.folder}: the stack {asked.input} was changed since", remedy)
    if before != settings:
        raise CannotCreateError(
            f"{scheme.folder}: planned with other settings ({difference(before, settings)})", remedy
        )


def _most(asked: Asked) -> int:
    """How many workers may share this machine's memory."""
    if asked.workers != AUTO:
        return int(asked.workers)
    threads = asked.common.values["threads"].value
    return thread_count() if threads == AUTO else int(threads)


def shares_for(scheme: Scheme, asked: Asked, jobs: int) -> list[Share]:
    """Divide this machine among processes: as many as threads, jobs and memory allow, or as were asked for."""
    values = asked.common.values
    memory = values["memory"].value
    memory = int(memory_limit()[0] * USABLE) if memory == AUTO else int(memory)
    threads = values["threads"].value
    threads = thread_count() if threads == AUTO else int(threads)
    device = asked.device or str(values["device"].value)
    gpus = visible_gpus() if device == "all" else ()
    workers: int | str = asked.workers
    if workers == AUTO and device in ("auto", "cpu"):
        workers = max(1, min(threads, jobs, memory // int(scheme.told["memory"])))
    return shares(workers, jobs, 0, threads, memory, device, gpus)
