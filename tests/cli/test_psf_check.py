"""`psf check` as a person and a script call it."""

import json

import numpy as np
import pytest
import tifffile

from microdeconv.cli.app import main
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import write_psf
from microdeconv.simulate import Exposure, simulate
from microdeconv.stack import Zyx

OPTICS = Optics(na=0.8, emission_nm=520.0, ri_immersion=1.0)
VOXEL = Zyx(0.3, 0.1, 0.1)
FLAGS = ("--na", 0.8, "--emission", 520, "--ri-immersion", 1, "--voxel", "0.3", "0.1", "0.1")


@pytest.fixture
def folder(tmp_path):
    """A 2-D image and its PSF."""
    psf = compute_psf(OPTICS, VOXEL, (1, 41, 41))
    scene = simulate("filaments", (1, 96, 96), psf.pixels, Exposure(200, 20, 100), 1)
    tifffile.imwrite(tmp_path / "cells.tif", scene.counts[0])
    write_psf(tmp_path / "psf.tif", psf, overwrite=False)
    other = compute_psf(Optics(na=0.8, emission_nm=700.0, ri_immersion=1.0), VOXEL, (1, 41, 41))
    write_psf(tmp_path / "red.tif", other, overwrite=False)
    return tmp_path


def test_a_right_psf(program, folder):
    done = program("psf", "check", "cells.tif", "psf.tif", *FLAGS, "--picture", "check.png", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[:4]] == ["shift", "roundness", "border", "width"]
    assert lines[-1] == "nothing speaks against this PSF"
    assert (folder / "check.png").read_bytes().startswith(b"\x89PNG")


def test_the_psf_of_another_channel(program, folder):
    done = program("psf", "check", "cells.tif", "red.tif", *FLAGS, "--strict")
    assert done.returncode == 65, done.stderr
    assert "the PSF was made for --emission 700, the channel has 520" in done.stdout
    assert "probably too wide" in done.stdout


def test_json(program, folder):
    done = program("psf", "check", "cells.tif", "red.tif", *FLAGS, "--json", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert {"name", "value", "text", "warning"} == set(told["findings"][0])
    assert json.loads(done.stderr.splitlines()[-1]) | {"t": ""} == {
        "t": "",
        "level": "info",
        "event": "exit",
        "code": 0,
    }


def test_bad_input(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    tifffile.imwrite(folder / "stack.tif", np.random.default_rng(0).poisson(20, (5, 40, 40)).astype(np.uint16))
    tifffile.imwrite(folder / "blank.tif", np.full((40, 40), 100, np.uint16))
    for words, code, told in (
        (("nothing.tif", "psf.tif"), 66, "nothing.tif"),
        (("cells.tif", "nothing.tif"), 66, "nothing.tif"),
        (("stack.tif", "psf.tif"), 65, "a 2-D PSF for a 3-D image"),
        (("blank.tif", "psf.tif"), 65, "blank"),
        (("cells.tif", "psf.tif", "--channel", 3), 2, "--channel"),
        (("cells.tif", "psf.tif", "--picture", "check.pdf"), 2, "PNG"),
        (("cells.tif", "psf.tif", "--picture", "none/check.png"), 73, "none"),
    ):
        assert main(["psf", "check", *map(str, words)]) == code
        said = capsys.readouterr()
        assert told in said.err
        assert said.out == ""
