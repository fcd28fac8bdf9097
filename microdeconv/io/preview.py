"""Pictures for a quick look: maximum projections before and after, and a PSF's sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.io.atomic import atomic_output
from microdeconv.stack import Zyx

WIDEST, NARROWEST = 800, 320  # pixels of one panel
GAP, HEAD = 12, 26
PAPER, INK, FAINT = 18, 235, 150
DECADES = 5
NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def projections(volume: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Maximum projections of a volume (z, y, x) along z and along y."""
    return volume.max(axis=0), volume.max(axis=1)


def write_preview(
    path: Path, columns: list[tuple[str, NDArray[Any], NDArray[Any]]], voxel_um: Zyx | None, *, overwrite: bool
) -> None:
    """Write a PNG of xy and xz maximum projections, a column for each image, each at its own contrast.

    The contrast runs from the 1st to the 99.8th percentile of the xy projection; xz has true proportions where the
    voxel size is known.

    Parameters
    ----------
    path
        The PNG.
    columns
        (label, xy projection, xz projection) for each.
    voxel_um
        µm; gives the scale bar and the height of xz.
    overwrite
        Whether an existing picture may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `microdeconv.io.atomic`.
    """
    panels = []
    for label, xy, xz in columns:
        low, high = (float(v) for v in np.percentile(xy, [1, 99.8]))
        panels.append((f"{label}   {low:.4g} to {high:.4g}", _grey(xy, low, high), _grey(xz, low, high)))
    _compose(path, panels, _z_stretch(voxel_um), voxel_um.x if voxel_um else None, overwrite=overwrite)


def write_psf_picture(path: Path, pixels: NDArray[Any], voxel_um: Zyx | None, title: str, *, overwrite: bool) -> None:
    """Write a PNG of a PSF's xy and xz sections through its middle, linear and over five decades.

    Raises
    ------
    WriteError, CannotCreateError
        See `microdeconv.io.atomic`.
    """
    middle = tuple(n // 2 for n in pixels.shape)
    sections = pixels[middle[0]], pixels[:, middle[1], :]
    peak = float(pixels.max())
    logs = [np.log10(np.maximum(s / peak, 10.0**-DECADES)) for s in sections]
    panels = [
        (f"{title}   linear", _grey(sections[0], 0, peak), _grey(sections[1], 0, peak)),
        (f"log, {DECADES} decades", _grey(logs[0], -DECADES, 0), _grey(logs[1], -DECADES, 0)),
    ]
    _compose(path, panels, _z_stretch(voxel_um), voxel_um.x if voxel_um else None, overwrite=overwrite)


def write_check_picture(
    path: Path, psf: NDArray[Any], residual: NDArray[Any], voxel_um: Zyx | None, *, overwrite: bool
) -> None:
    """Write a PNG of a PSF's xy, xz and yz sections over five decades, and of a map of local residual chi-square.

    The map is its maximum projection along z, from 0 (black) to 2 (white): noise alone is grey.

    Raises
    ------
    WriteError, CannotCreateError
        See `microdeconv.io.atomic`.
    """
    z, y, x = (n // 2 for n in psf.shape)
    logs = np.log10(np.maximum(psf / psf.max(), 10.0**-DECADES))
    tall = _z_stretch(voxel_um)
    panels = [("PSF xy, log", _grey(logs[z], -DECADES, 0), 1.0)]
    if psf.shape[0] > 1:
        panels += [
            ("PSF xz", _grey(logs[:, y], -DECADES, 0), tall),
            ("PSF yz", _grey(logs[:, :, x], -DECADES, 0), tall),
        ]
    panels.append(("residual chi-square, 0 to 2", _grey(residual.max(axis=0), 0, 2), 1.0))
    _write_row(path, panels, overwrite=overwrite)


def _write_row(path: Path, panels: list[tuple[str, NDArray[np.uint8], float]], *, overwrite: bool) -> None:
    """Put labelled pictures of one width side by side, each stretched in height by its factor."""
    from PIL import Image, ImageDraw, ImageFont

    shown = []
    for _, pixels, stretch in panels:
        height = round(NARROWEST * pixels.shape[0] * stretch / pixels.shape[1])
        size = (NARROWEST, max(1, min(height, 2 * NARROWEST)))
        shown.append(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))
    tallest = max(one.size[1] for one in shown)
    page = Image.new("L", (len(shown) * (NARROWEST + GAP) + GAP, HEAD + tallest + GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, ((label, _, _), one) in enumerate(zip(panels, shown, strict=True)):
        left = GAP + number * (NARROWEST + GAP)
        draw.text((left, 6), label, fill=INK, font=font)
        page.paste(one, (left, HEAD))
    with atomic_output(path, overwrite=overwrite) as partial:
        page.save(partial, format="PNG", optimize=True)


def _z_stretch(voxel_um: Zyx | None) -> float:
    return voxel_um.z / voxel_um.x if voxel_um and np.isfinite(voxel_um.z) else 1.0


def _grey(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    span = high - low if high > low else 1.0
    grey: NDArray[np.uint8] = np.clip((image.astype(np.float32) - low) * (255 / span), 0, 255).astype(np.uint8)
    return grey


def _compose(
    path: Path,
    panels: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
    stretch: float,
    pixel_um: float | None,
    *,
    overwrite: bool,
) -> None:
    from PIL import Image, ImageDraw, ImageFont

    height, width = panels[0][1].shape
    scale = min(max(1.0, NARROWEST / width), WIDEST / width)
    size = round(width * scale), round(height * scale)
    depth = panels[0][2].shape[0]
    deep = max(1, round(min(depth * scale * stretch, 1.5 * size[0]))) if depth > 1 else 0
    page = Image.new(
        "L", (len(panels) * (size[0] + GAP) + GAP, HEAD + size[1] + (deep + GAP if deep else 0) + GAP), PAPER
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    resample = Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST
    for number, (label, xy, xz) in enumerate(panels):
        left = GAP + number * (size[0] + GAP)
        draw.text((left, 6), label, fill=INK, font=font)
        page.paste(Image.fromarray(xy).resize(size, resample), (left, HEAD))
        if deep:
            page.paste(Image.fromarray(xz).resize((size[0], deep), resample), (left, HEAD + size[1] + GAP))
    if pixel_um:
        _scale_bar(draw, font, pixel_um / scale, (GAP, HEAD), size)
    with atomic_output(path, overwrite=overwrite) as partial:
        page.save(partial, format="PNG", optimize=True)


def _scale_bar(draw: Any, font: Any, um_per_pixel: float, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """A bar of a round length, about a fifth of the first panel, over its lower left."""
    length = max((n for n in NICE if n <= 0.3 * size[0] * um_per_pixel), default=NICE[0])
    left, bottom = corner[0] + 10, corner[1] + size[1] - 10
    draw.rectangle((left, bottom - 3, left + length / um_per_pixel, bottom), fill=INK)
    draw.text((left, bottom - 20), f"{length:g} um", fill=INK, font=font, stroke_width=2, stroke_fill=PAPER)
