"""The page over many stacks: distributions, paired differences, the worst cases, and a line for each stack."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from microdeconv import __version__
from microdeconv.io.atomic import atomic_output

if TYPE_CHECKING:
    from microdeconv.compare.many import Told

WIDE, HIGH, EDGE = 420, 22, 8  # pixels of a strip of dots, and the room at its ends
STYLE = """
:root { color-scheme: light dark; --ink: #1d232b; --faint: #5b6673; --paper: #fff; --line: #d7dce2; --mark: #8a4b00;
        --dot: #0b6bb0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --faint: #9aa5b1; --paper: #14181d; --line: #333b45; --mark: #ffb454; --dot: #6cb8f0 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 92rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child, .words { text-align: left } td.words { white-space: normal }
a { color: var(--dot) } a:focus-visible { outline: 2px solid var(--mark) }
.wide { overflow-x: auto } .faint { color: var(--faint) } .notes { color: var(--mark) }
svg { display: block } svg line { stroke: var(--line) } svg .box { stroke: var(--faint) }
svg circle { fill: var(--dot); fill-opacity: .6 }
"""


def write_overview(
    path: Path, stacks: Sequence[Told], spread: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]],
    failed: Sequence[tuple[str, str]], *, overwrite: bool,
) -> None:  # fmt: skip
    """Write the page; it links to the page of each stack, in the folder of its name.

    Parameters
    ----------
    path
        The HTML file.
    stacks
        What was found.
    spread, differences
        See `compare.many`.
    failed
        (stack, why) of those without a page.
    overwrite
        Whether an existing page may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    parts = [
        f"<h1>Comparison over {len(stacks)} stacks</h1>",
        _failures(failed),
        "<h2>Paired differences</h2>" + _differences(differences) if differences else "",
        "<h2>Distributions</h2><p class=faint>A dot is a stack and leads to its page; the line runs from the lower to "
        "the upper quartile, its mark is the median.</p>" + _distributions(spread),
        "<h2>Stacks</h2>" + _stacks(stacks),
        f"<p class=faint>microdeconv {html.escape(__version__)}</p>",
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Comparison over {len(stacks)} stacks</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(parts)}</main></body></html>\n"
    )
    with atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def _link(name: str, words: str | None = None) -> str:
    return f"<a href='{quote(name)}/index.html'>{html.escape(words or name)}</a>"


def _failures(failed: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in failed)
    return f"<h2>Without a page</h2><ul class=notes>{lines}</ul>" if failed else ""


def _differences(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "figure",
        "result",
        "against",
        "stacks",
        "better by, ± standard error",
        "95 %",
        "worst",
        "worse in",
        "worst case",
    )
    body = []
    for row in rows:
        error = "" if row["error"] is None else f" ± {row['error']:.3g}"
        interval = f"{row['low']:+.3g} … {row['high']:+.3g}" if row["n"] > 1 else "-"
        unit = f", {row['unit']}" if row["unit"] else ""
        cells = (
            html.escape(f"{row['label']}{unit}"), html.escape(row["result"]), html.escape(row["against"]),
            str(row["n"]), f"{row['mean']:+.3g}{error}", interval,
            f"{row['worst']:+.3g}", f"{100 * row['worse']:.0f} %", _link(row["worst_stack"]),
        )  # fmt: skip
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    told = (
        "<p class=faint>Positive: the result is better than the first one, stack by stack, whichever way is better.</p>"
    )
    return told + _table(heads, body)


def _distributions(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for what in dict.fromkeys((row["key"], row["unit"]) for row in rows):
        mine = [row for row in rows if (row["key"], row["unit"]) == what]
        first = mine[0]
        better = f", {first['better']} is better" if first["better"] else ""
        unit = f", {first['unit']}" if first["unit"] else ""
        low, high = min(row["least"] for row in mine), max(row["most"] for row in mine)
        body = [
            f"<tr><td>{html.escape(row['result'])}</td><td>{row['n']}</td><td>{row['median']:.4g}</td>"
            f"<td>{row['lower_quartile']:.4g} … {row['upper_quartile']:.4g}</td><td>{_strip(row, low, high)}</td></tr>"
            for row in mine
        ]
        heads = ("result", "stacks", "median", "quartiles", f"{low:.4g} … {high:.4g}")
        parts.append(f"<h3>{html.escape(first['label'])}{html.escape(unit + better)}</h3>" + _table(heads, body))
    return "".join(parts)


def _strip(row: Mapping[str, Any], low: float, high: float) -> str:
    """Dots of all stacks along one line."""

    def at(value: float) -> float:
        return round(EDGE + (WIDE - 2 * EDGE) * ((value - low) / (high - low) if high > low else 0.5), 1)

    dots = "".join(
        f"<a href='{quote(name)}/index.html'><circle cx='{at(value)}' cy='{HIGH / 2}' r='4'>"
        f"<title>{html.escape(name)}: {value:.4g}</title></circle></a>"
        for name, value in row["values"]
    )
    one, other, mid = at(row["lower_quartile"]), at(row["upper_quartile"]), at(row["median"])
    words = f"{row['result']}: from {row['least']:.4g} to {row['most']:.4g}, median {row['median']:.4g}"
    return (
        f"<svg width={WIDE} height={HIGH} role=img aria-label='{html.escape(words, quote=True)}'>"
        f"<line x1=0 x2={WIDE} y1={HIGH / 2} y2={HIGH / 2} />"
        f"<line class=box stroke-width=3 x1={one} x2={other} y1={HIGH / 2} y2={HIGH / 2} />"
        f"<line class=box stroke-width=3 x1={mid} x2={mid} y1=2 y2={HIGH - 2} />{dots}</svg>"
    )


def _stacks(stacks: Sequence[Told]) -> str:
    body = [
        f"<tr><td>{_link(one.name)}</td><td class=words>{html.escape(_best(one))}</td>"
        f"<td class=words>{html.escape('; '.join(one.warnings)) or '-'}</td></tr>"
        for one in stacks
    ]
    return _table(("stack", "best", "warnings"), body)


def _best(one: Told) -> str:
    return " or ".join(one.contenders) if len(one.contenders) < len(one.entries) else "not decided"


def _table(heads: Sequence[str], body: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{html.escape(one)}</th>" for one in heads)
    return (
        f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
