"""OME-Zarr in a batch: a folder has one identity, is whole or absent, and is done again when it was damaged (row E16)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import tifffile
from batch_files import OPTIONS, journal, leftovers, make_stacks
from conftest import ROOT

from microdeconv.batch.journal import short_digest
from microdeconv.io.stacks import digest, identity, open_stack

pytest.importorskip("zarr", reason="needs the extra zarr")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
IDENTITY = ("-m", "identity", "--axes", "ZYX")


def call(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "microdeconv", "batch", *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False,
    )  # fmt: skip


def chunks(folder):
    return sorted(p for p in (folder / "0").rglob("*") if p.is_file() and p.name != "zarr.json")


def test_into_zarr_and_on_from_there(tmp_path):
    """TIFF to zarr by --format; those zarrs by a pattern to zarr, and by a manifest to TIFF; then what changed alone."""
    make_stacks(tmp_path, 2)
    done = call(tmp_path, "s*.tif", "-o", "raw", "--format", "ome-zarr", *IDENTITY, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "raw").glob("[!.]*.zarr")) == ["s00_decon.ome.zarr", "s01_decon.ome.zarr"]
    on = ("raw/*.ome.zarr", "-o", "out", *OPTIONS[:-2], "--workers", 1)
    done = call(tmp_path, *on)
    assert done.returncode == 0, done.stderr
    first = {line[1]: line for line in journal(tmp_path / "out")}
    assert sorted(first) == ["s00_decon_decon.ome.zarr", "s01_decon_decon.ome.zarr"]
    for name in ("s00_decon", "s01_decon"):
        line = first[f"{name}_decon.ome.zarr"]
        source, result = tmp_path / "raw" / f"{name}.ome.zarr", tmp_path / "out" / f"{name}_decon.ome.zarr"
        assert tuple(line[2:4]) == identity(source)
        assert tuple(line[7:9]) == identity(result)
        assert (line[4], line[9]) == (short_digest(digest(source)), short_digest(digest(result)))
    before = {p: digest(p) for p in (tmp_path / "out").glob("*.zarr")}
    nothing = call(tmp_path, *on, "--verify")
    assert (nothing.returncode, "2 done already: nothing to do" in nothing.stderr) == (0, True), nothing.stderr

    zero, one = sorted(before)
    chunks(zero)[0].unlink()
    for path in [one, *one.rglob("*")]:  # only its times are others
        os.utime(path, (1, 1))
    again = call(tmp_path, *on)
    assert again.returncode == 0, again.stderr
    assert "1 done already" in again.stderr
    assert "its output was changed: 1" in again.stderr
    assert {p: digest(p) for p in before} == before, "the same bytes come again"

    source = tmp_path / "raw" / "s01_decon.ome.zarr"
    pixels = chunks(source)[0].read_bytes()
    (tmp_path / "x.tif").write_bytes((tmp_path / "s00.tif").read_bytes())
    shutil.rmtree(source)
    done = call(tmp_path, "x.tif", "-o", "x", "--format", "ome-zarr", *IDENTITY)
    assert done.returncode == 0, done.stderr
    (tmp_path / "x" / "x_decon.ome.zarr").rename(source)
    assert chunks(source)[0].read_bytes() != pixels
    again = call(tmp_path, *on)
    assert again.returncode == 0, again.stderr
    assert "its input changed: 1" in again.stderr
    assert leftovers(tmp_path / "out") == []


def test_a_manifest_names_zarr_and_a_flip_is_found_by_verify(tmp_path):
    make_stacks(tmp_path, 2)
    (tmp_path / "m.csv").write_text("input,output,format\ns00.tif,a.ome.zarr,\ns01.tif,,ome-zarr\n", encoding="utf-8")
    done = call(tmp_path, "m.csv", "-o", "out", *IDENTITY, "--ome-zarr", "0.4")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(p.name for p in out.glob("[!.]*.zarr")) == ["a.ome.zarr", "s01_decon.ome.zarr"]
    assert open_stack(out / "a.ome.zarr").header.extras["ngff"] == "0.4"
    sums = "".join(f"out/{name},{name[:1]}.tif,{digest(out / name)}\n" for name in ("a.ome.zarr", "s01_decon.ome.zarr"))
    sums = sums[:-2] + ("0" if sums[-2] != "0" else "1") + "\n"
    (tmp_path / "back.csv").write_text("input,output,sha256\n" + sums, encoding="utf-8")
    back = call(tmp_path, "back.csv", "-o", "tif", "-m", "identity")
    assert back.returncode == 3, back.stderr
    assert "its SHA-256 is" in back.stderr
    np.testing.assert_array_equal(
        open_stack(tmp_path / "tif" / "a.tif").pixels(), open_stack(tmp_path / "s00.tif").pixels()
    )
    one = next(p for p in (out / "a.ome.zarr" / "0").rglob("*") if p.is_file() and not p.name.startswith("."))
    stats, raw = one.stat(), bytearray(one.read_bytes())
    raw[-1] ^= 1
    one.write_bytes(raw)
    os.utime(one, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    words = ("m.csv", "-o", "out", *IDENTITY, "--ome-zarr", "0.4")
    assert "nothing to do" in call(tmp_path, *words).stderr
    again = call(tmp_path, *words, "--verify")
    assert (again.returncode, "its output was changed: 1" in again.stderr) == (0, True), again.stderr
    np.testing.assert_array_equal(open_stack(out / "a.ome.zarr").pixels(), open_stack(tmp_path / "s00.tif").pixels())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("s*.tif", "-o", "x.ome.zarr"), 73, "x.ome.zarr: is an OME-Zarr, or lies in one"),
        (("s*.tif", "-o", "o", "--ome-zarr", "0.4"), 2, "--ome-zarr: no result is an OME-Zarr"),
        (("s*.tif", "-o", "o", "--missing-chunks", "fill"), 2, "--missing-chunks: no input is an OME-Zarr"),
        ((".", "-o", "o"), 66, "is a folder, and no OME-Zarr"),
    ],
)
def test_refused_before_the_first_stack(tmp_path, words, code, said):
    make_stacks(tmp_path, 1)
    done = call(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["psf.tif", "s00.tif"]


@pytest.mark.parametrize("victim", ["the worker", "all"])
def test_e16_killed_while_a_zarr_is_written(tmp_path, victim):
    """Nothing stands under the name meanwhile; the worker's kill costs one more try, the batch's a rerun."""
    pixels = np.random.default_rng(3).poisson(100, (9, 5, 2, 200, 200)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    words = ("a.tif", "-o", "out", "--format", "ome-zarr", "-m", "identity", "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "microdeconv", "batch", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    out = tmp_path / "out"
    deadline = time.monotonic() + 60
    while not list(out.glob(".*partial/0/c/0")) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not (out / "a_decon.ome.zarr").exists()
    [worker] = psutil.Process(process.pid).children()
    os.kill(worker.pid if victim == "the worker" else process.pid, signal.SIGKILL)
    told = process.communicate(timeout=120)[1]
    if victim == "all":
        assert not (out / "a_decon.ome.zarr").exists()
        done = call(tmp_path, *words)
        assert done.returncode == 0, done.stderr
    else:
        assert (process.returncode, "it is tried once more" in told) == (0, True), told
    assert leftovers(out) == []
    stack = open_stack(out / "a_decon.ome.zarr")
    for t, c, volume in stack.volumes():
        np.testing.assert_array_equal(volume, pixels[t, :, c])
    [line] = journal(out)
    assert line[9] == short_digest(digest(out / "a_decon.ome.zarr"))
    assert json.loads((out / "batch_report.json").read_text(encoding="utf-8"))["counts"] == {"done": 1}
