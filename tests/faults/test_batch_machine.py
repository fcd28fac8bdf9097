"""Rows of the fault catalogue on what happens to a batch's disk, processes and inputs (E15, E17, E18, F8, F9, F11, I8, J18)."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from batch_files import OPTIONS, journal, leftovers, make_stacks, results
from conftest import ROOT
from kills import finish
from mounting import mounted

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
BATCH = (sys.executable, "-m", "microdeconv", "batch", "s*.tif", *OPTIONS, "-o", "out", "--workers", "1")


def begin(folder, *words):
    return subprocess.Popen([*BATCH, *words], cwd=folder, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_done(folder, count, process):
    while len(journal(folder / "out")) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def on_a_small_disk(folder, size, script):
    """Run lines of a shell where `out` is a file system of its own; `$batch` runs the batch."""
    (folder / "out").mkdir()
    batch = " ".join(f"'{word}'" if "*" not in word else word for word in BATCH)
    lines = f'mount -t tmpfs -o size={size} tmpfs {folder}/out || exit 99\ncd {folder}\nbatch() {{ {batch} "$@"; }}\n{script}'
    return mounted(lines)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_e17_when_space_comes_back_only_the_rest_is_done(tmp_path):
    make_stacks(tmp_path, 4, edge=96)
    done = on_a_small_disk(tmp_path, "360k", """
batch; echo "first $?"
cp out/batch_report.json first.json
ls -A out | grep partial
mount -o remount,size=8m out && batch; echo "then $?"
cp -r out kept
""")  # fmt: skip
    assert "first 3" in done.stdout, done.stderr
    assert "partial" not in done.stdout
    told = json.loads((tmp_path / "first.json").read_text(encoding="utf-8"))["rows"]
    failed = [row for row in told if row["status"] == "failed"]
    assert 1 <= len(failed) <= 3
    assert {row["exit"] for row in failed} == {74}
    assert "then 0" in done.stdout, done.stderr
    assert f"4 stacks, {4 - len(failed)} done already" in done.stderr
    assert len(journal(tmp_path / "kept")) == len(results(tmp_path / "kept")) == 4


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_e18_a_disk_that_is_full_from_the_start(tmp_path):
    make_stacks(tmp_path, 1)
    done = on_a_small_disk(tmp_path, "64k", """
dd if=/dev/zero of=out/fill bs=4k 2>/dev/null
batch -q; echo "code $?"
""")  # fmt: skip
    assert "code 74" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert "disk is full" in done.stderr


def test_e15_partial_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    make_stacks(tmp_path, 1)
    (tmp_path / "out").mkdir()
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = ".s00_decon.tif.{}.{}.partial"
    here = socket.gethostname()[:40]
    planted = [tmp_path / "out" / name.format(here, pid) for pid in (dead.pid, os.getpid())]
    for path in planted:
        path.write_bytes(b"half")
    finish(tmp_path, tmp_path / "out", 1, ENVIRONMENT)
    assert leftovers(tmp_path / "out") == [planted[1].name]


def test_f9_stopped_and_continued(tmp_path):
    make_stacks(tmp_path, 3)
    finish(tmp_path, tmp_path / "calm", 1, ENVIRONMENT)
    process = begin(tmp_path)
    wait_done(tmp_path, 1, process)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for one in everyone:
        one.suspend()
    done = len(journal(tmp_path / "out"))
    time.sleep(1.5)
    assert len(journal(tmp_path / "out")) == done
    for one in everyone:
        one.resume()
    assert process.wait(timeout=120) == 0, process.stderr.read()
    process.stderr.close()
    assert results(tmp_path / "out") == results(tmp_path / "calm")


def test_f11_a_stack_that_kills_two_workers_is_listed_and_the_rest_done(tmp_path):
    make_stacks(tmp_path, 4)
    process = begin(tmp_path)
    wait_done(tmp_path, 1, process)
    seen = set()
    while len(seen) < 2:
        assert process.poll() is None, process.stderr.read()
        for child in psutil.Process(process.pid).children():
            if child.pid not in seen and child.status() != psutil.STATUS_ZOMBIE:
                child.send_signal(signal.SIGSEGV)
                seen.add(child.pid)
        time.sleep(0.02)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 3, told
    rows = json.loads((tmp_path / "out" / "batch_report.json").read_text(encoding="utf-8"))["rows"]
    assert sorted(row["status"] for row in rows) == ["done", "done", "done", "failed"]
    [row] = [row for row in rows if row["status"] == "failed"]
    assert row["exit"] == 71
    assert "was killed by SIGSEGV" in row["message"]
    assert leftovers(tmp_path / "out") == []


def test_f8_the_reader_of_a_dry_run_goes_away(tmp_path):
    make_stacks(tmp_path, 1)
    rows = "\n".join(f"s00.tif,{number}.tif" for number in range(4000))
    (tmp_path / "m.csv").write_text(f"input,output\n{rows}\n", encoding="utf-8")
    words = f"set -o pipefail; {sys.executable} -m microdeconv batch m.csv -o out --dry-run | head -1"
    done = subprocess.run(
        ["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 141, done.stderr
    assert done.stdout == "s00.tif\tout/0.tif\tnew\n"
    assert "Traceback" not in done.stderr


def test_i8_ten_thousand_rows_start_soon_in_little_memory(tmp_path):
    """Seconds of the processor, as the machine may be busy; measured in tests/measure/batch_start.py."""
    make_stacks(tmp_path, 1)
    for number in range(10_000):
        os.link(tmp_path / "s00.tif", tmp_path / f"t{number:05}.tif")
    rows = "\n".join(f"t{number:05}.tif,{5 + number % 40}" for number in range(10_000))
    (tmp_path / "m.csv").write_text(f"input,iterations\n{rows}\n", encoding="utf-8")
    words = [sys.executable, "-m", "microdeconv", "batch", "m.csv", "-o", "out", "--dry-run"]
    watched = (  # a process's peak is at least that of the one which it is forked from: a small one
        "import resource as r, subprocess, sys; subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL, check=True);"
        "u = r.getrusage(r.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    )
    with (tmp_path / "told").open("w") as told:
        subprocess.run([sys.executable, "-c", watched, *words], cwd=tmp_path, env=ENVIRONMENT, stdout=told, check=True)
    *rows, last = (tmp_path / "told").read_text().splitlines()
    assert len(rows) == 10_000
    seconds, kilobytes = map(float, last.split())
    assert seconds < 6
    assert kilobytes < 120_000


def test_j18_an_input_that_a_node_sees_late_is_waited_for(tmp_path):
    make_stacks(tmp_path, 2)
    (tmp_path / "m.csv").write_text("input\ns00.tif\ns01.tif\n", encoding="utf-8")
    (tmp_path / "s01.tif").rename(tmp_path / "late")
    later = threading.Timer(3, (tmp_path / "late").rename, [tmp_path / "s01.tif"])
    later.start()
    words = [sys.executable, "-m", "microdeconv", "batch", "m.csv", "-o", "out", *OPTIONS, "--dry-run"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env={**ENVIRONMENT, "SLURM_JOB_ID": "7"}, check=False
    )
    later.join()
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
