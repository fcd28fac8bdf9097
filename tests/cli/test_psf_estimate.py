"""`psf estimate` and `run --psf estimate` as a person types them."""

import numpy as np
import pytest
import tifffile

from microdeconv.cli.app import main
from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.estimate import centred_psf
from microdeconv.simulate import Exposure, simulate
from microdeconv.stack import Zyx

OPTICS = [
    "--na",
    "1.2",
    "--emission",
    "520",
    "--excitation",
    "488",
    "--ri-immersion",
    "1.333",
    "--modality",
    "confocal",
    "--pinhole",
    "1",
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    optics, _ = completed(
        Optics(na=1.2, emission_nm=520, excitation_nm=488, ri_immersion=1.333, modality="confocal", pinhole_au=1)
    )
    model = AberratedModel(optics, Zyx(0.25, 0.1, 0.1), (15, 21, 21))
    psf = centred_psf(model, np.array([0.9 if name == "spherical" else 0.0 for name in model.terms]))
    scene = simulate("mixed", (6, 32, 32), psf.pixels, Exposure(3000, 100, 100), 3)
    path = tmp_path_factory.mktemp("estimate") / "cells.tif"
    tifffile.imwrite(
        path, scene.counts, imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", "unit": "um", "spacing": 0.25}
    )
    return path


def test_the_estimate_is_written_told_and_used(stack, tmp_path, capsys):
    psf = tmp_path / "psf.tif"
    assert main(["psf", "estimate", str(stack), "-o", str(psf), *OPTICS]) == 0
    told = capsys.readouterr().err
    assert "size" in told
    assert "log-odds" in told
    assert psf.with_suffix(".png").exists()
    assert main(["psf", "estimate", str(stack), "-o", str(psf), *OPTICS]) == 73
    assert main(["run", str(stack), "--psf", str(psf), "-n", "3", "-o", str(tmp_path / "out.tif")]) == 0


def test_run_estimates_and_keeps_the_psf_with_the_settings(stack, tmp_path, capsys):
    kept, one, other = (tmp_path / name for name in ("exp.toml", "one.tif", "other.tif"))
    words = ["--psf", "estimate", *OPTICS, "-n", "4"]
    assert main(["run", str(stack), *words, "-o", str(one), "--save-settings", str(kept)]) == 0
    assert "log-odds" in capsys.readouterr().err
    assert (tmp_path / "exp.psf.tif").exists()
    assert main(["run", str(stack), "--config", str(kept), "-o", str(other)]) == 0
    first, second = (tifffile.imread(p).astype(float) for p in (one, other))
    assert np.abs(first - second).max() <= 1 + 1e-3 * first.max()


def test_bad_words(stack, tmp_path, capsys):
    out = str(tmp_path / "p.tif")
    assert main(["psf", "estimate", str(stack), "-o", out]) == 65
    assert "--na" in capsys.readouterr().err
    assert main(["psf", "estimate", str(stack), "-o", out, "--start", "x.tif"]) == 2
    assert main(["psf", "estimate", str(tmp_path / "none.tif"), "-o", out, *OPTICS]) == 66
    assert main(["psf", "estimate", str(stack), "-o", str(tmp_path / "p.png"), *OPTICS]) == 2
    assert "end the name in .tif" in capsys.readouterr().err
    assert main(["psf", "compute", str(tmp_path / "p.png"), *OPTICS, "--voxel", "0.2", "0.1", "0.1"]) == 2
    assert main(["run", str(stack), "--psf", "estimate", "--psf", "x.tif", *OPTICS]) == 2
    assert main(["run", str(stack), "--psf", "estimate"]) == 65
    blank = tmp_path / "blank.tif"
    tifffile.imwrite(blank, np.full((4, 32, 32), 7, np.uint16), photometric="minisblack")
    assert main(["psf", "estimate", str(blank), "-o", out, *OPTICS, "--voxel", "0.2", "0.1", "0.1"]) == 65
    assert not (tmp_path / "p.tif").exists()


def test_free_form_from_a_file(stack, tmp_path, capsys):
    start, out = tmp_path / "start.tif", tmp_path / "free.tif"
    assert main(["psf", "compute", str(start), *OPTICS, "--voxel", "0.25", "0.1", "0.1", "--shape", "9,15,15"]) == 0
    assert main(["psf", "estimate", str(stack), "-o", str(out), "--free", "--start", str(start)]) == 0
    assert "log-odds" in capsys.readouterr().err
    assert tifffile.imread(out).shape == (9, 15, 15)
