"""Engines: processes here that die, an array of Slurm; all give the same bytes. Of Dask: tests/faults/test_dask.py."""

import os
import signal
import sys
import threading
import time

import pytest
from huge_files import Here, asked_for, calm, drive_for, make_stack, scheme_for
from slurm_fixture import Slurm, wait_for, why_not

from microdeconv.batch.pool import shares
from microdeconv.errors import UnavailableError, UsageError
from microdeconv.huge import dask_engine
from microdeconv.huge.local import Local
from microdeconv.io.stacks import digest

pytest.importorskip("zarr", reason="needs the extra zarr")


def local(scheme, workers=1):
    return Local(scheme.folder, shares(workers, scheme.count, 0, 1, 2 * 10**9, "cpu"))


def test_a_worker_that_is_killed_is_replaced_and_its_tile_done_again(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    engine = local(scheme)
    killed = []

    def kill_once():
        while not killed:
            for worker in engine.pool.busy:
                if worker.process is not None and worker.unit.number >= 0:
                    time.sleep(1)
                    worker.process.kill()
                    killed.append(worker.unit.number)
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=kill_once)
    thread.start()
    assert drive_for(scheme, engine).run() == 0
    thread.join()
    assert killed
    assert digest(scheme.image) == calm(tmp_path)
    assert list((scheme.folder / "claims").iterdir()) == []


def test_usr1_ends_it_after_the_tile_in_hand(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)

    class Signalled(Here):
        def map(self, jobs):
            for outcome in super().map(jobs):
                if outcome is not None and outcome.job.number == 1:
                    os.kill(os.getpid(), signal.SIGUSR1)
                yield outcome

    drive = drive_for(scheme, Signalled(scheme))
    assert drive.run() == 75
    assert sorted(drive.state.done) == [0, 1]


def test_the_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UnavailableError, match=r"microdeconv\[cluster\]") as caught:
        dask_engine.library()
    assert caught.value.exit_code == 69


def test_the_script_of_an_array_calls_this_plan(tmp_path, capsys):
    from microdeconv.huge.slurm_array import submit_array

    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    words = ["--tiles", "s.tif", "-o", "out.ome.zarr"]
    assert submit_array(scheme, asked_for(tmp_path, workers="4"), words, lambda _: None, dry_run=True) == 0
    text = capsys.readouterr().out
    assert "--array=1-4" in text
    assert 'batch --tiles s.tif -o out.ome.zarr --workers 1 --shard "$SLURM_ARRAY_TASK_ID/4"' in text


@pytest.mark.slurm
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_an_array_on_a_real_slurm_gives_the_same_bytes(tmp_path, program):
    make_stack(tmp_path)
    slurm = Slurm(tmp_path / "slurm")
    words = ("--psf", "psf.tif", "-n", "2", "--background", "90", "--axes", "ZYX", "--tile", "32")
    environment = {k: slurm.environment[k] for k in ("PATH", "SLURM_CONF")}
    try:
        slurm.start()
        done = program(
            "batch",
            "--tiles",
            "s.tif",
            "-o",
            "out.ome.zarr",
            *words,
            "--engine",
            "slurm",
            "--workers",
            "2",
            **environment,
            SBATCH_TIMELIMIT="10",
        )
        assert done.returncode == 0, done.stderr
        job = done.stderr.split("submitted as job ")[1].split(":")[0]
        wait_for(lambda: slurm.state(job) == {"COMPLETED"}, 120, "the array has ended")
    finally:
        slurm.stop()
    assert digest(tmp_path / "out.ome.zarr.tiles" / "image") == calm(tmp_path)
    done = program("finish", "out.ome.zarr", "--workers", "1")
    assert done.returncode == 0, done.stderr


@pytest.mark.slurm
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_submitted_scripts_do_and_finish_it_on_a_real_slurm(tmp_path, program):
    make_stack(tmp_path)
    slurm = Slurm(tmp_path / "slurm")
    words = ("--psf", "psf.tif", "-n", "2", "--background", "90", "--axes", "ZYX", "--tile", "32", "--array", "2")
    environment = {k: slurm.environment[k] for k in ("PATH", "SLURM_CONF")}
    try:
        slurm.start()
        done = program("slurm-script", "s.tif", "--tiles", "-o", "out.ome.zarr", *words, "--cpus", 1, "--time-limit", 10,
                       "--submit", **environment)  # fmt: skip
        assert done.returncode == 0, done.stderr
        last = done.stderr.split("job ")[-1].split(" finishes it")[0]
        wait_for(lambda: slurm.state(last) == {"COMPLETED"}, 180, "the job that finishes it has ended")
    finally:
        slurm.stop()
    calm(tmp_path)
    wanted = tmp_path / "calm.ome.zarr.tiles" / "image" / "0"
    assert digest(tmp_path / "out.ome.zarr" / "0") == digest(wanted)


@pytest.mark.parametrize(
    ("told", "wall", "leaves"), [(None, "04:00:00", "13500s"), ("1-12:00:00", "1-12:00:00", "121500s")]
)
def test_dasks_slurm_jobs_take_the_sites_time_limit(tmp_path, monkeypatch, told, wall, leaves):
    slurm = pytest.importorskip("dask_jobqueue.slurm", reason="needs the extra cluster")
    asked = []

    class Cluster:
        def __init__(self, **given):
            asked.append(given)

        def adapt(self, **bounds):
            asked.append(bounds)

    monkeypatch.setattr(slurm, "SLURMCluster", Cluster)
    monkeypatch.delenv(dask_engine.LIMIT, raising=False)
    if told:
        monkeypatch.setenv(dask_engine.LIMIT, told)
    make_stack(tmp_path)
    dask_engine._slurm_cluster(dask_engine.library(), scheme_for(tmp_path), "3")
    assert (asked[0]["walltime"], asked[0]["worker_extra_args"][1]) == (wall, leaves)
    assert asked[1] == {"minimum_jobs": 1, "maximum_jobs": 3}
    monkeypatch.setenv(dask_engine.LIMIT, "soon")
    with pytest.raises(UsageError, match="SBATCH_TIMELIMIT=soon"):
        dask_engine._slurm_cluster(dask_engine.library(), scheme_for(tmp_path), "3")
