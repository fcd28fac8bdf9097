"""What TIFF files say of their voxels, channels and optics, in ImageJ's words, OME-XML or plain tags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree import ElementTree

from microdeconv.optics import Modality, Optics
from microdeconv.stack import Channel, Zyx

UM = {"µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6,
      "inch": 25_400.0, "pm": 1e-6, "å": 1e-4, "meter": 1e6}  # fmt: skip
NM = {"nm": 1.0, "µm": 1e3, "um": 1e3, "pm": 1e-3, "å": 0.1}
MEDIUM = {"air": 1.0, "water": 1.333, "glycerol": 1.47, "oil": 1.515, "silicone": 1.406}
MODALITY: dict[str, Modality] = {
    "WideField": "widefield",
    "LaserScanningConfocalMicroscopy": "confocal",
    "SlitScanConfocal": "confocal",
    "SpinningDiskConfocal": "spinning-disk",
    "SweptFieldConfocal": "spinning-disk",
    "MultiPhotonMicroscopy": "two-photon",
    "SPIM": "light-sheet",
}
PINHOLES_AU = (0.01, 100)  # what a pinhole can be
ODD_RATIOS = (0.5, 10)  # of z to x, from which on it is asked about
USUAL_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0))
SCREEN_DPI = (72.0, 96.0, 100.0, 150.0, 180.0, 200.0, 300.0, 600.0)


class Facts(NamedTuple):
    """What a container says besides its pixels."""

    voxel_um: Zyx | None
    channels: tuple[Channel, ...]
    extras: Mapping[str, Any]
    notes: tuple[str, ...]


def sensible_voxel(sizes: Iterable[float | None], where: str) -> tuple[Zyx | None, tuple[str, ...]]:
    """Take a voxel size (z, y, x in µm) only if it can be one; say why not. None: not stated."""
    z, y, x = sizes
    if x is None and y is None:
        return None, ()
    if x is None or y is None:
        return None, (f"{where} gives the size of one side of a pixel only: give --voxel",)
    for size in (x, y):
        if not 0.001 <= size < 100:
            return None, (f"{where} gives a pixel size of {size:g} µm, which cannot be: give --voxel",)
    if z is None:
        return Zyx(math.nan, y, x), ()
    if not 0.001 <= z < 500:
        return Zyx(math.nan, y, x), (f"{where} gives a z step of {z:g} µm, which cannot be: give --voxel",)
    if ODD_RATIOS[0] < z / x < ODD_RATIOS[1]:
        return Zyx(z, y, x), ()
    return Zyx(z, y, x), (f"{where} gives an odd x:z ratio, voxels {z / x:.2g} times as tall as wide: is that so?",)


def from_imagej(metadata: Mapping[str, Any], pixel: tuple[float | None, float | None], n_channels: int) -> Facts:
    """Read ImageJ's description; `pixel` is (y, x) of a pixel in ImageJ's unit, from the resolution tags."""
    unit = str(metadata.get("unit", "")).strip().lower()
    factor = UM.get(unit)
    keep = (
        "Info",
        "Labels",
        "Ranges",
        "LUTs",
        "mode",
        "finterval",
        "fps",
        "min",
        "max",
        "loop",
        "Overlays",
        "ROI",
        "tunit",
    )
    extras = {key: metadata[key] for key in keep if key in metadata}
    extras["unit"] = metadata.get("unit", "")
    colours = [_lut_colour(lut) for lut in metadata.get("LUTs", [])]
    colours += [None] * (n_channels - len(colours))
    channels = tuple(Channel(None, colour) for colour in colours[:n_channels])
    spacing = metadata.get("spacing")
    if factor is None:
        plausible = pixel[1] is not None and pixel[1] != 1 and 0.001 < pixel[1] < 20
        told = f"the unit is {unit or 'missing'!r} beside a pixel size of {pixel[1]:g}" if plausible else ""
        return Facts(None, channels, extras, (f"{told}: not taken for µm, give --voxel",) if told else ())
    y, x = (None if p is None else p * factor for p in pixel)
    z = None if spacing is None else _as_float(spacing) * factor
    voxel, notes = sensible_voxel((z, y, x), "the ImageJ header")
    if voxel and spacing == 1 and not 0.5 < voxel.x / voxel.z < 2:
        notes = (f"the ImageJ header gives a z step of 1 {unit}, its default: if nobody set it, give --voxel",)
    return Facts(voxel, channels, extras, notes)


def from_plain(described: Mapping[str, Any], pixel: tuple[float | None, float | None], unit: str) -> Facts:
    """Read a plain TIFF's resolution tags, and the z step from its description (JSON, as tifffile keeps it).

    Resolutions of screens and printers are no voxel sizes. The description may tell `spacing` with `unit` in ImageJ's
    words, or `PhysicalSizeZ`, `…Y`, `…X` in OME's; `pixel` is (y, x) in `unit`, or in the description's where the tags
    have none.
    """
    nodes = [_size(described, f"PhysicalSize{axis}", f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"]
    z = nodes[0] if nodes[0] is not None else _size(described, "spacing", "unit", "")
    factor = UM.get(unit.lower() or str(described.get("unit", "")).lower())
    y, x = (None if p is None or factor is None else p * factor for p in pixel)
    if unit and x and any(abs(25_400 / x - dpi) < 0.5 for dpi in SCREEN_DPI):
        y = x = None
    y, x = (nodes[1], nodes[2]) if x is None else (y, x)
    voxel, notes = sensible_voxel((z, y, x), "the file")
    return Facts(voxel, (Channel(),), {}, notes)


def _size(described: Mapping[str, Any], key: str, unit_key: str, usual: str) -> float | None:
    """A size in µm; None where it is not stated with a unit of length, nan where it is no number."""
    factor = UM.get(str(described.get(unit_key, usual)).strip().lower())
    return None if key not in described or factor is None else _as_float(described[key]) * factor


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def from_ome(xml: str, series: int, n_channels: int) -> Facts:
    """Read OME-XML: sizes with units, channels with wavelengths and modality, the objective.

    Raises
    ------
    ValueError
        When the XML cannot be read.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as reason:
        raise ValueError(f"its OME-XML is damaged ({reason})") from None
    images = root.findall("{*}Image")
    image = images[min(series, len(images) - 1)] if images else root
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return Facts(None, (Channel(),) * n_channels, {}, ())
    sizes = [_size(pixels.attrib, f"PhysicalSize{axis}", f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"]
    voxel, told = sensible_voxel(sizes, "the OME header")
    shared, magnification = _objective(root, image)
    notes = [*_strange_units(pixels), *told]
    channels = []
    for number, node in enumerate(pixels.findall("{*}Channel")[:n_channels]):
        channel = _channel(node, shared)
        pinhole, note = _pinhole_au(node, channel.optics, magnification)
        notes += [f"channel {number}: {note}"] if note else []
        channels.append(replace(channel, optics=replace(channel.optics, pinhole_au=pinhole)))
    channels += [Channel(None, None, shared)] * (n_channels - len(channels))
    extras = {"TimeIncrement": pixels.get("TimeIncrement"), "TimeIncrementUnit": pixels.get("TimeIncrementUnit"),
              "Name": image.get("Name"), "NominalMagnification": magnification}  # fmt: skip
    return Facts(voxel, tuple(channels), {k: v for k, v in extras.items() if v}, tuple(notes))


def _strange_units(pixels: ElementTree.Element) -> list[str]:
    units = {axis: pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX" if pixels.get(f"PhysicalSize{axis}")}
    strange = {unit for unit in units.values() if unit.lower() not in UM}
    return [f"the OME header gives voxel sizes in {unit!r}: not taken for µm, give --voxel" for unit in sorted(strange)]


def airy_um(optics: Optics, magnification: float) -> float | None:
    """Diameter of an Airy unit in the image plane, where the pinhole is: 1.22 λ / NA, magnified. None: not known."""
    if not (optics.na and optics.emission_nm):
        return None
    return 1.22e-3 * optics.emission_nm / optics.na * magnification


def _pinhole_au(node: ElementTree.Element, optics: Optics, magnification: float | None) -> tuple[float | None, str]:
    """The pinhole in Airy units, or why it cannot be told."""
    size = _quantity(node, "PinholeSize", UM, "µm")
    if size is None:
        return None, ""
    said = f"the OME header gives a pinhole of {size:g} µm"
    known = {"NA": optics.na, "the emission wavelength": optics.emission_nm, "the magnification": magnification}
    lacking = [name for name, value in known.items() if value is None]
    airy = airy_um(optics, magnification or math.nan)
    if lacking or airy is None:
        return None, f"{said}, but not {' and '.join(lacking)}, so no Airy units: give --pinhole"
    if not PINHOLES_AU[0] <= size / airy <= PINHOLES_AU[1]:
        return None, f"{said}, {size / airy:.2g} Airy units, which cannot be: give --pinhole"
    return size / airy, ""


def _channel(node: ElementTree.Element, shared: Optics) -> Channel:
    colour = node.get("Color")
    rgb = None
    if colour is not None:
        value = int(colour) & 0xFFFFFFFF
        rgb = (value >> 24, value >> 16 & 255, value >> 8 & 255)
    optics = Optics(
        na=shared.na,
        ri_immersion=shared.ri_immersion,
        emission_nm=_quantity(node, "EmissionWavelength", NM, "nm"),
        excitation_nm=_quantity(node, "ExcitationWavelength", NM, "nm"),
        modality=MODALITY.get(node.get("AcquisitionMode", "")),
    )
    return Channel(node.get("Name"), rgb, optics)


def _objective(root: ElementTree.Element, image: ElementTree.Element) -> tuple[Optics, float | None]:
    """NA, immersion index and magnification of the image's objective, or of the only one there is."""
    settings = image.find("{*}ObjectiveSettings")
    objectives = {o.get("ID"): o for o in root.iterfind("{*}Instrument/{*}Objective")}
    chosen = objectives.get(settings.get("ID")) if settings is not None else None
    if chosen is None and len(objectives) == 1:
        chosen = next(iter(objectives.values()))
    index = _number(settings.get("RefractiveIndex")) if settings is not None else None
    if index is None and settings is not None:
        index = MEDIUM.get(str(settings.get("Medium", "")).lower())
    if chosen is None:
        return Optics(ri_immersion=index), None
    index = index or MEDIUM.get(str(chosen.get("Immersion", "")).lower())
    return Optics(na=_number(chosen.get("LensNA")), ri_immersion=index), _number(chosen.get("NominalMagnification"))


def add_optics(xml: str, channels: Sequence[Channel], magnification: float | None = None) -> str:
    """Add each channel's wavelengths, modality and pinhole, and the first one's objective, to OME-XML that lacks them.

    A pinhole is written in µm, and only where the magnification is known.

    References
    ----------
    OME data model 2016-06, Instrument, ObjectiveSettings and Channel.
    """
    shared = channels[0].optics
    root = ElementTree.fromstring(xml)
    space = root.tag.partition("}")[0].lstrip("{")
    ElementTree.register_namespace("", space)
    image = root.find("{*}Image")
    if image is None:
        return xml
    for node, channel in zip(image.iterfind("{*}Pixels/{*}Channel"), channels, strict=False):
        _describe_channel(node, channel.optics, magnification)
    if shared.na or shared.ri_immersion or magnification:
        _describe_objective(root, image, shared, magnification)
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode")


def _describe_channel(node: ElementTree.Element, own: Optics, magnification: float | None) -> None:
    names = [name for name, modality in MODALITY.items() if modality == own.modality]
    if names:
        node.set("AcquisitionMode", names[0])
    airy = airy_um(own, magnification) if magnification else None
    quantities = {
        "EmissionWavelength": (own.emission_nm, "nm"),
        "ExcitationWavelength": (own.excitation_nm, "nm"),
        "PinholeSize": (own.pinhole_au * airy if own.pinhole_au and airy else None, "µm"),
    }
    for name, (value, unit) in quantities.items():
        if value is not None:
            node.set(name, f"{value:.9g}")
            node.set(f"{name}Unit", unit)


def _describe_objective(
    root: ElementTree.Element, image: ElementTree.Element, optics: Optics, magnification: float | None
) -> None:
    space = root.tag.partition("}")[0].lstrip("{")
    instrument = ElementTree.Element(f"{{{space}}}Instrument", ID="Instrument:0")
    objective = ElementTree.SubElement(instrument, f"{{{space}}}Objective", ID="Objective:0")
    settings = ElementTree.Element(f"{{{space}}}ObjectiveSettings", ID="Objective:0")
    if optics.na:
        objective.set("LensNA", f"{optics.na:g}")
    if magnification:
        objective.set("NominalMagnification", f"{magnification:g}")
    if optics.ri_immersion:
        settings.set("RefractiveIndex", f"{optics.ri_immersion:g}")
    root.insert(list(root).index(image), instrument)
    place = next(i for i, node in enumerate(image) if node.tag.endswith("}Pixels"))
    image.insert(place, ElementTree.Element(f"{{{space}}}InstrumentRef", ID="Instrument:0"))
    image.insert(place + 1, settings)


def _quantity(node: ElementTree.Element, name: str, units: Mapping[str, float], usual: str) -> float | None:
    value = _number(node.get(name))
    factor = units.get(node.get(name + "Unit", usual).lower())
    return value * factor if value is not None and factor is not None else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else float("nan")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _lut_colour(lut: Any) -> tuple[int, int, int] | None:
    """The brightest colour of an ImageJ look-up table (3 x 256)."""
    return (int(lut[0][-1]), int(lut[1][-1]), int(lut[2][-1])) if len(lut) == 3 else None
