"""Job scripts, and one batch on a real Slurm with a node killed (rows J1, J4)."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from slurm_fixture import why_not

from microdeconv.batch.slurm import Job, as_time, minutes_of, read_time, script

WORDS = ["m.csv", "-o", "out put"]


def test_a_script_asks_for_what_a_task_needs():
    text = script(WORDS, Path("/x/out put"), Path("/x"), Job(4, "01:00:00", 900, 2, 1, "gpu"))
    for head in ("--array=1-4", "--mem=900M", "--cpus-per-task=2", "--signal=B:USR1@120", "--requeue", "--gres=gpu:1",
                 "--partition=gpu", "--output=/x/out put/logs/%A_%a.log"):  # fmt: skip
        assert f"#SBATCH {head}\n" in text
    last = text.splitlines()[-1]
    assert last.startswith("exec ")
    assert last.endswith("batch m.csv -o 'out put' --shard \"$SLURM_ARRAY_TASK_ID/4\"")


def test_a_script_requeues_itself_where_the_site_does_not():
    text = script(WORDS, Path("/x/o"), Path("/x"), Job(1, "10", 900, requeue="script"))
    assert "scontrol requeue" in text
    assert "exec " not in text.split("scontrol")[0].rsplit("then", 1)[0]
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("04:00:00", 240), ("1-12:00:00", 2160), ("2-3", 3060), ("1-2:30", 1590), ("5:30", 5), ("0:10", 1)],
)
def test_times(text, minutes):
    assert read_time(text) == text
    assert minutes_of(text) == minutes


def test_other_times_are_refused():
    with pytest.raises(ValueError, match="HH:MM:SS"):
        read_time("an hour")
    assert (as_time(90), as_time(1500)) == ("01:30:00", "1-01:00:00")


@pytest.mark.slurm
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm is here")
def test_j1_j4_a_node_killed_and_a_time_limit_on_a_real_slurm():
    words = [
        sys.executable,
        str(ROOT / "tests" / "measure" / "slurm_drill.py"),
        "--only",
        "node",
        "time",
        "--stacks",
        "3",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("bitwise equal") == 2


@pytest.mark.slurm
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm is here")
def test_j2_j3_j5_j6_preempted_cancelled_short_of_memory_and_without_its_controller():
    words = [sys.executable, str(ROOT / "tests" / "measure" / "slurm_drill.py"), "--stacks", "4"]
    words += ["--only", "preempt", "cancel", "memory", "controller"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("bitwise equal") == 4
