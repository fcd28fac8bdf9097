"""What a batch has done: a line for each unit, appended when its output stands, in one file for each process."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from microdeconv.errors import CannotCreateError, DataError, WriteError
from microdeconv.io.atomic import atomic_output

FOLDER = ".microdeconv"
DIGEST = 16  # bytes of SHA-256 that are kept


class Done(NamedTuple):
    """One unit that is done, as its line says.

    Attributes
    ----------
    generation
        Which `--restart` it is of.
    key
        Its output, from the output folder on.
    input_size, input_time, input_digest
        Of the input: bytes, ns, the first 16 bytes of its SHA-256 (base64).
    parameters
        A digest of everything that settles the result.
    version
        Of this program.
    size, time, digest
        Of the output.
    seconds
        That it took.
    """

    generation: int
    key: str
    input_size: int
    input_time: int
    input_digest: str
    parameters: str
    version: str
    size: int
    time: int
    digest: str
    seconds: float


def short_digest(hexadecimal: str) -> str:
    """Shorten a SHA-256 to what the journal keeps of it."""
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)[:DIGEST]).decode().rstrip("=")


def long_digest(short: str) -> str:
    """Give the first 32 hexadecimal digits of a SHA-256 back."""
    return base64.urlsafe_b64decode(short + "=" * (-len(short) % 4)).hex()


class Journal:
    """The journal of one output folder.

    Parameters
    ----------
    output
        The folder; the journal lies in a hidden folder in it, made with the first line.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output / FOLDER
        self.generation = 1
        self.broken = 0
        self._handle: int | None = None
        self._read: dict[Path, int] = {}  # bytes of each file that were read

    def load(self, keys: Collection[str] | None = None) -> tuple[dict[str, Done], set[str]]:
        """Read the lines of every process.

        Parameters
        ----------
        keys
            The units that are asked for; all, when None.

        Returns
        -------
        done, ours
            The last line of each unit of this generation; units that any generation has made.
        """
        done: dict[str, Done] = {}
        ours: set[str] = set()
        self._read.clear()
        self.broken = 0
        for line in self.news():
            if keys is None or line.key in keys:
                ours.add(line.key)
                if line.generation == self.generation:
                    done[line.key] = line
        return done, ours

    def news(self) -> Iterator[Done]:
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
            for raw in lines:
                try:
                    line = Done._make(json.loads(raw))
                except (ValueError, TypeError):
                    self.broken += 1
                else:
                    yield line

    def append(self, line: Done) -> None:
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

    def settle(self, settings: Mapping[str, str], *, restart: bool) -> None:
        """Keep what the whole batch is done with, at its first start; refuse to go on with something else.

        Parameters
        ----------
        settings
            Options of the whole batch, by key, as text.
        restart
            Whether all is to be done again: what was done so far counts no more.

        Raises
        ------
        CannotCreateError
            When they differ from those of the earlier start.
        """
        path = self.folder / "batch.json"
        told = self._told(path)
        if told is not None and not restart:
            self.generation = int(told.get("generation", 1))
            before = told.get("settings", {})
            if before != settings:
                raise CannotCreateError(
                    f"{self.folder.parent}: begun with other settings ({_difference(before, settings)})",
                    "give the same ones, another -o, or --restart, which does all of it again",
                )
            return
        if told is not None:
            self.generation = int(told.get("generation", 1)) + 1
        with atomic_output(path, overwrite=True, parents=True) as partial:
            whole = {"generation": self.generation, "settings": dict(settings)}
            partial.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def look(self, settings: Mapping[str, str], *, restart: bool) -> None:
        """As `settle`, but nothing is written."""
        told = self._told(self.folder / "batch.json")
        if told is None:
            return
        if restart:
            self.generation = int(told.get("generation", 1)) + 1
        else:
            self.settle(settings, restart=False)

    def _told(self, path: Path) -> dict[str, Any] | None:
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            told = json.loads(path.read_text(encoding="utf-8"))
            return told if isinstance(told, dict) else None
        return None


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [k for k in dict.fromkeys((*before, *now)) if before.get(k) != now.get(k)]
    return ", ".join(f"{k} {before.get(k, '-')} then, {now.get(k, '-')} now" for k in keys[:5])
