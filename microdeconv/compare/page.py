"""The page of a comparison: one HTML file with all pictures, plots and figures, which needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from microdeconv import __version__
from microdeconv.compare import plots, tables
from microdeconv.compare.pictures import VIEWS, Gallery, Picture, gallery_of
from microdeconv.io.atomic import atomic_output
from microdeconv.resolution import THRESHOLD

if TYPE_CHECKING:
    from microdeconv.compare.case import Case, Entry, Figure, Verdict
    from microdeconv.compare.curves import Curves

LARGEST = 14_000_000  # bytes of a page
AGAINST_TRUTH = 0.5  # where a result against the truth means as much as half against half at 1/7
RISK = (
    ": the fewest steps that come near its lowest. It is the error foretold from split counts but for a constant, so "
    "that it may be below zero."
)
ALONG = {"xy": "z", "xz": "y", "yz": "x"}


def write_page(
    path: Path,
    case: Case,
    figures: Sequence[Figure],
    curves: Curves | None,
    verdict: Verdict | None,
    *,
    overwrite: bool,
) -> None:
    """Write the page of several results, or of one beside its image.

    The same case gives the same bytes.

    Parameters
    ----------
    path
        The HTML file.
    case
        The stack and its results.
    figures
        Rows of the table, may be none.
    curves
        What is drawn over frequency, and chi-square maps; None: not drawn.
    verdict
        What stands first, after warnings; None for one result.
    overwrite
        Whether an existing page may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    script, style = _asset("page.js"), _asset("page.css")
    sections = {
        "verdict": ("Verdict", _verdict(verdict, len(case.entries))),
        "figures": ("Figures", tables.figures_table(figures, case.entries)),
        "curves": ("Over spatial frequency", _frequency(case, curves)),
        "residuals": ("Where a result does not explain the image", _residuals(case, curves)),
        "convergence": ("Convergence", _convergence(case.entries)),
        "costs": ("Time and memory", tables.costs_table(case.entries)),
        "settings": ("Settings and notes", tables.settings(case.entries)),
        "provenance": ("Provenance", tables.facts(case.provenance)),
    }
    built = {key: _section(key, *section) for key, section in sections.items()}
    room = LARGEST - sum(len(part.encode()) for part in (*built.values(), script, style))
    gallery = gallery_of(case, max(room, LARGEST // 2))
    names = [entry.name for entry in case.entries]
    shown = {"verdict": sections["verdict"], "images": ("Images", "."), **sections}
    title = f"{case.name}: {' against '.join(names) if len(names) < 3 else f'{len(names)} results'}"
    parts = {
        **built,
        "policy": _policy(script),
        "title": html.escape(title),
        "name": html.escape(case.name),
        "kind": "Comparison of deconvolutions" if len(names) > 1 else "Deconvolution",
        "subtitle": html.escape(_listed(names)),
        "sizes": html.escape(tables.describe(case)),
        "style": style,
        "script": script,
        "data": _data(case, gallery),
        "warnings": _warnings(case, verdict),
        "menu": "".join(f"<li><a href='#{k}'>{_short(k)}</a></li>" for k, (_, body) in shown.items() if body),
        "options": "".join(f"<option value={k}>{html.escape(p.name)}</option>" for k, p in enumerate(gallery.pictures)),
        "pictures": "".join(_picture(k, p, case) for k, p in enumerate(gallery.pictures)),
        "legend": "".join(_toggle(k, p, case) for k, p in enumerate(gallery.pictures)),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in gallery.notes),
        "flat": "flat" if case.raw.shape[0] == 1 else "",
        "version": html.escape(__version__),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))
    with atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def _asset(name: str) -> str:
    return files("microdeconv.compare").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """No network, and no script but the page's own."""
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{known}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _short(key: str) -> str:
    return {"costs": "Time", "curves": "Curves"}.get(key, key.capitalize())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _section(key: str, heading: str, body: str) -> str:
    return f"<section id={key} aria-labelledby=h-{key}><h2 id=h-{key}>{heading}</h2>{body}</section>" if body else ""


def _warnings(case: Case, verdict: Verdict | None) -> str:
    """Those of the stack and the verdict, then those of each result, each once."""
    lines = dict.fromkeys([*case.warnings, *(verdict.warnings if verdict else ())])
    known = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<aside class=warnings aria-label=Warnings><h2>Read first</h2><ul>{known}</ul></aside>" if known else ""


def _verdict(verdict: Verdict | None, results: int) -> str:
    if verdict is None or not verdict.sentences:
        return ""
    first, *others = verdict.sentences
    names = html.escape(" or ".join(verdict.contenders))
    mark = f"<p class={'winner' if verdict.winner else 'close'}>{names}</p>" if names else ""
    mark = mark if len(verdict.contenders) < results else ""
    rest = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in others)
    return f"{mark}<p class=lead>{html.escape(first)}</p>" + (f"<ul class=prose>{rest}</ul>" if rest else "")


def _picture(number: int, picture: Picture, case: Case) -> str:
    """A picture's place: its projections stand in it until the script draws them."""
    name = html.escape(picture.name)
    images = "".join(
        f"<img id=i{number}-{view} class='{view}' src='{address}' alt='{name}: maximum projection along {ALONG[view]}'>"
        for view, address in picture.views.items()
    )
    return (
        f"<figure class=cell data-picture={number}>{images}<canvas role=img></canvas>"
        f"<figcaption>{_swatch(number, case)}<span class=name>{name}</span><span class=range></span>"
        f"<span class=put><button type=button data-side=a aria-label='{name} to the left side'>left</button>"
        f"<button type=button data-side=b aria-label='{name} to the right side'>right</button></span>"
        "</figcaption></figure>"
    )


def _toggle(number: int, picture: Picture, case: Case) -> str:
    return (
        f"<label><input type=checkbox data-picture={number} checked>{_swatch(number, case)} "
        f"{html.escape(picture.name)}</label>"
    )


def _swatch(number: int, case: Case) -> str:
    """The line of the picture with that number: image, truth, then entries."""
    before = 1 if case.truth is None else 2
    if number == 1 and before == 2:
        return plots.swatch(None).replace("--image", "--truth").replace("4 2", "1 2")
    return plots.swatch(number - before if number >= before else None)


def _data(case: Case, gallery: Gallery) -> str:
    """What the script needs, so that no text in it can end its element."""
    before = 1 if case.truth is None else 2
    pictures = [
        {
            "name": picture.name,
            "low": picture.low,
            "high": picture.high,
            "windows": picture.windows,
            "planes": picture.planes,
            "line": _styled(number, before),
            "truth": number == 1 and before == 2,
        }
        for number, picture in enumerate(gallery.pictures)
    ]
    pixels, planes = gallery.shrink
    data = {
        "pictures": pictures,
        "first": before if len(gallery.pictures) > before else 0,
        "planes": gallery.planes,
        "depth": case.raw.shape[0],
        "unit": "px" if case.voxel_um is None else "µm",
        "pitch": {view: _pitch(case, view, pixels) for view in VIEWS},
        "pitchPlane": _pitch(case, "xy", planes),
        "step": _step(case),
    }
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _styled(number: int, before: int) -> tuple[str, str]:
    if number < before:
        return ("var(--image)", "4 2") if number == 0 else ("var(--truth)", "1 2")
    entry = number - before
    return f"var(--s{entry % plots.HUES})", ("", "6 2", "2 2")[entry // plots.HUES % 3]


def _pitch(case: Case, view: str, shrink: int) -> tuple[float, float]:
    """Width and height of a picture's pixel, µm or voxels."""
    y, x = (1.0, 1.0) if case.voxel_um is None else (case.voxel_um.y, case.voxel_um.x)
    across = (y if view == "yz" else x) * shrink
    return across, y * shrink if view == "xy" else _step(case)


def _step(case: Case) -> float:
    if case.voxel_um is None:
        return 1.0
    return case.voxel_um.z if math.isfinite(case.voxel_um.z) else case.voxel_um.x


def _frequency(case: Case, curves: Curves | None) -> str:
    if curves is None:
        return ""
    names = [entry.name for entry in case.entries]
    kind = "Fourier ring correlation" if case.raw.shape[0] == 1 else "Fourier shell correlation"
    drawn: list[tuple[str, str]] = []
    for values, words, threshold in (
        (curves.truth, "with the truth", AGAINST_TRUTH),
        (curves.halves, "of two halves of the light", THRESHOLD),
    ):
        if values:
            label = f"{kind} {words}"
            picture = plots.correlations(values, names, curves.unit, curves.support, label, threshold)
            drawn.append((picture, f"{label}: how far details of each size agree."))
    power = plots.powers(curves, names)
    drawn.append((power, "Radial power spectra. What lies beyond the end of the OTF is not in the image's data."))
    return _legend(names, image=True) + _grid(drawn, "plots")


def _residuals(case: Case, curves: Curves | None) -> str:
    if curves is None or not curves.chi_square:
        return ""
    figures, top = [], plots.chi_top(list(curves.chi_square.values()))
    for number, entry in enumerate(case.entries):
        if entry.name in curves.chi_square:
            address, words = plots.chi_map(curves.chi_square[entry.name], top)
            name = html.escape(entry.name)
            picture = f"<img src='{address}' alt='{name}: map of local residual chi-square, {words}'>"
            figures.append((picture, f"{plots.swatch(number)} <b>{name}</b>: {words}"))
    logarithmic = " (logarithmic above one)." if top > plots.CHI else ""
    highest = ", highest along z" if case.raw.shape[0] > 1 else ""
    bar = (
        f"<p class=small>Local residual chi-square of the result blurred again{highest}. <span class=scale>0"
        f"<i></i>{plots.short(top)}</span>{logarithmic} White is noise alone; orange is what the result and its PSF do "
        "not explain; blue is noise that the result has followed.</p>"
    )
    inner = "".join(f"<figure>{picture}<figcaption>{words}</figcaption></figure>" for picture, words in figures)
    return f"{bar}<div class=maps>{inner}</div>" if figures else ""


def _convergence(entries: Sequence[Entry]) -> str:
    names = [entry.name for entry in entries]
    kinds = dict.fromkeys(kind for entry in entries for kind in entry.trace)
    stops = {entry.name: entry.stopped for entry in entries}
    drawn = []
    for kind in kinds:
        values = {e.name: e.trace[kind] for e in entries if e.trace.get(kind)}
        if values:
            words = f"{html.escape(kind.capitalize())} over the steps; a dot where each stopped"
            words += RISK if kind == "risk" else "."
            drawn.append((plots.traces(kind, values, stops, names), words))
    having = [e.name for e in entries if any(e.trace.values())]
    return _legend(names, image=False, only=having) + _grid(drawn, "plots") if drawn else ""


def _legend(names: Sequence[str], *, image: bool, only: Sequence[str] | None = None) -> str:
    items = [f"<li>{plots.swatch(None)} image</li>"] if image else []
    items += [f"<li>{plots.swatch(k)} {html.escape(n)}</li>" for k, n in enumerate(names) if only is None or n in only]
    return f"<ul class=legend aria-label='Lines of the plots'>{''.join(items)}</ul>"


def _grid(drawn: Sequence[tuple[str, str]], kind: str) -> str:
    inner = "".join(f"<figure>{picture}<figcaption>{words}</figcaption></figure>" for picture, words in drawn)
    return f"<div class={kind}>{inner}</div>"
