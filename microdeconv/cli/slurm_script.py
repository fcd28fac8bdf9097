"""`microdeconv slurm-script`: a job array that does a batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from microdeconv.cli.batch import Folder, FreezeFrom, Items, Tiles
from microdeconv.cli.estimate import Cpus, expectations
from microdeconv.cli.flags import layers, typed, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config
from microdeconv.errors import UsageError
from microdeconv.request import all_options

SLURM = "Slurm"

Array = Annotated[
    int | None,
    typer.Option(
        "--array",
        metavar="N",
        min=1,
        max=100_000,
        rich_help_panel=SLURM,
        show_default=False,
        help="Tasks; so that each takes about an hour, if not given, and no more than 1000.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        rich_help_panel=SLURM,
        show_default=False,
        help="Time limit of a task; estimated if not given.",
    ),
]
Mem = Annotated[
    int | None,
    typer.Option(
        "--mem",
        metavar="MB",
        min=100,
        rich_help_panel=SLURM,
        show_default=False,
        help="Memory of a task; estimated if not given.",
    ),
]
Gpu = Annotated[int, typer.Option("--gpu", metavar="N", min=0, help="GPUs of a task.", rich_help_panel=SLURM)]
Partition = Annotated[
    str, typer.Option("--partition", metavar="NAME", help="Where.", rich_help_panel=SLURM, show_default=False)
]
Requeue = Annotated[
    Literal["auto", "site", "script"],
    typer.Option(
        "--requeue",
        rich_help_panel=SLURM,
        help="Who runs a task again that ends with 75: the site (RequeueExit=75), or the script.",
    ),
]
Submit = Annotated[bool, typer.Option("--submit", help="Submit it too.", rich_help_panel=SLURM)]


def slurm_script(
    items: Items,
    output: Folder,
    array: Array = None,
    time_limit: TimeLimit = None,
    mem: Mem = None,
    cpus: Cpus = 1,
    gpu: Gpu = 0,
    partition: Partition = "",
    requeue: Requeue = "auto",
    submit: Submit = False,
    freeze_from: FreezeFrom = None,
    tiles: Tiles = False,
    config: Config = None,
    *,
    given: dict[str, Any],
) -> int:  # fmt: skip
    """Print a script for sbatch: an array of which each task does its part of a batch and is run again when need be.

    The whole manifest is checked here. A rerun, or a second submit, does only what is missing. With --tiles the plan is
    made here, and the script is for bash: it submits the array, and a job that finishes after it.
    """
    from microdeconv.batch.prepare import Asked, prepared
    from microdeconv.batch.slurm import Job, as_time, read_time, requeues, script
    from microdeconv.batch.slurm import submit as submitted

    try:
        asked_time = read_time(time_limit) if time_limit is not None else None
    except ValueError as why:
        raise UsageError(f"--time-limit {time_limit}: {why}", "such as 90, 04:00:00 or 1-12:00:00") from None
    if tiles:
        from microdeconv.cli.tiles import refuse_for_tiles, script_of
        from microdeconv.huge.slurm_array import Wishes

        refuse_for_tiles(items, output, freeze_from=freeze_from)
        wishes = Wishes(array, asked_time, mem, cpus, gpu, partition, requeue)
        with Terminal("auto") as terminal:
            return script_of(Path(items[0]), output, given, config, wishes, terminal, submit=submit)
    kept = tuple([config] if config else [])
    asked = Asked(tuple(items), output, layers(all_options(), given, config), kept, shard="1/1",
                  freeze_from=freeze_from)  # fmt: skip
    with Terminal("auto") as terminal:
        todo = prepared(asked, write=False)
        if not todo.needed:
            terminal.say(f"{len(todo.units)} stacks, all done already: nothing to do")
            return 0
        if asked_time is None or mem is None or array is None:  # torch wakes only then
            from microdeconv.batch.estimate import needs, tasks_for

            expected = expectations(todo, cpus, terminal)
            array = array or tasks_for(expected)
            need = needs(expected, min(array, len(todo.units)), cpus)
            asked_time, mem = asked_time or as_time(need.minutes), mem or need.memory
        who = requeues() if requeue == "auto" else requeue
        job = Job(min(array, len(todo.units)), asked_time, mem, cpus, gpu, partition, who)
        words = [*items, "-o", str(output), *(["--config", str(config)] if config else [])]
        words += ["--freeze-from", freeze_from] if freeze_from else []
        text = script([*words, *typed(given)], output.resolve(), Path.cwd(), job)
        sys.stdout.write(text)
        if gpu and time_limit is None:
            terminal.say("the time is that of this machine's processor, a GPU takes less: see --time-limit", "warning")
        if submit:
            terminal.say(f"submitted as job {submitted(text, output.resolve())}")
    return 0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("slurm-script")(with_options(slurm_script, all_options()))
