"""One thing found about a PSF."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a check.

    Attributes
    ----------
    name
        What was looked at.
    value
        The figure; nan where it could not be had.
    text
        The figure in words, with its unit and meaning.
    warning
        What is probably wrong; empty when nothing is.
    """

    name: str
    value: float
    text: str
    warning: str = ""
