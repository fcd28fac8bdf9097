"""Recipes: the optics of common objectives, as TOML files of the same keys as `--config` takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from microdeconv.errors import NoInputError, UsageError
from microdeconv.io.record import read_settings
from microdeconv.optics import Optics, checked
from microdeconv.options import nearest, options_of

FOLDERS = (Path(__file__).parents[1] / "psfs", Path(__file__).parents[2] / "psfs")  # installed; in a checkout
NAME = re.compile(r"(?:[a-z-]+-)?(?P<magnification>\d+)x-(?P<na>\d\.\d+)-(?P<medium>[a-z]+)")
LIST = "`microdeconv psf list` shows all"
KEY = "psf_recipe"

Layer = tuple[str, Mapping[str, Any]]  # where values come from, in words; values by key


class Recipe(NamedTuple):
    """An objective that the program knows: magnification and medium from its name, what it is from its first line."""

    name: str
    magnification: int
    medium: str
    about: str
    optics: Optics
    path: Path


def recipes() -> dict[str, Path]:
    """Give the recipes that come with the program, by name."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def all_recipes() -> list[Recipe]:
    """Read all recipes that come with the program: microscopes with light sheets last, the rest by magnification.

    Raises
    ------
    ConfigError, UsageError
        As `load_recipe`.
    """
    found = []
    for name, path in recipes().items():
        if parts := NAME.fullmatch(name):
            about = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
            found.append(
                Recipe(name, int(parts["magnification"]), parts["medium"], about, load_recipe(path), path.resolve())
            )
    return sorted(found, key=lambda r: (r.optics.modality or "", r.magnification, r.optics.na or 0, r.name))


def load_recipe(name: str | Path) -> Optics:
    """Read a recipe.

    Parameters
    ----------
    name
        One that comes with the program (`63x-1.4-oil`), or a TOML file.

    Returns
    -------
    Optics
        What the recipe knows of an objective; wavelengths are usually left to whoever uses it.

    Raises
    ------
    UsageError
        When there is no such recipe; it names the nearest. When its values cannot be.
    NoInputError
        When there is no such file.
    ConfigError
        When it is no TOML of the optics' keys.
    """
    options = {o.key: o for o in options_of(Optics)}
    return checked(Optics(**{options[key].field: value for key, value in _values(name).items()}))


def with_recipe(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Put the recipe that layers name, if one does, below all of them: whatever else was said beats it.

    It stands above the file's own metadata: who names an objective knows it better than a file does.

    Parameters
    ----------
    layers
        The weakest first; the last that names a recipe is heard.

    Raises
    ------
    UsageError, NoInputError, ConfigError
        As `load_recipe`.
    """
    named = [values[KEY] for _, values in layers if values.get(KEY) is not None]
    return ((source_of(named[-1]), _values(named[-1])), *layers) if named else tuple(layers)


def source_of(name: str) -> str:
    """Give the words that tell of a value that it came from a recipe."""
    return f"recipe {name}"


def _values(name: str | Path) -> dict[str, Any]:
    """What a recipe says, by the options' keys."""
    known = recipes()
    path = known.get(str(name), Path(name))
    if not path.is_file():
        if path.suffix == ".toml":
            raise NoInputError(f"{path}: no such recipe file", LIST)
        close = nearest(str(name), known)
        raise UsageError(f"--psf-recipe {name}: no such recipe", f"did you mean {close}? {LIST}" if close else LIST)
    return read_settings(path, {o.key: o for o in options_of(Optics)})
