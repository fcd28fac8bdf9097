"""What came of a batch: a row for each of the manifest's, as CSV for people and JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microdeconv.batch.shards import Shard
from microdeconv.batch.units import Unit
from microdeconv.io.atomic import atomic_output
from microdeconv.io.table import write_table

HEADS = (
    "row", "input", "output", "status", "exit", "seconds", "memory_bytes", "message", "remedy", "output_sha256",
    "warnings",
)  # fmt: skip
RISKY = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet
NOT_STARTED = "not started"


def rows_of(units: Iterable[Unit]) -> list[dict[str, Any]]:
    """Give the report's rows."""
    rows = []
    for unit in units:
        told = {"status": NOT_STARTED, **unit.told}
        rows.append({
            "row": unit.row.number, "input": str(unit.row.input), "output": unit.key,
            "status": told["status"], "exit": told.get("exit", 0 if told["status"] in ("done", "kept") else ""),
            "seconds": round(told["seconds"], 2) if "seconds" in told else "", "memory_bytes": told.get("memory", ""),
            "message": told.get("message", ""), "remedy": told.get("remedy", ""),
            "output_sha256": told.get("sha256", ""), "warnings": "; ".join(told.get("warnings", ())),
        })  # fmt: skip
    return rows


def write_report(
    folder: Path, units: Sequence[Unit], shard: Shard, code: int, about: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write the report of one process's part.

    Parameters
    ----------
    folder
        Of the outputs.
    units
        All of the part, done or not.
    shard
        The part; it is in the names when there are several.
    code
        The exit code.
    about
        Further facts for the JSON file.

    Returns
    -------
    tuple
        The JSON file and the CSV file.

    Raises
    ------
    WriteError, CannotCreateError
        See `atomic_output`.
    """
    part = f".{shard.number}of{shard.parts}" if shard.parts > 1 else ""
    whole, table = folder / f"batch_report{part}.json", folder / f"batch_report{part}.csv"
    rows = rows_of(units)
    told = {"exit": code, "counts": dict(Counter(row["status"] for row in rows)), **about, "rows": rows}
    with atomic_output(whole, overwrite=True, parents=True) as partial:
        partial.write_text(json.dumps(told, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    safe = [{key: _harmless(value) for key, value in row.items()} for row in rows]
    write_table(table, safe or [dict.fromkeys(HEADS, "")], overwrite=True)
    return whole, table


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(RISKY) else value
