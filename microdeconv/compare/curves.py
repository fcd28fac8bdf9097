"""Curves and maps that a page draws beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from microdeconv.resolution import Curve


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn over spatial frequency, and where a result does not explain the image.

    Attributes
    ----------
    unit
        Of all frequencies: "cycles per µm" or "cycles per voxel".
    truth, halves
        Fourier ring or shell correlation by entry name: of a result with the truth, and of the results of two halves of
        the light with one another; empty where there is none.
    raw
        The image itself against the truth; None without a truth.
    frequency
        Middle of each ring of the power spectra, float64 (n).
    power
        Power averaged over each ring, relative to one and the same value for all, by entry name, float64 (n).
    raw_power
        That of the image.
    support
        Frequency up to which the OTF passes anything, in the plane; None where there is no PSF.
    chi
        Local residual chi-square by entry name, as a maximum projection along z, float32 (y, x); 1 is noise alone.
    """

    unit: str
    truth: Mapping[str, Curve] = field(default_factory=dict)
    halves: Mapping[str, Curve] = field(default_factory=dict)
    raw: Curve | None = None
    frequency: NDArray[np.float64] | None = None
    power: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    raw_power: NDArray[np.float64] | None = None
    support: float | None = None
    chi: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
