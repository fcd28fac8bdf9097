"""A stack in tiles for tests, and an engine that does its jobs in the test's own process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from batch_files import PSF

from microdeconv.batch.worker import attempt
from microdeconv.huge.drive import Drive
from microdeconv.huge.jobs import Engine, Job, JobTask, Outcome
from microdeconv.huge.prepare import Asked, prepared
from microdeconv.huge.scheme import Scheme, work_folder
from microdeconv.huge.state import State
from microdeconv.io.stacks import digest
from microdeconv.options import convert
from microdeconv.request import all_options

SHAPE = (4, 70, 40)  # of tiles of 32: three by two
OPTIONS = ("--psf", "psf.tif", "-n", "2", "--background", "90", "--axes", "ZYX", "--tile", "32")  # of `asked_for`


def make_stack(folder: Path, name: str = "s.tif", shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Path:
    """Write a stack of spots and a PSF."""
    random = np.random.default_rng(seed)
    image = random.poisson(100, shape).astype(np.uint16)
    image[..., ::9, ::7] += random.poisson(400, image[..., ::9, ::7].shape).astype(np.uint16)
    tifffile.imwrite(folder / "psf.tif", PSF, photometric="minisblack")
    tifffile.imwrite(folder / name, image, photometric="minisblack")
    return folder / name


def asked_for(folder: Path, stack: str = "s.tif", output: str = "out.ome.zarr", **given: Any) -> Asked:
    """What `batch --tiles` was asked for; options by key, as on the command line."""
    own = {key: given.pop(key) for key in ("shard", "restart", "workers") if key in given}
    words = {"psf": [str(folder / "psf.tif")], "iterations": 2, "background": 90, "axes": "ZYX", "tile": 32, **given}
    by_key = {o.key: o for o in all_options()}
    values = {key: convert(by_key[key], raw) for key, raw in words.items() if raw is not None}
    own.setdefault("workers", "1")
    return Asked(folder / stack, folder / output, (("command line", values),), **own)


def scheme_for(folder: Path, **given: Any) -> Scheme:
    """Plan the stack."""
    return prepared(asked_for(folder, **given), lambda *_: None)[0]


def plan_of(folder: Path, output: str = "out.ome.zarr") -> Path:
    """Where the plan lies."""
    return work_folder(folder / output)


def tiles_done(folder: Path, output: str = "out.ome.zarr") -> int:
    """How many tiles the journal tells of; none before there is a plan."""
    if not plan_of(folder, output).is_dir():
        return 0
    state = State(plan_of(folder, output))
    state.refresh()
    return len(state.done)


def calm(folder: Path) -> str:
    """Give the digest of the tiles that one process does undisturbed."""
    wanted = scheme_for(folder, output="calm.ome.zarr")
    assert drive_for(wanted).run() == 0
    return digest(wanted.image)


class Here:
    """Does jobs at once, in this process; those in `broken` fail."""

    def __init__(self, scheme: Scheme, broken: Iterable[int] = ()) -> None:
        self.folder, self.broken = str(scheme.folder), set(broken)

    def map(self, jobs: Iterable[Job]) -> Iterator[Outcome | None]:
        for job in jobs:
            if job.number in self.broken:
                yield Outcome(job, "failed", {"exit": 71, "message": "memory ran out", "remedy": ""})
                continue
            kind, told = attempt(JobTask(self.folder, job, {"threads": 1}), lambda *_: None)
            yield Outcome(job, kind, told)
            yield None

    def close(self) -> None:
        pass


def drive_for(scheme: Scheme, engine: Engine | None = None, asked: Asked | None = None, **how: Any) -> Drive:
    """What does the tiles of a plan, here."""
    from microdeconv.batch.shards import Shard

    return Drive(scheme, asked.shard if asked else Shard(), engine or Here(scheme), lambda *_: None, **how)
