"""The learning curve of a training, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from microdeconv.io.atomic import atomic_output

WIDE, HIGH = 720, 220  # of a panel
LEFT, GAP = 64, 44
INK, LINE = "#333", ("#2468b0", "#c2571a")
Points = Sequence[tuple[float, float]]


def write_curve(path: Path, title: str, panels: Sequence[tuple[str, Points]]) -> None:
    """Write an SVG of curves over the same steps, one below the other; an older one is replaced.

    Parameters
    ----------
    path
        The picture.
    title
        Above all.
    panels
        (label, points (step, value)) of each; values that are not finite are left out.

    Raises
    ------
    WriteError
        See `atomic_output`.
    """
    last = max((step for _, points in panels for step, _ in points), default=1.0)
    high = GAP + len(panels) * (HIGH + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE + LEFT + 20}" height="{high}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for number, (label, points) in enumerate(panels):
        good = [(step, value) for step, value in points if math.isfinite(value)]
        parts += _panel(label, good, last, GAP + number * (HIGH + GAP), LINE[number % len(LINE)])
    with atomic_output(path, overwrite=True) as partial:
        partial.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(label: str, points: Points, last: float, top: float, colour: str) -> list[str]:
    values = [value for _, value in points] or [0.0]
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5

    def at(step: float, value: float) -> str:
        return f"{LEFT + WIDE * step / last:.1f},{top + HIGH * (high - value) / (high - low):.1f}"

    parts = [f'<rect x="{LEFT}" y="{top}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#bbb"/>']
    for share in (0, 0.5, 1):
        value, y = low + share * (high - low), top + HIGH * (1 - share)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{value:.3g}</text>')
        step = (
            f'<text x="{LEFT + WIDE * share:.0f}" y="{top + HIGH + 16}" text-anchor="middle">{share * last:.0f}</text>'
        )
        parts.append(step)
    parts.append(f'<text x="{LEFT + 8}" y="{top + 16}" fill="{colour}">{escape(label)}</text>')
    line = " ".join(at(*point) for point in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    if len(points) < 40:
        spots = (at(*point).split(",") for point in points)
        parts += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in spots]
    return parts
