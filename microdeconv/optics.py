"""The optics of a microscope, as options: numerical aperture, wavelengths, refractive indices, modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microdeconv.options import option

Modality = Literal["widefield", "confocal", "spinning-disk", "light-sheet", "two-photon"]
PANEL = "PSF and optics"


@dataclass(frozen=True, slots=True)
class Optics:
    """What the light went through. `None`: not known (yet)."""

    na: float | None = option(None, "Numerical aperture of the objective.", panel=PANEL)
    emission_nm: float | None = option(None, "Emission wavelength, nm.", panel=PANEL, flag="emission", metavar="NM")
    excitation_nm: float | None = option(
        None, "Excitation wavelength, nm.", panel=PANEL, flag="excitation", metavar="NM"
    )
    ri_immersion: float | None = option(None, "Refractive index of the immersion medium.", panel=PANEL)
    ri_sample: float | None = option(None, "Refractive index of the sample (immersion's if not given).", panel=PANEL)
    depth_um: float | None = option(
        None, "Depth of the focus in the sample below the coverslip, µm.", panel=PANEL, flag="depth", metavar="UM"
    )
    modality: Modality | None = option(None, "Kind of microscope (widefield if nobody says).", panel=PANEL)
    pinhole_au: float | None = option(
        None, "Pinhole diameter, Airy units (confocal, spinning disk).", panel=PANEL, flag="pinhole", metavar="AU"
    )
    sheet_um: float | None = option(
        None, "Thickness of the light sheet, FWHM in µm.", panel=PANEL, flag="sheet", metavar="UM"
    )
