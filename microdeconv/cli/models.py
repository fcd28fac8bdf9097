"""`microdeconv models`: the networks of the learnt method: listed, checked and shown, exported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from microdeconv.cli.flags import need_command
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import OUTPUT, Overwrite

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.", rich_help_panel=OUTPUT)]
Named = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A name of `models list`, or a safetensors file.", show_default=False)
]
SHORT = 12  # digits of a sha256


def list_models(as_json: AsJson = False) -> None:
    """List the networks that are shipped: PSF needed or none, parameters, steps trained, sha256, where measured."""
    from microdeconv.learnt.card import read_card, shipped

    rows = [_row(name, read_card(path)) for name, path in shipped().items()]
    if as_json:
        _write_json(rows)
        return
    if not rows:
        Terminal().say("no networks are shipped with this version; `run --model FILE` takes your own")
    _write_table(
        ("name", "PSF", "parameters", "steps", "sha256", "measured on"), [[_plain(v) for v in r.values()] for r in rows]
    )


def show(model: Named, as_json: AsJson = False) -> None:
    """Check a network as `run` would, and show its card."""
    from microdeconv.learnt.weights import load_model

    found = load_model(model)
    if as_json:
        _write_json(found.card | {"file": found.source})
    else:
        _write_table(("", ""), [[key, told] for key, told in _flat(found.card | {"file": found.source})])


def export(
    model: Named,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL.zip", help="Where to write.", rich_help_panel=OUTPUT)
    ],
    planes: Annotated[
        bool, typer.Option("--planes", help="For single planes; else for volumes.", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a network as a package of bioimage.io, tested by its library (needs the extra `bioimageio`)."""
    from microdeconv.learnt.export import export_model
    from microdeconv.learnt.weights import load_model

    export_model(output, load_model(model), planes=planes, overwrite=overwrite)
    Terminal().say(
        f"{output}: a bioimage.io package, validated and tested; microdeconv must be installed where it is used"
    )


def _row(name: str, card: dict[str, Any]) -> dict[str, Any]:
    training, held_out = card.get("training") or {}, card.get("held_out") or {}
    return {
        "name": name,
        "psf": card.get("psf", "-"),
        "parameters": card.get("parameters", "-"),
        "steps": training.get("steps", "-"),
        "sha256": str(card.get("sha256", "-"))[:SHORT],
        "measured": held_out.get("suite") or "-",
    }


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Lines of a card: keys of tables joined by dots, lists of words one to a line."""
    if isinstance(value, dict):
        return [line for key, one in value.items() for line in _flat(one, f"{name}.{key}" if name else key)]
    if isinstance(value, list) and any(isinstance(one, str | dict) for one in value):
        return [line for number, one in enumerate(value, 1) for line in _flat(one, f"{name}.{number}")]
    if isinstance(value, list):
        return [(name, " ".join(map(_plain, value)))]
    return [(_plain(name), "-" if value is None or value == "" else _plain(value))]


def _plain(value: Any) -> str:
    """A card's word on one line, without what would steer a terminal."""
    return "".join(letter for letter in " ".join(str(value).split()) if letter.isprintable())


def _write_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_table(heads: tuple[str, ...], rows: list[list[str]]) -> None:
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in rows)
    elif rows:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*heads, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=any(heads))
        for row in rows:
            table.add_row(*map(escape, row))
        Console().print(table)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Networks of the learnt method.")
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("export")(export)

    @group.callback(invoke_without_command=True)
    def _models(context: typer.Context) -> None:
        """Networks of the learnt method."""
        need_command(context)

    app.add_typer(group, name="models")
