"""Recipes on the command line: listed, used by `run` and `psf compute`, beaten by the line, beating the file."""

import json

import numpy as np
import pytest
import tifffile
from conftest import ROOT

from microdeconv.cli import psf_list
from microdeconv.io.tiff import open_stack

NAMES = sorted(p.stem for p in (ROOT / "psfs").glob("*.toml"))


@pytest.fixture
def stack(tmp_path):
    """A confocal OME stack of one channel that knows its NA (wrongly) and its emission."""
    objective = {"ID": "Objective:0", "LensNA": 1.2}
    channel = {"Name": ["GFP"], "EmissionWavelength": [520.0], "EmissionWavelengthUnit": ["nm"]}
    metadata = {
        "axes": "CZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.3,
        "Channel": {**channel, "AcquisitionMode": ["LaserScanningConfocalMicroscopy"]},
    }  # fmt: skip
    counts = np.random.default_rng(1).poisson(100, (1, 6, 24, 24)).astype(np.uint16)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, counts, ome=True, metadata=metadata, photometric="minisblack")
    words = tifffile.tiffcomment(path)
    instrument = f'<Instrument ID="Instrument:0"><Objective ID="{objective["ID"]}" LensNA="1.2"/></Instrument><Image '
    words = words.replace("<Image ", instrument, 1).replace(
        "<Pixels ", f'<ObjectiveSettings ID="{objective["ID"]}"/><Pixels ', 1
    )
    tifffile.tiffcomment(path, words.encode())
    return path


def test_the_list_in_plain_lines(program):
    done = program("psf", "list", "--emission", 520)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert sorted(row[0] for row in rows) == NAMES
    assert ["63x-1.4-oil", "63x", "NA 1.4", "oil 1.515", "any", "0.278 x 0.093 µm"] in rows
    assert ["light-sheet-20x-1.0-water", "20x", "NA 1", "water 1.333", "light-sheet 2.5 µm"] in (r[:5] for r in rows)
    assert all(len(line.split("\t")) == 5 for line in program("psf", "list").stdout.splitlines())


def test_the_list_as_json(program):
    rows = {row["name"]: row for row in json.loads(program("psf", "list", "--json", "--emission", 600).stdout)}
    assert sorted(rows) == NAMES
    sheet = rows["lattice-25x-1.1-water"]
    assert (sheet["modality"], sheet["sheet_um"], sheet["magnification"]) == ("light-sheet", 1.0, 25)
    assert rows["40x-1.3-oil"]["nyquist_um"][1:] == pytest.approx([0.6 / 4 / 1.3] * 2, abs=1e-4)
    assert all(set(row) == set(sheet) for row in rows.values())
    assert "nyquist_um" not in json.loads(program("psf", "list", "--json").stdout)[0]


def test_a_person_sees_a_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    psf_list.list_recipes(given={"emission": "520"})
    seen = capsys.readouterr().out
    assert "520 nm: z x xy" in seen
    assert all(name in seen for name in NAMES)
    monkeypatch.setenv("COLUMNS", "40")
    psf_list.list_recipes(given={})
    assert all(name in capsys.readouterr().out for name in NAMES[:1])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--emission", 0.52), "looks like µm"),
        (("--emission", "460,520"), "2 values for one PSF"),
        (("--emission", "green"), "not a number"),
        (("--modality", "confocal"), "No such option"),
        (("63x-1.4-oil",), "unexpected extra argument"),
    ],
)
def test_the_list_refuses_what_it_cannot_mean(program, words, told):
    done = program("psf", "list", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_psf_compute_takes_a_recipe(program, tmp_path):
    words = ("--emission", 520, "--voxel", 0.2, 0.1, 0.1, "--shape", "5,9,9", "--no-picture")
    assert program("psf", "compute", "a.tif", "--psf-recipe", "63x-1.4-oil", *words).returncode == 0
    assert program("psf", "compute", "b.tif", "--config", ROOT / "psfs/63x-1.4-oil.toml", *words).returncode == 0
    done = program("psf", "compute", "c.tif", "--na", 1.2, *words, MICRODECONV_PSF_RECIPE="63x-1.4-oil")
    assert done.returncode == 0, done.stderr
    a, b, c = (tifffile.imread(tmp_path / f"{name}.tif") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01 * a.max()
    assert '"na": 1.2' in open_stack(tmp_path / "c.tif").header.extras["Info"]


def test_a_recipe_beats_the_file_and_the_line_beats_the_recipe(program, stack):
    words = ("run", stack, "--psf-recipe", "light-sheet-20x-1.0-water")
    told = program(*words, "--dry-run").stdout
    for line in (
        "na 1 (recipe light-sheet-20x-1.0-water)",
        "emission 520 (the file)",
        "sheet 2.5 (recipe light-sheet-20x-1.0-water)",
        "psf_recipe light-sheet-20x-1.0-water (command line)",
        "note: --na 1 (recipe light-sheet-20x-1.0-water), where the file says 1.2",
        "note: --modality light-sheet (recipe light-sheet-20x-1.0-water), where the file says confocal",
    ):
        assert line in told, told
    told = program(*words, "--na", 0.9, "--modality", "widefield", "--dry-run").stdout
    assert "na 0.9 (command line)" in told
    assert "ri_immersion 1.333 (recipe light-sheet-20x-1.0-water)" in told


def test_the_record_and_the_settings_keep_the_recipe(program, stack, tmp_path):
    (tmp_path / "mine.toml").write_text("na = 1.3\nri_immersion = 1.515\n", encoding="utf-8")
    words = ("run", stack, "-n", 2, "--modality", "widefield", "-o", "o.ome.tif", "--record", "--overwrite")
    done = program(*words, "--psf-recipe", "mine.toml", "--save-settings", "exp.toml")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert record["channels"][0]["optics"]["na"] == [1.3, "recipe mine.toml"]
    saved = (tmp_path / "exp.toml").read_text(encoding="utf-8")
    assert f'psf_recipe = "{tmp_path / "mine.toml"}"' in saved
    assert "na = " not in saved
    told = program("run", stack, "--config", "exp.toml", "--psf-recipe", "63x-1.4-oil", "--dry-run").stdout
    assert "na 1.4 (recipe 63x-1.4-oil)" in told
    done = program(*words, "--psf-recipe", "mine.toml", "--save-settings", "mine.toml")
    assert done.returncode == 73
    assert "mine.toml: the output is the input" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("63x-1.4-oli",), 2, "did you mean 63x-1.4-oil? `microdeconv psf list` shows all"),
        (("objective",), 2, "no such recipe: `microdeconv psf list` shows all"),
        (("none.toml",), 66, "no such recipe file"),
        (("bad.toml",), 78, "unknown key 'nna': did you mean na?"),
        ((".",), 2, "no such recipe"),
        (("63x-1.4-oil", "--psf", "a.ome.tif"), 2, "--psf-recipe does not apply to a PSF that is given"),
        (("63x-1.4-oil", "--method", "identity"), 2, "--psf-recipe does not apply to --method identity"),
        (("40x-0.95-air", "--na", 1.4), 2, "the aperture is less than the index"),
    ],
)
def test_recipes_that_cannot_be_meant(program, stack, words, code, told):
    stack.with_name("bad.toml").write_text("nna = 1.4\n", encoding="utf-8")
    done = program("run", stack, "--psf-recipe", *words)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
