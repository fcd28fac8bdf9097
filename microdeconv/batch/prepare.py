"""A batch before its first unit: everything is read and checked, and what is done already is found."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import microdeconv
from microdeconv.batch.claims import Claims
from microdeconv.batch.drive import FROZEN, Drive, Tell, handled
from microdeconv.batch.journal import Done, Journal, long_digest
from microdeconv.batch.manifest import Problem, read_rows, unknown_columns
from microdeconv.batch.pool import Pool, shares, visible_gpus
from microdeconv.batch.report import write_report
from microdeconv.batch.shards import Shard, array_shard, read_shard
from microdeconv.batch.units import Common, Layers, Unit, check, reason, standing_outputs, units_of
from microdeconv.errors import CannotCreateError, MicrodeconvError, NoInputError, UsageError
from microdeconv.io.names import container_named, holds_zarr, named_zarr, result_name
from microdeconv.io.stacks import identity, read_header
from microdeconv.machine import USABLE, memory_limit, thread_count
from microdeconv.options import AUTO
from microdeconv.request import TYPED, all_options

SHOWN = 20  # problems, of which each is told in a line
ITEMS_FAILED, WORK_LEFT = 3, 75
LATE = 20.0  # seconds after which a missing input is missing
WORST = (77, 78, 66, 73)  # which of several problems gives the exit code


class RefusedBatchError(MicrodeconvError):
    """A batch that cannot be begun; `lines` has what is wrong, one for each problem."""

    def __init__(self, problems: list[Problem], what: str) -> None:
        only = problems[0].error
        several = len(problems) > 1
        message = f"{what}: {len(problems)} problems, nothing was done" if several else f"{what}: {problems[0]}"
        super().__init__(message, "mend them" if several else "")
        codes = {one.error.exit_code for one in problems}
        self.exit_code = next((code for code in WORST if code in codes), only.exit_code)
        self.lines = [str(one) for one in problems[:SHOWN]] if several else []
        if len(problems) > SHOWN:
            self.lines.append(f"… and {len(problems) - SHOWN} more")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as `microdeconv batch` takes it."""

    items: tuple[str, ...]
    output: Path
    layers: Layers
    kept: tuple[Path, ...] = ()
    workers: str = AUTO
    shard: str | None = None
    freeze_from: str | None = None
    device: str = ""  # "all", or what the layers say
    fail_fast: bool = False
    restart: bool = False
    verify: bool = False
    grace: float = 90.0
    anywhere: bool = False  # no output folder is known: only the stacks are looked at


@dataclass(slots=True)
class Todo:
    """A batch that can be begun.

    Attributes
    ----------
    units
        Those of this process, and among them `needed`: those that must be done.
    frozen_on
        The unit that the settings of all are chosen on, if they are.
    notes, warnings
        For a person; warnings are among the notes.
    """

    asked: Asked
    shard: Shard
    common: Common
    journal: Journal
    units: list[Unit]
    needed: list[Unit]
    frozen_on: Unit | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def run(self, tell: Tell) -> int:
        """Do it; give the exit code."""
        claims = Claims(self.journal.folder / "claims")
        claims.clear(unit.key for unit in self.units if unit.told.get("status") == "kept")
        if not self.needed:
            return self._report(0)
        drive = Drive(
            self.needed, self.common, self.journal, claims, Pool(self._parts()), tell,
            self.asked.fail_fast, self.asked.grace,
        )  # fmt: skip
        before = handled(drive)
        try:
            if self.frozen_on is not None:
                drive.freeze(self.frozen_on, {o.key: o for o in all_options()})
            drive.run()
        finally:
            drive.stop()
            _restore(before)
        if drive.failed and self.asked.fail_fast:
            return self._report(int(drive.failed[0].told["exit"]))
        if drive.left:
            return self._report(WORK_LEFT)
        return self._report(ITEMS_FAILED if drive.failed else 0)

    def _parts(self) -> Any:
        values = self.common.values
        asked = values["memory"].value
        memory = int(memory_limit()[0] * USABLE) if asked == AUTO else int(asked)
        asked = values["threads"].value
        threads = thread_count() if asked == AUTO else int(asked)
        device = self.asked.device or values["device"].value
        largest = _unpacked(max((unit.row.input for unit in self.needed), key=_size))
        gpus = visible_gpus() if device == "all" else ()
        return shares(self.asked.workers, len(self.needed), largest, threads, memory, device, gpus)

    def _report(self, code: int) -> int:
        about = {"microdeconv": microdeconv.__version__, "shard": str(self.shard), "settings": self.common.settings}
        write_report(self.asked.output, self.units, self.shard, code, about)
        return code

    def summary(self, code: int) -> list[str]:
        """What came of it, in lines."""
        count: dict[str, int] = {}
        for unit in self.units:
            status = unit.told.get("status", "not started")
            count[status] = count.get(status, 0) + 1
        words = ", ".join(f"{n:,} {status}" for status, n in sorted(count.items()))
        lines = [f"{len(self.units):,} stacks: {words or 'none'}; see {self.asked.output}/batch_report*.csv"]
        if count.get("failed"):
            lines.append(f"failed: {count['failed']:,} of {len(self.units):,}, a rerun tries them again")
        if code == WORK_LEFT:
            lines.append("work is left: run it again (75)")
        return lines


def prepared(asked: Asked, *, write: bool = True) -> Todo:
    """Read and check all of a batch, and find what is done.

    Parameters
    ----------
    asked
        What was asked for.
    write
        Whether the settings of a new batch are written down; not for a dry run.

    Raises
    ------
    RefusedBatchError
        With every problem that was found.
    MicrodeconvError
        For what concerns the whole: the manifest, the shard, settings other than before.
    """
    _usage(asked)
    shard = _shard(asked)
    rows, problems = read_rows(asked.items, {o.key: o for o in all_options()})
    common = Common(asked.output, asked.layers, asked.kept, bool(_value(asked, "overwrite")))
    wanted = common.values["format"].value
    if asked.anywhere:
        units = [Unit(row, result_name(row.input, wanted, container_named(row.input))) for row in rows]
        clashes: list[Problem] = []
    else:
        units, clashes = units_of(rows, asked.output, wanted)
    what = asked.items[0] if len(asked.items) == 1 else f"{len(asked.items)} arguments"
    problems = unknown_columns(problems) + clashes
    if problems:
        raise RefusedBatchError(problems, what)
    _refuse_idle_zarr(common, units)
    _wait_for_late(unit.row.input for unit in units)
    if asked.anywhere:
        missing = check(units, common, (), set())
        if missing:
            raise RefusedBatchError(missing, what)
        return Todo(asked, shard, common, Journal(asked.output), units, units)
    frozen_on = _frozen_on(asked, units)
    _check_folder(asked.output)
    mine = [unit for place, unit in enumerate(units) if shard.takes(place)]
    journal = Journal(asked.output)
    settings = {**common.settings, **({"freeze-from": frozen_on.key} if frozen_on else {})}
    journal.look(settings, restart=asked.restart)
    todo = Todo(asked, shard, common, journal, mine, [], frozen_on)
    lines, problems = _compare(todo, ours_too=[frozen_on] if frozen_on else [])
    if problems:
        raise RefusedBatchError(problems, what)
    _find_needed(todo, lines)
    if write and todo.needed:
        _make(asked.output, parents=bool(_value(asked, "parents")))
        journal.settle(settings, restart=asked.restart)
        if asked.restart:
            (journal.folder / FROZEN).unlink(missing_ok=True)
    return todo


def _value(asked: Asked, key: str) -> Any:
    return next((values[key] for _, values in reversed(asked.layers) if values.get(key) is not None), None)


def _usage(asked: Asked) -> None:
    check_workers(asked.workers)
    if _value(asked, "freeze_from") is None and asked.freeze_from == "":
        raise UsageError("--freeze-from: no stack", "name one of the batch's, or say first")


def check_workers(workers: str) -> None:
    """Refuse a number of workers that is none.

    Raises
    ------
    UsageError
        For anything but "auto" and 1 to 1024.
    """
    if workers != AUTO and not (workers.isdigit() and 1 <= int(workers) <= 1024):
        raise UsageError(f"--workers {workers}: not auto or a whole number from 1 to 1024", "leave it out")


def shard_of(asked: str | None) -> Shard:
    """Give the part that was asked for, or that Slurm's array gives this task.

    Raises
    ------
    UsageError
        For what is no part.
    """
    if asked is None:
        return array_shard()
    try:
        return read_shard(asked)
    except ValueError as why:
        raise UsageError(f"--shard {asked}: {why}", "--shard takes I/N, 1/4 to 4/4") from None


def _shard(asked: Asked) -> Shard:
    shard = shard_of(asked.shard)
    if asked.restart and shard.parts > 1:
        raise UsageError(
            "--restart with parts of a batch: a part that is requeued would do all of it again",
            f"remove {Journal(asked.output).folder} and the results, or give another -o",
        )
    return shard


def _frozen_on(asked: Asked, units: list[Unit]) -> Unit | None:
    if asked.freeze_from is None:
        return None
    if asked.freeze_from == "first":
        return units[0]
    wanted = os.path.realpath(asked.freeze_from)
    for unit in units:
        if asked.freeze_from in (str(unit.row.input), unit.key) or os.path.realpath(unit.row.input) == wanted:
            return unit
    raise NoInputError(f"--freeze-from {asked.freeze_from}: not a stack of this batch", "name one, or say first")


def _compare(todo: Todo, ours_too: Iterable[Unit]) -> tuple[dict[str, Done], list[Problem]]:
    """Check the units against the disk; the order matters: outputs, then claims, then the journal (see `Drive`)."""
    looked = {unit.key: unit for unit in (*todo.units, *ours_too)}
    stats = standing_outputs(looked.values(), todo.asked.output)
    claims = Claims(todo.journal.folder / "claims")
    begun = claims.standing()
    done, ours = todo.journal.load(looked)
    if begun:
        ours |= {key for key in looked if claims.place(key).name in begun}
        if claims.place(FROZEN).name in begun and todo.frozen_on:
            ours.add(todo.frozen_on.key)
    problems = check(list(looked.values()), todo.common, ours, set(stats))
    if not problems:
        frozen = todo.journal.folder / FROZEN
        if todo.frozen_on is not None and frozen.exists() and not todo.asked.restart:
            from microdeconv.io.record import read_settings

            todo.common = Common(
                todo.common.output, todo.common.layers, todo.common.kept, todo.common.overwrite,
                read_settings(frozen, {o.key: o for o in all_options()}),
            )  # fmt: skip
        for unit in todo.units:
            line = done.get(unit.key)
            unit.why = reason(unit, line, todo.common, stats.get(unit.key), verify=todo.asked.verify)
    return done, problems


def _find_needed(todo: Todo, lines: dict[str, Done]) -> None:
    others: set[str] = set()
    for unit in todo.units:
        if unit.why:
            todo.needed.append(unit)
            continue
        line = lines[unit.key]
        others |= {line.version} - {microdeconv.__version__}
        unit.told = {"status": "kept", "seconds": line.seconds, "sha256": long_digest(line.digest)}
    if todo.shard.parts > 1:
        todo.notes.append(f"part {todo.shard} ({todo.shard.source}): {len(todo.units):,} stacks")
    kept = len(todo.units) - len(todo.needed)
    todo.notes.append(f"{len(todo.units):,} stacks, {kept:,} done already" + ("" if todo.needed else ": nothing to do"))
    changed: dict[str, int] = {}
    for unit in todo.needed:
        if unit.why != "new":
            changed[unit.why] = changed.get(unit.why, 0) + 1
    todo.warnings += [f"done again, {why}: {n:,}" for why, n in changed.items()]
    if others:
        todo.warnings.append(
            f"some were done by version {', '.join(sorted(others))}, this is {microdeconv.__version__}: kept, "
            "--restart does them again"
        )
    if todo.journal.broken:
        todo.warnings.append(f"{todo.journal.broken} broken line(s) of the journal were passed over")
    todo.warnings += passed_over()
    todo.notes += todo.warnings


def passed_over() -> list[str]:
    """Tell which of Slurm's numbers of processors are none."""
    names = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
    return [f"{n}={os.environ[n]}: not a number, passed over" for n in names if not os.environ.get(n, "1").isdigit()]


def _wait_for_late(paths: Iterable[Path], patience: float = LATE) -> None:
    """In a Slurm job, wait a while for inputs: what one node has written another's cache may not show yet."""
    until = time.monotonic() + patience
    missing = [path for path in paths if not os.path.exists(path)] if "SLURM_JOB_ID" in os.environ else []  # noqa: PTH110
    while missing and time.monotonic() < until:
        time.sleep(0.5)
        missing = [path for path in missing if not path.exists()]


def _refuse_idle_zarr(common: Common, units: list[Unit]) -> None:
    """Refuse options of OME-Zarr in a batch without any; units that are none are spared them."""
    for key in ("missing_chunks", "ome_zarr"):
        typed = common.values[key].source in TYPED
        if typed and all(container_named(common.of_zarr(unit)[key]) != "zarr" for unit in units):
            what = "input" if key == "missing_chunks" else "result"
            raise UsageError(f"--{key.replace('_', '-')}: no {what} is an OME-Zarr", "leave it out")


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CannotCreateError(f"{folder}: is not a folder", "give a folder with -o")
    whole = folder.resolve()
    if any(named_zarr(one) or holds_zarr(one) for one in (whole, *whole.parents)):
        raise CannotCreateError(f"{folder}: is an OME-Zarr, or lies in one", "give the folder of all results with -o")


def _make(folder: Path, *, parents: bool) -> None:
    if not folder.parent.is_dir() and not parents:
        raise CannotCreateError(f"{folder.parent}: there is no such folder", "--parents makes it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise CannotCreateError(f"{folder}: cannot be made ({why.strerror})", "choose another folder with -o") from None


def _size(path: Path) -> int:
    try:
        return identity(path)[0]
    except OSError:
        return 0


def _unpacked(path: Path) -> int:
    """Bytes of an input's pixels, however well they are packed; what cannot be read is as large as it lies there."""
    try:
        return max(_size(path), read_header(path).n_bytes)
    except MicrodeconvError:  # a worker tells
        return _size(path)


def _restore(handler: Any) -> None:
    import signal

    if handler is not None:
        signal.signal(signal.SIGUSR1, handler)
