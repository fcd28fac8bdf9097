"""Writing TIFF in the container, axes, voxel size and colours of the stack it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from microdeconv.io.atomic import atomic_output
from microdeconv.io.metadata import USUAL_COLOURS, add_optics
from microdeconv.optics import Optics
from microdeconv.stack import Channel, Container, Header

IMAGEJ_TYPES = ("uint8", "uint16", "int16", "float32")
IMAGEJ_LARGEST = 2**32 - 2**20
RECORD_HEADING = "\n[microdeconv]\n"
Volumes = Iterable[tuple[int, int, NDArray[Any]]]


def container_for(header: Header, wanted: str, dtype: np.dtype[Any]) -> tuple[Container, str]:
    """Settle the container of an output, and say why when it is not the input's.

    ImageJ's own format cannot hold every type, nor more than 4 GB that all readers take: then OME-TIFF serves.
    """
    if wanted == "ome-tiff":
        return "ome", ""
    if wanted == "ome-zarr":
        return "zarr", ""
    if header.container == "imagej":
        if dtype.name not in IMAGEJ_TYPES:
            return "ome", f"ImageJ's TIFF cannot hold {dtype.name}: written as OME-TIFF"
        if math.prod(header.shape) * dtype.itemsize > IMAGEJ_LARGEST:
            return "ome", "ImageJ's TIFF cannot hold more than 4 GB: written as OME-TIFF"
    return header.container, ""


def write_stack(
    path: Path, header: Header, volumes: Volumes, record: Mapping[str, Any], *, container: Container, overwrite: bool
) -> None:
    """Write a stack, one volume at a time (one time point at a time for ImageJ, whose pages go T, Z, C).

    Parameters
    ----------
    path
        The output; it is whole or absent.
    header
        Axes, sizes, dtype, voxel size and channels of the output; `extras` of the input.
    volumes
        (t, c, volume) with t slowest, each (z, y, x) in `header.dtype`.
    record
        How the stack was made, kept inside the file as JSON.
    container
        As `container_for` gave it.
    overwrite
        Whether an existing output may be replaced.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    text = json.dumps(record, ensure_ascii=container == "imagej", default=str)
    order = "".join(a for a in ("TZCYX" if container == "imagej" else "TCZYX") if a in header.axes)
    shape = tuple(header.size(a) for a in order)
    details = {"imagej": _for_imagej, "ome": _for_ome, "plain": _for_plain}[container](header, order, text)
    with atomic_output(path, overwrite=overwrite) as partial:
        tifffile.imwrite(
            partial,
            _pages(header, volumes, interleaved=container == "imagej"),
            shape=shape,
            dtype=header.dtype,
            photometric="minisblack",
            **details,
        )
        if container == "ome" and any(c.optics != Optics() for c in header.channels):
            with tifffile.TiffFile(partial, mode="r+") as file:
                xml = add_optics(file.ome_metadata or "", header.channels, header.extras.get("NominalMagnification"))
                file.pages.first.tags["ImageDescription"].overwrite(xml.encode())


def _pages(header: Header, volumes: Volumes, *, interleaved: bool) -> Iterator[NDArray[Any]]:
    """Planes in the order in which the container keeps them."""
    n_channels = header.size("C")
    held: list[NDArray[Any]] = []
    for _, _, volume in volumes:
        if not interleaved or n_channels == 1:
            yield from volume
            continue
        held.append(volume)
        if len(held) == n_channels:
            for planes in zip(*held, strict=True):
                yield from planes
            held = []


def _resolution(header: Header) -> dict[str, Any]:
    if header.voxel_um is None:
        return {}
    return {"resolution": (1 / header.voxel_um.x, 1 / header.voxel_um.y)}


def _for_imagej(header: Header, order: str, text: str) -> dict[str, Any]:
    kept = {
        k: v
        for k, v in header.extras.items()
        if k in ("mode", "finterval", "fps", "loop", "tunit", "Labels", "min", "max", "Ranges", "ROI", "Overlays")
    }
    metadata: dict[str, Any] = {"axes": order, **kept}
    if "Labels" in metadata and len(metadata["Labels"]) != math.prod(header.size(a) for a in order if a not in "YX"):
        del metadata["Labels"]
    info = str(header.extras.get("Info", ""))
    metadata["Info"] = info.split(RECORD_HEADING)[0] + RECORD_HEADING + text
    if header.size("C") > 1:
        metadata.setdefault("mode", "composite")
        metadata["LUTs"] = [_lut(c, i) for i, c in enumerate(header.channels)]
    elif "LUTs" in header.extras:
        metadata["LUTs"] = header.extras["LUTs"]
    details: dict[str, Any] = {"imagej": True, "metadata": metadata}
    if header.voxel_um is not None:
        metadata["unit"] = "um"
        if not math.isnan(header.voxel_um.z):
            metadata["spacing"] = header.voxel_um.z
        details |= _resolution(header)
    elif header.extras.get("unit"):
        metadata["unit"] = header.extras["unit"]
    return details


def _lut(channel: Channel, number: int) -> NDArray[np.uint8]:
    colour = np.array(channel.colour or USUAL_COLOURS[number % len(USUAL_COLOURS)])
    ramp: NDArray[np.uint8] = np.round(np.arange(256) * colour[:, None] / 255).astype(np.uint8)
    return ramp


def _for_ome(header: Header, order: str, text: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": order}
    if header.voxel_um is not None:
        for axis, size in zip("ZYX", header.voxel_um, strict=True):
            if not math.isnan(size):
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = "µm"
    metadata |= {k: v for k, v in header.extras.items() if k in ("TimeIncrement", "TimeIncrementUnit", "Name")}
    channels = header.channels
    described: dict[str, list[Any]] = {
        "Name": [c.name for c in channels],
        "Color": [_ome_colour(c.colour) for c in channels],
    }
    complete = {k: v for k, v in described.items() if all(one is not None for one in v)}
    if complete:
        metadata["Channel"] = complete if "C" in order else {k: v[0] for k, v in complete.items()}
    metadata["MapAnnotation"] = {"Namespace": "microdeconv", "microdeconv": text}
    return {
        "ome": True,
        "metadata": metadata,
        "bigtiff": math.prod(header.shape) * header.dtype.itemsize > IMAGEJ_LARGEST,
    }


def _ome_colour(colour: tuple[int, int, int] | None) -> int | None:
    if colour is None:
        return None
    value = (colour[0] << 24) | (colour[1] << 16) | (colour[2] << 8) | 255
    return value - 2**32 if value >= 2**31 else value


def _for_plain(header: Header, order: str, text: str) -> dict[str, Any]:
    kept = {
        k: v
        for k, v in header.extras.items()
        if isinstance(v, (str, int, float, list)) and k not in ("axes", "shape", "microdeconv")
    }
    details: dict[str, Any] = {}
    if header.voxel_um is not None:  # the tag's unit is the centimetre, the z step stands in ImageJ's words
        kept = {k: v for k, v in kept.items() if k not in ("spacing", "unit") and not k.startswith("PhysicalSize")}
        if not math.isnan(header.voxel_um.z):
            kept |= {"spacing": header.voxel_um.z, "unit": "um"}
        per_cm = (1e4 / header.voxel_um.x, 1e4 / header.voxel_um.y)
        details |= {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    details["metadata"] = {**kept, "axes": order, "microdeconv": text}
    details["bigtiff"] = math.prod(header.shape) * header.dtype.itemsize > IMAGEJ_LARGEST
    return details
