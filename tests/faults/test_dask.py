"""Rows of the fault catalogue on workers of Dask (J7–J12, J19)."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import psutil
import pytest
from conftest import ROOT
from huge_files import OPTIONS, calm, drive_for, make_stack, plan_of, scheme_for
from kills import outliving
from slurm_fixture import Slurm, wait_for, why_not

from microdeconv.cli.app import main
from microdeconv.errors import UnavailableError
from microdeconv.huge import dask_engine
from microdeconv.huge.dask_engine import Dask, NoWorkerError
from microdeconv.huge.state import State
from microdeconv.io.stacks import digest

pytest.importorskip("zarr", reason="needs the extra zarr")
pytestmark = [
    pytest.mark.skipif(not all(map(find_spec, ("distributed", "dask_jobqueue", "cryptography"))),
                       reason="needs the extra cluster"),
    pytest.mark.filterwarnings("ignore"),
]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
TILES = ("batch", "--tiles", "s.tif", "-o", "out.ome.zarr", *OPTIONS, "--engine", "dask")


def scheduler_here():
    """A scheduler in this process, without workers."""
    from distributed import LocalCluster

    return LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1", silence_logs=50)


def done_tiles(folder):
    state = State(folder)
    state.refresh()
    return set(state.done)


def test_j7_a_killed_worker_is_replaced_and_the_bytes_are_equal(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    engine = Dask(scheme, "1", None)
    assert engine.client.scheduler.address.startswith("tls://127.0.0.1")
    [pid] = engine.client.run(os.getpid).values()
    told = []
    drive = drive_for(scheme, engine)

    def tell(status, unit, details):
        told.append(status)
        if len(told) == 2:
            psutil.Process(pid).kill()

    drive.tell = tell
    assert drive.run() == 0
    assert told == ["done"] * 6
    assert digest(scheme.image) == calm(tmp_path)


def test_j9_a_tile_that_kills_every_worker_is_listed_and_the_rest_done(tmp_path, monkeypatch):
    """Tiles that waited where it killed are not blamed."""
    import dask

    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    monkeypatch.setattr(dask_engine, "do", killed_by_tile_2)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        drive = drive_for(scheme, Dask(scheme, "1", None))
        assert drive.run() == 3
    assert list(drive.failed) == [2]
    assert (drive.failed[2]["exit"], drive.failed[2]["message"]) == (71, "several workers died of it")
    assert done_tiles(scheme.folder) == {0, 1, 3, 4, 5}
    assert list((scheme.folder / "claims").iterdir()) == []


def killed_by_tile_2(task, wanted):
    from microdeconv.batch.worker import attempt

    if task.job.number == 2:
        os._exit(9)
    return attempt(task, lambda *_: None)


def test_j10_when_the_client_is_killed_its_workers_leave_and_a_rerun_goes_on(tmp_path):
    make_stack(tmp_path)
    process = subprocess.Popen([sys.executable, "-m", "microdeconv", *TILES, "--workers", "1"], cwd=tmp_path,
                               env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not done_tiles(plan_of(tmp_path)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    started = psutil.Process(process.pid).children(recursive=True)
    assert started
    process.kill()
    process.communicate()
    assert not outliving(started, 60)
    before = done_tiles(plan_of(tmp_path))
    scheme = scheme_for(tmp_path)
    drive = drive_for(scheme)
    assert set(drive.needed) == set(range(6)) - before
    assert drive.run() == 0
    assert digest(scheme.image) == calm(tmp_path)


def test_j10_a_scheduler_that_is_killed_ends_it_with_work_left(tmp_path, monkeypatch):
    make_stack(tmp_path)
    monkeypatch.setattr(dask_engine, "ANSWER", 2)
    words = [sys.executable, "-c", "from distributed.cli.dask_scheduler import main; main()", "--host", "127.0.0.1",
             "--port", "0", "--no-dashboard", "--scheduler-file", str(tmp_path / "s.json")]  # fmt: skip
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "s.json").exists, 60, "the scheduler")
    address = json.loads((tmp_path / "s.json").read_text())["address"]
    scheme = scheme_for(tmp_path)
    drive = drive_for(scheme, Dask(scheme, "1", address))
    later = threading.Timer(2, process.kill)
    later.start()
    with pytest.raises(NoWorkerError, match="scheduler is gone") as caught:
        drive.run()
    later.join()
    process.wait()
    assert caught.value.exit_code == 75
    assert list((scheme.folder / "claims").iterdir()) == []


def test_j11_no_worker_is_not_waited_for_for_ever(tmp_path, monkeypatch, capsys):
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    with scheduler_here() as cluster:
        words = [*TILES, "--scheduler", cluster.scheduler_address, "--wait-for-workers", "2"]
        assert main(words) == 75
    told = capsys.readouterr().err.splitlines()[-1]
    assert "no worker for 2 s" in told
    assert list((plan_of(tmp_path) / "claims").iterdir()) == []


def test_j12_a_stranger_without_the_certificate_is_refused():
    import distributed

    bare = ssl.create_default_context()
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    with dask_engine._local_cluster(distributed, "0") as cluster:
        address = cluster.scheduler_address
        with pytest.raises(OSError, match="TLS certificate does not match"):
            distributed.Client(address, security=distributed.Security.temporary(), timeout=2)
        with pytest.raises(OSError, match="Timed out|closed"):
            distributed.Client(address.replace("tls", "tcp"), timeout=2)
        host, port = address.removeprefix("tls://").split(":")
        with pytest.raises(ssl.SSLError, match="(?i)certificate required"):  # it does not look whom it talks to
            bare.wrap_socket(socket.create_connection((host, int(port)), timeout=5)).recv(1)
        with distributed.Client(address, security=cluster.security, timeout=10) as friend:
            assert len(cluster.scheduler.clients.keys() - {"fire-and-forget"}) == 1, friend


def test_j19_a_worker_of_another_version_is_named(tmp_path):
    make_stack(tmp_path)
    shutil.copytree(ROOT / "microdeconv", tmp_path / "old" / "microdeconv", ignore=shutil.ignore_patterns("*.pyc"))
    about = tmp_path / "old" / "microdeconv" / "__init__.py"
    ours = dask_engine.versions()["microdeconv"]
    about.write_text(about.read_text(encoding="utf-8").replace(f'"{ours}"', '"0.0.9"'), encoding="utf-8")
    scheme = scheme_for(tmp_path)
    with scheduler_here() as cluster:
        words = [sys.executable, "-c", "from distributed.cli.dask_worker import main; main()",
                 cluster.scheduler_address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]  # fmt: skip
        worker = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL,
                                  env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "old")})  # fmt: skip
        try:
            with pytest.raises(UnavailableError, match=f"a worker has microdeconv 0.0.9, not {ours}") as caught:
                drive_for(scheme, Dask(scheme, "1", cluster.scheduler_address)).run()
        finally:
            worker.kill()
            worker.wait()
    assert caught.value.exit_code == 69
    assert done_tiles(scheme.folder) == set()


def test_a_scheduler_that_does_not_answer_is_told(tmp_path, monkeypatch):
    make_stack(tmp_path)
    monkeypatch.setattr(dask_engine, "ANSWER", 1)
    with pytest.raises(UnavailableError, match="tcp://127.0.0.1:9"):
        Dask(scheme_for(tmp_path), "1", "tcp://127.0.0.1:9")


def words_of_slurm(slurm):
    return {**ENVIRONMENT, "PATH": slurm.environment["PATH"], "SLURM_CONF": slurm.environment["SLURM_CONF"]}


@pytest.mark.slurm
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm is here")
def test_j8_j10_j11_jobs_of_a_real_slurm_cancelled_orphaned_and_never_granted(tmp_path):
    make_stack(tmp_path, shape=(4, 260, 260))
    slurm = Slurm(tmp_path / "slurm")
    call = [sys.executable, "-m", "microdeconv", *TILES, "--scheduler", "slurm", "--workers", "1"]

    def jobs(state="RUNNING"):
        return slurm.ask("squeue", "-h", "-t", state, "-o", "%i").split()

    def begin():
        return subprocess.Popen(call, cwd=tmp_path, env=words_of_slurm(slurm), stderr=subprocess.PIPE, text=True)

    try:
        slurm.start()
        process = begin()
        wait_for(lambda: len(done_tiles(plan_of(tmp_path))) > 1, 120, "tiles are done")
        [job] = jobs()
        slurm.ask("scancel", job)
        wait_for(lambda: set(jobs()) - {job}, 120, "another job runs")
        done = len(done_tiles(plan_of(tmp_path)))
        wait_for(lambda: len(done_tiles(plan_of(tmp_path))) > done, 120, "more tiles are done")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not jobs(), 75, "the workers have left")
        process = begin()
        told = process.communicate(timeout=300)[1]
        assert process.returncode == 0, told
        wait_for(lambda: not jobs() and not jobs("PENDING"), 30, "no job is left")
        assert digest(plan_of(tmp_path) / "image") == calm(tmp_path)
        for node in ("n1", "n2"):
            slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        call[call.index("out.ome.zarr")] = "other.ome.zarr"
        call += ["--wait-for-workers", "15"]
        process = begin()
        told = process.communicate(timeout=120)[1]
        assert process.returncode == 75, told
        wait_for(lambda: not jobs("PENDING"), 30, "no job is left in the queue")
    finally:
        slurm.stop()
