"""Rows of the fault catalogue that concern batches, through the program (E14, E15, F3, F7, F10–F17, I1, I9–I13, J15)."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from batch_files import OPTIONS, begun, journal, leftovers, make_stacks, results
from conftest import ROOT
from kills import check_after, check_end, finish, kill_once, outliving

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def call(folder, *words, items=("s*.tif",), **environment):
    return subprocess.run(
        [sys.executable, "-m", "microdeconv", "batch", *items, "-o", "out", *OPTIONS, *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=300, env={**ENVIRONMENT, **environment}, check=False,
    )  # fmt: skip


def begin(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "microdeconv", "batch", "s*.tif", "-o", "out", *OPTIONS, "--workers", "1", *words],
        cwd=folder, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def wait_done(folder, count, process):
    while len(journal(folder / "out")) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def report(folder):
    return json.loads((folder / "out" / "batch_report.json").read_text(encoding="utf-8"))


def test_i1_i9_one_bad_file_does_not_stop_the_rest_and_a_rerun_does_only_that(tmp_path):
    make_stacks(tmp_path, 3)
    good = (tmp_path / "s01.tif").read_bytes()
    (tmp_path / "s01.tif").write_bytes(good[:3000])
    (tmp_path / "=1+1.tif").write_bytes(b"no picture")
    done = call(tmp_path, items=("s*.tif", "=1+1.tif"))
    assert done.returncode == 3, done.stderr
    assert sorted(results(tmp_path / "out")) == ["s00_decon.tif", "s02_decon.tif"]
    assert leftovers(tmp_path / "out") == []
    told = {row["input"]: row for row in report(tmp_path)["rows"]}
    assert told["s01.tif"]["status"] == told["=1+1.tif"]["status"] == "failed"
    assert told["s01.tif"]["exit"] == 65
    assert told["s01.tif"]["message"]
    assert told["s00.tif"]["exit"] == 0
    with (tmp_path / "out" / "batch_report.csv").open(encoding="utf-8") as file:
        assert [row["input"] for row in csv.DictReader(file)][-1] == "'=1+1.tif"
    (tmp_path / "s01.tif").write_bytes(good)
    again = call(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "3 stacks, 2 done already" in again.stderr
    assert len(journal(tmp_path / "out")) == 3
    nothing = call(tmp_path)
    assert (nothing.returncode, "nothing to do" in nothing.stderr) == (0, True)


def test_f12_f14_f17_what_a_rerun_does(tmp_path):
    make_stacks(tmp_path, 2)
    assert call(tmp_path).returncode == 0
    first = results(tmp_path / "out")
    other = call(tmp_path, "--gain", 2)
    assert other.returncode == 73
    assert "gain - then, 2.0 now" in other.stderr
    (tmp_path / "out" / "s00_decon.tif").unlink()
    flipped = bytearray(first["s01_decon.tif"])
    flipped[-1] ^= 1
    (tmp_path / "out" / "s01_decon.tif").write_bytes(flipped)
    [path] = (tmp_path / "out" / ".microdeconv").glob("done-*")
    path.write_text(path.read_text(encoding="utf-8").replace('"0.1.0"', '"0.0.9"'), encoding="utf-8")
    again = call(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "its output is gone: 1" in again.stderr
    assert "its output was changed: 1" in again.stderr
    assert results(tmp_path / "out") == first


def test_i12_a_dry_run_writes_nothing_and_i11_foreign_files_are_kept(tmp_path):
    make_stacks(tmp_path, 2)
    before = sorted(tmp_path.rglob("*"))
    done = call(tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["s00.tif\tout/s00_decon.tif\tnew", "s01.tif\tout/s01_decon.tif\tnew"]
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s01_decon.tif").write_bytes(b"mine")
    done = call(tmp_path)
    assert done.returncode == 73
    assert "exists already" in done.stderr
    assert (tmp_path / "out" / "s01_decon.tif").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "items", "code", "said"),
    [
        (("--shard", "3/2"), ("s*.tif",), 2, "no part 3 of 2"),
        (("--shard", "a/b"), ("s*.tif",), 2, "--shard takes I/N"),
        (("--workers", "0"), ("s*.tif",), 2, "--workers 0"),
        (("--restart", "--shard", "1/2"), ("s*.tif",), 2, "--restart"),
        ((), ("none*.tif",), 66, "no file matches"),
        ((), ("none.tif",), 66, "no such file"),
        ((), ("m.csv",), 78, "did you mean iterations"),
        ((), ("away.csv",), 77, "outside"),
        (("--freeze-from", "x.tif"), ("s*.tif",), 66, "not a stack of this batch"),
        (("--device", "all"), ("s*.tif",), 69, "no GPU"),
    ],
)
def test_refused_before_the_first_stack(tmp_path, words, items, code, said):
    make_stacks(tmp_path, 1)
    (tmp_path / "m.csv").write_text("input,iteratoins\ns00.tif,5\n", encoding="utf-8")
    (tmp_path / "away.csv").write_text("input,output\ns00.tif,../a.tif\n", encoding="utf-8")
    done = call(tmp_path, *words, items=items, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not results(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_i13_fail_fast_leaves_the_rest(tmp_path):
    make_stacks(tmp_path, 3)
    (tmp_path / "s00.tif").write_bytes(b"no picture")
    done = call(tmp_path, "--fail-fast", "--workers", 1)
    assert done.returncode == 65, done.stderr
    assert [row["status"] for row in report(tmp_path)["rows"]] == ["failed", "not started", "not started"]
    assert leftovers(tmp_path / "out") == []


def test_j15_j16_more_tasks_than_stacks_and_a_number_that_is_none(tmp_path):
    make_stacks(tmp_path, 2)
    names = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "9"}
    done = call(tmp_path, SLURM_CPUS_PER_TASK="abc", **names)
    assert done.returncode == 0, done.stderr
    assert "part 9/9 (Slurm's array): 0 stacks" in done.stderr
    assert "nothing to do" in done.stderr
    assert "SLURM_CPUS_PER_TASK=abc" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_f3_f5_f6_a_signal_ends_it_cleanly(tmp_path, number, code):
    make_stacks(tmp_path, 6)
    process = begin(tmp_path)
    wait_done(tmp_path, 1, process)
    children = psutil.Process(process.pid).children()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert not outliving(children)
    assert leftovers(tmp_path / "out") == []


def test_f7_usr1_ends_after_the_stack_in_hand(tmp_path):
    make_stacks(tmp_path, 6)
    process = begin(tmp_path)
    wait_done(tmp_path, 1, process)
    process.send_signal(signal.SIGUSR1)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert "work is left" in told
    done = len(journal(tmp_path / "out"))
    assert len(results(tmp_path / "out")) == done < 6
    assert leftovers(tmp_path / "out") == []
    assert call(tmp_path).returncode == 0
    assert len(journal(tmp_path / "out")) == 6


def test_f10_f11_e15_kills_of_workers_and_of_all(tmp_path):
    make_stacks(tmp_path, 4)
    process = begin(tmp_path)
    wait_done(tmp_path, 1, process)
    [worker] = psutil.Process(process.pid).children()
    worker.kill()
    wait_done(tmp_path, 2, process)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert not outliving(workers)
    assert begun(tmp_path / "out") <= 1
    done = call(tmp_path, "--workers", 1)
    assert done.returncode == 0, done.stderr
    keys = [line[1] for line in journal(tmp_path / "out")]
    assert sorted(keys) == sorted(set(keys))
    assert leftovers(tmp_path / "out") == []


def test_i11_e14_two_batches_at_once_do_each_stack_once(tmp_path):
    make_stacks(tmp_path, 5)
    both = [begin(tmp_path), begin(tmp_path)]
    for process in both:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    keys = [line[1] for line in journal(tmp_path / "out")]
    assert len(keys) == len(set(keys)) == 5
    assert leftovers(tmp_path / "out") == []


def test_freeze_chooses_once(tmp_path):
    make_stacks(tmp_path, 3)
    words = [w for w in OPTIONS if w not in ("--background", "90")]
    done = subprocess.run(
        [sys.executable, "-m", "microdeconv", "batch", "s*.tif", "-o", "out", *words, "--freeze-from", "s01.tif",
         "--record"],
        cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((tmp_path / "out").glob("s*.json"))]
    channels = [record["channels"][0] for record in records]
    assert len(channels) == 3
    assert len({(c["background"], c["gain"], c["offset"], c["iterations"]) for c in channels}) == 1
    assert channels[0]["sources"]["background"] == "given"
    assert channels[1]["sources"]["background"] != "given"
    assert len(journal(tmp_path / "out")) == 3


def test_f2_eight_kills_at_random_times(tmp_path):
    make_stacks(tmp_path, 8)
    whole = finish(tmp_path, tmp_path / "calm", 1, ENVIRONMENT)
    wanted = results(tmp_path / "calm")
    dice = random.Random(7)
    for _ in range(8):
        kill_once(tmp_path, tmp_path / "out", 1, whole, dice, ENVIRONMENT)
        check_after(tmp_path / "out", 1)
    finish(tmp_path, tmp_path / "out", 1, ENVIRONMENT)
    check_end(tmp_path / "out", wanted)
