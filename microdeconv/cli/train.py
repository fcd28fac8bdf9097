"""`microdeconv train`: a network from simulated scenes, or one that goes on with a user's own pictures."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.one_channel import channel_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import GENERAL, OUTPUT, LogFormat, Overwrite, Quiet
from microdeconv.errors import UsageError
from microdeconv.machine import MachineOptions
from microdeconv.optics import Model, Optics
from microdeconv.options import Option, build, layered, options_of
from microdeconv.request import PsfOptions
from microdeconv.signals import hear, unhear

if TYPE_CHECKING:
    from microdeconv.cli.training_job import Job
    from microdeconv.learnt.checkpoint import State

OWN = "Own pictures"
SMOOTHED = 0.05  # weight of the last step's loss in the one that is shown


def _options() -> dict[str, Option]:
    psf = {one.key: one for one in options_of(PsfOptions)}
    return channel_options(Model) | psf


Folder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        rich_help_panel=OUTPUT,
        show_default=False,
        help="Where the weights, their card, the curve and the checkpoint go; a checkpoint there is taken up.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        rich_help_panel=OUTPUT,
        show_default=False,
        help="What the network is called. [default: the preset, or own]",
    ),
]
Preset = Annotated[
    Literal["quick", "small", "free", "base"] | None,
    typer.Option(
        "--preset",
        rich_help_panel=GENERAL,
        show_default=False,
        help="The recipe on simulated scenes; free: for users without a PSF. [default: small]",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        rich_help_panel=GENERAL,
        show_default=False,
        help="Changes of the recipe: its keys, as --dry-run prints them.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="NAME|FILE",
        rich_help_panel=GENERAL,
        show_default=False,
        help="The network to go on from. [default: none; with own pictures small]",
    ),
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="FILE.csv",
        rich_help_panel=OWN,
        show_default=False,
        help="Table of own pairs: columns raw, truth, psf, and if wanted background, offset, gain.",
    ),
]
Stack = Annotated[
    list[Path] | None,
    typer.Option(
        "--stack",
        metavar="STACK",
        rich_help_panel=OWN,
        show_default=False,
        help="An own stack without a truth, its PSF with --psf or from the optics; may be repeated.",
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(
        "--hours",
        metavar="H",
        rich_help_panel=GENERAL,
        show_default=False,
        help="Put the training by after so many hours; the same command goes on.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the recipe and the data, train nothing.", rich_help_panel=GENERAL)
]


def train(
    folder: Folder,
    name: Name = None,
    preset: Preset = None,
    config: Config = None,
    start: Start = None,
    pairs: Pairs = None,
    stack: Stack = None,
    hours: Hours = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    overwrite: Overwrite = False,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:  # fmt: skip
    """Train a network on simulated scenes, or on with own pictures; kept only if it is better than before."""
    options = _options()
    stacks = stack or []
    _refuse(options, given, preset=preset, pairs=pairs, stacks=stacks, hours=hours)
    above = layers(options.values(), given, None)
    values = layered(options.values(), above)
    from microdeconv.cli.training_job import check_folder, settle

    weights = check_folder(folder, name or ("own" if pairs or stacks else preset or "small"), overwrite=overwrite)
    with Terminal(log_format, quiet=quiet) as terminal:
        job = settle(weights, preset, config, start, pairs, stacks, values, above)
        for note in job.notes:
            terminal.say(note)
        if dry_run:
            sys.stdout.write(job.told())
            return 0
        code = _trained(job, terminal, hours, build(MachineOptions, values))
        terminal.event("exit", code=code)
    return code


def _refuse(
    options: dict[str, Option], given: dict[str, Any], *, preset: str | None, pairs: Path | None, stacks: list[Path],
    hours: float | None,
) -> None:  # fmt: skip
    """Refuse words that contradict each other, and options that could do nothing."""
    if pairs is not None and stacks:
        raise UsageError("--pairs with --stack", "train on the one, then on the other with --start")
    if preset is not None and (pairs is not None or stacks):
        raise UsageError(f"--preset {preset} is for simulated scenes", "--config changes the recipe for own pictures")
    if hours is not None and not 0 < hours < float("inf"):
        raise UsageError(f"--hours {hours:g}: no such time", "give a number above 0")
    machine = {one.key for one in options_of(MachineOptions)}
    idle = {} if stacks else {key: "is for --stack" for key in options if key not in machine}
    if stacks and "psf" in given:
        idle = {one.key: "does nothing beside --psf" for group in (Optics, Model) for one in options_of(group)}
    elif stacks:
        idle = {one.key: "does nothing without --psf" for one in options_of(PsfOptions)}
    for key, why in idle.items():
        if key in given:
            raise UsageError(f"--{options[key].flag} {why}", "leave it out")


def _trained(job: Job, terminal: Terminal, hours: float | None, machine: MachineOptions) -> int:
    from microdeconv.learnt.training import train as trained
    from microdeconv.machine import machine_for, prepare

    job.begin()
    used = machine_for(machine)
    prepare(used)
    kind = "on own pictures" if job.pictures else "on simulated scenes"
    terminal.say(f"training {job.name} {kind} on {used.device}, {used.threads} thread(s): {job.recipe.steps} steps")
    with _Asked() as asked:
        state = trained(
            job.recipe, job.checkpoint, start=job.start.network if job.start else None, batch=job.batch,
            judge=job.judge, about=job.about, device=used.device, listen=_teller(job, terminal),
            seconds=3600 * hours if hours else float("inf"), stop=lambda: asked.number is not None,
        )  # fmt: skip
        job.draw(state)
    if state.step < job.recipe.steps:
        why = f"--hours {hours:g}" if asked.number is None else signal.Signals(asked.number).name
        terminal.say(
            f"put by at step {state.step} of {job.recipe.steps} ({why}): the same command goes on from there",
            step=state.step,
        )
        return 0 if asked.number is None else 128 + asked.number
    for line, details in job.finish(state, used.device):
        terminal.say(line, **details)
    return 0


def _teller(job: Job, terminal: Terminal) -> Callable[[State], None]:
    """Give what shows how far a training is: loss, validation, rate and time left."""
    import time

    begun: list[tuple[float, int]] = []
    shown: list[float] = []

    def tell(state: State) -> None:
        now = time.monotonic()
        if not begun:
            begun.append((now, state.step))
            terminal.event("begun", step=state.step, steps=job.recipe.steps)
        loss = state.recent[-1] if state.recent else state.history[-1][1]
        shown[:] = [loss if not shown else (1 - SMOOTHED) * shown[0] + SMOOTHED * loss]
        done, took = state.step - begun[0][1], now - begun[0][0]
        figures: dict[str, Any] = {"loss": f"{shown[0]:.4f}"}
        found = [value for _, _, value in state.history if value is not None]
        if found:
            figures[job.figure.replace(" ", "_")] = f"{found[-1]:.4g}"
        if done and took > 0:
            figures["seconds_a_step"] = f"{took / done:.2g}"
            figures["minutes_left"] = f"{(job.recipe.steps - state.step) * took / done / 60:.0f}"
        terminal.listen("training", state.step, job.recipe.steps, **figures)

    return tell


class _Asked:
    """Hears signals without ending at once: a step is finished and the state saved; a second one ends the program."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> _Asked:
        hear(self._hear, self.before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        unhear(self.before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        before = self.before.get(number)
        if self.number is not None and callable(before):
            before(number, frame)
        self.number = number


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(with_options(train, _options().values()))
