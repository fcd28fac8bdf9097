"""What `compare` is given that does not fit, through the real program: one clear line each, and the right exit code."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack, write_stack
from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))
LEAN = ("--threads", 1, "--device", "cpu", "--psf", "psf.tif", "--methods", "rl,wiener", "-n", 3)


def save(path, pixels):
    details = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10.0, 10.0), metadata=details)


@pytest.fixture
def cells(tmp_path):
    """A stack, its truth one plane off, its PSF, a result; stack and result also as OME-Zarr; a file."""
    scene = simulate("mixed", (12, 40, 44), PSF, Exposure(200, 20, 100), 1)
    light = (scene.counts - 120.0).astype(np.float32)
    save(tmp_path / "cells.tif", scene.counts)
    save(tmp_path / "shifted.tif", np.concatenate([scene.truth[1:], scene.truth[-1:]]).astype(np.float32))
    save(tmp_path / "psf.tif", PSF)
    save(tmp_path / "other.tif", light)
    for name, image in (("cells", scene.counts), ("other", light)):
        header = open_stack(tmp_path / f"{name}.tif", Selection()).header
        write_stack(tmp_path / f"{name}.ome.zarr", header, [(0, 0, image)], {}, overwrite=False)
    (tmp_path / "file").write_text("mine")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--truth", "cells.tif", "-o", "found"), 65, "cells.tif: the truth is the stack itself: give the true object"),
        (("-o", "file"), 73, "file: is no folder: choose another one with -o"),
        (("-o", "file/below"), 73, "file: is no folder: choose another one with -o"),
        (("--result", "A=none.ome.zarr", "-o", "found"), 66, "none.ome.zarr: there is no such file"),
        (("--result", "A=psf.tif", "-o", "found"), 65, "psf.tif: the result has"),
    ],
)
def test_refused_before_the_work(program, cells: Path, words, code, told):
    done = program("compare", "cells.tif", *LEAN, *words)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (cells / "found").exists()
    assert (cells / "file").read_text() == "mine"


def test_zarr_in_zarr_beside_and_a_truth_one_plane_off(program, cells: Path):
    words = ("--result", "Other=other.ome.zarr", "--result", "Again=other.tif", "--truth", "shifted.tif", "-o", "found")
    done = program("compare", "cells.ome.zarr", *LEAN, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("figure\t\trl\twiener\tOther\tAgain\n")
    assert "warning: Again is the same image as Other" in done.stderr
    assert "rl was moved by" in done.stderr
    assert {p.name for p in (cells / "found").iterdir()} == {"index.html", "report.json", "report.csv"}
