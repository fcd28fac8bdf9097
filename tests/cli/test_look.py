"""`info`: what is in a file, what is missing, and what would be done with it."""

import numpy as np
import pytest
import tifffile

from microdeconv.optics import Optics
from microdeconv.stack import Header, Zyx

OPTICS = ("--na", 1.2, "--emission", 520, "--ri-immersion", 1.33)


def imagej(path, **metadata):
    pixels = np.full((6, 24, 24), 9, np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", "unit": "um"} | metadata)


def test_what_is_missing_is_told(program, tmp_path):
    imagej(tmp_path / "a.tif")
    done = program("info", "a.tif")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  voxel unknown x 0.1 x 0.1 µm (z y x)" in done.stdout.splitlines()
    assert "nan" not in done.stdout
    assert "    a computed PSF needs --na --ri-immersion --emission --voxel" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("run would refuse: a.tif: the optics are not all known: give --na")
    done = program("info", "a.tif", *OPTICS)
    assert "    a computed PSF needs --voxel" in done.stdout.splitlines()


def test_what_would_be_done_is_told_and_nothing_written(program, tmp_path):
    imagej(tmp_path / "a.tif", spacing=0.3)
    (tmp_path / "o.toml").write_text("na = 1.2\nemission = 520\n", encoding="utf-8")
    done = program("info", "a.tif", "--config", "o.toml", "--ri-immersion", 1.33, "-m", "rl-tv")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert told.index("run would do this:") > told.index("  voxel 0.3 x 0.1 x 0.1 µm (z y x)")
    assert sum(line.startswith("  voxel") for line in told) == 1
    for words in ("na 1.2 (config o.toml)", "ri_immersion 1.33 (command line)", "method rl-tv", "writes a_decon.tif"):
        assert words in done.stdout
    assert "needs" not in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "o.toml"]


@pytest.mark.parametrize(
    ("shape", "voxel", "lacking", "told"),
    [
        ((4, 8, 8), None, ("--voxel",), "unknown"),
        ((4, 8, 8), Zyx(float("nan"), 0.1, 0.1), ("--voxel",), "unknown x 0.1 x 0.1 µm (z y x)"),
        ((1, 8, 8), Zyx(float("nan"), 0.1, 0.1), (), "unknown x 0.1 x 0.1 µm (z y x)"),
        ((4, 8, 8), Zyx(0.3, 0.1, 0.1), (), "0.3 x 0.1 x 0.1 µm (z y x)"),
    ],
)
def test_a_single_plane_needs_no_z_step(shape, voxel, lacking, told):
    header = Header(None, "ZYX", shape, np.dtype("uint16"), voxel)
    assert header.lacking(Optics(na=1.2, emission_nm=520, ri_immersion=1.33)) == lacking
    assert header.describe_voxel() == told
    assert header.lacking(Optics(na=1.2, ri_immersion=1.33)) == ("--emission", *lacking)
