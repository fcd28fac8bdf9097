"""The optics of a microscope, as options: numerical aperture, wavelengths, refractive indices, modality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from microdeconv.errors import UsageError
from microdeconv.options import Auto, option

Modality = Literal["widefield", "confocal", "spinning-disk", "light-sheet", "two-photon"]
PANEL = "PSF and optics"
PINHOLED = ("confocal", "spinning-disk")


def read_wavelength(raw: Any) -> float:
    """Read a wavelength in nm.

    Raises
    ------
    ValueError
        When it cannot be one; a value that looks like another unit is named.
    """
    value = _number(raw)
    if 0.2 <= value <= 2.5:
        raise ValueError(f"looks like µm; in nm it is {value * 1000:g}")
    if value >= 200_000:
        raise ValueError(f"looks like pm; in nm it is {value / 1000:g}")
    if not 200 <= value <= 2500:
        raise ValueError("light of microscopes has 200 to 2500 nm")
    return value


def read_depth(raw: Any) -> float:
    """Read a depth in µm.

    Raises
    ------
    ValueError
        When it cannot be one.
    """
    value = _number(raw)
    if not 0 <= value <= 2000:
        raise ValueError("a depth is 0 to 2000 µm" + (f"; {value:g} nm are {value / 1000:g} µm" if value > 2000 else ""))
    return value


def _number(raw: Any) -> float:
    try:
        return float(raw)
    except (TypeError, ValueError):
        raise ValueError("not a number") from None


@dataclass(frozen=True, slots=True)
class Optics:
    """What the light went through. `None`: not known (yet)."""

    na: float | None = option(None, "Numerical aperture of the objective.", panel=PANEL, metavar="NA", low=0.01, high=1.7)
    emission_nm: float | None = option(
        None, "Emission wavelength, nm.", panel=PANEL, flag="emission", metavar="NM", parse=read_wavelength
    )
    excitation_nm: float | None = option(
        None, "Excitation wavelength, nm.", panel=PANEL, flag="excitation", metavar="NM", parse=read_wavelength
    )
    ri_immersion: float | None = option(
        None, "Refractive index of the immersion medium (air 1, water 1.333, oil 1.515).", panel=PANEL, metavar="RI",
        low=1.0, high=1.8,
    )  # fmt: skip
    ri_sample: float | None = option(
        None, "Refractive index of the sample; the immersion's if not given.", panel=PANEL, metavar="RI", low=1.0, high=1.8
    )
    depth_um: float | None = option(
        None, "Depth of the focus in the sample below the coverslip, µm; 0 if not given.", panel=PANEL, flag="depth",
        metavar="UM", parse=read_depth,
    )  # fmt: skip
    modality: Modality | None = option(None, "Kind of microscope; widefield if nobody says.", panel=PANEL)
    pinhole_au: float | None = option(
        None, "Pinhole diameter in Airy units (confocal, spinning disk); 1 if not given.", panel=PANEL, flag="pinhole",
        metavar="AU", low=0.01, high=100,
    )  # fmt: skip
    sheet_um: float | None = option(
        None, "Thickness of the light sheet, FWHM in µm.", panel=PANEL, flag="sheet", metavar="UM", low=0.1, high=100
    )


@dataclass(frozen=True, slots=True)
class Model:
    """How a PSF is computed from optics."""

    psf_model: Literal["scalar", "vectorial"] | Auto = option(
        "auto",
        "Theory of a computed PSF: scalar (Gibson-Lanni) or vectorial (Richards-Wolf); auto: vectorial from NA 0.7.",
        panel=PANEL,
    )

    def settled(self, na: float) -> str:
        """The theory to take at a numerical aperture."""
        if self.psf_model != "auto":
            return self.psf_model
        return "vectorial" if na >= 0.7 else "scalar"


def missing(optics: Optics) -> tuple[str, ...]:
    """Give the flags of what a PSF cannot be computed without."""
    wanted = {"--na": optics.na, "--ri-immersion": optics.ri_immersion}
    if optics.modality == "two-photon":
        wanted["--excitation"] = optics.excitation_nm
    else:
        wanted["--emission"] = optics.emission_nm
    if optics.modality == "light-sheet":
        wanted["--sheet"] = optics.sheet_um
    return tuple(flag for flag, value in wanted.items() if value is None)


def completed(optics: Optics) -> tuple[Optics, tuple[str, ...]]:
    """Fill in what may be assumed, and say so.

    Raises
    ------
    UsageError
        When the values cannot stand together.
    """
    notes = []
    full = replace(
        optics,
        modality=optics.modality or "widefield",
        ri_sample=optics.ri_sample if optics.ri_sample is not None else optics.ri_immersion,
        depth_um=optics.depth_um or 0.0,
    )
    if full.na is not None and full.ri_immersion is not None and full.na >= full.ri_immersion:
        raise UsageError(
            f"--na {full.na:g} with --ri-immersion {full.ri_immersion:g}: the aperture is less than the index",
            "check both; oil has 1.515, water 1.333, air 1",
        )
    if full.modality in PINHOLED:
        if full.pinhole_au is None:
            full = replace(full, pinhole_au=1.0)
            notes.append("pinhole of 1 Airy unit assumed (--pinhole)")
        if full.excitation_nm is None and full.emission_nm is not None:
            full = replace(full, excitation_nm=round(0.92 * full.emission_nm, 1))
            notes.append(f"excitation of {full.excitation_nm:g} nm assumed (--excitation)")
    return full, tuple(notes)


def nyquist_um(optics: Optics) -> tuple[float, float]:
    """Largest voxel (z, xy) in µm that keeps all that the optics let through; twice as fine for a closed pinhole.

    xy: λ / (4 NA); z: λ / (2 (n − √(n² − NA²))).

    References
    ----------
    J. B. Pawley (ed.), Handbook of Biological Confocal Microscopy, 3rd ed. (2006), ch. 4.
    """
    length = (optics.emission_nm or optics.excitation_nm or 0.0) / 1000
    na, index = optics.na or 1.0, optics.ri_immersion or 1.0
    lateral, axial = length / (4 * na), length / (2 * (index - (index**2 - na**2) ** 0.5))
    finer = 0.5 if optics.modality in PINHOLED else 1.0
    return axial * finer, lateral * finer
