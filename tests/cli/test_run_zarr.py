"""OME-Zarr through the program: from TIFF and back bit for bit, refusals before computing, kills and full disks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from mounting import mounted

from microdeconv.io.stacks import digest, open_stack

pytest.importorskip("zarr", reason="needs the extra zarr")

ROOT = Path(__file__).resolve().parents[2]
IDENTITY = ("-m", "identity")
RNG = np.random.default_rng(3)


def imagej(path, shape, axes):
    pixels = RNG.poisson(100, shape).astype(np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10, 10), metadata={"axes": axes, "unit": "um"})
    return pixels


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "actin-dapi-2d-gt/nucleus.tif",
        "spots/synthetic_3d.tif",
        "hyperstack-tzcyx/multichannel_timelapse.tif",
        "yeast-mito/raw_t0-2.ome.tif",
    ],
)
def test_real_stacks_to_zarr_and_back_bit_for_bit(program, shared, tmp_path, name):
    path = shared / name
    for words in ((path, "-o", "a.ome.zarr"), ("a.ome.zarr", "--ome-zarr", "0.4"), ("a_decon.ome.zarr", "-o", "b.tif")):
        done = program("run", *words, *IDENTITY)
        assert done.returncode == 0, done.stderr
    before, between, after = (open_stack(p) for p in (path, tmp_path / "a_decon.ome.zarr", tmp_path / "b.tif"))
    assert between.header.extras["ngff"] == "0.4"
    np.testing.assert_array_equal(between.pixels(), before.pixels())
    np.testing.assert_array_equal(after.pixels(), before.pixels())
    assert (after.header.axes, after.header.dtype, after.header.container) == (
        before.header.axes, before.header.dtype, "ome",
    )  # fmt: skip
    for one in (between.header, after.header):
        assert [c.name for c in one.channels] == [c.name for c in before.header.channels]
        assert [c.optics for c in one.channels] == [c.optics for c in before.header.channels]
        if before.header.voxel_um is not None:
            assert one.voxel_um == pytest.approx(before.header.voxel_um, nan_ok=True)
        for now, then in zip(one.channels, before.header.channels, strict=True):
            assert then.colour in (None, now.colour)


def test_deconvolved_in_a_zarr_with_all_outputs(program, tmp_path):
    imagej(tmp_path / "a.tif", (9, 2, 30, 31), "ZCYX")
    assert program("run", "a.tif", *IDENTITY, "--format", "ome-zarr").returncode == 0
    optics = ("--na", 1.2, "--emission", "520,600", "--ri-immersion", 1.33, "--voxel", "0.2 0.1 0.1")
    done = program("run", "a_decon.ome.zarr/", *optics, "-n", 3, "--preview", "--record", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    header = open_stack(tmp_path / "a_decon_decon.ome.zarr").header
    assert (header.axes, header.dtype.name) == ("CZYX", "float32")
    attributes = json.loads((tmp_path / "a_decon_decon.ome.zarr" / "zarr.json").read_text())["attributes"]
    record = json.loads((tmp_path / "a_decon_decon.json").read_text())
    assert attributes["microdeconv"]["record"]["input_sha256"] == record["input_sha256"]
    assert record["input_sha256"] == digest(tmp_path / "a_decon.ome.zarr")
    assert (tmp_path / "a_decon_decon.png").is_file()
    said = program("info", "a_decon_decon.ome.zarr").stdout
    assert "a_decon_decon.ome.zarr: zarr, C2 Z9 Y30 X31 float32" in said


def test_refusals_before_anything_is_computed(program, tmp_path):
    imagej(tmp_path / "a.tif", (5, 20, 21), "ZYX")
    assert program("run", "a.tif", "-o", "a.ome.zarr", *IDENTITY).returncode == 0
    (tmp_path / "folder.ome.zarr").mkdir()
    (tmp_path / "folder.ome.zarr" / "thesis.txt").write_text("years of work")
    run = ("run", "a.tif", *IDENTITY)
    refused(program(*run, "-o", "a.ome.zarr"), 73, "exists already", "--overwrite")
    refused(program(*run, "-o", "a.ome.zarr/0/b.tif"), 73, "lies in the OME-Zarr")
    refused(program(*run, "-o", "folder.ome.zarr", "--overwrite"), 73, "no OME-Zarr that could be replaced")
    refused(program("run", "a.ome.zarr", *IDENTITY, "-o", "a.ome.zarr", "--overwrite"), 73, "is the input")
    refused(program(*run, "-o", "b.ome.zarr", "--format", "tiff"), 2, "not for --format tiff", "end the name in .tif")
    refused(program(*run, "-o", "b.tif", "--format", "ome-zarr"), 2, "end the name in .ome.zarr")
    refused(program(*run, "-o", "b.png"), 2, ".tif or .ome.zarr")
    refused(program(*run, "-o", "b.tif", "--ome-zarr", "0.4"), 2, "--ome-zarr: the result is no OME-Zarr")
    refused(program(*run, "--missing-chunks", "fill"), 2, "--missing-chunks: the input is no OME-Zarr")
    refused(program("run", "none.ome.zarr", *IDENTITY), 66, "there is no such file")
    refused(program("run", "folder.ome.zarr", *IDENTITY), 65, "no OME-Zarr, it has neither zarr.json nor .zattrs")
    next((tmp_path / "a.ome.zarr" / "0" / "c").rglob("0")).joinpath("0/0").unlink()
    refused(program("run", "a.ome.zarr", *IDENTITY, "-q"), 65, "chunk 0/c/0/0/0 is missing", "--missing-chunks fill")
    assert program("run", "a.ome.zarr", *IDENTITY, "--missing-chunks", "fill", "-o", "c.tif").returncode == 0
    assert (tmp_path / "folder.ome.zarr" / "thesis.txt").read_text() == "years of work"
    names = {"a.tif", "a.ome.zarr", "folder.ome.zarr", "c.tif"}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_a8_without_the_extra(program, tmp_path):
    """A folder before all others hides zarr."""
    imagej(tmp_path / "a.tif", (5, 20, 21), "ZYX")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "zarr.py").write_text("raise ImportError")
    hidden = {"PYTHONPATH": f"{tmp_path / 'hidden'}{os.pathsep}{ROOT}"}
    done = program("run", "a.tif", *IDENTITY, "-o", "b.ome.zarr", **hidden)
    refused(done, 69, 'OME-Zarr needs the extra zarr: pip install "microdeconv[zarr]"')
    assert program("run", "--help", **hidden).returncode == 0
    assert program("run", "a.tif", *IDENTITY, **hidden).returncode == 0


def test_an_overwritten_zarr_is_the_new_one(program, tmp_path):
    imagej(tmp_path / "a.tif", (5, 20, 21), "ZYX")
    pixels = imagej(tmp_path / "b.tif", (30, 31), "YX")
    for name in ("a", "b"):
        done = program("run", f"{name}.tif", *IDENTITY, "-o", "c.ome.zarr", "--overwrite")
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(open_stack(tmp_path / "c.ome.zarr").pixels(), pixels)
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "b.tif", "c.ome.zarr"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_e16_killed_while_it_writes(program, tmp_path, number, code):
    """Nothing stands under the name; what a kill leaves goes with the next run."""
    pixels = imagej(tmp_path / "a.tif", (60, 5, 2, 200, 200), "TZCYX")
    words = [sys.executable, "-m", "microdeconv", "run", "a.tif", "-m", "identity", "-o", "b.ome.zarr"]
    with subprocess.Popen(
        words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*partial/0/c/1")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(timeout=30) == code
    left = {p.name for p in tmp_path.iterdir()} - {"a.tif"}
    if number != signal.SIGKILL:
        assert left == set()
    assert "b.ome.zarr" not in left
    assert program("run", "a.tif", *IDENTITY, "-o", "b.ome.zarr").returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "b.ome.zarr"}
    stack = open_stack(tmp_path / "b.ome.zarr")
    assert sum(1 for _ in stack.volumes()) == pixels.shape[0] * stack.header.size("C")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_e2_a_full_disk(tmp_path):
    """On a small file system of its own that fills up meanwhile: its free bytes pass, its files' blocks do not."""
    imagej(tmp_path / "a.tif", (40, 2, 8, 8), "TZYX")
    script = f"""
mkdir -p {tmp_path}/small && mount -t tmpfs -o size=100k tmpfs {tmp_path}/small || exit 99
cd {tmp_path} && {sys.executable} -m microdeconv run a.tif -m identity -o small/b.ome.zarr; code=$?
ls -A {tmp_path}/small >&2; exit $code
"""
    done = mounted(script)
    assert done.returncode == 74, done.stderr
    assert "the disk is full" in done.stderr.splitlines()[-1]
