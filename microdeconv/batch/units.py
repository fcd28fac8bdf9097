"""From rows to units of work: where each output goes, what cannot be right, and what is done already."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import microdeconv
from microdeconv.batch.journal import Done, short_digest
from microdeconv.batch.manifest import Problem, Row
from microdeconv.errors import CannotCreateError, ConfigError, MicrodeconvError, NoInputError, RefusedError
from microdeconv.options import Sourced, layered
from microdeconv.psf.named import PsfFile, files_of
from microdeconv.request import BATCH, Request, all_options, method_of

HOW = {"device", "memory", "threads", "overwrite", "parents", "preview", "record"}  # none of it settles the result
Layers = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(slots=True)
class Unit:
    """One stack and its result.

    Attributes
    ----------
    row
        As the manifest tells it.
    key
        The output, from the output folder on.
    why
        Why it is done, in words; empty when it need not be.
    ours
        Whether an output that lies there is of this batch and may be replaced.
    begun
        How often it was begun and not ended.
    """

    row: Row
    key: str
    why: str = ""
    ours: bool = False
    begun: int = 0
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Common:
    """What all units share.

    Attributes
    ----------
    output
        The folder of all outputs.
    layers
        Values of the options, the weakest layer first.
    kept
        Files that are read and never written over.
    overwrite
        Whether files that are not of this batch may be replaced.
    frozen
        Settings that were chosen once for all; None when each unit chooses its own.
    """

    output: Path
    layers: Layers
    kept: tuple[Path, ...] = ()
    overwrite: bool = False
    frozen: Mapping[str, Any] | None = None

    def request(self, unit: Unit, machine: Mapping[str, Any], settings: Path | None = None) -> Request:
        """Give the request that does a unit."""
        own = {"overwrite": self.overwrite or unit.ours, "parents": True, **machine}
        frozen = (("frozen", self.frozen),) if self.frozen is not None else ()
        layers = (*self.layers, *frozen, (f"row {unit.row.number}", unit.row.values), (BATCH, own))
        return Request(unit.row.input, self.output / unit.key, None, settings, self.kept, layers)

    @cached_property
    def values(self) -> dict[str, Sourced]:
        """Options of the whole batch, by key."""
        return layered(all_options(), self.layers)

    @cached_property
    def settings(self) -> dict[str, str]:
        """Options of the whole batch that settle results, as text, by key."""
        return {k: _text(v.value) for k, v in sorted(self.values.items()) if v.source != "default" and k not in HOW}

    @cached_property
    def _base(self) -> str:
        frozen = sorted((k, _text(v)) for k, v in (self.frozen or {}).items())
        return repr([frozen, sorted(self.settings.items())])

    def parameters(self, unit: Unit) -> str:
        """Digest everything but the input that settles a unit's result, the PSF's bytes too."""
        own = {k: _text(v) for k, v in sorted(unit.row.values.items()) if k not in HOW}
        psf = unit.row.values.get("psf") or (self.frozen or {}).get("psf") or self.values["psf"].value
        told = [self._base, own, [_digest(one.path) for one in files_of(psf)]]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(_text(one) for one in value)
    if isinstance(value, PsfFile):
        return str(PsfFile(Path(os.path.abspath(value.path)), value.place))  # noqa: PTH100 (no link is followed)
    return str(value)


@lru_cache(maxsize=4096)
def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"


def units_of(rows: Iterable[Row], output: Path) -> tuple[list[Unit], list[Problem]]:
    """Give each row its output's place; find rows that cannot be done together.

    Raises nothing: two rows with one output (also where only capitals or accents' encodings differ), outputs outside
    the folder or that are inputs are among the problems.
    """
    units: list[Unit] = []
    problems: list[Problem] = []
    takers: dict[str, int] = {}
    root = output.resolve()
    inside: dict[str, bool] = {}
    for row in rows:
        key = row.output or f"{_stem(row.input.name)}_decon{'.ome.tif' if _is_ome(row.input.name) else '.tif'}"
        if key.endswith("/"):
            key += f"{_stem(row.input.name)}_decon{'.ome.tif' if _is_ome(row.input.name) else '.tif'}"
        key = os.path.normpath(key)
        folder = os.path.dirname(key)  # noqa: PTH120 (ten thousand times)
        if folder not in inside:
            place = (root / folder).resolve()
            inside[folder] = not os.path.isabs(key) and place.is_relative_to(root)  # noqa: PTH117
        if not inside[folder] or os.path.isabs(key):  # noqa: PTH117
            problems.append(
                Problem(row.number, RefusedError(f"output {row.output} lies outside of {output}", "name it from there"))
            )
            continue
        if not key.lower().endswith((".tif", ".tiff")):
            problems.append(Problem(row.number, ConfigError(f"output {key}: results are TIFF files", "end it in .tif")))
            continue
        plain = unicodedata.normalize("NFC", key).casefold()
        if plain in takers:
            message = f"output {key} is that of row {takers[plain]} too"
            problems.append(Problem(row.number, ConfigError(message, "give each row its own in a column 'output'")))
            continue
        takers[plain] = row.number
        units.append(Unit(row, key))
    return units, problems + _swallowed(units, root)


def _swallowed(units: Sequence[Unit], root: Path) -> list[Problem]:
    """Outputs that are inputs, of the same row or another."""
    folders: dict[str, str] = {}
    inputs: dict[str, int] = {}
    for unit in units:
        folder, name = os.path.split(unit.row.input)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder or ".")
        inputs[os.path.join(folders[folder], name)] = unit.row.number  # noqa: PTH118
    places: dict[str, str] = {}
    problems = []
    for unit in units:
        folder, name = os.path.split(unit.key)
        if folder not in places:
            places[folder] = str((root / folder).resolve())
        number = inputs.get(os.path.join(places[folder], name))  # noqa: PTH118
        if number is not None:
            whose = "its own input" if number == unit.row.number else f"the input of row {number}"
            problems.append(Problem(unit.row.number, ConfigError(f"output {unit.key} is {whose}", "give another one")))
    return problems


def _is_ome(name: str) -> bool:
    return re.search(r"\.ome\.tiff?$", name, flags=re.IGNORECASE) is not None


def _stem(name: str) -> str:
    return re.sub(r"(\.ome)?\.[^.]+$", "", name, flags=re.IGNORECASE) or name


def check(units: Sequence[Unit], common: Common, ours: Iterable[str], standing: set[str]) -> list[Problem]:
    """Find, before the first unit, what none of them could do: missing files, outputs of somebody else, wrong options.

    Parameters
    ----------
    units
        Those of this process.
    common
        What they share.
    ours
        Keys of outputs that the journal knows, or that were begun.
    standing
        Keys of outputs that lie there.
    """
    known = set(ours)
    problems: list[Problem] = []
    psfs: dict[Path, bool] = {}
    combinations: dict[tuple[Any, ...], MicrodeconvError | None] = {}
    for unit in units:
        row = unit.row
        why = _unreadable(row.input)
        if why:
            problems.append(Problem(row.number, NoInputError(f"{row.input}: {why}", "check the column 'input'")))
        for one in files_of(row.values.get("psf")):
            if not psfs.setdefault(one.path, one.path.is_file()):
                problems.append(Problem(row.number, NoInputError(f"{one.path}: no such PSF", "check the column 'psf'")))
        if unit.key in standing:
            unit.ours = unit.key in known
            if not unit.ours and not common.overwrite:
                error = CannotCreateError(f"{common.output / unit.key}: exists already", "--overwrite replaces it")
                problems.append(Problem(row.number, error))
        kinds = (tuple(row.values), row.values.get("method"), "psf" in row.values and bool(row.values["psf"]))
        if kinds not in combinations:
            combinations[kinds] = _unfit(common.values, row)
        if combinations[kinds]:
            problems.append(Problem(row.number, combinations[kinds] or MicrodeconvError("")))
    return problems


def _unreadable(path: Path) -> str:
    if not os.path.exists(path):  # noqa: PTH110 (ten thousand times)
        return "no such file"
    return "" if os.access(path, os.R_OK) else "cannot be read"


def _unfit(base: Mapping[str, Sourced], row: Row) -> MicrodeconvError | None:
    try:
        method_of({**base, **{k: Sourced(v, "command line") for k, v in row.values.items()}})
    except MicrodeconvError as error:
        return ConfigError(error.message, error.remedy)
    return None


def standing_outputs(units: Iterable[Unit], output: Path) -> dict[str, os.stat_result]:
    """Stat the outputs that lie there, by key."""
    found = {}
    for unit in units:
        try:
            found[unit.key] = os.lstat(output / unit.key)
        except OSError:
            continue
    return found


def reason(unit: Unit, line: Done | None, common: Common, stats: os.stat_result | None, *, verify: bool) -> str:
    """Say why a unit must be done; an empty text when its journal line, input and output agree."""
    if line is None:
        return "new"
    if stats is None:
        return "its output is gone"
    if stats.st_size != line.size:
        return "its output was changed"
    if (verify or stats.st_mtime_ns != line.time) and _short(common.output / unit.key) != line.digest:
        return "its output was changed"
    if line.parameters != common.parameters(unit):
        return "its parameters changed"
    try:
        source = unit.row.input.stat()
    except OSError:
        return "its input is gone"
    same = (source.st_size, source.st_mtime_ns) == (line.input_size, line.input_time)
    if (verify or not same) and _short(unit.row.input) != line.input_digest:
        return "its input changed"
    return ""


def _short(path: Path) -> str:
    digest = _digest.__wrapped__(path)
    return short_digest(digest) if digest != "missing" else ""


def line_for(unit: Unit, told: Mapping[str, Any], common: Common, generation: int) -> Done:
    """Make the journal's line of a unit from what its worker told."""
    return Done(
        generation, unit.key, told["input_size"], told["input_time"], short_digest(told["input_sha256"]),
        common.parameters(unit), microdeconv.__version__, told["size"], told["time"], short_digest(told["sha256"]),
        round(told["seconds"], 2),
    )  # fmt: skip
