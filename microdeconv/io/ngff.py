"""What OME-Zarr says of its voxels, channels and levels (NGFF 0.4 and 0.5), read and written.

References
----------
Moore et al., OME-NGFF, Nature Methods 18 (2021); https://ngff.openmicroscopy.org, versions 0.4 and 0.5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microdeconv.errors import UsageError
from microdeconv.io.metadata import UM, USUAL_COLOURS, Facts, sensible_voxel
from microdeconv.optics import Optics
from microdeconv.options import convert, for_channel, options_of
from microdeconv.stack import Channel, Header

if TYPE_CHECKING:
    import numpy as np

VERSIONS = ("0.4", "0.5")
NEWEST = "0.5"
OURS = "microdeconv"  # the attribute that holds how it was made, and the optics, which NGFF has no words for
LENGTHS = UM | {"micrometer": 1.0, "nanometer": 1e-3, "angstrom": 1e-4, "picometer": 1e-6, "millimeter": 1e3,
                "centimeter": 1e4, "inch": 25_400.0}  # fmt: skip
TIMES = {"second": 1.0, "s": 1.0, "sec": 1.0, "millisecond": 1e-3, "ms": 1e-3, "microsecond": 1e-6, "µs": 1e-6,
         "minute": 60.0, "min": 60.0, "hour": 3600.0, "h": 3600.0}  # fmt: skip
KINDS = {"T": "time", "C": "channel"}


def read_facts(multiscale: Mapping[str, Any], omero: Mapping[str, Any], ours: Any, axes: str, n_channels: int) -> Facts:
    """Read voxel size, channels and the rest of one image.

    Parameters
    ----------
    multiscale
        The image, of the list `multiscales`.
    omero
        The block that names and colours the channels; may be empty.
    ours
        What this program wrote, if it did.
    axes
        Letters of the array's axes, in its own order.
    n_channels
        How many there are.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        When the metadata are not as the specification wants them.
    """
    steps = _steps(multiscale, len(axes))
    units = [str(axis.get("unit") or "").lower() for axis in multiscale["axes"]]
    along = {a: (step, unit) for a, step, unit in zip(axes, steps, units, strict=True)}
    sizes = [_length(along.get(a)) for a in "ZYX"]
    voxel, told = sensible_voxel(sizes, "the OME-Zarr")
    strange = sorted({along[a][1] for a in "ZYX" if a in along and along[a][0] != 1 and along[a][1] not in LENGTHS})
    notes = [f"the OME-Zarr gives its scale {f'in {u!r}' if u else 'without a unit'}: not taken for µm, give --voxel"
             for u in strange]  # fmt: skip
    channels = _channels(omero, n_channels)
    optics, said = _own_optics(ours, n_channels)
    extras: dict[str, Any] = {}
    if isinstance(multiscale.get("name"), str):
        extras["Name"] = multiscale["name"]
    step, unit = along.get("T", (1.0, ""))
    if unit in TIMES:
        extras |= {"TimeIncrement": step * TIMES[unit], "TimeIncrementUnit": "s"}
    if isinstance(ours, dict) and isinstance(ours.get("magnification"), (int, float)):
        extras["NominalMagnification"] = ours["magnification"]
    channels = tuple(replace(c, optics=o) for c, o in zip(channels, optics, strict=True))
    return Facts(voxel, channels, extras, (*told, *notes, *said))


def _steps(multiscale: Mapping[str, Any], n_axes: int) -> list[float]:
    """The first level's scale along each axis: its own, times the image's."""
    steps = [1.0] * n_axes
    for holder in (multiscale["datasets"][0], multiscale):
        for one in holder.get("coordinateTransformations") or []:
            if one["type"] == "scale":
                steps = [a * float(b) for a, b in zip(steps, one["scale"], strict=True)]
    return steps


def _length(told: tuple[float, str] | None) -> float | None:
    if told is None or told[1] not in LENGTHS:
        return None
    return told[0] * LENGTHS[told[1]]


def _channels(omero: Mapping[str, Any], n_channels: int) -> tuple[Channel, ...]:
    described = omero.get("channels")
    if not isinstance(described, list) or len(described) != n_channels:
        return (Channel(),) * n_channels
    return tuple(Channel(str(c["label"]) if c.get("label") else None, _colour(c.get("color"))) for c in described)


def _colour(text: Any) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", str(text))
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None


def _own_optics(ours: Any, n_channels: int) -> tuple[list[Optics], list[str]]:
    """Optics that this program wrote; values that cannot be are left out, and told."""
    told = ours.get("optics") if isinstance(ours, dict) else None
    if not isinstance(told, list) or len(told) != n_channels:
        return [Optics()] * n_channels, []
    found, notes = [], []
    for number, values in enumerate(told):
        good = {}
        for one in options_of(Optics):
            value = values.get(one.key)
            try:
                if value is not None:
                    good[one.field] = for_channel(convert(one, value), 0)
            except (UsageError, TypeError, ValueError) as reason:
                notes.append(f"channel {number}: the OME-Zarr's {one.key} is not taken, {reason}")
        found.append(Optics(**good))
    return found, notes


def describe(
    header: Header, factors: Sequence[tuple[int, int, int]], limits: Sequence[tuple[float, float]],
    record: Mapping[str, Any], version: str,
) -> dict[str, Any]:  # fmt: skip
    """Give the attributes of an image's group.

    Parameters
    ----------
    header
        Of the image.
    factors
        How many voxels (z, y, x) of the first level each level's voxels span, one for each level.
    limits
        Smallest and largest value of each channel.
    record
        How it was made.
    version
        Of NGFF.
    """
    steps, units = _written_steps(header)
    axes = [{"name": a.lower(), "type": KINDS.get(a, "space"), **({"unit": units[a]} if a in units else {})}
            for a in header.axes]  # fmt: skip
    datasets = []
    for number, factor in enumerate(factors):
        times = dict(zip("ZYX", factor, strict=True))
        transformations = [{"type": "scale", "scale": [steps[a] * times.get(a, 1) for a in header.axes]}]
        if number:  # the middle of a mean of n voxels lies (n - 1) / 2 voxels from that of the first
            shift = [steps[a] * (times.get(a, 1) - 1) / 2 for a in header.axes]
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    multiscale: dict[str, Any] = {"name": str(header.extras.get("Name") or "image"), "axes": axes, "datasets": datasets}
    if len(factors) > 1:
        multiscale |= {"type": "mean", "metadata": {"description": "each voxel is the mean of those it spans"}}
    omero = {"channels": [_described(c, i, header, limits[i]) for i, c in enumerate(header.channels)]}
    ours = {
        "record": json.loads(json.dumps(record, default=str), parse_constant=str),  # JSON has no NaN
        "optics": [_told(c.optics) for c in header.channels],
    }
    if header.extras.get("NominalMagnification"):
        ours["magnification"] = header.extras["NominalMagnification"]
    if version == "0.4":
        return {"multiscales": [{"version": version, **multiscale}], "omero": omero, OURS: ours}
    return {"ome": {"version": version, "multiscales": [multiscale], "omero": omero}, OURS: ours}


def _written_steps(header: Header) -> tuple[dict[str, float], dict[str, str]]:
    """Scale and unit of each axis; 1 and none where nobody knows them."""
    steps: dict[str, float] = dict.fromkeys(header.axes, 1.0)
    units: dict[str, str] = {}
    for axis, size in zip("ZYX", header.voxel_um or (), strict=False):
        if axis in header.axes and math.isfinite(size):
            steps[axis], units[axis] = size, "micrometer"
    told = header.extras.get("TimeIncrement", header.extras.get("finterval"))
    factor = TIMES.get(str(header.extras.get("TimeIncrementUnit", "s")))
    try:
        seconds = float(told) * factor if told is not None and factor else 0.0
    except (TypeError, ValueError):
        seconds = 0.0
    if "T" in header.axes and math.isfinite(seconds) and seconds > 0:
        steps["T"], units["T"] = seconds, "second"
    return steps, units


def _described(channel: Channel, number: int, header: Header, limits: tuple[float, float]) -> dict[str, Any]:
    usual = (255, 255, 255) if len(header.channels) == 1 else USUAL_COLOURS[number % len(USUAL_COLOURS)]
    red, green, blue = channel.colour or usual
    return {
        **({"label": channel.name} if channel.name else {}),
        "active": True,
        "color": f"{red:02X}{green:02X}{blue:02X}",
        "window": window_for(header.dtype, limits),
    }


def window_for(dtype: np.dtype[Any], limits: tuple[float, float]) -> dict[str, float]:
    """Give what a viewer shows of a channel: its smallest and largest values, and what the type could hold."""
    import numpy as np

    low, high = limits if all(map(math.isfinite, limits)) else (0.0, 1.0)
    high = high if high > low else low + 1
    ends = (low, high)
    if dtype.kind != "f":
        ends = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    return {"min": ends[0], "max": ends[1], "start": low, "end": high}


def _told(optics: Optics) -> dict[str, Any]:
    values = {o.key: getattr(optics, o.field) for o in options_of(Optics)}
    return {key: value for key, value in values.items() if value is not None}
