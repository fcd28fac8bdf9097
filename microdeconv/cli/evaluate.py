"""`microdeconv evaluate`: a network on the frozen suite, against the classical methods."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import OUTPUT, Config, LogFormat, Overwrite
from microdeconv.machine import MachineOptions
from microdeconv.options import Option, build, layered, options_of

if TYPE_CHECKING:
    from microdeconv.learnt.evaluation import Restore
    from microdeconv.learnt.tally import Comparison
    from microdeconv.machine import Machine

SUITE = "Suite"
UNUSED = ("memory", "tile")  # the samples are small
OURS = ("network", "guarded", "guess")
BASES = {"network": ("rl-best", "rl-best-seen", "rl"), "guarded": ("rl-best", "rl"), "guess": ("raw", "unsharp")}
METRICS = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "correlation": ("FRC/FSC", 3), "f1": ("spots' F1", 3)}
HEADS = ("cell", "n", "method", "against", "figure", "it has", "difference", "95 %", "5th", "worst", "worse")


def _options() -> dict[str, Option]:
    return {o.key: o for o in options_of(MachineOptions) if o.key not in UNUSED}


Model = Annotated[str, typer.Option("--model", metavar="NAME|FILE", help="The network.", rich_help_panel=SUITE)]
Quick = Annotated[
    bool, typer.Option("--quick", help="A part of each cell: 8 images or 4 volumes.", rich_help_panel=SUITE)
]
Cells = Annotated[
    str,
    typer.Option(
        "--cells",
        metavar="NAME,…",
        help="Only these cells, or those that begin so: 2d, 3d-s.",
        rich_help_panel=SUITE,
        show_default=False,
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Wiener and rl-tv too, automatic ones.", rich_help_panel=SUITE)]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Write suite.json and samples.csv there.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]


def evaluate(
    model: Model = "small",
    quick: Quick = False,
    cells: Cells = "",
    everything: Everything = False,
    output: Output = None,
    overwrite: Overwrite = False,
    log_format: LogFormat = "auto",
    config: Config = None,
    *,
    given: dict[str, Any],
) -> None:  # fmt: skip
    """Measure a network on the frozen suite: samples of known truth, the same for everybody.

    It stands against Richardson-Lucy, automatic and with the best stop that only the truth can tell.
    """
    from microdeconv.learnt.suite import cases_of
    from microdeconv.machine import machine_for, prepare

    above = layers(_options().values(), given, config)
    cases = cases_of([name.strip() for name in cells.split(",") if name.strip()], quick=quick)
    files = _outputs(output, overwrite=overwrite)
    machine = machine_for(build(MachineOptions, layered(_options().values(), above)))
    prepare(machine)
    methods, about = _methods(model, machine, everything=everything)

    from microdeconv.learnt.evaluation import evaluate as measured
    from microdeconv.learnt.tally import reached

    with Terminal(log_format) as terminal:
        rows = list(measured(cases, methods, lambda done: terminal.listen("evaluating", done, len(cases))))
        other = {(row["cell"], row["number"]) for row in rows if not row["frozen"]}
        if other:
            terminal.say(
                f"{len(other)} of {len(cases)} samples are not those that the suite was frozen with (other versions of "
                "numpy, scipy or scikit-image draw others): compare figures of this machine only",
                "warning",
            )
    aims = reached(rows)
    if files:
        told = {
            "model": about, "quick": quick, "not_frozen": len(other), "cells": _summary(rows),
            "aims": [one.told() for one in aims],
        }  # fmt: skip
        _write(files, told, rows, overwrite=overwrite)
    _print(_lines(rows), [_aim_cells(one.told()) for one in aims])


def _outputs(folder: Path | None, *, overwrite: bool) -> tuple[Path, Path] | None:
    from microdeconv.io.atomic import check_output

    if folder is None:
        return None
    files = folder / "suite.json", folder / "samples.csv"
    for one in files:
        check_output(one, [], overwrite=overwrite, parents=True)
    return files


def _methods(model: str, machine: Machine, *, everything: bool) -> tuple[dict[str, Restore], dict[str, Any]]:
    """What is measured, by name, and what is told of the network."""
    from microdeconv.baselines import automatic
    from microdeconv.learnt.evaluation import raw, unguarded, unsharp
    from microdeconv.learnt.method import Learnt
    from microdeconv.learnt.weights import load_model

    loaded = load_model(model, machine.device)
    methods: dict[str, Restore] = {"raw": raw, "rl": automatic("rl", machine)}
    if everything:
        methods |= {name: automatic(name, machine) for name in ("wiener", "rl-tv")}
    alone = unguarded(loaded.network, machine.device)
    if loaded.network.architecture.voxel:
        methods |= {"unsharp": unsharp, "guess": alone}
    else:
        methods |= {"network": alone, "guarded": automatic("learnt", machine, Learnt(model=model))}
    return methods, {"source": loaded.source, "sha256": loaded.card.get("sha256", "")}


def _compared(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, Comparison]]:
    """(cell, method, base, metric, comparison) of all that can be compared."""
    from microdeconv.learnt.tally import comparison

    found = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        for method in OURS:
            for base in BASES[method]:
                for metric in METRICS:
                    if one := comparison(rows, cell, method, base, metric):
                        found.append((cell, method, base, metric, one))
    return found


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per cell: the mean of every figure of every method, and ours against the others."""
    from microdeconv.learnt.suite import LEVELS
    from microdeconv.learnt.tally import comparison, means

    told: dict[str, Any] = {}
    for cell in dict.fromkeys(row["cell"] for row in rows):
        names = dict.fromkeys(row["method"] for row in rows if row["cell"] == cell)
        figures = {name: {k: round(v, 5) for k, v in means(rows, cell, name).items()} for name in names}
        told[cell] = {"means": figures, "differences": []}
    for cell, method, base, metric, one in _compared(rows):
        levels = [
            comparison([r for r in rows if r["level"] == n], cell, method, base, metric) for n in range(len(LEVELS))
        ]
        told[cell]["differences"].append({
            "method": method, "against": base, "metric": metric, **one.told(),
            "by_photons": [level and round(level.mean, 5) for level in levels],
        })  # fmt: skip
    return told


def _write(
    files: tuple[Path, Path], told: dict[str, Any], rows: Sequence[Mapping[str, Any]], *, overwrite: bool
) -> None:
    from microdeconv.io.atomic import atomic_output
    from microdeconv.io.table import write_table

    summary, samples = files
    with atomic_output(summary, overwrite=overwrite, parents=True) as partial:
        partial.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    write_table(samples, [{key: row.get(key, "") for key in keys} for row in rows], overwrite=overwrite)


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The table's cells."""
    from microdeconv.learnt.tally import means

    lines: list[tuple[str, ...]] = []
    for cell, method, base, metric, one in _compared(rows):
        head, digits = METRICS[metric]
        own = means(rows, cell, method)[metric]
        lines.append((
            cell, str(one.n), method, base, head, f"{own:.{digits}f}",
            f"{one.mean:+.{digits}f} ± {one.error:.{digits}f}", f"{one.low:+.{digits}f} … {one.high:+.{digits}f}",
            f"{one.fifth:+.{digits}f}", f"{one.worst:+.{digits}f}", f"{100 * one.worse:.0f} %",
        ))  # fmt: skip
    return lines


def _aim_cells(told: Mapping[str, Any]) -> tuple[str, ...]:
    what = f"{told['method']} against {told['base']}: {told['metric']}, {told['figure']}"
    word = "reached" if told["reached"] else "missed"
    return told["cell"], what, f"{told['least']:+g}", f"{told['value']:+.3f}", word


def _print(lines: list[tuple[str, ...]], aims: list[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(line) + "\n" for line in (HEADS, *lines))
        sys.stdout.writelines("\t".join(("aim", *line)) + "\n" for line in aims)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    for heads, rows in ((HEADS, lines), (("cell", "aim", "at least", "measured", ""), aims)):
        table = Table(*heads, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*row)
        Console().print(table)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(with_options(evaluate, _options().values()))
