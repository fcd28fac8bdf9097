"""The page about why the network gives what it gives in a region, with pictures; it needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.io.page import heat, opening, png, write_html

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 224  # pixels of a picture's longer side: four stand in a row
ROUND = 16  # voxels round the region that are shown of what filters saw
CHART, TALL, FOOT = 560, 110, 16  # pixels of a chart, and the room below it
TITLE = "What the network did"
LEVELS = ("full", "half", "quarter")
ABOVE, BELOW = (1.0, 0.6, 0.1), (0.2, 0.6, 1.0)  # colours of more and of less
TOP = 99.8  # percentile that is white
GUARD = (
    "This is the network alone. In a run Richardson-Lucy's steps make its object explain the image, and the guard "
    "blends the result with the classical one, as far as unused counts confirm it."
)
LOOK = (
    "All in photo-electrons above the background, means over the region's planes; the frame is the region. In the "
    "correction (network less the Richardson-Lucy iterate that it begins with) orange is more, blue is less."
)
BANDS = "The correction, split by what the microscope passes; same colours, same scale."
FILTERS = (
    "What made the filters fire that fired most in the region: their answers there, projected back to the channels "
    "that the U-Net was given, through the transposed filters and the stored switches of the pooling (Zeiler and "
    "Fergus, 2014). Bright is where a filter looked; the words say in which channels. Answers count from a filter's "
    "median over the field. In the charts a bar is a filter's strength (root mean square): wide, over the field; "
    "narrow, in the region. A filter without a bar is not used here. At half and quarter size the switches put back "
    "one voxel in four and in sixteen: grain is theirs."
)
OCCLUSION = (
    "How much the result in the region changes (root mean square, relative to the result) when a patch of the counts "
    "is replaced by the background in all planes, and everything is computed again."
)
CHANNELS = (
    "How much the result in the region changes (the same measure) when one of the pictures that the network is given "
    "is replaced. A long bar: it leans on that picture; none: it could do without."
)


def write_explanation(
    path: Path,
    facts: Mapping[str, str],
    figures: Mapping[str, Any],
    pictures: Mapping[str, NDArray[np.float32]],
    notes: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The HTML file.
    facts
        Lines about it, by heading.
    figures, pictures
        See `microdeconv.learnt.explain.Explanation`; "region" among the figures holds "start" and "size" (z, y, x), in
        the pictures' voxels.
    notes
        Warnings.
    overwrite
        Whether an existing page may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    region = figures["region"]
    parts = [
        opening(TITLE, facts, [*notes, GUARD]),
        "<h2>What went in, what came out</h2>",
        f"<p>{LOOK}</p>",
        _look(pictures, region),
        "<h2>What the data can confirm</h2>",
        f"<p><strong>{html.escape(figures['bands']['meaning'])}</strong></p><p>{BANDS}</p>",
        _bands(figures["bands"], pictures, region),
        "<h2>Which filters fired, and what they saw</h2>",
        f"<p>{FILTERS}</p>",
        *(_level(level, pictures, region) for level in figures["filters"]["levels"]),
        "<h2>What it looks at around the region</h2>",
        f"<p>{OCCLUSION}</p>",
        _occlusion(figures["occlusion"], pictures, region),
        "<h2>What it leans on</h2>",
        f"<p>{CHANNELS}</p>",
        _channels(figures["channels"]),
    ]
    write_html(path, TITLE, parts, overwrite=overwrite)


def _picture(level: NDArray[Any], caption: str, region: Mapping[str, Any] | None, first: Sequence[int] = (0, 0)) -> str:
    """A picture with the region's frame on it; `first` is its upper left voxel."""
    tall, wide = level.shape[:2]
    scale = SIDE / max(tall, wide)
    frame = ""
    if region is not None:
        (top, left), (height, width) = (region[key][1:] for key in ("start", "size"))
        places = ((left - first[1]) / wide, (top - first[0]) / tall, width / wide, height / tall)
        style = ";".join(f"{k}:{100 * v:.2f}%" for k, v in zip(("left", "top", "width", "height"), places, strict=True))
        frame = f'<i style="{style}"></i>'
    said, size = html.escape(caption), f"width={round(wide * scale)} height={round(tall * scale)}"
    return (
        f'<figure style="max-width:{SIDE}px"><div class=boxed><img alt="{said}" {size} src="{png(level)}">{frame}</div>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _row(figures: Sequence[str]) -> str:
    return f"<div class=row>{''.join(figures)}</div>"


def _look(pictures: Mapping[str, NDArray[Any]], region: Mapping[str, Any]) -> str:
    named = {
        "image": "counts less background", "begun": "Richardson-Lucy, where it begins", "result": "network's result",
    }  # fmt: skip
    shown = []
    for key, words in named.items():
        top = max(float(np.percentile(pictures[key], TOP)), 1e-12)
        shown.append(_picture(pictures[key] / top, f"{words}; white is {top:.3g}", region))
    shown.append(_signed(pictures["correction"], "correction", _span(pictures), region))
    return _row(shown)


def _span(pictures: Mapping[str, NDArray[Any]]) -> float:
    """The strength that is shown brightest, of the correction and of its parts."""
    return max(float(np.percentile(np.abs(pictures["correction"]), TOP)), 1e-12)


def _signed(picture: NDArray[Any], words: str, span: float, region: Mapping[str, Any]) -> str:
    level = np.clip(picture / span, -1, 1)[..., None]
    coloured = np.where(level > 0, level * np.array(ABOVE), -level * np.array(BELOW))
    return _picture(coloured, f"{words}; brightest is ±{span:.3g}", region)


def _bands(bands: Mapping[str, Any], pictures: Mapping[str, NDArray[Any]], region: Mapping[str, Any]) -> str:
    lines = []
    for name, words in (("region", "the region"), ("field", "all of the pictures' field")):
        share = bands[name]["share_out_of_band"]
        told = "<td>–<td>–" if share is None else f"<td>{100 * (1 - share):.1f} %<td>{100 * share:.1f} %"
        lines.append(f"<tr><td>{words}{told}")
    heads = f"<tr><th>energy of the correction in<th>where |OTF| &gt; {bands['otf_least']:g}<th>elsewhere"
    shown = [_signed(pictures[f"{key} band"], f"{key} band", _span(pictures), region) for key in ("in", "out of")]
    return f"<div class=wide><table>{heads}{''.join(lines)}</table></div><p></p>{_row(shown)}"


def _level(level: Mapping[str, Any], pictures: Mapping[str, NDArray[Any]], region: Mapping[str, Any]) -> str:
    name = LEVELS[level["level"]]
    spans = [(max(s - ROUND, 0), s + n + ROUND) for s, n in zip(region["start"][1:], region["size"][1:], strict=True)]
    window, first = tuple(slice(*span) for span in spans), [span[0] for span in spans]
    near = pictures["result"][window]
    shown = [_picture(near / max(float(near.max()), 1e-12), "network's result", region, first)]
    for one in level["strongest"]:
        number = one["filter"]
        pattern = pictures[f"filter {level['level']} {number}"][window]
        seen = sorted(one["shares"].items(), key=lambda item: -item[1])[:3]
        words = ", ".join(f"{channel} {100 * share:.0f} %" for channel, share in seen if share >= 0.01)
        top = max(float(pattern.max()), 1e-12)
        said = f"filter {number} at {name} size saw: {words or 'nothing'}"
        shown.append(_picture(heat(pattern / top), said, region, first))
    return f"<h3>At {name} size</h3>{_usage(level, name)}{_row(shown)}"


def _usage(level: Mapping[str, Any], name: str) -> str:
    """A chart: a wide bar for each filter's strength over the field, a narrow one in the region."""
    everywhere, here = level["field"], level["region"]
    top = max(*everywhere, *here, 1e-12)
    step = CHART / len(everywhere)
    bars = []
    for number, (wide, narrow) in enumerate(zip(everywhere, here, strict=True)):
        for value, share, opacity in ((wide, 0.8, 0.35), (narrow, 0.35, 1.0)):
            tall = TALL * value / top
            left = step * (number + (1 - share) / 2)
            bars.append(
                f'<rect x="{left:.1f}" y="{TALL - tall:.1f}" width="{step * share:.1f}" height="{tall:.1f}"'
                f' fill="currentColor" opacity="{opacity}"><title>filter {number}: field {wide:.3g}, region'
                f" {narrow:.3g}</title></rect>"
            )
    every = 1 if len(everywhere) <= 24 else 4
    words = "".join(
        f'<text x="{step * (n + 0.5):.1f}" y="{TALL + FOOT - 4}" text-anchor="middle">{n}</text>'
        for n in range(0, len(everywhere), every)
    )
    used = sum(value > 0.01 * max(everywhere) for value in everywhere)
    label = f"How much each of {len(everywhere)} filters at {name} size is used; {used} are, filter by filter"
    return (
        f'<svg role=img aria-label="{label}" viewBox="0 0 {CHART} {TALL + FOOT}" width="{CHART}"'
        f' height="{TALL + FOOT}">{"".join(bars)}{words}</svg><p></p>'
    )


def _occlusion(
    occlusion: Mapping[str, Any], pictures: Mapping[str, NDArray[Any]], region: Mapping[str, Any]
) -> str:  # fmt: skip
    changes = pictures["occlusion"]
    first, last, edge = (occlusion[key] for key in ("first", "last", "patch"))
    top = max(float(changes.max()), 1e-12)
    spread = np.repeat(np.repeat(changes, edge[0], 0), edge[1], 1)[: last[0] - first[0], : last[1] - first[1]]
    words = f"patches of {edge[0]} × {edge[1]} voxels (y x), brightest {100 * top:.2g} %"
    logs = 1 + np.log10(np.maximum(spread / top, 1e-3)) / 3
    shown = [
        _picture(heat(spread / top), f"change of the region; {words}", region, first),
        _picture(heat(logs), f"the same over three decades; {words}", region, first),
    ]
    most, at = occlusion["most_outside"], occlusion["most_outside_at"]
    told = "No patch beyond the region changes it."
    if most is not None:
        told = f"Beyond the region, the patch at y {at[0]}, x {at[1]} of the field matters most: {100 * most:.2g} %."
    return f"{_row(shown)}<p>{told}</p>"


def _channels(channels: Sequence[Mapping[str, Any]]) -> str:
    top = max(*(one["change"] for one in channels), 1e-12)
    rows = "".join(
        f"<tr><td>{html.escape(one['channel'])}<td>{html.escape(one['replaced_by'])}<td>{100 * one['change']:.2f} %"
        f'<td><svg role=img aria-label="{100 * one["change"]:.2f} %" width="120" height="10"><rect width="'
        f'{120 * one["change"] / top:.1f}" height="10" fill="currentColor"/></svg>'
        for one in channels
    )
    return f"<div class=wide><table><tr><th>picture<th>replaced by<th>change<th>{rows}</table></div>"
