"""Many stacks: a list of them, and what the comparisons of all of them say together."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.errors import ConfigError, NoInputError, UsageError
from microdeconv.options import Option, convert, nearest

if TYPE_CHECKING:
    from microdeconv.compare.case import Figure

OWN = ("stack", "name", "truth", "psf")
RESULT = "result:"  # before the name of a result made elsewhere


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a manifest.

    Attributes
    ----------
    name
        Of the stack, unlike all others; the name of its folder.
    stack, truth
        TIFF.
    psf
        As `--psf` takes it; empty where nothing is said.
    results
        (name, TIFF) of results made elsewhere.
    values
        Values of options by key, read and checked.
    """

    name: str
    stack: Path
    truth: Path | None = None
    psf: tuple[str, ...] = ()
    results: tuple[tuple[str, Path], ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(path: Path, options: Mapping[str, Option]) -> list[Listed]:
    """Read a CSV file with a line for each stack; an empty cell says nothing.

    Columns: stack (TIFF), and as wanted name, truth, psf (several with semicolons between), `result:NAME` for results
    made elsewhere, and the key or flag of any option. File names are counted from the manifest's folder.

    Parameters
    ----------
    path
        CSV with a line of headings.
    options
        That columns may be named for, by key.

    Raises
    ------
    NoInputError
        When it cannot be read.
    ConfigError
        When it is not such a table; it names line and column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.reader(file))
    except OSError as reason:
        raise NoInputError(f"{path}: {reason.strerror}", "check --manifest") from None
    except (UnicodeDecodeError, csv.Error) as reason:
        raise ConfigError(f"{path}: not CSV, {reason}", "save it as CSV in UTF-8") from None
    lines = [(number, line) for number, line in enumerate(table, 1) if any(cell.strip() for cell in line)]
    if not lines:
        raise ConfigError(f"{path}: empty", "give a line of headings and a line for each stack")
    heads = [head.strip() for head in lines[0][1]]
    keys = _keys(path, heads, options)
    found = [_line(path, number, dict(zip(keys, line, strict=False)), options) for number, line in lines[1:]]
    if not found:
        raise ConfigError(f"{path}: no stack below the headings", "give a line for each stack")
    return _named_apart(found)


def _keys(path: Path, heads: Sequence[str], options: Mapping[str, Option]) -> list[str]:
    keys = []
    for head in heads:
        key = head if head.startswith(RESULT) else head.removeprefix("--").replace("-", "_")
        if key in keys:
            raise ConfigError(f"{path}: two columns {head!r}", "keep one")
        if key not in OWN and key not in options and (not head.startswith(RESULT) or head == RESULT):
            close = nearest(key, (*OWN, *options))
            raise ConfigError(
                f"{path}: unknown column {head!r}",
                f"did you mean {close}?" if close else f"columns are {', '.join(OWN)}, {RESULT}NAME and options",
            )
        keys.append(key)
    if "stack" not in keys:
        raise ConfigError(f"{path}: no column 'stack'", "name the column of the TIFF files so")
    return keys


def _line(path: Path, number: int, cells: Mapping[str, str], options: Mapping[str, Option]) -> Listed:
    said = {key: cell.strip() for key, cell in cells.items() if cell.strip()}
    if "stack" not in said:
        raise ConfigError(f"{path}: line {number} names no stack", "fill the column 'stack'")
    values = {}
    for key, raw in said.items():
        if key in options and key not in OWN:
            try:
                values[key] = convert(options[key], raw)
            except UsageError as reason:
                raise ConfigError(f"{path}: line {number}: {reason.message}", reason.remedy) from None
    folder = path.parent
    stack = folder / said["stack"]
    return Listed(
        said.get("name", stack.name.split(".")[0]), stack, folder / said["truth"] if "truth" in said else None,
        tuple(_from(folder, one) for one in said.get("psf", "").split(";") if one.strip()),
        tuple((key.removeprefix(RESULT), folder / cell) for key, cell in said.items() if key.startswith(RESULT)),
        values,
    )  # fmt: skip


def _from(folder: Path, psf: str) -> str:
    """A PSF's word, its file counted from the folder."""
    from microdeconv.compare.variants import WORDS

    word = psf.strip()
    return word if word in WORDS else str(folder / word)


def _named_apart(found: Sequence[Listed]) -> list[Listed]:
    """Give stacks of one name a number each, and names that a folder can have."""
    from dataclasses import replace

    from microdeconv.compare.results import slug

    taken, apart = set[str](), []
    for one in found:
        name, number = slug(one.name), 1
        while name.lower() in taken:
            number += 1
            name = f"{slug(one.name)}-{number}"
        taken.add(name.lower())
        apart.append(replace(one, name=name))
    return apart


@dataclass(frozen=True, slots=True)
class Told:
    """What is kept of a stack's comparison.

    Attributes
    ----------
    name
        Of the stack and of its folder.
    entries
        Names of the results, in order.
    figures
        All of them.
    contenders
        Of the verdict: any of them may be the best.
    warnings
        For a person.
    rows
        Of the table.
    """

    name: str
    entries: tuple[str, ...]
    figures: tuple[Figure, ...]
    contenders: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def spread(stacks: Sequence[Told]) -> list[dict[str, Any]]:
    """How each figure of each result is distributed over the stacks.

    Returns
    -------
    list
        Rows: key, label, unit, better, result, n, median, lower and upper quartile, least and most, and `values` as
        (stack, value) pairs.
    """
    import numpy as np

    found = []
    for figure in _figures(stacks):
        for entry in _entries(stacks):
            pairs = _pairs(stacks, figure, entry)
            if pairs:
                least, low, median, high, most = np.quantile(list(pairs.values()), (0, 0.25, 0.5, 0.75, 1)).tolist()
                found.append({
                    "key": figure.key, "label": figure.label, "unit": figure.unit, "better": figure.better,
                    "result": entry, "n": len(pairs), "median": median, "lower_quartile": low, "upper_quartile": high,
                    "least": least, "most": most, "values": list(pairs.items()),
                })  # fmt: skip
    return found


def differences(stacks: Sequence[Told]) -> list[dict[str, Any]]:
    """Each result against the first one, stack by stack, positive where it is better.

    Returns
    -------
    list
        Rows: key, label, unit, result, against, the fields of `learnt.tally.Comparison`, and `worst_stack`.
    """
    from microdeconv.compare.told import merit_of
    from microdeconv.learnt.tally import compare

    entries = _entries(stacks)
    found = []
    for figure in _figures(stacks):
        base = _pairs(stacks, figure, entries[0])
        for entry in entries[1:]:
            own = _pairs(stacks, figure, entry)
            shared = [name for name in own if name in base]
            merits = [(merit_of(figure.better, own[n]), merit_of(figure.better, base[n])) for n in shared]
            known = [(a, b) for a, b in merits if a is not None and b is not None]
            if not known:
                continue
            one = compare([a for a, _ in known], [b for _, b in known])
            off = [a - b for a, b in known]
            found.append({
                "key": figure.key, "label": figure.label, "unit": figure.unit, "result": entry, "against": entries[0],
                **one.told(), "worst_stack": shared[off.index(min(off))],
            })  # fmt: skip
    return found


def table(stacks: Sequence[Told]) -> list[dict[str, Any]]:
    """All rows of all stacks, of the same keys."""
    rows = [{**row, "stack": one.name} for one in stacks for row in one.rows]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: row.get(key, "") for key in keys} for row in rows]


def _figures(stacks: Sequence[Told]) -> list[Figure]:
    """Each once; one in nm and one in voxels are two: stacks without a voxel size cannot be held against others."""
    return list({(figure.key, figure.unit): figure for one in stacks for figure in one.figures}.values())


def _entries(stacks: Sequence[Told]) -> list[str]:
    return list(dict.fromkeys(name for one in stacks for name in one.entries))


def _pairs(stacks: Sequence[Told], wanted: Figure, entry: str) -> dict[str, float]:
    """A figure of one result, by stack; those that have it."""
    found = {}
    for one in stacks:
        for figure in one.figures:
            value = figure.values.get(entry)
            same = (figure.key, figure.unit) == (wanted.key, wanted.unit)
            if same and value is not None and value == value:
                found[one.name] = float(value)
    return found
