"""Recipes: each is read, is possible, and the PSFs made from them are what the program computes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from microdeconv.errors import ConfigError, NoInputError, UsageError
from microdeconv.optics import Optics, completed
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import load_psf
from microdeconv.psf.recipes import load_recipe, recipes

PSFS = Path(__file__).resolve().parents[2] / "psfs"


@pytest.mark.parametrize("path", sorted(PSFS.glob("*.toml")), ids=lambda p: p.stem)
def test_each_recipe_says_what_its_name_says(path: Path) -> None:
    optics = load_recipe(path.stem)
    na = float(next(part for part in path.stem.split("-") if "." in part))
    assert optics.na == na
    assert optics.ri_immersion is not None
    assert {"air": 1.0, "oil": 1.515, "water": 1.333}.get(path.stem.split("-")[-1], optics.ri_immersion) == (
        optics.ri_immersion
    )
    completed(optics)


def test_recipes_come_by_name_and_by_file(tmp_path: Path) -> None:
    assert len(recipes()) == len(list(PSFS.glob("*.toml"))) == 10
    assert load_recipe("63x-1.4-oil") == Optics(na=1.4, ri_immersion=1.515)
    (tmp_path / "mine.toml").write_text('na = 0.5\nri_immersion = 1.0\nmodality = "confocal"\npinhole = 1.2\n')
    assert load_recipe(tmp_path / "mine.toml") == Optics(0.5, None, None, 1.0, None, None, "confocal", 1.2)


def test_wrong_recipes_are_told(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"did you mean 63x-1\.4-oil"):
        load_recipe("63x-1.4-oli")
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
