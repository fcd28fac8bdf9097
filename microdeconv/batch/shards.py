"""Which part of a batch this process does: one of n, or of a Slurm job array."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Shard(NamedTuple):
    """Part `number`, counted from 1, of `parts`; rows are dealt out in turn."""

    number: int = 1
    parts: int = 1
    source: str = ""

    def takes(self, place: int) -> bool:
        """Whether the row at a place, counted from 0, is of this part."""
        return place % self.parts == self.number - 1

    def __str__(self) -> str:
        """Give it as a person types it."""
        return f"{self.number}/{self.parts}"


def read_shard(raw: Any) -> Shard:
    """Read `i/n`, with i from 1 to n.

    Raises
    ------
    ValueError
        For anything else.
    """
    match = re.fullmatch(r"(\d{1,7})/(\d{1,7})", str(raw).strip())
    if not match:
        raise ValueError("not i/n")
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count:
        raise ValueError(f"there is no part {number} of {count}, they are counted from 1")
    return Shard(number, count, "--shard")


def array_shard(environment: Mapping[str, str] = os.environ) -> Shard:
    """Give the part that a Slurm array gives this task; everything outside of one, or where its numbers are none."""
    names = ("ID", "MIN", "COUNT", "STEP")
    told = {name: environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names}
    if not (told["ID"].isdigit() and told["COUNT"].isdigit() and int(told["COUNT"]) > 0):
        return Shard()
    first = int(told["MIN"]) if told["MIN"].isdigit() else 0
    step = int(told["STEP"]) if told["STEP"].isdigit() and int(told["STEP"]) > 0 else 1
    count = int(told["COUNT"])
    place = (int(told["ID"]) - first) // step
    return Shard(place + 1, count, "Slurm's array") if 0 <= place < count else Shard()
