"""`run --method learnt` through real processes."""

import json

import numpy as np
import pytest
import tifffile

from microdeconv.learnt.card import shipped
from microdeconv.simulate import Exposure, gaussian_psf, simulate

needs_network = pytest.mark.skipif("small" not in shipped(), reason="no network is shipped")


@pytest.fixture(name="files")
def _files(tmp_path):
    psf = gaussian_psf((0, 1.6, 1.6))
    scene = simulate("mixed", (1, 96, 90), psf, Exposure(150, 20, 100), 3)
    tifffile.imwrite(tmp_path / "raw.tif", scene.counts[0])
    tifffile.imwrite(tmp_path / "psf.tif", psf[0])
    return scene


@needs_network
def test_run_learnt_writes_a_result_and_what_the_guard_found(files, program, tmp_path):
    done = program("run", "raw.tif", "--psf", "psf.tif", "-m", "learnt", "-o", "out.tif", "--record", "--gain", 1)
    assert done.returncode == 0, done.stderr
    assert tifffile.imread(tmp_path / "out.tif").shape == (96, 90)
    record = json.loads((tmp_path / "out.json").read_text())
    guard = record["guard"]["0"][0]
    assert {"trust", "chi_square"} <= set(guard)
    assert record["channels"][0]["iterations"] >= 1
    assert "guard trust" in done.stderr


@needs_network
def test_a_time_series_asks_once_for_a_wider_psf_and_judges_each_time(files, program, tmp_path):
    later = simulate("mixed", (1, 96, 90), gaussian_psf((0, 1.6, 1.6)), Exposure(150, 20, 100), 4)
    series = np.stack([files.counts, later.counts]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "series.tif", series[:, :, None], imagej=True, metadata={"axes": "TZCYX"})
    done = program("run", "series.tif", "--psf", "psf.tif", "-m", "learnt", "-o", "out.tif", "--record", "--gain", 1)
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "out.json").read_text())["guard"]["0"]
    assert first["log_odds_of_wider_psf"] == second["log_odds_of_wider_psf"]
    assert first["chi_square"] != second["chi_square"]
    assert min(first["trust"], second["trust"]) > 0


@needs_network
def test_tiles_change_nothing(files, program, tmp_path):
    for name, tile in (("whole", "off"), ("tiled", "48")):
        done = program(
            "run", "raw.tif", "--psf", "psf.tif", "-m", "learnt", "-o", f"{name}.tif", "--dtype", "float32",
            "--tile", tile, "--trust", "off", "--background", 120, "--offset", 100, "--gain", 1, "-n", 5,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    whole, tiled = (tifffile.imread(tmp_path / f"{n}.tif") for n in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() < 1e-4 * whole.max()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "learnt", "--trust", "2", "--psf", "psf.tif"], "--trust 2"),
        (["-m", "rl", "--trust", "0.5", "--psf", "psf.tif"], "does not apply to --method rl"),
        (["-m", "rl", "--psf", "none"], "needs a PSF"),
        (["-m", "learnt", "--psf", "none", "--psf", "psf.tif"], "--psf none beside other PSFs"),
        (["-m", "learnt", "--psf", "none", "--trust", "0.5"], "--trust does not apply"),
        (["-m", "learnt", "--psf", "psf.tif", "--model", "https://a.example/m.safetensors"], "not fetched"),
    ],
)
def test_wrong_words_are_refused(files, program, words, said):
    done = program("run", "raw.tif", "-o", "out.tif", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif("free" not in shipped(), reason="no network for users without a PSF is shipped")
def test_without_a_psf(files, program, tmp_path):
    done = program("run", "raw.tif", "--psf", "none", "-m", "learnt", "-o", "out.tif", "--voxel", 0.1, 0.1)
    assert done.returncode == 0, done.stderr
    assert "guesses" in done.stderr
    wrong = program("run", "raw.tif", "--psf", "none", "-m", "learnt", "-o", "o.tif", "--model", "small")
    assert wrong.returncode == 2
    assert "wants a PSF" in wrong.stderr
