"""Tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microdeconv.io.atomic import atomic_output


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Write rows, all of the same keys, under one line of headings.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    with atomic_output(path, overwrite=overwrite) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
