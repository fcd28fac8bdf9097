"""Plots of a page, as SVG that takes the page's colours and fonts."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.resolution import THRESHOLD, Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.compare.curves import Curves

HUES = 8  # colours in page.css: --s0 to --s7
DASHES = ("-", (0, (6, 2)), (0, (2, 2)))  # for more entries than colours
INK, FAINT, IMAGE, MARK = "#fe01ff", "#fe02ff", "#fe03ff", "#fe04ff"  # stand for colours that the page knows
NAMED = {INK: "currentColor", FAINT: "var(--line)", IMAGE: "var(--image)", MARK: "var(--faint)"}
SIZE = (4.3, 2.9)  # inches
FLOOR = 1e-12  # of a power spectrum, of its highest
CHI = 2.0  # top of chi-square maps where results fit
LEVELS = 129  # colours of such a map, white in the middle
DIVERGING = ((32, 77, 133), (120, 165, 207), (245, 245, 240), (236, 160, 90), (150, 61, 9))  # blue, white, orange
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STYLE: Any = {  # matplotlib types every key
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "microdeconv",
    "font.size": 9,
    "axes.edgecolor": MARK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
}


def correlations(
    curves: Mapping[str, Curve], order: Sequence[str], unit: str, support: float | None, label: str, threshold: float
) -> str:
    """Fourier correlations over frequency, with a threshold and the end of the OTF's support.

    Parameters
    ----------
    curves
        By entry name.
    order
        All entry names, in the order of their colours.
    unit
        Frequencies are in cycles per this.
    support
        Where the OTF ends; None where it is not known.
    label
        What is drawn, for those who cannot see it.
    threshold
        Below it details do not count as seen.
    """
    falls = []
    mark = "1/7" if threshold == THRESHOLD else f"{threshold:g}"

    def draw(axes: Any) -> None:
        for name in (n for n in order if n in curves):
            axes.plot(*curves[name], **_line(order.index(name)))
            falls.append(f"{name} falls below {mark} at {1 / curves[name].resolution(threshold):.3g}")
        axes.axhline(threshold, color=MARK, linewidth=0.9)
        axes.text(1.01, threshold, mark, color=MARK, va="center", transform=axes.get_yaxis_transform())
        _support(axes, support)
        axes.set(ylim=(-0.1, 1.05), xlabel=f"cycles per {unit}", ylabel="correlation")
        axes.set_xlim(left=0)

    return _svg(draw, lambda: f"{label}, over cycles per {unit}: {'; '.join(falls)}")


def powers(curves: Curves, order: Sequence[str]) -> str:
    """Radial power spectra on a logarithmic scale, with the end of the OTF's support."""

    def draw(axes: Any) -> None:
        frequency, power = curves.raw_power
        axes.semilogy(frequency, np.maximum(power, FLOOR), color=IMAGE, linestyle=(0, (4, 2)), linewidth=1.2)
        for name in (n for n in order if n in curves.power):
            frequency, power = curves.power[name]
            axes.semilogy(frequency, np.maximum(power, FLOOR), **_line(order.index(name)))
        _support(axes, curves.support)
        axes.yaxis.set_major_formatter(lambda v, _: _power_of_ten(v))
        axes.minorticks_off()
        axes.set(xlabel=f"cycles per {curves.unit}", ylabel="power, of the highest")
        axes.set_xlim(left=0)

    ends = f"; the OTF ends at {curves.support:.3g}" if curves.support else ""
    words = f"Radial power spectra over cycles per {curves.unit} of the image and {', '.join(order)}{ends}"
    return _svg(draw, lambda: words)


def traces(
    name: str, curves: Mapping[str, Sequence[tuple[int, float]]], stops: Mapping[str, int | None], order: Sequence[str]
) -> str:
    """One quantity over the steps of each method, with a dot where it stopped."""
    ends = []

    def draw(axes: Any) -> None:
        for entry in (n for n in order if n in curves):
            steps, values = np.asarray(curves[entry], float).T
            axes.plot(steps, values, **_line(order.index(entry)))
            stop = stops.get(entry)
            if stop is not None and len(steps):
                at = int(np.argmin(np.abs(steps - stop)))
                axes.plot(steps[at], values[at], "o", color=_line(order.index(entry))["color"], markersize=6)
                ends.append(f"{entry} stopped at step {stop} with {values[at]:.4g}")
        axes.set(xlabel="step", ylabel=name)
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")

    return _svg(draw, lambda: f"{name} over the steps: {'; '.join(ends) or 'no stop is known'}")


def chi_top(maps: Sequence[NDArray[np.float32]]) -> float:
    """Top of the scale that all maps share: 2, or what nearly all is below where a result fits nowhere."""
    if all(float(np.median(chi)) < CHI for chi in maps):
        return CHI
    return max(CHI, *(float(np.percentile(chi, 99)) for chi in maps))


def chi_map(chi: NDArray[np.float32], top: float = CHI, widest: int = 512) -> tuple[str, str]:
    """Draw chi-square from blue (0) over white (1, noise alone) to orange: data address and words.

    Parameters
    ----------
    chi
        float32 (y, x), at least 0.
    top
        What orange stands for, and more; beyond 2 the scale from one to it is logarithmic.
    widest
        Pixels of the picture, at most.
    """
    from PIL import Image

    step = max(1, -(-max(chi.shape) // widest))
    part = chi[::step, ::step]
    above = part - 1 if top <= CHI else np.log(np.maximum(part, 1)) / math.log(top)
    place = np.clip((1 + np.where(part < 1, part - 1, above)) / 2, 0, 1)
    # one palette for all maps: colours chosen for each would make the same value look different
    stops, levels = np.linspace(0, 1, len(DIVERGING)), np.linspace(0, 1, LEVELS)
    palette = np.stack([np.interp(levels, stops, [c[k] for c in DIVERGING]) for k in range(3)], -1)
    picture = Image.fromarray(np.rint(place * (LEVELS - 1)).astype(np.uint8))
    picture.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, format="PNG")
    mean, highest, share = (float(v) for v in (np.mean(chi), np.max(chi), np.mean(chi > 1.5)))
    words = f"mean {short(mean)}, highest {short(highest)}, {share:.0%} above 1.5"
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), words


def short(value: float) -> str:
    """Three digits, or whole ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def swatch(number: int | None) -> str:
    """A short piece of an entry's line, or of the image's (None)."""
    colour = "var(--image)" if number is None else f"var(--s{number % HUES})"
    dash = "4 2" if number is None else ("", "6 2", "2 2")[number // HUES % len(DASHES)]
    drawn = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        '<svg class=swatch aria-hidden=true width=22 height=10 viewBox="0 0 22 10">'
        f'<path d="M1 5H21" stroke="{colour}" stroke-width=2.5{drawn} /></svg>'
    )


def _line(number: int) -> dict[str, Any]:
    return {"color": f"#fe00{number % HUES:02x}", "linestyle": DASHES[number // HUES % len(DASHES)]}


def _power_of_ten(value: float) -> str:
    return "10" + str(round(math.log10(value))).translate(SUPERSCRIPTS) if 0 < value < 1 else f"{value:g}"


def _support(axes: Any, support: float | None) -> None:
    if support:
        axes.axvline(support, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.text(support, 1.0, " OTF ends", ha="left", va="bottom", fontsize=8, transform=axes.get_xaxis_transform())


def _svg(draw: Callable[[Any], None], label: Callable[[], str]) -> str:
    """One plot, its colours and fonts left to the page, with names that no other plot has."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _adopted(file.getvalue(), label())


def _adopted(svg: str, label: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', body)
    inner = body[body.index(">") + 1 :]
    inner = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", inner)
    for number in range(HUES):
        inner = inner.replace(f"#fe00{number:02x}", f"var(--s{number})")
    for stand_in, colour in NAMED.items():
        inner = inner.replace(stand_in, colour)
    own = "p" + hashlib.sha256((label + body).encode()).hexdigest()[:8]  # names hold for the whole page
    used = set(re.findall(r"#(\w+)", inner))
    inner = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}{m[1]}"' if m[1] in used else "", inner)
    inner = re.sub(r'(url\(|href=")#', rf"\1#{own}", inner)
    inner = inner.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    inner = re.sub(r"\s*\n\s*", "\n", inner)
    return f'<svg role="img" aria-label="{html.escape(label)}" {view[0] if view else ""}>{inner}'
