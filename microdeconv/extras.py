"""Libraries that not everybody has: imported where they are used, with a clear line where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from microdeconv.errors import UnavailableError


def library(module: str, extra: str, what: str) -> Any:
    """Import a library of an extra.

    Parameters
    ----------
    module
        What to import.
    extra
        That brings it.
    what
        Needs it, for the message.

    Raises
    ------
    UnavailableError
        When it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UnavailableError(f"{what} needs the extra {extra}", f'pip install "microdeconv[{extra}]"') from None
