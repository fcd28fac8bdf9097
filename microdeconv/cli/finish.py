"""`microdeconv finish` and `microdeconv check`: the end of `batch --tiles`, and whether an OME-Zarr is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.tiles import refuse_without_dask
from microdeconv.cli.words import LogFormat
from microdeconv.errors import DataError, NoInputError
from microdeconv.machine import MachineOptions
from microdeconv.options import options_of

SHOWN = 20  # faults, of which each is told in a line
OWN = tuple(one for one in options_of(MachineOptions) if one.key in ("memory", "threads"))
Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="The OME-Zarr.", show_default=False)]


def finish(
    output: Output,
    workers: Annotated[str, typer.Option("--workers", metavar="auto|N", help="Processes, or jobs of a cluster.")] = (
        "auto"
    ),
    engine: Annotated[Literal["local", "dask"], typer.Option("--engine", help="Who does it, as of batch.")] = "local",
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="slurm|ADDRESS", help="As of batch.", show_default=False)
    ] = None,
    wait_for_workers: Annotated[
        float | None,
        typer.Option("--wait-for-workers", metavar="SECONDS", min=1, help="As of batch.", show_default=False),
    ] = None,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:
    """Check that all tiles are done, blend their seams, make the smaller levels, and give the result its name."""
    from microdeconv.batch.prepare import check_workers
    from microdeconv.huge.finish import all_done, scheme_of
    from microdeconv.huge.finish import finish as finished
    from microdeconv.huge.prepare import Asked, shares_for

    check_workers(workers)
    refuse_without_dask(engine, scheduler, wait_for_workers)
    scheme = scheme_of(output)
    all_done(scheme)  # before any process is started
    with Terminal(log_format) as terminal:
        if engine == "dask":
            from microdeconv.huge.dask_engine import Dask

            here: Any = Dask(scheme, workers, scheduler, wait_for_workers)
        else:
            from microdeconv.huge.local import Local

            asked = Asked(Path(scheme.told["input"]), output, layers(OWN, given, None), workers=workers)
            here = Local(scheme.folder, shares_for(scheme, asked, scheme.count))
        for note in finished(scheme, output, here, terminal.listen):
            terminal.say(note, "warning")
        terminal.say(f"{output}: whole", output=str(output))
        terminal.event("exit", code=0)
    return 0


def check(output: Output, log_format: LogFormat = "auto") -> int:
    """Read every chunk of an OME-Zarr: each must be there, unchanged by its checksum, and finite."""
    from microdeconv.huge.scheme import work_folder
    from microdeconv.io.names import holds_zarr
    from microdeconv.io.zarr_check import check_zarr

    if not output.exists() and work_folder(output).is_dir():
        raise NoInputError(f"{output}: not finished, its tiles lie in {work_folder(output)}", "microdeconv finish")
    if not output.exists():
        raise NoInputError(f"{output}: there is no such folder", "check the path")
    if not (output.is_dir() and holds_zarr(output)):
        raise DataError(f"{output}: is no OME-Zarr", "give the folder of an image")
    with Terminal(log_format) as terminal:
        found = check_zarr(output, terminal.listen)
        for line in found.faults[:SHOWN]:
            terminal.say(line, "error")
        if found.faults:
            raise DataError(f"{output}: {len(found.faults):,} of {found.files:,} files are not as they should be",
                            "copy it anew, or make it again")  # fmt: skip
        terminal.say(f"{output}: {found.levels} levels, {found.files:,} files, {found.voxels:,} voxels, all as written",
                     levels=found.levels, files=found.files, voxels=found.voxels)  # fmt: skip
        terminal.event("exit", code=0)
    return 0


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("finish")(with_options(finish, OWN))
    app.command("check")(check)
