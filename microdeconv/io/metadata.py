"""What TIFF files say of their voxels, channels and optics, in ImageJ's words, OME-XML or plain tags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
SCREEN_DPI = (72.0, 96.0, 100.0, 150.0, 180.0, 200.0, 300.0, 600.0)


class Facts(NamedTuple):
    """What a container says besides its pixels."""

    voxel_um: Zyx | None
    channels: tuple[Channel, ...]
    extras: Mapping[str, Any]
    notes: tuple[str, ...]


def sensible_voxel(sizes: Iterable[float | None], where: str) -> tuple[Zyx | None, tuple[str, ...]]:
    """Take a voxel size (z, y, x in µm) only if it can be one; say why not."""
    z, y, x = (float("nan") if s is None else float(s) for s in sizes)
    if not (0.001 <= x < 100 and 0.001 <= y < 100):
        if math.isnan(x) and math.isnan(y):
            return None, ()
        return None, (f"{where} gives a pixel size of {x:g} µm, which cannot be: give --voxel",)
    if not 0.001 <= z < 500:
        note = () if math.isnan(z) else (f"{where} gives a z step of {z:g} µm, which cannot be: give --voxel",)
        return Zyx(float("nan"), y, x), note
    odd = (f"{where} gives voxels {z / x:.0f} times as tall as wide: is that so?",) if z / x > 20 or z / x < 0.5 else ()
    return Zyx(z, y, x), odd


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
    y, x = (p * factor if p else None for p in pixel)
    z = float(spacing) * factor if spacing is not None else None
    voxel, notes = sensible_voxel((z, y, x), "the ImageJ header")
    return Facts(voxel, channels, extras, notes)


def from_tags(pixel: tuple[float | None, float | None], unit: str) -> Facts:
    """Read a plain TIFF's resolution tags; resolutions of screens and printers are no voxel sizes."""
    factor = UM.get(unit.lower())
    if factor is None or pixel[1] is None or pixel[0] is None:
        return Facts(None, (Channel(),), {}, ())
    per_inch = 25_400 / (pixel[1] * factor)
    if any(abs(per_inch - dpi) < 0.5 for dpi in SCREEN_DPI):
        return Facts(None, (Channel(),), {}, ())
    voxel, notes = sensible_voxel((None, pixel[0] * factor, pixel[1] * factor), "the resolution tag")
    return Facts(voxel, (Channel(),), {}, notes)


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
    sizes = [_quantity(pixels, f"PhysicalSize{axis}", UM, "µm") for axis in "ZYX"]
    voxel, notes = sensible_voxel(sizes, "the OME header")
    shared = _objective(root, image)
    channels = [_channel(node, shared) for node in pixels.findall("{*}Channel")]
    channels += [Channel(None, None, shared)] * (n_channels - len(channels))
    extras = {"TimeIncrement": pixels.get("TimeIncrement"), "TimeIncrementUnit": pixels.get("TimeIncrementUnit"),
              "Name": image.get("Name")}  # fmt: skip
    return Facts(voxel, tuple(channels[:n_channels]), {k: v for k, v in extras.items() if v}, notes)


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


def _objective(root: ElementTree.Element, image: ElementTree.Element) -> Optics:
    """NA and immersion index of the image's objective, or of the only one there is."""
    settings = image.find("{*}ObjectiveSettings")
    objectives = {o.get("ID"): o for o in root.iterfind("{*}Instrument/{*}Objective")}
    chosen = objectives.get(settings.get("ID")) if settings is not None else None
    if chosen is None and len(objectives) == 1:
        chosen = next(iter(objectives.values()))
    index = _number(settings.get("RefractiveIndex")) if settings is not None else None
    if index is None and settings is not None:
        index = MEDIUM.get(str(settings.get("Medium", "")).lower())
    if chosen is None:
        return Optics(ri_immersion=index)
    return Optics(
        na=_number(chosen.get("LensNA")), ri_immersion=index or MEDIUM.get(str(chosen.get("Immersion", "")).lower())
    )


def add_optics(xml: str, channels: Sequence[Channel]) -> str:
    """Add each channel's wavelengths and modality, and the first one's objective, to OME-XML that lacks them.

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
        own = channel.optics
        names = [name for name, modality in MODALITY.items() if modality == own.modality]
        if names:
            node.set("AcquisitionMode", names[0])
        for name, value in (("EmissionWavelength", own.emission_nm), ("ExcitationWavelength", own.excitation_nm)):
            if value is not None:
                node.set(name, f"{value:g}")
                node.set(f"{name}Unit", "nm")
    if shared.na or shared.ri_immersion:
        instrument = ElementTree.Element(f"{{{space}}}Instrument", ID="Instrument:0")
        objective = ElementTree.SubElement(instrument, f"{{{space}}}Objective", ID="Objective:0")
        settings = ElementTree.Element(f"{{{space}}}ObjectiveSettings", ID="Objective:0")
        if shared.na:
            objective.set("LensNA", f"{shared.na:g}")
        if shared.ri_immersion:
            settings.set("RefractiveIndex", f"{shared.ri_immersion:g}")
        root.insert(list(root).index(image), instrument)
        place = next(i for i, node in enumerate(image) if node.tag.endswith("}Pixels"))
        image.insert(place, ElementTree.Element(f"{{{space}}}InstrumentRef", ID="Instrument:0"))
        image.insert(place + 1, settings)
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode")


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
