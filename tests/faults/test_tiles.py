"""Rows of the fault catalogue on the tiles of one huge stack, through the program (F2, F4, I12, J14, J16), and memory.

J13 stands in tests/huge/test_prepare.py, workers of Dask in test_dask.py, kills at system calls in test_sweep.py.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from batch_files import OPTIONS as BATCH
from batch_files import leftovers, results
from conftest import ROOT, plain_environment
from huge_files import OPTIONS, calm, drive_for, make_stack, plan_of, scheme_for, tiles_done
from kills import TILES, kill_once, outliving

from microdeconv.cli.app import main
from microdeconv.io.stacks import digest

pytest.importorskip("zarr", reason="needs the extra zarr")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
HERE = ("batch", "--tiles", "s.tif", "-o", "out.ome.zarr", *OPTIONS)
PROGRAM = (sys.executable, "-m", "microdeconv")


def tree(folder):
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    "words",
    [
        ("s.tif", "-o", "out", *BATCH),
        ("s.tif", "-o", "out", *BATCH, "--format", "ome-zarr"),
        HERE[1:],
        (*HERE[1:], "--engine", "slurm"),
        (*HERE[1:], "--engine", "dask"),
    ],
)
def test_i12_a_dry_run_creates_nothing(tmp_path, monkeypatch, capsys, words):
    if "dask" in words:
        pytest.importorskip("distributed", reason="the extra cluster is not installed")
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    assert main(["batch", *words, "--dry-run"]) == 0
    told = capsys.readouterr()
    assert tree(tmp_path) == before
    if "slurm" in words:
        assert "#SBATCH --array=1-6\n" in told.out
    elif "--tiles" in words:
        assert told.out.split() == list("012345")
        assert "would plan 6 tiles of 32 voxels" in told.err


def test_i12_a_dry_run_over_a_plan_changes_nothing(tmp_path, monkeypatch, capsys):
    scheme = scheme_for(tmp_path, stack=make_stack(tmp_path).name)
    drive = drive_for(scheme)
    drive.needed = [0, 4]
    drive.run()
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    for words, wanted in (((), "1235"), (("--shard", "1/2"), "2"), (("--restart",), "012345")):
        assert main([*HERE, "--dry-run", *words]) == 0
        assert capsys.readouterr().out.split() == list(wanted)
    assert tree(tmp_path) == before


def test_j14_finish_names_a_missing_tile_and_gives_no_name(tmp_path, monkeypatch, capsys):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    assert drive_for(scheme).run() == 0
    [path] = scheme.folder.glob("done-*")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)[0] != 3), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["finish", "out.ome.zarr", "--workers", "1"]) == 75
    assert "1 of 6 tiles are not done (3)" in capsys.readouterr().err
    assert not (tmp_path / "out.ome.zarr").exists()
    assert drive_for(scheme).run() == 0
    assert main(["finish", "out.ome.zarr", "--workers", "1", "--threads", "1"]) == 0
    assert (tmp_path / "out.ome.zarr").is_dir()


def test_j16_a_number_of_processors_that_is_none_is_passed_over(tmp_path, monkeypatch, capsys):
    """For batches of many stacks: J15 in test_batch.py."""
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "abc")
    assert main([*HERE, "--dry-run"]) == 0
    assert "SLURM_CPUS_PER_TASK=abc: not a number" in capsys.readouterr().err


LONG = """
import os, time
import {module} as module
def long(*_, **__):
    open({folder!r} + "/begun", "w").close()
    import hashlib
    hashlib.pbkdf2_hmac("sha256", b"x", b"x", 10**9)  # a C call of minutes that looks at no signal
module.{name} = long
"""


@pytest.mark.parametrize("tiles", [False, True])
def test_f4_a_signal_while_a_worker_is_in_a_long_c_call(tmp_path, tiles):
    """As in one big transform: the worker cannot answer, and is killed."""
    make_stack(tmp_path)
    code = LONG.format(module="microdeconv.huge.unit" if tiles else "microdeconv.pipeline", folder=str(tmp_path),
                       name="deconvolve_tile" if tiles else "execute")  # fmt: skip
    (tmp_path / "sitecustomize.py").write_text("import sys\nif '-P' in sys.orig_argv:\n" + code.replace("\n", "\n    "))
    words = HERE if tiles else ("batch", "s.tif", "-o", "out", *BATCH)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    process = subprocess.Popen([*PROGRAM, *words, "--workers", "1"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                               env={**ENVIRONMENT, "PYTHONPATH": path})  # fmt: skip
    while not (tmp_path / "begun").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 143, told
    assert "Traceback" not in told
    assert not outliving(workers)
    if tiles:
        assert list((plan_of(tmp_path) / "claims").iterdir()) == []
    else:
        assert (leftovers(tmp_path / "out"), results(tmp_path / "out")) == ([], {})


def test_f2_kills_at_random_times(tmp_path):
    make_stack(tmp_path, shape=(4, 224, 224))
    dice = random.Random(11)
    output, hits, done = tmp_path / "out.ome.zarr", [], [0]
    for place in range(6):  # soon after the start, or soon after one tile more was done
        more = done[-1] + place % 2

        def ready(more=more):
            return tiles_done(tmp_path) >= more

        hits.append(kill_once(tmp_path, output, 1, 0.2, dice, ENVIRONMENT, TILES, ready))
        done.append(tiles_done(tmp_path))
    scheme = scheme_for(tmp_path)
    assert len([hit for hit in hits if hit != "nothing"]) >= 3
    assert any(0 < number < scheme.count for number in done), done
    assert drive_for(scheme).run() == 0
    assert digest(scheme.image) == calm(tmp_path)
    from huge_files import Here

    from microdeconv.huge.finish import finish

    whole = scheme_for(tmp_path, output="calm.ome.zarr")
    for one, name in ((scheme, "out.ome.zarr"), (whole, "calm.ome.zarr")):
        finish(one, tmp_path / name, Here(one), lambda *_: None)
    for level in ("0", "1"):
        if (tmp_path / "calm.ome.zarr" / level).exists():
            assert digest(tmp_path / "out.ome.zarr" / level) == digest(tmp_path / "calm.ome.zarr" / level)
    assert not list(tmp_path.glob(".*partial")) + list(tmp_path.glob(".*replaced"))


def test_a_worker_of_tiles_keeps_within_the_memory_that_the_plan_promises(tmp_path):
    make_stack(tmp_path, shape=(24, 700, 600))
    scheme = scheme_for(tmp_path, tile=256)
    code = f"""
from microdeconv.huge.jobs import Job, JobTask
from microdeconv.machine import peak_memory
for unit in (0, 4):
    JobTask({str(scheme.folder)!r}, Job("tile", unit), {{"threads": 1}}).do(lambda *_: None)
print(peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=plain_environment())  # fmt: skip
    peak, promised = int(done.stdout), scheme.told["memory"]
    assert 0.4 * promised < peak <= promised, (peak, promised)
