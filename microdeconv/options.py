"""Options: each is described once, as a field of a frozen dataclass.

The command line, `MICRODECONV_…` variables, TOML files, `config show` and the record all come from these fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from microdeconv.errors import UsageError

AUTO = "auto"
Auto = Literal["auto"]


class Sourced(NamedTuple):
    """A value and where it came from, in words."""

    value: Any
    source: str


class Option(NamedTuple):
    """What one option is called and how its value is read."""

    field: str
    flag: str
    help: str
    panel: str
    default: Any
    kind: Any
    metavar: str | None
    low: float | None
    high: float | None
    parse: Callable[[Any], Any] | None
    short: str | None

    @property
    def key(self) -> str:
        """The name in TOML files; in the environment in capitals after `MICRODECONV_`."""
        return self.flag.replace("-", "_")

    @property
    def each_channel(self) -> bool:
        """Whether each channel may have a value of its own."""
        return isinstance(self.parse, PerChannel)

    @property
    def repeated(self) -> bool:
        """Whether it may be given several times; a list in TOML files, joined by `os.pathsep` in the environment."""
        return isinstance(self.parse, Repeated)

    @property
    def is_flag(self) -> bool:
        """Whether the option is a switch without a value."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that may stand for the value, when only words may."""
        words = [a for a in _alternatives(self.kind) if typing.get_origin(a) is Literal]
        others = [a for a in _alternatives(self.kind) if typing.get_origin(a) is not Literal and a is not type(None)]
        return () if others or self.parse else tuple(str(w) for a in words for w in typing.get_args(a))


def option(
    default: Any,
    help: str,
    *,
    panel: str,
    flag: str | None = None,
    metavar: str | None = None,
    low: float | None = None,
    high: float | None = None,
    parse: Callable[[Any], Any] | None = None,
    short: str | None = None,
) -> Any:
    """Describe one option, as a dataclass field.

    Parameters
    ----------
    default
        Used when nobody says otherwise.
    help
        One sentence, with the unit.
    panel
        The group in the help.
    flag
        Name on the command line, when it is not the field's name with dashes.
    metavar
        What stands for the value in the help.
    low, high
        Inclusive bounds for numbers.
    parse
        Reads the value from text, a number or a list; raises `ValueError` in words.
    short
        A letter for the command line.
    """
    details = {
        "help": help,
        "panel": panel,
        "flag": flag,
        "metavar": metavar,
        "low": low,
        "high": high,
        "parse": parse,
        "short": short,
    }
    return dataclasses.field(default=default, metadata={"option": details})


def options_of(group: type) -> tuple[Option, ...]:
    """Give the options that a group (a dataclass) describes, in its order."""
    kinds = typing.get_type_hints(group)
    found = []
    for field in dataclasses.fields(group):
        details = dict(field.metadata.get("option", {}))
        if details:
            flag = details.pop("flag") or field.name.replace("_", "-")
            found.append(Option(field=field.name, flag=flag, default=field.default, kind=kinds[field.name], **details))
    return tuple(found)


def convert(opt: Option, raw: Any) -> Any:
    """Read a value for an option from text, or from what TOML gave.

    Raises
    ------
    UsageError
        When it is not such a value; the message names the option and what it takes.
    """
    try:
        value = opt.parse(raw) if opt.parse else _read(opt.kind, raw)
        _check_bounds(opt, value)
    except (ValueError, TypeError) as reason:
        said = ", ".join(map(str, raw)) if opt.repeated and isinstance(raw, (list, tuple)) else raw
        raise UsageError(f"--{opt.flag} {said!s}: {reason}", f"--{opt.flag} takes {expected(opt)}") from None
    return value


def expected(opt: Option) -> str:
    """Say in words what an option takes."""
    words = []
    for kind in _alternatives(opt.kind):
        if typing.get_origin(kind) is Literal:
            words += [str(w) for w in typing.get_args(kind)]
        elif kind in (int, float):
            words.append(("a whole number" if kind is int else "a number") + _range_words(opt))
        elif kind is Path:
            words.append("a file name")
        elif kind is bool:
            words.append("true or false")
        elif kind is not type(None):
            words.append(opt.metavar or "text")
    return " or ".join(dict.fromkeys(words)) + (", or one for each channel" if opt.each_channel else "")


def layered(options: Iterable[Option], layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Sourced]:
    """Find the value of each option, by key, and its source: later layers win.

    Parameters
    ----------
    options
        What may be asked for.
    layers
        (source in words, values by key), the weakest first; the defaults stand below all of them.
    """
    found = {o.key: Sourced(o.default, "default") for o in options}
    for source, values in layers:
        for key, value in values.items():
            if key in found and value is not None:
                found[key] = Sourced(value, source)
    return found


def build(group: type, values: Mapping[str, Sourced]) -> Any:
    """Make a group from values by key; keys of other groups are passed over."""
    return group(**{o.field: values[o.key].value for o in options_of(group) if o.key in values})


def nearest(word: str, known: Iterable[str]) -> str:
    """Give the known word most like the given one, or an empty text."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


@dataclasses.dataclass(frozen=True, slots=True)
class PerChannel:
    """Reads one value for all channels, or one for each (comma or list).

    It gives a value, or a tuple of them until `settled_for` picks a channel's: annotations tell the settled kind.

    Attributes
    ----------
    read
        Reads one value; raises `ValueError`.
    auto
        Whether a value may be "auto".
    """

    read: Callable[[Any], Any]
    auto: bool = True

    def __call__(self, raw: Any) -> Any:
        """Read them all."""
        parts = raw if isinstance(raw, (list, tuple)) else str(raw).split(",")
        if not parts:
            raise ValueError("an empty list")
        values = tuple(AUTO if self.auto and str(p).strip() == AUTO else self.read(p) for p in parts)
        return values[0] if len(values) == 1 or set(values) == {AUTO} else values


@dataclasses.dataclass(frozen=True, slots=True)
class Repeated:
    """Reads a value that may be given several times, as a tuple.

    Attributes
    ----------
    read
        Reads one; raises `ValueError`.
    """

    read: Callable[[Any], Any]

    def __call__(self, raw: Any) -> Any:
        """Read them all."""
        parts = raw if isinstance(raw, (list, tuple)) else [raw]
        if not parts:
            raise ValueError("an empty list")
        return tuple(self.read(part) for part in parts)


def per_channel(kind: type) -> PerChannel:
    """Make a reader for `auto`, one number for all channels, or one for each."""
    return PerChannel(lambda raw: _number(kind, raw))


def for_channel(value: Any, channel: int) -> Any:
    """Pick a channel's value from what `PerChannel` read: the last one serves all channels after it."""
    return value[min(channel, len(value) - 1)] if isinstance(value, tuple) else value


def settled_for(group: Any, channel: int) -> Any:
    """Give a group of options as it is for one channel."""
    each = [o.field for o in options_of(type(group)) if o.each_channel]
    return dataclasses.replace(group, **{f: for_channel(getattr(group, f), channel) for f in each})


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _read(kind: Any, raw: Any) -> Any:
    reason = ""
    for one in _alternatives(kind):
        if typing.get_origin(one) is Literal:
            if str(raw) in typing.get_args(one):
                return str(raw)
            close = nearest(str(raw), (str(w) for w in typing.get_args(one)))
            reason = reason or (f"did you mean {close}?" if close else "not one of its words")
        elif one is bool:
            words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            if str(raw).lower() in words:
                return words[str(raw).lower()]
        elif one in (int, float):
            try:
                return _number(one, raw)
            except ValueError as problem:
                reason = reason if reason.startswith("did you") else str(problem)
        elif one in (str, Path) and isinstance(raw, (str, Path)):
            return one(raw)
    raise ValueError(reason or "not understood")


def _number(kind: type, raw: Any) -> float | int:
    if isinstance(raw, bool):
        raise ValueError("not a number")
    try:
        value = float(raw)
    except (TypeError, ValueError):
        raise ValueError("not a number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    if kind is int:
        if value != int(value):
            raise ValueError("not a whole number")
        return int(value)
    return value


def _check_bounds(opt: Option, value: Any) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            if opt.low is not None and one < opt.low:
                raise ValueError(f"below {opt.low:g}")
            if opt.high is not None and one > opt.high:
                raise ValueError(f"above {opt.high:g}")


def _range_words(opt: Option) -> str:
    if opt.low is not None and opt.high is not None:
        return f" from {opt.low:g} to {opt.high:g}"
    if opt.low is not None:
        return f" of at least {opt.low:g}"
    return f" of at most {opt.high:g}" if opt.high is not None else ""
