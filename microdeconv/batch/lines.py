"""Lines that several processes append to, in one file for each; what a kill or a full disk cut is passed over."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from microdeconv.errors import DataError, WriteError

Line = TypeVar("Line", bound=tuple[Any, ...])


class Lines(Generic[Line]):
    """The lines in one folder.

    Parameters
    ----------
    folder
        Where the files lie; made with the first line.
    kind
        The named tuple that a line is.
    """

    def __init__(self, folder: Path, kind: type[Line]) -> None:
        self.folder = folder
        self.broken = 0
        self._kind = kind
        self._handle: int | None = None
        self._read: dict[Path, int] = {}  # bytes of each file that were read

    def news(self) -> Iterator[Line]:
        """Read the lines that were appended since they were last read."""
        for path in sorted(self.folder.glob("done-*.jsonl")):
            try:
                if path.stat().st_size <= self._read.get(path, 0):
                    continue
                file = path.open("rb")
            except OSError as reason:
                raise DataError(f"{path}: cannot be read ({reason.strerror})", "check its permissions") from None
            with file:
                file.seek(self._read.get(path, 0))
                lines = file.readlines()
            if lines and not lines[-1].endswith(b"\n"):  # being written, or cut by a kill or a full disk
                self.broken += 1
                lines.pop()
            self._read[path] = self._read.get(path, 0) + sum(map(len, lines))
            yield from self._parsed(lines)

    def _parsed(self, lines: list[bytes]) -> Iterator[Line]:
        try:
            told = json.loads(b"[" + b",".join(lines) + b"]")  # a million at once, in a third of the time
            if len(told) != len(lines):
                raise ValueError("two values on a line")
        except ValueError:
            told = [self._value(raw) for raw in lines]
        for value in told:
            try:
                line = self._kind(*value)
            except TypeError:
                self.broken += 1
            else:
                yield line

    def _value(self, raw: bytes) -> Any:
        try:
            return json.loads(raw)
        except ValueError:
            return None

    def append(self, line: Line) -> None:
        """Write a line, to the disk.

        Raises
        ------
        WriteError
            When the disk does not take it.
        """
        try:
            if self._handle is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = f"done-{time.time_ns():020d}-{socket.gethostname()[:40]}-{os.getpid()}.jsonl"
                self._handle = os.open(self.folder / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            if os.write(self._handle, text) != len(text):
                os.write(self._handle, b"\n")  # what was cut is a line of its own
                raise OSError("the line was cut")
            os.fsync(self._handle)
        except OSError as reason:
            raise WriteError(
                f"{self.folder}: the journal cannot be written ({reason.strerror or reason})",
                "make room and run again",
            ) from None

    def close(self) -> None:
        """Close the file of this process."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
