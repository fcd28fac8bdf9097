"""The program: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer

from microdeconv import __version__
from microdeconv.cli import (
    batch,
    compare,
    estimate,
    evaluate,
    explain,
    finish,
    look,
    models,
    psf,
    run,
    slurm_script,
    train,
)
from microdeconv.cli.flags import join_numbers, need_command
from microdeconv.cli.terminal import Terminal
from microdeconv.errors import MicrodeconvError
from microdeconv.signals import hear

OUR_BUG = 70


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"microdeconv {__version__}\n")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(
        name="microdeconv",
        help="Deconvolution of fluorescence-microscopy stacks.",
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )

    @app.callback(invoke_without_command=True)
    def _top(
        context: typer.Context,
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
        ] = False,
    ) -> None:
        """Deconvolution of fluorescence-microscopy stacks."""
        del version  # its callback has answered
        need_command(context)

    run.add_to(app)
    compare.add_to(app)
    batch.add_to(app)
    finish.add_to(app)
    estimate.add_to(app)
    slurm_script.add_to(app)
    psf.add_to(app)
    models.add_to(app)
    evaluate.add_to(app)
    explain.add_to(app)
    train.add_to(app)
    look.add_to(app)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run the program; give its exit code.

    An error of ours is one line on stderr and its own code; anything else is our bug, 70. TERM and HUP end the
    program after the partial output is removed, with 143 and 129; INT with 130. Those that it was started without
    (`nohup`, `&` in a script) stay without.
    """
    # threads that wait long burn a processor otherwise: on a shared machine steps took up to 20 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # a short wait is quicker than sleep
    hear(_stop)
    words = join_numbers(sys.argv[1:] if arguments is None else arguments)
    try:
        code = build_app()(args=words, prog_name="microdeconv", standalone_mode=False)
        return int(code or 0)
    except MicrodeconvError as error:
        return _end(str(error), error.exit_code, words)
    except _Stopped as stop:
        return _end(f"stopped by {signal.Signals(stop.number).name}, nothing was left behind", 128 + stop.number, words)
    except (BrokenPipeError, SystemExit) as gone:
        if isinstance(gone, SystemExit) and not isinstance(gone.__context__, BrokenPipeError):
            raise
        sys.stderr.close()  # click turned it into 1
        return 141
    except Exception as error:
        shown = getattr(error, "format_message", None)
        if shown is not None:
            return _end(shown().replace("Value error, ", ""), getattr(error, "exit_code", 2), words)
        if "-v" in words or "--verbose" in words:
            raise
        return _end(f"a bug of ours: {type(error).__name__}: {error}; run again with -v and report it", OUR_BUG, words)


class _Stopped(BaseException):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def _stop(number: int, frame: FrameType | None) -> Any:
    del frame
    raise _Stopped(number)


def _end(text: str, code: int, words: Sequence[str]) -> int:
    """Say why the program ends, on one line; as its last event where events are asked for."""
    line = " ".join(text.split())
    if _wants_json(words):
        Terminal("json").event("exit", level="error", code=code, message=line)
    else:
        sys.stderr.write(f"microdeconv: {line}\n")
    return code


def _wants_json(words: Sequence[str]) -> bool:
    return any(
        w == "--log-format=json" or (w == "--log-format" and words[i + 1 : i + 2] == ["json"])
        for i, w in enumerate(words)
    )
