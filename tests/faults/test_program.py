"""Rows of the fault catalogue through the program: one line, the right code, nothing lost."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from conftest import ROOT
from mounting import mounted

from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))


@pytest.fixture
def files(tmp_path):
    image = np.random.default_rng(0).poisson(100, (10, 32, 32)).astype(np.uint16)
    image[4:6, 14:18, 14:18] += 400
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "psf.tif", PSF, photometric="minisblack")
    return tmp_path


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("microdeconv:")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert "\x1b" not in done.stderr


RUN = ("run", "a.tif", "--psf", "psf.tif")


@pytest.mark.parametrize(
    ("row", "words", "code", "said"),
    [
        ("A1", ("run", "a.tif", "--no-such"), 2, ["--no-such"]),
        ("A1", ("walk",), 2, ["walk"]),
        ("A2", (*RUN, "--iterations", "-1"), 2, ["--iterations", "below 1"]),
        ("A2", (*RUN, "--iterations", "0"), 2, ["below 1"]),
        ("A2", (*RUN, "--iterations", "abc"), 2, ["abc"]),
        ("A2", (*RUN, "--iterations", "nan"), 2, ["finite"]),
        ("A2", (*RUN, "--iterations", "1e12"), 2, ["above 100000"]),
        ("A3", (*RUN, "--device", "cuda"), 69, ["it has cpu"]),
        ("A4", (*RUN, "--device", "cuda:foo"), 2, ["cuda:foo", "auto|cpu"]),
        ("A4", (*RUN, "--device", "gpu9"), 2, ["gpu9"]),
        ("A6", (*RUN, "--config", "none.toml"), 66, ["none.toml"]),
        ("A9", (*RUN, "-o", "a.tif", "--overwrite"), 73, ["is the input"]),
        ("A9", (*RUN, "-o", "soft.tif", "--overwrite"), 73, ["is the input"]),
        ("A9", (*RUN, "-o", "hard.tif", "--overwrite"), 73, ["is the input"]),
        ("A9", (*RUN, "-o", "psf.tif", "--overwrite"), 73, ["psf.tif", "is the input"]),
        ("A9", ("run", "a.tif", "a.tif", "--psf", "psf.tif"), 73, ["a_decon.tif", "both a.tif and a.tif"]),
        ("D10", ("run", "a.tif", "--psf", "a.tif"), 65, ["is the image itself"]),
        ("E9", (*RUN, "--save-settings", "none/exp.toml"), 73, ["no such folder"]),
        ("E10", (*RUN, "--save-settings", "there.tif"), 73, ["exists already"]),
        ("B1", ("run", "none.tif"), 66, ["none.tif", "no such file"]),
        ("B2", ("run", "."), 66, ["not a regular file"]),
        ("B24", ("run", "a.tif", "--na", "1.2", "--emission", "520", "--ri-immersion", "1.33"), 65, ["--voxel"]),
        ("B24", (*RUN, "--voxel", "200", "65", "65"), 2, ["nm"]),
        ("D8", ("run", "a.tif", "--psf", "flat.tif"), 65, ["2-D"]),
        ("D10", ("run", "psf.tif", "--psf", "field.tif"), 65, ["field.tif", "swapped"]),
        ("D13", ("run", "a.tif", "--na", "1.4", "--emission", "0.5"), 2, ["µm", "500"]),
        ("D13", ("run", "a.tif", "--na", "1.4", "--emission", "500000"), 2, ["pm"]),
        ("D13", ("run", "a.tif", "--na", "0"), 2, ["--na"]),
        ("D13", ("run", "a.tif", "--na", "1.4", "--emission", "520", "--ri-immersion", "1.33", "--voxel", "0.2", "0.1"), 2, ["aperture"]),
        ("E9", (*RUN, "-o", "none/b.tif"), 73, ["no such folder", "--parents"]),
        ("E10", (*RUN, "-o", "there.tif"), 73, ["exists already", "--overwrite"]),
        ("-", (*RUN, "--method", "wiener", "--iterations", "5"), 2, ["--iterations does not apply"]),
        ("-", (*RUN, "--method", "rl", "--regularisation", "0.1"), 2, ["--regularisation does not apply"]),
        ("-", (*RUN, "--method", "lr"), 2, ["lr"]),
        ("-", (*RUN, "-o", "b.png"), 2, ["b.png"]),
        ("-", (*RUN, "--channel", "4"), 2, ["--channel"]),
    ],
)  # fmt: skip
def test_one_line_and_the_right_code(program, files, row, words, code, said):
    (files / "soft.tif").symlink_to(files / "a.tif")
    (files / "hard.tif").hardlink_to(files / "a.tif")
    (files / "there.tif").write_bytes(b"old")
    tifffile.imwrite(files / "flat.tif", PSF[6], photometric="minisblack")
    crowd = simulate("tissue", (10, 64, 64), PSF, Exposure(), 1).counts
    tifffile.imwrite(files / "field.tif", crowd, photometric="minisblack")
    before = {p.name: p.read_bytes() for p in files.iterdir()}
    refused(program(*words), code, *said)
    assert {p.name: p.read_bytes() for p in files.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("na = ", "c.toml"),
        ("emision = 500", "did you mean emission"),
        ('iterations = "many"', "iterations"),
        ("[x]\ny=1", "x"),
    ],
)
def test_a5_broken_configuration(program, files, text, said):
    (files / "c.toml").write_text(text, encoding="utf-8")
    refused(program(*RUN, "--config", "c.toml"), 78, said)


def image_with(files, name, change, dtype=np.float32):
    image = tifffile.imread(files / "a.tif").astype(dtype)
    change(image)
    tifffile.imwrite(files / name, image, photometric="minisblack")


def set_at(*places):
    def change(image):
        for place, value in places:
            image[place] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_c1_c2_not_finite(program, files, value):
    image_with(files, "n.tif", set_at(((3, 4, 5), value)))
    refused(program("run", "n.tif", "--psf", "psf.tif"), 65, "1 voxels", "(3, 4, 5)", "--nan median")
    done = program("run", "n.tif", "--psf", "psf.tif", "--nan", "median", "-n", 3)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(tifffile.imread(files / "n_decon.tif")).all()


def test_c3_negative(program, files):
    image_with(files, "n.tif", set_at(((3, 4, 5), -5)))
    refused(program("run", "n.tif", "--psf", "psf.tif"), 65, "negative", "--offset", "--negative clip")
    for repair in (("--negative", "clip"), ("--offset", "-10")):
        assert program("run", "n.tif", "--psf", "psf.tif", *repair, "-n", 2, "--overwrite").returncode == 0


@pytest.mark.parametrize("value", [0, 100])
def test_c4_c5_blank(program, files, value):
    tifffile.imwrite(files / "n.tif", np.full((8, 24, 24), value, np.uint16), photometric="minisblack")
    done = program("run", "n.tif", "--psf", "psf.tif", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert "blank" in done.stderr
    assert np.abs(tifffile.imread(files / "n_decon.tif") - value).max() <= 0.001 * value


def test_c6_saturated(program, files):
    image_with(files, "n.tif", set_at(((slice(0, 1),), 65535)), np.uint16)
    done = program("run", "n.tif", "--psf", "psf.tif", "-n", 2)
    assert done.returncode == 0
    assert "10 % of the voxels are saturated" in done.stderr


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_c7_scale(program, files, scale):
    image = tifffile.imread(files / "a.tif").astype(np.float64)
    results = []
    for name, factor in (("u.tif", 1.0), ("v.tif", scale)):
        tifffile.imwrite(files / name, (image * factor).astype(np.float32), photometric="minisblack")
        done = program("run", name, "--psf", "psf.tif", "-n", 5)
        assert done.returncode == 0, done.stderr
        results.append(tifffile.imread(files / name.replace(".", "_decon.")).astype(np.float64) / factor)
    assert np.abs(results[0] - results[1]).max() < 2e-3 * results[0].max()


def test_c8_beyond_the_type(program, files):
    image = np.full((9, 31, 31), 10, np.uint8)
    image[3:6, 12:19, 12:19] = 250
    tifffile.imwrite(files / "n.tif", image, photometric="minisblack")
    done = program("run", "n.tif", "--psf", "psf.tif", "-n", 30, "--background", 10)
    assert done.returncode == 0, done.stderr
    assert "clipped" in done.stderr
    assert tifffile.imread(files / "n_decon.tif").max() == 255


def test_c9_one_hot_voxel(program, files):
    image = np.zeros((9, 31, 31), np.uint16)
    image[4, 15, 15] = 1000
    tifffile.imwrite(files / "n.tif", image, photometric="minisblack")
    done = program("run", "n.tif", "--psf", "psf.tif", "-n", 20, "--dtype", "float32", "--background", 0)
    assert done.returncode == 0, done.stderr
    assert tifffile.imread(files / "n_decon.tif").sum() == pytest.approx(1000, rel=0.02)


def test_c10_types_and_byte_orders_agree(program, files):
    image = tifffile.imread(files / "a.tif").clip(0, 127)
    results = []
    for name, dtype, order in (
        ("u2", "uint16", "<"),
        ("be", "uint16", ">"),
        ("u1", "uint8", "<"),
        ("i2", "int16", "<"),
    ):
        tifffile.imwrite(files / f"{name}.tif", image.astype(dtype), byteorder=order, photometric="minisblack")
        assert program("run", f"{name}.tif", "--psf", "psf.tif", "-n", 4, "--dtype", "float32").returncode == 0
        results.append(tifffile.imread(files / f"{name}_decon.tif"))
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_e8_a_folder_that_cannot_be_written_to(program, files):
    (files / "locked").mkdir(mode=0o500)
    refused(program(*RUN, "-o", "locked/b.tif"), 73, "cannot be written")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_e1_e3_a_full_disk(files):
    """On a small file system of its own: refused beforehand, and cleaned up when it fills up meanwhile."""
    script = f"""
mkdir -p {files}/small && mount -t tmpfs -o size=32k tmpfs {files}/small || exit 99
cd {files} && {sys.executable} -m microdeconv run a.tif --psf psf.tif -n 2 --dtype float32 -o small/b.tif; code=$?
ls -A {files}/small >&2; exit $code
"""
    done = mounted(script)
    refused(done, 74, "free", "needs about")
    assert "partial" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_f3_f5_f6_signals(files, number, code):
    image = np.random.default_rng(0).poisson(100, (24, 200, 200)).astype(np.uint16)
    tifffile.imwrite(files / "big.tif", image, photometric="minisblack")
    words = [sys.executable, "-m", "microdeconv", "run", "big.tif", "--psf", "psf.tif", "-n", "5000"]
    with subprocess.Popen(
        words, cwd=files, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        deadline = time.monotonic() + 60
        while not list(files.glob(".*partial")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(timeout=20) == code
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "nothing was left behind" in said
    assert not list(files.glob(".*partial"))
    assert not (files / "big_decon.tif").exists()


def test_k2_no_colours_and_no_boxes_in_errors(program, files):
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "20"}):
        done = program("run", "none.tif", **environment)
        assert "\x1b" not in done.stderr
        assert "│" not in done.stderr
