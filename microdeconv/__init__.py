"""Deconvolution of fluorescence-microscopy stacks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "deconvolve": "microdeconv.api",
    "open_stack": "microdeconv.io.stacks",
    "load_psf": "microdeconv.psf.file",
    "compute_psf": "microdeconv.psf.compute",
    "load_recipe": "microdeconv.psf.recipes",
    "recipes": "microdeconv.psf.recipes",
    "compute_psfs": "microdeconv.psf.depths",
    "estimate_psf": "microdeconv.api",
    "measure_psf": "microdeconv.psf.measure",
    "check_psf": "microdeconv.psf.check",
    "Optics": "microdeconv.optics",
    "Psf": "microdeconv.stack",
    "PsfSet": "microdeconv.stack",
    "Result": "microdeconv.api",
    "Stack": "microdeconv.stack",
    "Zyx": "microdeconv.stack",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import late, so that torch stays asleep until something is computed."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
