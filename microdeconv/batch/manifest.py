"""Which stacks a batch is of: a table (CSV or JSON lines), or file names and patterns. Numpy and torch stay asleep."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from microdeconv.errors import ConfigError, MicrodeconvError, NoInputError, UsageError
from microdeconv.io.names import holds_zarr, named_zarr
from microdeconv.options import Option, convert, nearest
from microdeconv.psf.named import ESTIMATE, NONE

TABLES, LINES = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
OWN = ("input", "output", "sha256")
VOXEL = ("voxel_z", "voxel_y", "voxel_x")
WHOLE = ("device", "memory", "threads", "overwrite", "parents")  # set for the whole batch, never by a row


@dataclass(slots=True)
class Row:
    """One stack of a batch.

    Attributes
    ----------
    number
        Its place in the manifest, for messages: the line's number, or the place among the names.
    input
        The stack.
    output
        Relative to the output folder, as it was written; empty where the input's name decides.
    values
        Of the options that the row sets, by key, read and checked; rows with the same text share one.
    sha256
        Of the input, where the manifest tells it.
    """

    number: int
    input: Path
    output: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row.

    Attributes
    ----------
    row
        Its number; 0 for the whole.
    error
        Of the kind that gives the exit code.
    """

    row: int
    error: MicrodeconvError

    def __str__(self) -> str:
        """Give it as one line."""
        return f"row {self.row}: {self.error}" if self.row else str(self.error)


def is_manifest(name: str) -> bool:
    """Whether a name is that of a table rather than of a stack."""
    return Path(name).suffix.lower() in (*TABLES, *LINES)


def read_rows(names: Sequence[str], options: Mapping[str, Option]) -> tuple[list[Row], list[Problem]]:
    """Read the rows of manifests, names and patterns, in that order.

    Parameters
    ----------
    names
        Manifests (CSV, TSV, JSON lines), names of stacks, patterns such as ``raw/**/*.tif``.
    options
        Every option that a row may set, by key.

    Returns
    -------
    rows, problems
        Those that can be understood, and what is wrong with the others.

    Raises
    ------
    NoInputError
        For a manifest that is missing or holds no row, and a pattern that matches nothing.
    ConfigError
        For a manifest that is no table: its encoding, its headings.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for name in names:
        if is_manifest(name):
            found, wrong = _from_manifest(Path(name), options)
            if not found and not wrong:
                raise NoInputError(f"{name}: no row", "list a stack in each row")
            rows += found
            problems += wrong
        else:
            rows += [Row(len(rows) + place, path) for place, path in enumerate(_matching(name), 1)]
    return rows, problems


def _matching(name: str) -> list[Path]:
    if Path(name).exists() or not glob.has_magic(name):
        return [Path(name)]
    found = sorted(Path(one) for one in glob.iglob(name, recursive=True))  # noqa: PTH207 (a pattern may be absolute)
    stacks = [one for one in found if not one.is_dir() or named_zarr(one) or holds_zarr(one)]
    zarrs = {one for one in stacks if named_zarr(one)}
    if zarrs:  # `**` finds their chunks, too
        stacks = [one for one in stacks if zarrs.isdisjoint(one.parents)]
    if not stacks:
        raise NoInputError(f"{name}: no file matches", "check the pattern")
    return stacks


def _from_manifest(path: Path, options: Mapping[str, Option]) -> tuple[list[Row], list[Problem]]:
    text = _text(path)
    lines = _json_lines(text) if path.suffix.lower() in LINES else _table_lines(path, text)
    rows: list[Row] = []
    problems: list[Problem] = []
    known: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}
    for number, cells in lines:
        try:
            if isinstance(cells, MicrodeconvError):
                raise cells
            rows.append(_row(path, number, cells, options, known))
        except MicrodeconvError as error:
            problems.append(Problem(number, error))
    return rows, problems


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as reason:
        raise NoInputError(f"{path}: {reason.strerror}", "check the manifest's name") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = raw[: reason.start].count(b"\n") + 1
        raise ConfigError(f"{path}: row {line} is not UTF-8", "save the manifest as UTF-8") from None


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any] | ConfigError]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("not an object {…}")
        except ValueError as reason:
            yield number, ConfigError(f"not a line of JSON, {reason}", "mend that line")
        else:
            yield number, {str(k): v for k, v in told.items() if v is not None and v != ""}


def _table_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | ConfigError]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        return
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    heads: list[str] = []
    begins = 1
    try:
        for cells in reader:
            number, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not heads:
                heads = [cell.strip().replace("-", "_") for cell in cells]
                if "input" not in heads or len(set(heads)) < len(heads):
                    what = "no column 'input'" if "input" not in heads else "two columns of one name"
                    raise ConfigError(f"{path}: {what} (it has {', '.join(heads)[:200]})", "mend the first row")
            elif len(cells) > len(heads) and any(cell.strip() for cell in cells[len(heads) :]):
                yield number, ConfigError(f"{len(cells)} cells under {len(heads)} headings", "quote cells with commas")
            else:
                filled = zip(heads, (cell.strip() for cell in cells), strict=False)
                yield number, {head: cell for head, cell in filled if cell}
    except csv.Error as reason:
        raise ConfigError(f"{path}: row {begins}: {reason}", "mend that row") from None


def _row(
    path: Path, number: int, cells: dict[str, Any], options: Mapping[str, Option],
    known: dict[tuple[tuple[str, str], ...], Mapping[str, Any]],
) -> Row:  # fmt: skip
    source = str(cells.pop("input", "") or "")
    if not source:
        raise ConfigError("no input", "name a stack")
    output, digest = str(cells.pop("output", "")), str(cells.pop("sha256", "")).lower()
    voxel = [cells.pop(name) for name in VOXEL if name in cells]
    if voxel:
        cells["voxel"] = " ".join(map(str, voxel))
    try:
        text = tuple(sorted((k, json.dumps(v)) for k, v in cells.items()))
        if text not in known:
            known[text] = _values(path, cells, options)
    except UsageError as reason:
        raise ConfigError(reason.message.removeprefix("--"), reason.remedy) from None
    return Row(number, path.parent / source, output, known[text], digest)


def _values(path: Path, cells: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    found = {}
    for key, raw in cells.items():
        key = key.replace("-", "_")
        if key in WHOLE:
            raise ConfigError(f"column {key!r} is for the whole batch", f"give --{key} on the line")
        if key not in options:
            close = nearest(key, [*options, *OWN, *VOXEL])
            raise ConfigError(f"unknown column {key!r}", f"did you mean {close}?" if close else "see run --help")
        one = options[key]
        found[key] = convert(one, raw.split(";") if one.repeated and isinstance(raw, str) else raw)
    if "psf" in found:  # as everything in a manifest, from where it lies
        found["psf"] = tuple(
            one if str(one.path) in (ESTIMATE, NONE) else replace(one, path=path.parent / one.path)
            for one in found["psf"]
        )
    return found


def unknown_columns(problems: Iterable[Problem]) -> list[Problem]:
    """Give the problems, those that many rows share (a wrong heading) only once, at the first of them."""
    seen: dict[str, Problem] = {}
    for one in problems:
        seen.setdefault(str(one.error), one)
    return list(seen.values())
