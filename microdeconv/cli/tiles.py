"""`microdeconv batch --tiles`: one huge stack, tile by tile, by processes here, on a cluster, or by array tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microdeconv.cli.batch import in_words
from microdeconv.cli.flags import layers, typed
from microdeconv.cli.terminal import EVERY, Terminal
from microdeconv.errors import MicrodeconvError, UsageError
from microdeconv.request import all_options

if TYPE_CHECKING:
    from microdeconv.huge.prepare import Asked
    from microdeconv.huge.slurm_array import Wishes

EngineName = Literal["local", "dask", "slurm"]


@dataclass(frozen=True, slots=True)
class How:
    """How tiles are done: the engine, where its scheduler is, and what `batch` was told besides.

    `patience` are the seconds that Dask may be without any worker; None: as many as it has by itself.
    """

    engine: EngineName
    scheduler: str | None
    fail_fast: bool
    grace: float
    dry_run: bool
    patience: float | None = None


def call(
    stack: Path, output: Path, given: dict[str, Any], config: Path | None, workers: str, shard: str | None, how: How,
    terminal: Terminal, *, restart: bool,
) -> int:  # fmt: skip
    """Do what `batch --tiles` was called for; give the exit code."""
    from microdeconv.batch.prepare import check_workers, shard_of
    from microdeconv.huge.prepare import Asked

    check_workers(workers)
    refuse_without_dask(how.engine, how.scheduler, how.patience)
    part = shard_of(shard)
    if how.engine == "slurm" and part.parts > 1:
        raise UsageError("--engine slurm with --shard: its tasks take the parts", "leave one of them out")
    if restart and part.parts > 1:
        raise UsageError(
            "--restart with parts: one of them would throw away what others did", "restart without --shard"
        )
    words = _words(stack, output, given, config)
    everywhere = given.pop("device", "") if given.get("device") == "all" else ""
    asked = Asked(stack, output, layers(all_options(), given, config), tuple([config] if config else []), workers,
                  part, everywhere, restart)  # fmt: skip
    return run_tiles(asked, how, words, terminal)


def script_of(
    stack: Path, output: Path, given: dict[str, Any], config: Path | None, wishes: Wishes, terminal: Terminal, *,
    submit: bool,
) -> int:  # fmt: skip
    """Plan a stack and print, or submit, the script of its array and of what finishes it; give the exit code."""
    from microdeconv.batch import slurm
    from microdeconv.huge.prepare import Asked, prepared
    from microdeconv.huge.slurm_array import both, left_of

    workers = str(wishes.gpus or wishes.cpus)
    words = _words(stack, output, given, config)
    everywhere = given.pop("device", "") if given.get("device") == "all" else ""
    asked = Asked(stack, output, layers(all_options(), given, config), tuple([config] if config else []), workers,
                  device=everywhere)  # fmt: skip
    scheme, notes = prepared(asked, terminal.listen)
    for note in notes:
        terminal.say(note)
    left = left_of(scheme)
    if not left:
        terminal.say(f"all tiles are done: microdeconv finish {output}")
        return 0
    text = both(scheme, output, words, left, wishes)
    slurm.logs(scheme.folder.resolve()).mkdir(exist_ok=True)
    sys.stdout.write(text)
    if submit:
        number = slurm.submit(text, scheme.folder.resolve(), ("bash",))
        terminal.say(f"submitted; job {number} finishes it")
    return 0


def _words(stack: Path, output: Path, given: dict[str, Any], config: Path | None) -> list[str]:
    return ["--tiles", str(stack), "-o", str(output), *(["--config", str(config)] if config else []), *typed(given)]


def run_tiles(asked: Asked, how: How, words: list[str], terminal: Terminal) -> int:
    """Plan a stack and do its tiles; give the exit code.

    Parameters
    ----------
    asked, how
        What was asked for.
    words
        The call as words again, for the tasks of an array.
    terminal
        Where progress is told.
    """
    if how.engine == "dask":
        from microdeconv.huge.dask_engine import library

        library()  # told before anything is read
    from microdeconv.batch.prepare import passed_over
    from microdeconv.huge.drive import Drive, tiles_left
    from microdeconv.huge.prepare import prepared
    from microdeconv.huge.state import State

    for warning in passed_over():
        terminal.say(warning, "warning")
    scheme, notes = prepared(asked, terminal.listen, write=not how.dry_run)
    for note in notes:
        terminal.say(note)
    if how.engine == "slurm":
        from microdeconv.huge.slurm_array import submit_array

        return submit_array(scheme, asked, words, terminal.say, dry_run=how.dry_run)
    state = State(scheme.folder)
    if not (how.dry_run and asked.restart):
        state.refresh()
    needed = tiles_left(scheme, asked.shard, state)
    part = f" in part {asked.shard}" if asked.shard.parts > 1 else ""
    terminal.say(f"{len(needed):,} of {scheme.count:,} tiles are to be done{part}")
    if how.dry_run:
        sys.stdout.writelines(f"{unit}\n" for unit in needed)
        return 0
    progress = _Progress(terminal, len(needed))
    drive = Drive(scheme, asked.shard, _engine(scheme, asked, how), progress.tell, how.fail_fast, how.grace)
    code = drive.run()
    for line in _summary(asked, code, len(drive.failed), scheme.count - len(drive.state.done)):
        terminal.say(line, "error" if line.startswith("failed") else "info")
    terminal.event("exit", code=code)
    return code


def _engine(scheme: Any, asked: Asked, how: How) -> Any:
    from microdeconv.huge.prepare import shares_for

    if how.engine == "dask":
        from microdeconv.huge.dask_engine import Dask

        return Dask(scheme, asked.workers, how.scheduler, how.patience)
    from microdeconv.huge.local import Local

    return Local(scheme.folder, shares_for(scheme, asked, scheme.count))


def _summary(asked: Asked, code: int, failed: int, left: int) -> list[str]:
    lines = []
    if failed:
        lines.append(f"failed: {failed:,} tiles, a rerun tries them again")
    if code == 75:
        lines.append("work is left, or others have it: run it again (75)")
    elif left:
        lines.append(f"{left:,} tiles are left")
    else:
        lines.append(f"all tiles are done: microdeconv finish {asked.output}")
    return lines


def refuse_without_dask(engine: str, scheduler: str | None, patience: float | None) -> None:
    """Refuse options of Dask's for another engine.

    Raises
    ------
    UsageError
        Naming the option.
    """
    for flag, value in (("scheduler", scheduler), ("wait-for-workers", patience)):
        if value is not None and engine != "dask":
            raise UsageError(f"--{flag}: is Dask's", "add --engine dask")


def refuse_for_tiles(items: list[str], output: Path, **given: Any) -> None:
    """Refuse several stacks, and options of a batch that do nothing for tiles.

    Raises
    ------
    UsageError
        Naming what cannot be.
    """
    if len(items) != 1:
        raise UsageError(f"--tiles: one stack, not {len(items)}", f"give the stack that becomes {output}")
    for flag, value in given.items():
        if value:
            raise UsageError(f"--{flag.replace('_', '-')} does not apply to --tiles", "leave it out")


class _Progress:
    """Tells of tiles that end, and of the time that the rest will take."""

    def __init__(self, terminal: Terminal, total: int) -> None:
        self.terminal, self.total, self.ended = terminal, total, 0
        self.began = self.last = time.monotonic()

    def tell(self, status: str, unit: int, told: Mapping[str, Any]) -> None:
        """Take in what happened to a tile."""
        self.ended += 1
        if status == "failed":
            line = MicrodeconvError(told["message"], told["remedy"])
            self.terminal.say(f"tile {unit}: {line}", "error", unit=unit, code=told["exit"])
        else:
            self.terminal.event("done", unit=unit, seconds=told["seconds"])
        now = time.monotonic()
        if self.terminal.format == "rich":
            self.terminal.listen("tiles", self.ended, self.total)
        elif now - self.last > EVERY:
            self.last = now
            left = (now - self.began) / self.ended * (self.total - self.ended)
            self.terminal.say(f"{self.ended:,} of {self.total:,} tiles, about {in_words(left)} left",
                              ended=self.ended, total=self.total, seconds_left=round(left))  # fmt: skip
