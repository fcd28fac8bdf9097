"""What a comparison found, for programs and for a terminal: JSON, CSV, lines of a table; and the report's files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import microdeconv
from microdeconv.io.atomic import atomic_output, check_output
from microdeconv.io.table import write_table

if TYPE_CHECKING:
    from microdeconv.compare.case import Case, Entry, Figure, Verdict

ARROWS = {"higher": "↑", "lower": "↓", "near one": "→1", "": ""}
FILES = ("index.html", "report.json", "report.csv")


class Report(NamedTuple):
    """What was found of a case."""

    figures: tuple[Figure, ...]
    verdict: Verdict


def check_report(folder: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse a folder in which the report cannot be written, before anything is computed.

    Raises
    ------
    CannotCreateError, WriteError
        See `check_output`.
    """
    for name in FILES:
        check_output(folder / name, list(inputs), overwrite=overwrite, parents=True)


def write_report(folder: Path, case: Case, *, overwrite: bool) -> Report:
    """Measure a case, judge it, and write its page, its JSON and its table.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = write_case_page(folder / FILES[0], case, overwrite=overwrite)
    write_json(folder / FILES[1], told(case, found), overwrite=overwrite)
    write_table(folder / FILES[2], rows(case, found.figures), overwrite=overwrite)
    return found


def write_case_page(path: Path, case: Case, *, overwrite: bool) -> Report:
    """Measure a case, judge it, and write its page alone; of one result there is no verdict but its warnings.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    from microdeconv.compare.case import Verdict
    from microdeconv.compare.figures import curves_of, figures_of
    from microdeconv.compare.page import write_page
    from microdeconv.compare.verdict import verdict_of
    from microdeconv.compare.view import View

    view = View.of(case)
    figures = figures_of(case, view)
    verdict = verdict_of(case, figures)
    if len(case.entries) == 1:
        verdict = Verdict(None, (), verdict.warnings)
    write_page(path, case, figures, curves_of(case, view), verdict, overwrite=overwrite)
    return Report(figures, verdict)


def write_json(path: Path, found: Any, *, overwrite: bool) -> None:
    """Write JSON that every reader takes: what is no number is null.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    with atomic_output(path, overwrite=overwrite) as partial:
        text = json.dumps(_finite(found), indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def told(case: Case, found: Report) -> dict[str, Any]:
    """Everything but the pictures, as JSON has it."""
    verdict = found.verdict
    return {
        "microdeconv": microdeconv.__version__,
        "name": case.name,
        "shape": list(case.raw.shape),
        "voxel_um": list(case.voxel_um) if case.voxel_um else None,
        "background": case.background,
        "offset": case.camera.offset,
        "gain": case.camera.gain,
        "warnings": list(dict.fromkeys([*case.warnings, *verdict.warnings])),
        "verdict": {
            "winner": verdict.winner, "contenders": list(verdict.contenders), "sentences": list(verdict.sentences)
        },
        "entries": [_entry(one) for one in case.entries],
        "figures": [
            {**asdict(one), "values": {name: float(value) for name, value in one.values.items()}}
            for one in found.figures
        ],
        "provenance": [list(line) for line in case.provenance],
    }  # fmt: skip


def _entry(one: Entry) -> dict[str, Any]:
    return {
        "name": one.name, "psf": one.psf.source if one.psf else None, "seconds": one.seconds,
        "memory_bytes": one.memory, "stopped": one.stopped, "settings": dict(one.settings),
        "trace": {name: [[step, float(value)] for step, value in curve] for name, curve in one.trace.items()},
        "notes": list(one.notes),
    }  # fmt: skip


def rows(case: Case, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """One row for each result, its figures by key; what is not known is empty."""
    return [
        {
            "stack": case.name, "result": one.name, "seconds": _known(one.seconds), "memory_bytes": _known(one.memory),
            "stopped": _known(one.stopped), **{f.key: _known(f.values.get(one.name)) for f in figures},
        }
        for one in case.entries
    ]  # fmt: skip


def _known(value: float | None) -> Any:
    return "" if value is None or value != value else value


def lines(case: Case, figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Give the table of a terminal: headings, then a line for each figure; a star: best beyond the noise."""
    names = [one.name for one in case.entries]
    found: list[tuple[str, ...]] = [("figure", "", *names)]
    for one in figures:
        unit = f", {one.unit}" if one.unit else ""
        best = best_of(one)
        cells = [_number(one.values.get(name), mark=name == best and len(names) > 1) for name in names]
        found.append((f"{one.label}{unit}", ARROWS.get(one.better, ""), *cells))
    found.append(("time, s", "↓", *(_number(one.seconds) for one in case.entries)))
    memory = [None if one.memory is None else one.memory / 1e9 for one in case.entries]
    found.append(("memory, GB", "↓", *(_number(value) for value in memory)))
    return found


def _number(value: float | None, *, mark: bool = False) -> str:
    return "-" if value is None or value != value else f"{value:.4g}{'*' if mark else ''}"


def best_of(figure: Figure) -> str | None:
    """Name the best entry; None where neither way is better, or it is not so by more than twice the known noise."""
    if figure.noise is None:
        return None
    merit = {name: merit_of(figure.better, value) for name, value in figure.values.items()}
    order = sorted((name for name, m in merit.items() if m is not None and m == m), key=lambda n: -(merit[n] or 0.0))
    if len(order) < 2:
        return None
    first, second = (merit[name] or 0.0 for name in order[:2])
    return order[0] if first - second > 2 * figure.noise else None


def merit_of(better: str, value: float) -> float | None:
    """A figure turned so that more is better; None where neither way is."""
    return {"higher": value, "lower": -value, "near one": -abs(value - 1)}.get(better)
