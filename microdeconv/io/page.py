"""What pages have in common: one HTML file that needs nothing else, readable in the dark and on a phone."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.io.atomic import atomic_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis
STYLE = """
:root { color-scheme: light dark; --ink: #1d232b; --faint: #5b6673; --paper: #fff; --line: #d7dce2; --mark: #8a4b00 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --faint: #9aa5b1; --paper: #14181d; --line: #333b45; --mark: #ffb454 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child { text-align: left }
.facts td { text-align: left } .notes { color: var(--mark) }
.wide { overflow-x: auto } .row { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0 } figcaption { color: var(--faint); font-size: .85rem; max-width: 21rem }
img { image-rendering: pixelated; display: block; background: #000 }
.boxed { position: relative; width: fit-content; max-width: 100% }
.boxed img { max-width: 100%; height: auto }
.boxed i { position: absolute; border: 1px solid #fff; outline: 1px solid #000; box-sizing: border-box }
svg { display: block; max-width: 100% } svg text { fill: var(--ink); font-size: 11px }
"""


def write_html(path: Path, title: str, parts: Sequence[str], *, overwrite: bool) -> None:
    """Write a page of parts that are HTML.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
    view = '<meta name=viewport content="width=device-width, initial-scale=1">'
    with atomic_output(path, overwrite=overwrite) as partial:
        text = head + f"<style>{STYLE}</style>" + view + "<body>" + "\n".join(parts) + "</body></html>\n"
        partial.write_text(text, encoding="utf-8")


def opening(title: str, facts: Mapping[str, str], notes: Sequence[str]) -> str:
    """The title, a table of facts by heading, and warnings."""
    rows = "".join(f"<tr><td>{k}<td>{html.escape(v)}" for k, v in facts.items() if v)
    told = "".join(f"<p class=notes>{html.escape(note)}</p>" for note in notes)
    return f"<h1>{html.escape(title)}</h1>\n<div class=wide><table class=facts>{rows}</table></div>\n{told}"


def png(level: NDArray[Any]) -> str:
    """A picture of values from 0 to 1, grey (y, x) or coloured (y, x, 3), as a data address."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.round(255 * np.clip(level, 0, 1)).astype(np.uint8)).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def heat(level: NDArray[Any]) -> NDArray[np.float64]:
    """Colours (y, x, 3) from 0 to 1 of values from 0 to 1."""
    places = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(level, places, [c[one] / 255 for c in COLOURS]) for one in range(3)], -1)
