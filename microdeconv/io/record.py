"""Text files beside a result: the record of how it was made (JSON), settings to be used again (TOML)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microdeconv.errors import ConfigError, NoInputError, UsageError
from microdeconv.io.atomic import atomic_output
from microdeconv.options import Option, convert, nearest


def write_record(path: Path, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a record as JSON.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    with atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def write_settings(path: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write settings as TOML, in a form that `read_settings` takes.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    import tomli_w

    with atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(tomli_w.dumps(dict(settings)), encoding="utf-8")


def read_settings(path: Path, options: Mapping[str, Option]) -> dict[str, Any]:
    """Read settings from TOML.

    Parameters
    ----------
    path
        The file.
    options
        Every option that it may hold, by key.

    Returns
    -------
    dict
        Values by key, read and checked.

    Raises
    ------
    NoInputError
        When there is no such file.
    ConfigError
        When it is not TOML, or holds an unknown key or a wrong value; it names line, key and the nearest key.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise NoInputError(f"{path}: {reason.strerror}", "check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise ConfigError(f"{path}: not TOML, {reason}", "mend that line") from None
    found = {}
    for key, raw in told.items():
        if key not in options:
            close = nearest(key, options)
            raise ConfigError(f"{path}: unknown key {key!r}", f"did you mean {close}?" if close else "see config show")
        try:
            found[key] = convert(options[key], raw)
        except UsageError as reason:
            raise ConfigError(f"{path}: {key}: {reason.message}", reason.remedy) from None
    return found
