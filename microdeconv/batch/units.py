"""From rows to units of work: where each output goes, what cannot be right, and what is done already."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import microdeconv
from microdeconv.batch.journal import Done, short_digest
from microdeconv.batch.manifest import Problem, Row
from microdeconv.errors import CannotCreateError, ConfigError, MicrodeconvError, NoInputError, RefusedError, UsageError
from microdeconv.io.names import check_result_name, container_named, holds_zarr, named_zarr, result_name
from microdeconv.io.stacks import digest, identity
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
        none = {key for key, name in self.of_zarr(unit).items() if container_named(name) != "zarr"}
        of_all = [(source, {k: v for k, v in values.items() if k not in none}) for source, values in self.layers]
        # a unit's format is that of its name, not that of the unit which the settings were chosen on
        frozen = [("frozen", {k: v for k, v in self.frozen.items() if k != "format"})] if self.frozen else []
        layers = (*of_all, *frozen, (f"row {unit.row.number}", unit.row.values), (BATCH, own))
        return Request(unit.row.input, self.output / unit.key, None, settings, self.kept, layers)

    def of_zarr(self, unit: Unit) -> dict[str, Path]:
        """Options that only OME-Zarr has a use for, by key, each with the stack that would have to be one."""
        return {"missing_chunks": unit.row.input, "ome_zarr": Path(unit.key)}

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
        return digest(path)
    except OSError:
        return "missing"


def units_of(rows: Iterable[Row], output: Path, wanted: str = "same") -> tuple[list[Unit], list[Problem]]:
    """Give each row its output's place; find rows that cannot be done together.

    Raises nothing: two rows with one output (also where only capitals or accents' encodings differ), outputs outside
    the folder, in an OME-Zarr or that are inputs are among the problems.

    Parameters
    ----------
    rows
        All of the batch.
    output
        The folder of all outputs.
    wanted
        As `--format` takes it, for rows that do not say.
    """
    units: list[Unit] = []
    problems: list[Problem] = []
    takers: dict[str, int] = {}
    root = output.resolve()
    inside: dict[str, bool] = {}
    for row in rows:
        form = str(row.values.get("format") or wanted)
        key = row.output
        if not key or (key.endswith("/") and not named_zarr(Path(key))):
            key += result_name(row.input, form, container_named(row.input))
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
        wrong = _misnamed(key, form)
        if wrong is not None:
            problems.append(Problem(row.number, wrong))
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


def _misnamed(key: str, wanted: str) -> ConfigError | None:
    """What is wrong with an output's name, by run's rules."""
    path = Path(key)
    try:
        check_result_name(path, wanted, f"output {key}")
    except UsageError as why:
        return ConfigError(why.message, why.remedy)
    if ".zarr" in key[: -len(path.name)].lower() and any(map(named_zarr, path.parents)):
        return ConfigError(f"output {key}: lies in an OME-Zarr", "choose another folder")
    return None


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
    if os.path.isdir(path) and not (named_zarr(path) or holds_zarr(path)):  # noqa: PTH112 (ten thousand times)
        return "is a folder, and no OME-Zarr"
    return "" if os.access(path, os.R_OK) else "cannot be read"


def _unfit(base: Mapping[str, Sourced], row: Row) -> MicrodeconvError | None:
    try:
        method_of({**base, **{k: Sourced(v, "command line") for k, v in row.values.items()}})
    except MicrodeconvError as error:
        return ConfigError(error.message, error.remedy)
    return None


def standing(path: Path) -> tuple[int, int] | None:
    """Give the identity of an output that lies there, a link's own; None when nothing does."""
    try:
        told = os.lstat(path)
        return identity(path) if stat.S_ISDIR(told.st_mode) else (told.st_size, told.st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError:
        return (-1, 0)  # it cannot be looked at, and is no output of ours as it was


def standing_outputs(units: Iterable[Unit], output: Path) -> dict[str, tuple[int, int]]:
    """Give the identities of the outputs that lie there, by key."""
    found = {unit.key: standing(output / unit.key) for unit in units}
    return {key: told for key, told in found.items() if told is not None}


def reason(unit: Unit, line: Done | None, common: Common, now: tuple[int, int] | None, *, verify: bool) -> str:
    """Say why a unit must be done; an empty text when its journal line, input and output agree."""
    if line is None:
        return "new"
    if now is None:
        return "its output is gone"
    if now[0] != line.size:
        return "its output was changed"
    if (verify or now[1] != line.time) and _short(common.output / unit.key) != line.digest:
        return "its output was changed"
    if line.parameters != common.parameters(unit):
        return "its parameters changed"
    try:
        source = identity(unit.row.input)
    except OSError:
        return "its input is gone"
    same = source == (line.input_size, line.input_time)
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
