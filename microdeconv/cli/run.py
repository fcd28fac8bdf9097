"""`microdeconv run`: stacks in, deconvolved stacks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, told, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import GENERAL, Config, DryRun, LogFormat, Quiet
from microdeconv.errors import MicrodeconvError, UsageError
from microdeconv.io.names import named_zarr
from microdeconv.options import build, layered
from microdeconv.request import Request, all_options

if TYPE_CHECKING:
    from microdeconv.pipeline import Outcome
    from microdeconv.planning import Plan

ITEMS_FAILED = 3

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT...", help="TIFF files or OME-Zarr folders.", show_default=False)
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="Result, or a folder ending in / for many. [default: INPUT_decon.tif]",
        rich_help_panel="Output",
        show_default=False,
    ),
]
SaveSettings = Annotated[
    Path | None,
    typer.Option(
        "--save-settings",
        metavar="FILE",
        rich_help_panel=GENERAL,
        show_default=False,
        help="Write all settings, with what was chosen from the data, for --config of the next runs.",
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More lines; tracebacks.", rich_help_panel=GENERAL)]


def run(
    inputs: Inputs,
    output: Output = None,
    config: Config = None,
    save_settings: SaveSettings = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:
    """Deconvolve stacks. Optics come from the file, then from options; background, stop and tiles are chosen."""
    above = layers(all_options(), given, config)
    folder = Path(output) if output is not None and _is_folder(output) else None
    if len(inputs) > 1 and output is not None and folder is None:
        raise UsageError(f"-o {output}: one name for {len(inputs)} inputs", "give a folder ending in /")
    if save_settings is not None and len(inputs) > 1:
        raise UsageError(
            "--save-settings with several inputs", "choose the settings on one, then use them with --config"
        )
    name = Path(output) if output is not None and folder is None else None
    recipe = layered(all_options(), above)["psf_recipe"].value  # a name, or a file that no output may replace
    kept = (*inputs, *(Path(p) for p in (config, recipe) if p is not None))
    requests = [Request(one, name, folder, save_settings, kept, above) for one in inputs]
    _begin(requests)
    with Terminal(log_format, quiet=quiet) as terminal:
        failed = 0
        for request in requests:
            try:
                _one(request, terminal, dry_run=dry_run, verbose=verbose)
            except MicrodeconvError as error:
                if len(requests) == 1:
                    raise
                failed += 1
                terminal.say(str(error), "error", code=error.exit_code)
        code = ITEMS_FAILED if failed else 0
        if failed:
            terminal.say(f"{failed} of {len(requests)} inputs failed", "error")
        terminal.event("exit", code=code)
    return code


def _is_folder(output: str) -> bool:
    """Whether results are written into it; an OME-Zarr is a folder too, but a result by its name."""
    return not named_zarr(Path(output)) and (output.endswith("/") or Path(output).is_dir())


def _begin(requests: list[Request]) -> None:
    """Refuse what concerns all requests; set the threads, which the planning's PSFs are computed with too."""
    from microdeconv.io.selection import Selection
    from microdeconv.io.stacks import open_stack

    if len(requests) == 1:  # a bad file is told at once, before torch is awake
        open_stack(requests[0].input, build(Selection, requests[0].values()))
    from microdeconv.machine import MachineOptions, machine_for, prepare
    from microdeconv.outputs import refuse_shared_outputs

    refuse_shared_outputs(requests)
    prepare(machine_for(build(MachineOptions, requests[0].values())))


def _one(request: Request, terminal: Terminal, *, dry_run: bool, verbose: bool) -> None:
    import sys

    from microdeconv.pipeline import execute, save_settings
    from microdeconv.planning import plan

    todo = plan(request)
    if dry_run:
        sys.stdout.write("\n".join(plan_lines(todo)) + "\n")
        return
    for line in plan_lines(todo) if verbose else plan_lines(todo)[:1]:
        terminal.say(line)
    outcome = execute(todo, terminal.listen)
    for note in outcome.notes:
        terminal.say(note, "warning")
    for line in _chosen_lines(todo, outcome):
        terminal.say(line)
    if todo.outputs.report is not None:
        _report(todo.outputs.report, todo, outcome, terminal)
    terminal.say(f"{outcome.output}: {outcome.seconds:.1f} s", output=str(outcome.output), seconds=outcome.seconds)
    if todo.outputs.settings is not None:
        save_settings(todo, outcome)
        terminal.say(f"settings saved in {todo.outputs.settings}")


def _report(path: Path, todo: Plan, outcome: Outcome, terminal: Terminal) -> None:
    """Write the page of the one result."""
    import shlex
    import sys

    from microdeconv.compare.results import case_of_run
    from microdeconv.compare.told import write_case_page

    case = case_of_run(todo, outcome, shlex.join(["microdeconv", *sys.argv[1:]]), terminal.listen)
    write_case_page(path, case, overwrite=bool(todo.values["overwrite"].value))
    terminal.say(f"page in {path}", output=str(path))


def plan_lines(todo: Plan) -> list[str]:
    """The plan in words, for a person."""
    header = todo.stack.header
    lines = [f"{header.path}: {header.describe()}, {todo.method.name} on {todo.machine.device}"]
    lines.append(f"  voxel {header.describe_voxel()}")
    for channel in todo.channels:
        name = header.channels[channel.number].name or ""
        lines.append(f"  channel {channel.number} {name}".rstrip())
        known = {k: v for k, v in channel.sources.items() if v.value is not None}
        for key, value in known.items():
            lines.append(f"    {key} {told(value)} ({value.source})")
        shape = " x ".join(str(n) for n in channel.psf.shape)
        lines.append(f"    PSF {shape}, {channel.psf.source}")
        cut = channel.cut
        grid = " x ".join(str(n) for n in cut.grid)
        lines.append(f"    {cut.tiles} tile(s), halo {cut.halo[0]} x {cut.halo[1]}, padded to {grid}")
    lines.append(
        f"  memory about {todo.memory / 1e9:.2g} GB"
        f" of {todo.machine.memory / 1e9:.3g} GB ({todo.machine.memory_source})"
    )
    lines.append(f"  device {todo.machine.device}, {todo.machine.threads} thread(s)")
    for key, value in todo.values.items():
        if key not in todo.channels[0].sources:
            lines.append(f"  {key} {told(value)} ({value.source})")
    lines.append(f"  writes {todo.outputs.result} ({todo.header_out.container}, {todo.header_out.describe()})")
    return lines + [f"  note: {note}" for note in todo.notes]


def _chosen_lines(todo: Plan, outcome: Outcome) -> list[str]:
    lines = []
    for number, chosen in outcome.settings.items():
        if not todo.method.keeps_counts:
            lines.append(f"channel {number}: PSF {outcome.psfs[number].source}")
            steps = (
                f", {chosen.iterations} iterations ({chosen.sources.get('iterations', 'given')})"
                if todo.method.stopped.iterative
                else ""
            )
            lines.append(
                f"channel {number}: background {chosen.background:.5g}"
                f" ({chosen.sources.get('background', 'blank')}){steps}"
            )
        for found in outcome.guard.get(number, [])[:1]:
            lines.append(f"channel {number}: guard " + ", ".join(f"{k} {v}" for k, v in found.items()))
    return lines


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(with_options(run, all_options()))
