"""Recipes: the optics of common objectives, as TOML files of the same keys as `--config` takes."""

from __future__ import annotations

from pathlib import Path

from microdeconv.errors import NoInputError
from microdeconv.io.record import read_settings
from microdeconv.optics import Optics, checked
from microdeconv.options import nearest, options_of

FOLDERS = (Path(__file__).parents[1] / "psfs", Path(__file__).parents[2] / "psfs")  # installed; in a checkout


def recipes() -> dict[str, Path]:
    """Give the recipes that come with the program, by name."""
    found = (path for folder in FOLDERS for path in sorted(folder.glob("*.toml")))
    return {path.stem: path for path in found}


def load_recipe(name: str | Path) -> Optics:
    """Read a recipe.

    Parameters
    ----------
    name
        One that comes with the program (`63x-1.4-oil`), or a file.

    Returns
    -------
    Optics
        What the recipe knows of an objective; wavelengths are usually left to whoever uses it.

    Raises
    ------
    NoInputError
        When there is no such recipe; it names the nearest.
    ConfigError, UsageError
        When it is no TOML of the optics' keys, or its values cannot be.
    """
    known = recipes()
    path = known.get(str(name), Path(name))
    if not path.is_file():
        close = nearest(str(name), known)
        raise NoInputError(
            f"{name}: no such recipe", f"did you mean {close}?" if close else f"there are {', '.join(known)}"
        )
    options = {o.key: o for o in options_of(Optics)}
    found = read_settings(path, options)
    return checked(Optics(**{options[key].field: value for key, value in found.items()}))
