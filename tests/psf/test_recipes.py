"""Recipes: each is read, is possible, and the PSFs made from them are what the program computes."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microdeconv.errors import ConfigError, NoInputError, UsageError
from microdeconv.optics import Optics, completed, missing, nyquist_um
from microdeconv.psf import recipes as module
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import load_psf
from microdeconv.psf.recipes import NAME, all_recipes, load_recipe, recipes, with_recipe
from microdeconv.stack import Zyx

PSFS = Path(__file__).resolve().parents[2] / "psfs"


@pytest.mark.parametrize("path", sorted(PSFS.glob("*.toml")), ids=lambda p: p.stem)
def test_each_recipe_says_what_its_name_says(path: Path) -> None:
    optics = load_recipe(path.stem)
    parts = NAME.fullmatch(path.stem)
    assert parts is not None
    assert optics.na == float(parts["na"])
    assert optics.ri_immersion is not None
    index = {"air": 1.0, "oil": 1.515, "water": 1.333, "silicone": 1.406, "glycerol": 1.451}
    assert optics.ri_immersion == index.get(parts["medium"], optics.ri_immersion)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert f"{parts['magnification']}x / NA {parts['na']}" in path.read_text(encoding="utf-8")
    assert f"| `{path.stem}` | {optics.na} | {optics.ri_immersion} |" in (PSFS / "README.md").read_text("utf-8")
    completed(optics)


@pytest.mark.parametrize("name", list(recipes()))
def test_each_recipe_makes_a_psf(name: str) -> None:
    optics = replace(load_recipe(name), emission_nm=520.0)
    assert missing(optics) == ()
    axial, lateral = nyquist_um(optics)
    pixels = compute_psf(optics, Zyx(axial, lateral, lateral), (9, 15, 15)).pixels
    assert np.unravel_index(pixels.argmax(), pixels.shape) == (4, 7, 7)


def test_all_recipes_come_in_the_order_of_a_turret() -> None:
    found = all_recipes()
    assert {r.name for r in found} == set(recipes())
    assert [found[0].name, found[-1].name] == ["10x-0.3-air", "lattice-25x-1.1-water"]
    oil = next(r for r in found if r.name == "63x-1.4-oil")
    assert (oil.magnification, oil.medium, oil.about[:16]) == (63, "oil", "63x / NA 1.4, oi")


def test_a_recipe_lies_below_all_that_was_said() -> None:
    below, config, line = with_recipe(
        [("config", {"na": 1.3, "psf_recipe": "20x-0.8-air"}), ("line", {"psf_recipe": "63x-1.4-oil"})]
    )
    assert below == ("recipe 63x-1.4-oil", {"na": 1.4, "ri_immersion": 1.515})
    assert (config[0], line[0]) == ("config", "line")
    assert with_recipe([("line", {"na": 1.3})]) == (("line", {"na": 1.3}),)


def test_installed_recipes_are_found_before_those_of_a_stray_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("package", "stray"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.toml").write_text("na = 0.5\n")
    monkeypatch.setattr(module, "FOLDERS", (tmp_path / "package", tmp_path / "stray"))
    assert list(recipes()) == ["package"]
    monkeypatch.setattr(module, "FOLDERS", (tmp_path / "none",))
    assert recipes() == {}


def test_recipes_come_by_name_and_by_file(tmp_path: Path) -> None:
    assert len(recipes()) == len(list(PSFS.glob("*.toml"))) == 24
    assert load_recipe("63x-1.4-oil") == Optics(na=1.4, ri_immersion=1.515)
    (tmp_path / "mine.toml").write_text('na = 0.5\nri_immersion = 1.0\nmodality = "confocal"\npinhole = 1.2\n')
    assert load_recipe(tmp_path / "mine.toml") == Optics(0.5, None, None, 1.0, None, None, "confocal", 1.2)


def test_wrong_recipes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 63x-1\.4-oil\? `microdeconv psf list`"):
        load_recipe("63x-1.4-oli")
    with pytest.raises(UsageError, match=r"no such recipe: `microdeconv psf list`"):
        load_recipe("")
    with pytest.raises(NoInputError, match=r"none\.toml: no such recipe file"):
        load_recipe(tmp_path / "none.toml")
    path = tmp_path / "mine.toml"
    for text, kind in (("na = 1.4\nri_immersion = 1.0", UsageError), ("nna = 1", ConfigError), ("na =", ConfigError)):
        path.write_text(text)
        with pytest.raises(kind):
            load_recipe(path)


def test_the_computed_psfs_are_what_make_makes(tmp_path: Path) -> None:
    source = importlib.util.spec_from_file_location("make", PSFS / "make.py")
    assert source is not None
    assert source.loader is not None
    make = importlib.util.module_from_spec(source)
    source.loader.exec_module(make)
    make.main(tmp_path)
    made = sorted(path.name for path in tmp_path.glob("*.tif"))
    assert made == sorted(path.name for path in PSFS.glob("*.tif"))
    for name in made:
        kept, fresh = (load_psf(folder / name, None, (64, 64, 64)) for folder in (PSFS, tmp_path))
        assert kept.optics == fresh.optics
        np.testing.assert_allclose(kept.pixels, fresh.pixels, atol=1e-6 * fresh.pixels.max())


def test_a_kept_psf_is_computed_again_from_its_own_optics() -> None:
    kept = load_psf(PSFS / "63x-1.4-oil-confocal-520nm.tif", None, (64, 64, 64))
    assert kept.optics is not None
    assert kept.voxel_um is not None
    z, y, x = kept.pixels.shape
    again = compute_psf(kept.optics, kept.voxel_um, (z, y, x))
    np.testing.assert_allclose(again.pixels, kept.pixels, atol=1e-6 * kept.pixels.max())
