"""Tables and lists of a page: figures, time and memory, settings, provenance."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microdeconv.compare.plots import HUES, swatch

if TYPE_CHECKING:
    from microdeconv.compare.case import Case, Entry, Figure

BEYOND = 2.0  # standard errors by which the best must be better than every other to be marked
ARROWS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "near one": ("→1", "near one is better"),
}
HIDDEN = "<span class=hidden>{}</span>"


def best_of(figure: Figure) -> str | None:
    """Name of the entry that is best by more than the noise; None where that cannot be told.

    Parameters
    ----------
    figure
        See `Figure`; without `noise` or with fewer than two finite values nothing is best.
    """
    values = {name: value for name, value in figure.values.items() if math.isfinite(value)}
    if figure.better not in ARROWS or figure.noise is None or len(values) < 2:
        return None
    sign = -1 if figure.better == "higher" else 1
    badness = {n: abs(v - 1) if figure.better == "near one" else sign * v for n, v in values.items()}
    first, second = sorted(badness, key=lambda n: badness[n])[:2]
    return first if badness[second] - badness[first] > BEYOND * figure.noise else None


def figures_table(figures: Sequence[Figure], entries: Sequence[Entry]) -> str:
    """One row a figure: its meaning, which way is better, the values; the best marked where it is decided."""
    if not figures:
        return ""
    head = "".join(f"<th scope=col>{swatch(k)} {html.escape(e.name)}</th>" for k, e in enumerate(entries))
    rows = "".join(_figure(figure, entries) for figure in figures)
    key = (
        "<p class=small><b class=best>▲ Marked</b>: better than every other by more than two standard errors of a "
        "difference (noise). Where none is marked, the figure does not decide.</p>"
    )
    return (
        _region("Figures")
        + f"<table class=figures style='--n: {len(entries)}'>"
        + f"<thead><tr><th scope=col>Figure</th>{head}<th scope=col>Noise</th></tr></thead>"
        + f"<tbody>{rows}</tbody></table></div>{key if len(entries) > 1 else ''}"
    )


def _figure(figure: Figure, entries: Sequence[Entry]) -> str:
    best = best_of(figure)
    arrow, words = ARROWS.get(figure.better, ("", ""))
    unit = f" <span class=unit>{html.escape(figure.unit)}</span>" if figure.unit else ""
    sign = f" <span class=arrow title='{words}' aria-hidden=true>{arrow}</span>{HIDDEN.format(words)}" if arrow else ""
    cells = []
    for place, entry in enumerate(entries):
        value = number(figure.values.get(entry.name))
        marked = f"<b class=best>▲ {value}</b>{HIDDEN.format(' best')}"
        cells.append(f"<td style='--own: var(--s{place % HUES})'>{marked if entry.name == best else value}</td>")
    noise = "–" if figure.noise is None else f"± {figure.noise:.2g}".replace("-", "−")
    return (
        f"<tr><th scope=row>{html.escape(figure.label)}{unit}{sign}<span class=meaning>{html.escape(figure.meaning)}"
        f"</span></th>{''.join(cells)}<td class='noise{' none' if figure.noise is None else ''}'>{noise}</td></tr>"
    )


def costs_table(entries: Sequence[Entry]) -> str:
    """Seconds and memory of each entry with bars; nothing where none is known."""
    if all(e.seconds is None and e.memory is None for e in entries):
        return ""
    longest = max((e.seconds or 0 for e in entries), default=0)
    largest = max((e.memory or 0 for e in entries), default=0)
    rows = "".join(
        f"<tr><th scope=row>{swatch(k)} {html.escape(e.name)}</th>"
        f"<td>{'–' if e.seconds is None else seconds(e.seconds)}{_bar(e.seconds, longest, k)}</td>"
        f"<td>{'–' if e.memory is None else size(e.memory)}{_bar(e.memory, largest, k)}</td></tr>"
        for k, e in enumerate(entries)
    )
    return (
        _region("Time and memory")
        + "<table class=costs><thead><tr><th scope=col>Result</th><th scope=col>Time</th>"
        + f"<th scope=col>Memory at most</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def settings(entries: Sequence[Entry]) -> str:
    """What was given or chosen for each entry, its PSF and its notes."""
    parts = []
    for k, entry in enumerate(entries):
        lines = dict(entry.settings)
        if entry.psf is not None:
            lines.setdefault("PSF", entry.psf.source)
        if entry.stopped is not None:
            lines.setdefault("stopped at step", str(entry.stopped))
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in entry.notes)
        parts.append(
            f"<section class=card><h3>{swatch(k)} {html.escape(entry.name)}</h3>"
            + (facts(lines) or "<p>Nothing is known.</p>")
            + (f"<ul class=notes>{notes}</ul>" if notes else "")
            + "</section>"
        )
    return f"<div class=cards>{''.join(parts)}</div>"


def facts(lines: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    """Headings and values."""
    pairs = lines.items() if isinstance(lines, Mapping) else lines
    inner = "".join(f"<div><dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd></div>" for k, v in pairs)
    return f"<dl class=facts>{inner}</dl>" if inner else ""


def describe(case: Case) -> str:
    """The stack's sizes, in one line."""
    z, y, x = case.raw.shape
    words = f"{x} × {y} pixels" + (f", {z} planes" if z > 1 else "")
    if case.voxel_um is not None:
        names = "yx" if z == 1 else "zyx"
        sizes = [getattr(case.voxel_um, a) for a in names]
        told = " × ".join("unknown" if math.isnan(v) else f"{1000 * v:.4g}" for v in sizes)
        words += f"; {'pixel' if z == 1 else 'voxel'} {told} nm ({' '.join(names)})"
    else:
        words += "; voxel size unknown"
    return words


def number(value: float | None) -> str:
    """Four digits, a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("-", "−")


def seconds(value: float) -> str:
    """A time for a person."""
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"


def size(value: int) -> str:
    """Bytes for a person."""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def _bar(value: float | None, most: float, place: int) -> str:
    share = 100 * (value or 0) / most if most > 0 else 0
    return (
        "<svg class=bar aria-hidden=true viewBox='0 0 100 4' preserveAspectRatio=none>"
        f"<rect width={share:.1f} height=4 fill='var(--s{place % HUES})' /></svg>"
    )


def _region(label: str) -> str:
    return f"<div class=wide tabindex=0 role=region aria-label='{label}'>"
