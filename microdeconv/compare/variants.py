"""What is to be compared: methods, PSFs and values of options, and the runs that they make. Torch stays asleep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from microdeconv.errors import UsageError
from microdeconv.methods import METHODS, method_named
from microdeconv.options import Option, Sourced, convert, layered, nearest, options_of
from microdeconv.psf.named import ESTIMATE, NONE, PsfFile, files_of, is_none, read_psf_file
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import LINE, all_options, idle_options, said
from microdeconv.solve import Stopping

USUAL = "rl,rl-tv,wiener,learnt"
OPTICS = "optics"  # the word for a PSF that is computed, beside files
WORDS = (ESTIMATE, NONE, OPTICS)
Layers = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of those that are compared.

    Attributes
    ----------
    name
        As people call it: the method, its PSF where there are several, what is varied.
    psf
        The number of its PSF.
    layers
        (source, values by key), the weakest first.
    """

    name: str
    psf: int
    layers: Layers

    def values(self) -> dict[str, Sourced]:
        """The value of each option with its source, before the file is asked."""
        return layered(all_options(), with_recipe(self.layers))


def read_methods(text: str) -> tuple[str, ...]:
    """Read names of methods, joined by commas.

    Raises
    ------
    UsageError
        For an unknown one, with the nearest; for none.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not names:
        raise UsageError(f"--methods {text}: no method", f"choose from {', '.join(METHODS)}")
    return tuple(method_named(name).name for name in names)


def read_vary(words: Sequence[str], methods: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Read `OPTION=VALUE,VALUE,…`, each an option that at least one of the methods has; values by key.

    Raises
    ------
    UsageError
        For what is not written so, an unknown option, one that no chosen method has, a bad value.
    """
    known = {o.key: o for o in all_options()}
    own = {o.key for method in METHODS.values() for o in _options_of_method(method.name)}
    found: dict[str, tuple[Any, ...]] = {}
    for word in words:
        name, is_there, text = word.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        values = [part.strip() for part in text.split(",") if part.strip()]
        if not is_there or not values:
            raise UsageError(f"--vary {word}: not OPTION=VALUE,VALUE,…", "for instance --vary iterations=5,10,20")
        if key not in own:
            close = nearest(key, own)
            reason = "not an option of a method" if key in known else "there is no such option"
            hint = f"did you mean {known[close].flag}?" if close else f"choose from {', '.join(sorted(own))}"
            raise UsageError(f"--vary {word}: {reason}", hint)
        if not any(key in _keys(name) for name in methods):
            raise UsageError(
                f"--vary {word}: none of {', '.join(methods)} has {known[key].flag}",
                f"{', '.join(m for m in METHODS if key in _keys(m))} would, see --methods",
            )
        if key in found:
            raise UsageError(f"--vary {word}: {known[key].flag} is varied already", "give its values together")
        try:
            found[key] = tuple(dict.fromkeys(convert(known[key], value) for value in values))
        except UsageError as reason_:
            raise UsageError(f"--vary {word}: {reason_.message}", reason_.remedy) from None
    return found


def read_psfs(words: Sequence[str]) -> dict[str, tuple[PsfFile, ...] | None]:
    """Read PSFs that are compared with one another, by a name for people; files with a place together are one.

    Parameters
    ----------
    words
        `FILE`, `FILE@PLACE`, `estimate`, `none` or `optics` (computed from them).

    Raises
    ------
    UsageError
        When one is given twice.
    """
    read = [read_psf_file(word) for word in words]
    found: dict[str, tuple[PsfFile, ...] | None] = {}
    names = [one.path.name for one in read]
    for one in read:
        word = str(one.path)
        if one.place:
            label, value = "varying PSF", (*(found.get("varying PSF") or ()), one)
        else:
            label = word if word in WORDS or names.count(one.path.name) > 1 else one.path.name
            value = (one,)
            if label in found:
                raise UsageError(f"--psf {word}: given twice", "give each PSF once")
        found[label] = None if word == OPTICS else value
    return found


def variants_of(
    methods: Sequence[str],
    vary: Mapping[str, tuple[Any, ...]],
    psfs: Mapping[str, tuple[PsfFile, ...] | None],
    above: Layers,
    forced: Mapping[str, Any],
) -> tuple[Variant, ...]:
    """Make the runs: every method with every PSF and every value of what is varied and applies to it.

    An option that was typed is dropped from the runs that have no use for it, and refused where none has.

    Parameters
    ----------
    methods, vary, psfs
        As they were read; no PSF: as the layers say, or computed.
    above
        Layers of values above the file's; the last is what was typed.
    forced
        Values by key that all runs have.

    Raises
    ------
    UsageError
        For an option that can do nothing, one given and varied as well, a method that needs a PSF and gets none.
    """
    known = {o.key: o for o in all_options()}
    for key in vary:
        if key in dict(above[-1][1]):
            raise UsageError(f"--{known[key].flag}: given and varied as well", "give one of the two")
    lower = [(s, {k: v for k, v in values.items() if k != "psf" or not psfs}) for s, values in above[:-1]]
    typed = dict(above[-1][1])
    found: list[Variant] = []
    dropped: list[dict[str, tuple[Option, str]]] = []
    for number, (label, files) in enumerate((psfs or {"": None}).items()):
        for name in methods:
            method = METHODS[name]
            if method.keeps_counts and number > 0:  # it does not look at a PSF
                continue
            line = {**typed, **({"psf": files} if files else {}), "method": name}
            asked = layered(all_options(), with_recipe((*lower, (LINE, line))))
            if is_none(asked["psf"].value) and len(psfs) > 1 and not (method.kernel_free or method.keeps_counts):
                continue  # beside other PSFs it is meant for those that can do without
            idle = idle_options(method, raw_psf=bool(files_of(asked["psf"].value)))
            dropped.append(idle)
            for words, chosen in _combinations(name, vary, known):
                mine = {k: v for k, v in {**line, **chosen, **forced}.items() if k not in idle}
                shown = [name, *([label] if len(psfs) > 1 and not method.keeps_counts else []), *words]
                found.append(Variant(", ".join(shown), number, (*lower, (LINE, mine))))
    for key, value in typed.items():
        if dropped and all(key in idle for idle in dropped):
            one, what = dropped[0][key]
            what = what if len(dropped) == 1 else f"what is compared ({', '.join(methods)})"
            raise UsageError(f"{said(one, Sourced(value, LINE))} does not apply to {what}", "leave it out")
    if not found:
        raise UsageError(f"--psf none: {', '.join(methods)} need a PSF", "give one, or --methods learnt")
    return tuple(found)


def _combinations(
    method: str, vary: Mapping[str, tuple[Any, ...]], known: Mapping[str, Option]
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Words and values for each combination of what is varied and applies."""
    keys = [key for key in vary if key in _keys(method)]
    for values in product(*(vary[key] for key in keys)):
        chosen = dict(zip(keys, values, strict=True))
        words = [f"{v} iterations" if k == "iterations" else f"{known[k].flag} {_word(v)}" for k, v in chosen.items()]
        yield words, chosen


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _options_of_method(name: str) -> tuple[Option, ...]:
    method = METHODS[name]
    return (*options_of(method.parameters), *(options_of(Stopping) if method.stopped.iterative else ()))


def _keys(name: str) -> set[str]:
    return {o.key for o in _options_of_method(name)}


def read_result(word: str) -> tuple[str, Path]:
    """Read `NAME=FILE`.

    Raises
    ------
    UsageError
        When it is not written so.
    """
    name, is_there, path = word.partition("=")
    if not is_there or not name.strip() or not path.strip():
        raise UsageError(f"--result {word}: not NAME=FILE", "for instance --result Huygens=huygens.tif")
    return name.strip(), Path(path.strip())
