"""What a batch has done: a line for each unit, appended when its output stands, in one file for each process."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from microdeconv.batch.lines import Lines
from microdeconv.errors import CannotCreateError
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


class Journal(Lines[Done]):
    """The journal of one output folder.

    Parameters
    ----------
    output
        The folder; the journal lies in a hidden folder in it, made with the first line.
    """

    def __init__(self, output: Path) -> None:
        super().__init__(output / FOLDER, Done)
        self.generation = 1

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
                    f"{self.folder.parent}: begun with other settings ({difference(before, settings)})",
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


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in which settings two starts differ, five of them at most."""
    keys = [k for k in dict.fromkeys((*before, *now)) if before.get(k) != now.get(k)]
    return ", ".join(f"{k} {before.get(k, '-')} then, {now.get(k, '-')} now" for k in keys[:5])
