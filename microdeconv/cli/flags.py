"""From described options to the command line: flags, environment, configuration, and back to layers of values."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from microdeconv.errors import UsageError
from microdeconv.options import Option, Sourced, convert
from microdeconv.request import LINE, all_options

PREFIX = "MICRODECONV_"
NUMBERS = {"--voxel": 3, "--region": 6}  # flags that take so many, at most


def with_options(function: Callable[..., Any], options: Iterable[Option]) -> Callable[..., Any]:
    """Give a command the flags of options; it gets what was said as the keyword `given`, raw values by key.

    Every flag is read as text, so that one reader (`options.convert`) serves line, environment and files.
    """
    options = tuple(options)
    kinds = get_type_hints(function, include_extras=True)
    own = [
        p.replace(annotation=_shown(kinds[p.name]))
        for p in inspect.signature(function).parameters.values()
        if p.name != "given"
    ]
    added = [
        inspect.Parameter(o.key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(o))
        for o in options
    ]

    def command(**words: Any) -> Any:
        given = {o.key: _plain(words.pop(o.key)) for o in options}
        return function(**words, given={k: v for k, v in given.items() if v is not None})

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _annotation(opt: Option) -> Any:
    names = [f"--{opt.flag}"] + ([f"-{opt.short}"] if opt.short else [])
    details: dict[str, Any] = {"help": _help(opt), "rich_help_panel": opt.panel, "show_default": False}
    if opt.is_flag:
        return Annotated[bool | None, typer.Option(f"--{opt.flag}/--no-{opt.flag}", **details)]
    if opt.choices:
        kind = Enum(opt.key, {word.replace("-", "_"): word for word in opt.choices})  # type: ignore[misc]
        return Annotated[kind | None, typer.Option(*names, **details)]
    if opt.repeated:
        return Annotated[list[str] | None, typer.Option(*names, metavar=opt.metavar, **details)]
    return Annotated[str | None, typer.Option(*names, metavar=opt.metavar or _metavar(opt), **details)]


def _metavar(opt: Option) -> str:
    return {"int": "N", "float": "X"}.get(re.sub(r"\W.*", "", getattr(opt.kind, "__name__", str(opt.kind))), "X")


def _help(opt: Option) -> str:
    default = opt.default
    if default is None or opt.is_flag:
        return _literal(opt.help)
    return _literal(f"{opt.help} [default: {default}]")


def _literal(text: str) -> str:
    """Text whose brackets Rich shows; it would take them for styles, and swallow them."""
    return re.sub(r"(?<!\\)\[(?=[a-z#/@])", r"\\[", text)


def _shown(annotation: Any) -> Any:
    """An annotation of a command's own, its help as it is written."""
    for detail in getattr(annotation, "__metadata__", ()):
        if getattr(detail, "help", None):
            detail.help = _literal(detail.help)
    return annotation


def need_command(context: typer.Context) -> None:
    """Refuse a group of commands that is called without one; a person at a terminal sees what there is.

    Raises
    ------
    UsageError
        When there is no command.
    """
    if context.invoked_subcommand is None:
        if sys.stdout.isatty():
            typer.echo(context.get_help())
        raise UsageError("no command", f"see {context.command_path} --help")


def _plain(value: Any) -> Any:
    if isinstance(value, list):  # of what may be repeated; empty: it was not given
        return value or None
    return value.value if isinstance(value, Enum) else value


def join_numbers(words: Sequence[str]) -> list[str]:
    """Join the numbers after `--voxel` and `--region` into one word: flags with as many values as one likes."""
    joined: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word in NUMBERS:
            numbers: list[str] = []
            while rest and len(numbers) < NUMBERS[word] and _is_number(rest[0]):
                numbers.append(rest.pop(0))
            if numbers:
                joined.append(" ".join(numbers))
    return joined


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def layers(
    options: Iterable[Option],
    given: Mapping[str, Any],
    config: Path | None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Give the layers above the file: configuration, environment, line; each value read and checked.

    Raises
    ------
    UsageError, ConfigError, NoInputError
        For what cannot be read.
    """
    from microdeconv.io.record import read_settings

    by_key = {o.key: o for o in options}
    found: list[tuple[str, Mapping[str, Any]]] = []
    if config is not None:
        found.append((f"config {config}", read_settings(config, by_key)))
    found.append(("environment", _from_environment(by_key, environment)))
    found.append((LINE, {key: convert(by_key[key], raw) for key, raw in given.items()}))
    return tuple(found)


def _from_environment(options: Mapping[str, Option], environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key, one in options.items():
        name = PREFIX + key.upper()
        if environment.get(name):
            raw = environment[name]
            try:
                found[key] = convert(one, raw.split(os.pathsep) if one.repeated else raw)
            except UsageError as reason:
                raise UsageError(f"{name}: {reason.message}", reason.remedy) from None
    return found


def typed(given: dict[str, Any]) -> list[str]:
    """Options as words again."""
    by_key = {o.key: o for o in all_options()}
    words: list[str] = []
    for key, raw in given.items():
        flag = by_key[key].flag
        if isinstance(raw, bool):
            words.append(f"--{flag}" if raw else f"--no-{flag}")
        else:
            for one in raw if isinstance(raw, list) else [raw]:
                words += [f"--{flag}", str(one)]
    return words


def told(value: Sourced) -> str:
    """A value as a person would type it."""
    raw = value.value
    if raw is None:
        return "-"
    if isinstance(raw, tuple):
        return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in raw)
    return f"{raw:g}" if isinstance(raw, float) else str(raw)
