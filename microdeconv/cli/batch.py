"""`microdeconv batch`: many stacks, what is done is not done again, one bad file does not stop the others."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import EVERY, Terminal
from microdeconv.cli.words import GENERAL, OUTPUT, Config, DryRun, LogFormat, Quiet
from microdeconv.errors import MicrodeconvError, UsageError
from microdeconv.request import all_options

if TYPE_CHECKING:
    from microdeconv.batch.units import Unit

BATCH = "Batch"
Items = Annotated[
    list[str],
    typer.Argument(
        metavar="MANIFEST|STACK|PATTERN...", show_default=False,
        help="A table (CSV, JSON lines) with columns input, output, sha256 and any option; or stacks (OME-Zarr, too).",
    ),
]  # fmt: skip
Folder = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="DIR", help="Folder of the results; with --tiles the result, an OME-Zarr.",
                 rich_help_panel=OUTPUT,
                 show_default=False),
]  # fmt: skip


TILES = "One huge stack"
Tiles = Annotated[
    bool, typer.Option("--tiles", rich_help_panel=TILES,
                       help="One huge STACK, tile by tile, to an OME-Zarr that `finish` makes whole.")
]  # fmt: skip
EngineName = Annotated[
    Literal["local", "slurm", "dask"],
    typer.Option("--engine", rich_help_panel=TILES,
                 help="Who does tiles: processes here, an array of Slurm jobs (--workers of them), or Dask."),
]  # fmt: skip
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="slurm|ADDRESS", rich_help_panel=TILES, show_default=False,
                 help="Of Dask: workers that are Slurm jobs, or one that stands; processes here if not given."),
]  # fmt: skip
Patience = Annotated[
    float | None,
    typer.Option("--wait-for-workers", metavar="SECONDS", min=1, rich_help_panel=TILES, show_default=False,
                 help="Of Dask: end with 75 after so long without any worker; half a day if not given."),
]  # fmt: skip

Workers = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="auto|N",
        rich_help_panel=BATCH,
        help="Processes; auto: one for each processor when stacks are many, with one thread each.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        rich_help_panel=BATCH,
        show_default=False,
        help="Do part I of N only. In a Slurm array it is taken from there.",
    ),
]
FreezeFrom = Annotated[
    str | None,
    typer.Option(
        "--freeze-from",
        metavar="STACK|first",
        rich_help_panel=BATCH,
        show_default=False,
        help="Choose background, steps and the rest on this one, and keep them for all.",
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="End at the first failure.", rich_help_panel=BATCH)]
Restart = Annotated[bool, typer.Option("--restart", help="Do again what is done already.", rich_help_panel=BATCH)]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read inputs and outputs that are done, and compare them with the journal.",
        rich_help_panel=BATCH,
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace",
        metavar="SECONDS",
        min=0,
        rich_help_panel=BATCH,
        help="After USR1: what stacks in hand have to end, where Slurm does not tell its own end.",
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="A line for each stack.", rich_help_panel=GENERAL)]


def batch(
    items: Items,
    output: Folder,
    workers: Workers = "auto",
    shard: Shard = None,
    freeze_from: FreezeFrom = None,
    fail_fast: FailFast = False,
    restart: Restart = False,
    verify: Verify = False,
    grace: Grace = 90.0,
    tiles: Tiles = False,
    engine: EngineName = "local",
    scheduler: Scheduler = None,
    wait_for_workers: Patience = None,
    config: Config = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:  # fmt: skip
    """Deconvolve many stacks. A rerun does only what is missing or changed.

    USR1 ends it after the stacks in hand, with 75. Failures are listed in batch_report.csv, and the code is 3 then.
    """
    from microdeconv.batch.prepare import Asked, RefusedBatchError, prepared

    if tiles:
        from microdeconv.cli.tiles import How, call, refuse_for_tiles

        refuse_for_tiles(items, output, freeze_from=freeze_from, verify=verify, verbose=verbose)
        how = How(engine, scheduler, fail_fast, grace, dry_run, wait_for_workers)
        with Terminal(log_format, quiet=quiet) as terminal:
            return call(Path(items[0]), output, given, config, workers, shard, how, terminal, restart=restart)
    if engine != "local" or scheduler is not None or wait_for_workers is not None:
        told = "--engine, --scheduler and --wait-for-workers are for one huge stack"
        raise UsageError(told, "add --tiles, or leave them out")
    everywhere = given.pop("device", None) if given.get("device") == "all" else None
    asked = Asked(
        tuple(items), output, layers(all_options(), given, config), tuple([config] if config else []), workers, shard,
        freeze_from, everywhere or "", fail_fast=fail_fast, restart=restart, verify=verify, grace=grace,
    )  # fmt: skip
    with Terminal(log_format, quiet=quiet) as terminal:
        try:
            todo = prepared(asked, write=not dry_run)
        except RefusedBatchError as refused:
            for line in refused.lines:
                terminal.say(line, "error")
            raise
        for note in todo.notes:
            terminal.say(note, "warning" if note in todo.warnings else "info")
        if dry_run:
            sys.stdout.writelines(f"{unit.row.input}\t{output / unit.key}\t{unit.why}\n" for unit in todo.needed)
            return 0
        code = todo.run(_Progress(terminal, len(todo.needed), verbose=verbose).tell)
        for line in todo.summary(code):
            terminal.say(line, "error" if code not in (0, 75) and line.startswith("failed") else "info")
        terminal.event("exit", code=code)
    return code


class _Progress:
    """Tells of units that end, and of the time that the rest will take."""

    def __init__(self, terminal: Terminal, total: int, *, verbose: bool) -> None:
        self.terminal, self.total, self.verbose = terminal, total, verbose
        self.ended = self.failed = 0
        self.began = self.last = time.monotonic()

    def tell(self, kind: str, unit: Unit, told: Mapping[str, Any]) -> None:
        """Take in what happened to a unit."""
        name = str(unit.row.input)
        if kind in ("done", "kept", "failed"):
            self.ended += 1
            self.failed += kind == "failed"
            self._so_far()
        if kind == "failed":
            line = f"{name}: " if name not in told["message"] else ""
            self.terminal.say(f"{line}{_as_line(told)}", "error", unit=unit.key, code=told["exit"])
        elif kind == "retried":
            self.terminal.say(f"{name}: its worker {told['how']}, it is tried once more with half the memory",
                              "warning", unit=unit.key)  # fmt: skip
        elif kind == "done":
            if self.verbose:
                self.terminal.say(f"{name}: {told['seconds']:.1f} s", unit=unit.key)
            self.terminal.event("done", unit=unit.key, seconds=told["seconds"], sha256=told["sha256"])
        elif kind == "step" and self.total == 1:
            self.terminal.listen(told["work"], told["step"], told["steps"])

    def _so_far(self) -> None:
        if self.terminal.format == "rich":
            self.terminal.listen("stacks", self.ended, self.total)
            return
        now = time.monotonic()
        if now - self.last > EVERY:
            self.last = now
            left = (now - self.began) / self.ended * (self.total - self.ended)
            failed = f", {self.failed} failed" if self.failed else ""
            self.terminal.say(f"{self.ended:,} of {self.total:,} stacks{failed}, about {in_words(left)} left",
                              ended=self.ended, total=self.total, seconds_left=round(left))  # fmt: skip


def _as_line(told: Mapping[str, Any]) -> str:
    return str(MicrodeconvError(told["message"], told["remedy"]))


def in_words(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("batch")(with_options(batch, all_options()))
