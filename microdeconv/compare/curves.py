"""Curves and maps that a page draws beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from microdeconv.resolution import Curve

    Spectrum = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of a case.

    Attributes
    ----------
    unit
        Frequencies are in cycles per this: "µm", or "voxel" where its size is not known.
    truth
        Fourier correlation of each result with the truth, by entry name; empty without a truth.
    halves
        That of the results of two halves of the counts; of those that have them.
    power
        (frequency, power) of lateral rings by entry name, the mean over all planes, as a share of the highest.
    raw_power
        That of the image less its background.
    support
        Lateral radius of the OTF, cycles per `unit`; None without a PSF.
    chi_square
        float32 (y, x) by entry name: mean chi-square of each voxel's surroundings, the largest along z, within `box`.
    box
        The part of the volume (z, y, x) that was looked at.
    """

    unit: str
    truth: Mapping[str, Curve]
    halves: Mapping[str, Curve]
    power: Mapping[str, Spectrum]
    raw_power: Spectrum
    support: float | None
    chi_square: Mapping[str, NDArray[np.float32]]
    box: tuple[slice, ...]
