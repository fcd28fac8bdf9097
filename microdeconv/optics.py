"""The optics of a microscope, as options: numerical aperture, wavelengths, refractive indices, modality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from microdeconv.errors import UsageError
from microdeconv.options import Auto, PerChannel, convert, option, options_of

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
    if 2500 < value <= 20_000:
        raise ValueError(f"looks like Å; in nm it is {value / 10:g}")
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
    if value > 2000:
        raise ValueError(f"looks like nm; in µm it is {value / 1000:g}")
    if not value >= 0:
        raise ValueError("a depth is 0 to 2000 µm")
    return value


def _number(raw: Any) -> float:
    try:
        return float(raw)
    except (TypeError, ValueError):
        raise ValueError("not a number") from None


@dataclass(frozen=True, slots=True)
class Optics:
    """What the light went through, in one channel. `None`: not known (yet)."""

    na: float | None = option(
        None, "Numerical aperture of the objective.", panel=PANEL, metavar="NA", low=0.01, high=1.7
    )
    emission_nm: float | None = option(
        None, "Emission wavelength, nm; one for all channels or one for each (460,520,600).", panel=PANEL,
        flag="emission", metavar="NM", parse=PerChannel(read_wavelength, auto=False),
    )  # fmt: skip
    excitation_nm: float | None = option(
        None, "Excitation wavelength, nm; likewise.", panel=PANEL, flag="excitation", metavar="NM",
        parse=PerChannel(read_wavelength, auto=False),
    )  # fmt: skip
    ri_immersion: float | None = option(
        None, "Refractive index of the immersion medium (air 1, water 1.333, oil 1.515).", panel=PANEL, metavar="RI",
        low=1.0, high=1.8,
    )  # fmt: skip
    ri_sample: float | None = option(
        None, "Refractive index of the sample; the immersion's if not given.", panel=PANEL, metavar="RI",
        low=1.0, high=1.8,
    )  # fmt: skip
    depth_um: float | None = option(
        None, "Depth of the first plane's focus in the sample below the coverslip, µm; 0 if not given.", panel=PANEL,
        flag="depth", metavar="UM", parse=read_depth,
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
    psf_recipe: str | None = option(
        None, "Optics of a common objective (63x-1.4-oil; `microdeconv psf list`), or a TOML file of them.",
        panel=PANEL, metavar="NAME",
    )  # fmt: skip

    def settled(self, na: float) -> str:
        """Give the theory to take at a numerical aperture.

        Raises
        ------
        UsageError
            When there is no such theory.
        """
        chosen = convert(options_of(Model)[0], self.psf_model)
        if chosen != "auto":
            return str(chosen)
        return "vectorial" if na >= 0.7 else "scalar"


@dataclass(frozen=True, slots=True)
class DepthOptions:
    """At how many depths PSFs are computed."""

    depths: int | Literal["auto", "off"] = option(
        "auto",
        "Depths at which PSFs are computed where --ri-sample is not --ri-immersion: auto, as many as differ, 8 at "
        "most; off, one for all planes, at --depth; or a number, evenly spread.",
        panel=PANEL,
        metavar="auto|off|N",
        low=1,
        high=64,
    )


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


def idle(optics: Optics) -> tuple[str, ...]:
    """Give the keys of what is known but has no part in the optics of this modality."""
    modality = optics.modality or "widefield"
    parts = {
        "excitation": (optics.excitation_nm, (*PINHOLED, "two-photon")),
        "pinhole": (optics.pinhole_au, PINHOLED),
        "sheet": (optics.sheet_um, ("light-sheet",)),
    }
    return tuple(key for key, (value, having) in parts.items() if value is not None and modality not in having)


def checked(optics: Optics) -> Optics:
    """Give the optics back if they can be; values may come from a file or from Python, past the options' own checks.

    Raises
    ------
    UsageError
        Naming the option, the value and, where it looks like another unit, which.
    """
    for one in options_of(Optics):
        value = getattr(optics, one.field)
        if isinstance(value, tuple):
            raise UsageError(f"--{one.flag}: {len(value)} values for one PSF", "give the one of its channel")
        if value is not None:
            convert(one, value)
    if optics.na is not None and optics.ri_immersion is not None and optics.na >= optics.ri_immersion:
        raise UsageError(
            f"--na {optics.na:g} with --ri-immersion {optics.ri_immersion:g}: the aperture is less than the index",
            "check both; oil has 1.515, water 1.333, air 1",
        )
    return optics


def completed(optics: Optics) -> tuple[Optics, tuple[str, ...]]:
    """Fill in what may be assumed, and say so.

    Widefield, focused at the coverslip, into a sample like the immersion medium; a pinhole of 1 Airy unit; excitation
    at 0.92 of the emission's wavelength (the usual Stokes shift of fluorescent proteins and dyes, 20 to 50 nm).

    Raises
    ------
    UsageError
        When the values cannot stand, alone or together.
    """
    notes = []
    checked(optics)
    full = replace(
        optics,
        modality=optics.modality or "widefield",
        ri_sample=optics.ri_sample if optics.ri_sample is not None else optics.ri_immersion,
        depth_um=optics.depth_um or 0.0,
    )
    if full.modality in PINHOLED:
        if full.pinhole_au is None:
            full = replace(full, pinhole_au=1.0)
            notes.append("pinhole of 1 Airy unit assumed (--pinhole)")
        if full.excitation_nm is None and full.emission_nm is not None:
            full = replace(full, excitation_nm=round(0.92 * full.emission_nm, 1))
            notes.append(f"excitation of {full.excitation_nm:g} nm assumed (--excitation)")
    return full, tuple(notes)


def cutoff_per_um(optics: Optics) -> tuple[float, float]:
    """Highest frequency (axial, lateral) that the optics let through, cycles per µm.

    Lateral: 2 NA / λ; axial: (n − √(n² − NA²)) / λ. With a closed pinhole the frequencies of excitation and emission
    add up, in two-photon excitation those of the excitation with itself. A light sheet of thickness w adds 1 / w to
    the axial one, where its spectrum has fallen to 3 %.
    """
    emission, excitation = optics.emission_nm, optics.excitation_nm
    if optics.modality == "two-photon":
        lengths = [excitation, excitation]
    elif optics.modality in PINHOLED:
        lengths = [emission, excitation or emission]
    else:
        lengths = [emission or excitation]
    per_um = sum(1000 / length for length in lengths if length)
    na, index = optics.na or 1.0, optics.ri_immersion or 1.0
    sheet = 1 / optics.sheet_um if optics.modality == "light-sheet" and optics.sheet_um else 0.0
    return per_um * (index - (index**2 - na**2) ** 0.5) + sheet, per_um * 2 * na


def nyquist_um(optics: Optics) -> tuple[float, float]:
    """Largest voxel (z, xy) in µm that keeps all that the optics let through: half a period of the cut-off.

    Parameters
    ----------
    optics
        NA, immersion index and the wavelengths of its modality are known (`missing` gives nothing).

    References
    ----------
    J. B. Pawley (ed.), Handbook of Biological Confocal Microscopy, 3rd ed. (2006), ch. 4.
    """
    axial, lateral = cutoff_per_um(optics)
    return 0.5 / axial, 0.5 / lateral
