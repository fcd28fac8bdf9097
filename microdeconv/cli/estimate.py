"""`microdeconv estimate`: memory and time of stacks, before they are done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.batch import Items, in_words
from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, LogFormat
from microdeconv.errors import DataError, MicrodeconvError
from microdeconv.options import build
from microdeconv.request import Request, all_options

if TYPE_CHECKING:
    from microdeconv.batch.estimate import Expected
    from microdeconv.batch.prepare import Todo

Cpus = Annotated[
    int,
    typer.Option("--cpus", metavar="N", min=1, max=1024, rich_help_panel="Slurm", help="Processors of each task."),
]


def estimate(
    items: Items,
    tasks: Annotated[
        int | None,
        typer.Option("--tasks", metavar="N", min=1, rich_help_panel="Slurm", show_default=False,
                     help="Share them among so many; so that each takes about an hour, if not given."),
    ] = None,
    cpus: Cpus = 1,
    config: Config = None,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:  # fmt: skip
    """Tell what stacks will take, from their plans and from transforms timed here, and what to ask Slurm for.

    Without --iterations, 40 steps are expected; "at most" is with --max-iterations.
    """
    from microdeconv.batch.estimate import needs, tasks_for
    from microdeconv.batch.prepare import Asked, prepared
    from microdeconv.batch.slurm import as_time

    asked = Asked(tuple(items), Path(), layers(all_options(), given, config), shard="1/1", anywhere=True)
    with Terminal(log_format) as terminal:
        expected = expectations(prepared(asked, write=False), cpus, terminal)
    lines = [("stack", "stacks", "memory", "seconds each", "at most")]
    for one in expected:
        lines.append((str(one.path), str(one.count), f"{one.memory / 1e9:.2f} GB", f"{one.seconds:.0f}",
                      f"{one.most:.0f}"))  # fmt: skip
    sys.stdout.writelines("\t".join(line) + "\n" for line in lines)
    total = sum(one.count * one.seconds for one in expected)
    share = tasks or tasks_for(expected)
    need = needs(expected, share, cpus)
    sys.stdout.write(f"all of them: about {in_words(total)} on one processor\n")
    sys.stdout.write(
        f"sbatch --array=1-{share} --cpus-per-task={cpus} --mem={need.memory}M --time={as_time(need.minutes)}\n"
    )
    return 0


def expectations(todo: Todo, cpus: int, terminal: Terminal) -> Sequence[Expected]:
    """Give what the stacks of a batch that are not done will take, each on one of so many processors.

    Raises
    ------
    DataError
        When none of them can be planned.
    """
    from microdeconv.batch.estimate import estimate as expected
    from microdeconv.machine import MachineOptions, machine_for, prepare

    threads = 1 if len(todo.needed) >= cpus else cpus // max(len(todo.needed), 1)
    machine = machine_for(build(MachineOptions, todo.common.values))
    prepare(machine)
    requests = [todo.common.request(unit, {"overwrite": True, "threads": threads}) for unit in todo.needed]

    def failed(request: Request, error: MicrodeconvError) -> None:
        name = "" if str(request.input) in error.message else f"{request.input}: "
        terminal.say(f"{name}{error}", "warning")

    found = expected(requests, machine, failed)
    if requests and not found:
        raise DataError("none of the stacks can be done", "see the lines above")
    return found


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate")(with_options(estimate, all_options()))
