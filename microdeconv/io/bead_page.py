"""The page about a measured PSF: one HTML file with pictures, maps and figures, which needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microdeconv.io.page import COLOURS, opening, png, write_html
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECADES = 4
PANEL = 260  # pixels of a section's longer side
MAP, EDGE = 300, 46  # pixels of a map, and the room round it for its words
AXES = "zyx"


class Theory(NamedTuple):
    """The PSF that the optics should give, on the same voxels.

    Attributes
    ----------
    pixels
        (z, y, x), sum 1.
    fwhm_um
        µm.
    notes
        What was assumed.
    """

    pixels: NDArray[np.float32]
    fwhm_um: Zyx
    notes: tuple[str, ...]


def write_page(
    path: Path,
    psf: Psf,
    facts: Mapping[str, str],
    widths_um: Zyx,
    rows: Sequence[Mapping[str, Any]],
    theory: Theory | None,
    notes: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The HTML file.
    psf
        With its voxel size.
    facts
        Lines about it, by heading.
    widths_um
        FWHM of the PSF.
    rows
        The table of beads: field, places and widths (µm), whether used.
    theory
        To be set beside it, if the optics are known.
    notes
        Warnings.
    overwrite
        Whether an existing page may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    parts = [
        opening("Measured PSF", facts, notes),
        "<h2>Width and symmetry</h2>",
        _widths(psf, widths_um, rows, theory),
        "<h2>Sections through the peak</h2>",
        _sections("measured", psf.pixels, psf.voxel_um),
        _sections("in theory", theory.pixels, psf.voxel_um) if theory else "",
        "<h2>Width over the field</h2>",
        "<div class=row>" + "".join(_map(rows, axis) for axis in AXES) + "</div>",
        "<h2>Beads</h2>",
        _table(rows),
    ]
    write_html(path, "Measured PSF", parts, overwrite=overwrite)


def _widths(psf: Psf, widths: Zyx, rows: Sequence[Mapping[str, Any]], theory: Theory | None) -> str:
    """FWHM along each axis, its scatter over the beads, theory's, and the asymmetry."""
    lines = []
    for axis, width in zip(AXES, widths, strict=True):
        if math.isnan(width):
            continue
        own = [row[f"fwhm_{axis}_um"] for row in rows if row["used"] == "yes"]
        scatter = f"{1000 * float(np.std(own)):.0f}" if len(own) > 1 else "–"
        due = getattr(theory.fwhm_um, axis) if theory else math.nan
        beside = f"<td>{1000 * due:.0f}<td>{width / due:.2f}" if theory else "<td>–<td>–"
        lines.append(f"<tr><td>{axis}<td>{1000 * width:.0f}<td>{scatter}{beside}")
    heads = "<tr><th>axis<th>FWHM, nm<th>scatter over beads, nm<th>in theory, nm<th>ratio"
    said = f"FWHM along y over x: {widths.y / widths.x:.3f}"
    planes = psf.pixels.sum(axis=(1, 2), dtype=np.float64)
    if planes.size > 1:
        middle = planes.size // 2
        above, below = planes[middle + 1 :].sum(), planes[:middle].sum()
        said += f"; light above the focus less that below, over their sum: {(above - below) / (above + below):+.3f}"
    return f"<table>{heads}{''.join(lines)}</table><p>{said}.</p>"


def _sections(name: str, pixels: NDArray[Any], voxel: Zyx | None) -> str:
    """The xy, xz and yz sections, linear and by decades."""
    z, y, x = (n // 2 for n in pixels.shape)
    size = voxel if voxel and math.isfinite(voxel.z) else Zyx(1, 1, 1)
    planes = {"xy": (pixels[z], size.y, size.x)}
    if pixels.shape[0] > 1:
        planes |= {"xz": (pixels[:, y], size.z, size.x), "yz": (pixels[:, :, x], size.z, size.y)}
    longest = max(max(p.shape[0] * v, p.shape[1] * h) for p, v, h in planes.values())
    figures = []
    for scale in ("linear", f"log, {DECADES} decades"):
        for label, (plane, tall, wide) in planes.items():
            level = plane / pixels.max()
            if scale != "linear":
                level = 1 + np.log10(np.maximum(level, 10.0**-DECADES)) / DECADES
            height, width = (round(PANEL * n * v / longest) for n, v in zip(plane.shape, (tall, wide), strict=True))
            extent = f"{plane.shape[1] * wide:.3g} × {plane.shape[0] * tall:.3g} µm"
            alt = f"{label} section of the PSF {name}, {scale}, {extent}"
            figures.append(
                f'<figure><img alt="{alt}" width={max(width, 1)} height={max(height, 1)} src="{png(level)}">'
                f"<figcaption>{label}, {name}, {scale}; {extent}</figcaption></figure>"
            )
    return f"<div class=row>{''.join(figures)}</div>"


def _map(rows: Sequence[Mapping[str, Any]], axis: str) -> str:
    """Where the used beads lie, coloured by width: all fields over one another."""
    used = [row for row in rows if row["used"] == "yes" and math.isfinite(row[f"fwhm_{axis}_um"])]
    if not used:
        return ""
    widths = [1000 * row[f"fwhm_{axis}_um"] for row in used]
    low, high = min(widths), max(widths)
    span = max(max(max(row["x_um"], row["y_um"]) for row in used), 1e-6)
    spots = []
    for row, width in zip(used, widths, strict=True):
        at = [EDGE + MAP * row[f"{a}_um"] / span for a in "xy"]
        title = html.escape(f"{row['field']}: {width:.0f} nm at x {row['x_um']:.1f}, y {row['y_um']:.1f} µm")
        fill = _colour((width - low) / (high - low) if high > low else 0.5)
        spots.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="7" fill="{fill}"><title>{title}</title></circle>')
    side = MAP + 2 * EDGE
    bar = "".join(
        f'<rect x="{EDGE + i * MAP / 20:.1f}" y="{side - 18}" width="{MAP / 20 + 0.5:.1f}" height="8"'
        f' fill="{_colour(i / 19)}"/>'
        for i in range(20)
    )
    label = f"FWHM {axis} of {len(used)} beads over the field, {low:.0f} to {high:.0f} nm"
    return (
        f'<figure><svg role=img aria-label="{label}" viewBox="0 0 {side} {side}" width="{side}" height="{side}">'
        f'<rect x="{EDGE}" y="{EDGE}" width="{MAP}" height="{MAP}" fill="none" stroke="currentColor" opacity=".3"/>'
        f'<text x="{EDGE}" y="{EDGE - 16}">FWHM {axis}; the side is {span:.3g} µm</text>{"".join(spots)}{bar}'
        f'<text x="{EDGE}" y="{side - 22}">{low:.0f} nm</text>'
        f'<text x="{EDGE + MAP}" y="{side - 22}" text-anchor="end">{high:.0f} nm</text></svg></figure>'
    )


def _colour(share: float) -> str:
    place = min(max(share, 0), 1) * (len(COLOURS) - 1)
    left = min(int(place), len(COLOURS) - 2)
    mixed = [round(a + (place - left) * (b - a)) for a, b in zip(COLOURS[left], COLOURS[left + 1], strict=True)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{html.escape(key.replace('_', ' '))}" for key in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_told(v))}" for v in row.values()) for row in rows)
    return f"<div class=wide><table><tr>{head}{body}</table></div>"


def _told(value: Any) -> str:
    return "–" if isinstance(value, float) and math.isnan(value) else str(value)
