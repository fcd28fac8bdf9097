"""What a person or a program sees while work is done: lines on stderr, a bar, or JSON."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

LogFormat = Literal["auto", "rich", "plain", "json"]
EVERY = 30.0  # seconds between lines of progress where there is no bar


class Terminal:
    """Speaks on stderr: as a bar when a person watches, as plain lines or JSON lines when a program does.

    Parameters
    ----------
    log_format
        "auto": a bar when stderr is a terminal, else plain lines.
    quiet
        Warnings and errors only.
    """

    def __init__(self, log_format: LogFormat = "auto", *, quiet: bool = False) -> None:
        self.format = ("rich" if sys.stderr.isatty() else "plain") if log_format == "auto" else log_format
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._work = ""
        self._last = time.monotonic()

    def __enter__(self) -> Terminal:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._end_bar()

    def say(self, text: str, level: str = "info", **details: Any) -> None:
        """Say one line, with a level and further values for programs."""
        if self.quiet and level == "info":
            return
        if self.format == "json":
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"t": now, "level": level, "event": "message", "message": text, **details}, default=str)
        else:
            line = text if level == "info" else f"{level}: {text}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def listen(self, work: str, step: int, steps: int, **figures: Any) -> None:
        """Show how far work is, with what else there is to tell; what `engine` calls after each step."""
        if self.quiet:
            return
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        if self.format == "rich":
            self._show(work, step, steps, told)
        elif time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            most = "at most " if work.endswith("choosing") else ""
            line = f"{work}: step {step} of {most}{steps}{', ' if told else ''}{told}"
            self.say(line, step=step, steps=steps, **figures)

    def _show(self, work: str, step: int, steps: int, told: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if work != self._work or self._bar is None:
            self._end_bar()
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
            figures = TextColumn("{task.fields[told]}")
            self._bar = Progress(*columns, TimeRemainingColumn(), figures, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(work, total=steps, told=told)
            self._work = work
        self._bar.update(self._task, completed=step, total=steps, told=told)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def event(self, name: str, **details: Any) -> None:
        """Say something for programs only."""
        if self.format == "json":
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            sys.stderr.write(json.dumps({"t": now, "level": "info", "event": name, **details}, default=str) + "\n")
            sys.stderr.flush()
