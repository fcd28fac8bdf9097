"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

GENERAL, OUTPUT = "General", "Output"

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Options from a TOML file.", rich_help_panel=GENERAL)
]
LogFormat = Annotated[
    Literal["auto", "rich", "plain", "json"],
    typer.Option("--log-format", help="How progress is told on stderr.", rich_help_panel=GENERAL),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, write nothing.", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Warnings and errors only.", rich_help_panel=GENERAL)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUT)]
Picture = Annotated[
    bool, typer.Option("--picture/--no-picture", help="Write a PNG of its sections too.", rich_help_panel=OUTPUT)
]
