"""`slurm-script` through the program: bash takes what it prints, and its heads are what `estimate` says."""

import json
import os
import re
import shlex
import subprocess
from itertools import pairwise

import pytest
from batch_files import OPTIONS, make_stacks
from huge_files import OPTIONS as TILES
from huge_files import make_stack

FIXED = ("--time-limit", "01:00:00", "--mem", "900", "--array", "2")


@pytest.fixture
def script(program, tmp_path):
    make_stacks(tmp_path, 3)

    def call(*words, **environment):
        return program("slurm-script", "s*.tif", "-o", "out dir", *OPTIONS, *words, **environment)

    return call


def heads(text):
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, flags=re.MULTILINE))


def is_bash(text):
    return subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_its_heads_are_the_estimates(script, program, tmp_path):
    done = script("--cpus", 2, "--requeue", "site")
    assert done.returncode == 0, done.stderr
    told = program("estimate", "s*.tif", *OPTIONS, "--cpus", 2).stdout.splitlines()[-1]
    wanted = dict(one[2:].split("=") for one in told.split()[1:])
    asked = heads(done.stdout)
    assert {key: asked[key] for key in wanted} == wanted
    assert asked["array"] == "1-1", "three small stacks take no hour"
    assert is_bash(done.stdout)
    assert (asked["signal"], asked["requeue"], asked["open-mode"]) == ("B:USR1@120", "", "append")
    assert asked["output"] == f"{tmp_path}/out dir/logs/%A_%a.log"
    assert done.stdout.splitlines()[-1].startswith("exec ")
    assert not (tmp_path / "out dir").exists()


def test_no_more_tasks_than_stacks_and_the_options_of_the_line(script):
    done = script(*FIXED[:4], "--array", 50, "--gpu", 1, "--partition", "gpu", "--freeze-from", "first", "--no-preview")
    assert done.returncode == 0, done.stderr
    asked = heads(done.stdout)
    assert (asked["array"], asked["mem"], asked["time"]) == ("1-3", "900M", "01:00:00")
    assert (asked["gres"], asked["partition"]) == ("gpu:1", "gpu")
    [line] = [one for one in done.stdout.splitlines() if " batch " in one]
    words = shlex.split(line.removesuffix(" &").removeprefix("exec "))
    words = words[words.index("batch") :]
    assert words[1:4] == ["s*.tif", "-o", "out dir"], "the pattern is quoted, each task reads the folder itself"
    assert words[-2:] == ["--shard", "$SLURM_ARRAY_TASK_ID/3"]
    for pair in (("--freeze-from", "first"), ("--iterations", "2"), ("--background", "90"), ("--psf", "psf.tif")):
        assert pair in pairwise(words)
    assert "--no-preview" in words


@pytest.mark.parametrize(("number", "codes"), [(75, [75]), (0, [0]), (3, [3])])
def test_75_is_run_again_by_the_script_where_the_site_does_not(script, tmp_path, number, codes):
    """What it prints, run by bash: `microdeconv` and `scontrol` are stand-ins."""
    text = script(*FIXED, "--requeue", "script").stdout
    assert is_bash(text)
    (tmp_path / "bin").mkdir()
    for name, body in (("scontrol", f'echo "$@" > {tmp_path}/said; exit 0'), ("tool", f"exit {number}")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    text = re.sub(r"^\S.* batch ", "tool batch ", text, flags=re.MULTILINE)
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "2"}
    done = subprocess.run(["bash"], input=text, text=True, env=environment, check=False)
    if number == 75:
        assert (tmp_path / "said").read_text() == "requeue 12_2\n"
    else:
        assert [done.returncode] == codes
        assert not (tmp_path / "said").exists()


def test_the_site_is_asked_whether_it_runs_75_again(script, tmp_path):
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "scontrol"
    for told, last in (
        ("RequeueExit             = 75,104", "exec "),
        ("RequeueExit             = (null)", "exit $code"),
    ):
        tool.write_text(f'#!/bin/sh\necho "{told}"\n')
        tool.chmod(0o755)
        done = script(*FIXED, PATH=f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
        assert done.stdout.splitlines()[-1].startswith(last), done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--time-limit", "soon"), 2, "--time-limit soon"),
        (("--mem", "5"), 2, "--mem"),
        (("--array", "0"), 2, "--array"),
        (("--requeue", "never"), 2, "--requeue"),
        (("--gain", "-1"), 2, "--gain"),
        ((*FIXED, "--submit", "--requeue", "site"), 69, "there is no sbatch here"),
    ],
)
def test_wrong_values(script, tmp_path, words, code, said):
    (tmp_path / "nowhere").mkdir()
    done = script(*words, PATH=str(tmp_path / "nowhere"))
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_nothing_to_do_is_no_job(script, program):
    assert program("batch", "s*.tif", "-o", "out dir", *OPTIONS, "-q").returncode == 0
    done = script()
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 stacks, all done already: nothing to do" in done.stderr


def test_tiles_are_an_array_and_a_job_that_finishes(program, tmp_path):
    """What it prints, run by bash with a stand-in for sbatch: both scripts, the second after the first."""
    pytest.importorskip("zarr", reason="needs the extra zarr")
    make_stack(tmp_path)
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text('#!/bin/sh\nn=$(ls | grep -c "^job"); echo "$@" > job$n.args; cat > job$n.sh; echo "4$n;ours"\n')
    sbatch.chmod(0o755)
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    done = program("slurm-script", "s.tif", "--tiles", "-o", "out.ome.zarr", *TILES, "--cpus", 2, "--array", 4,
                   "--partition", "long", "--submit", "--requeue", "script", PATH=path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert is_bash(done.stdout)
    array, last = ((tmp_path / f"job{n}.sh").read_text() for n in (0, 2))
    assert (tmp_path / "job2.args").read_text().split() == [
        "--parsable", "--dependency=afterok:40", "--kill-on-invalid-dep=yes"]  # fmt: skip
    assert "job 42 finishes it" in done.stderr
    told = json.loads((tmp_path / "out.ome.zarr.tiles" / "plan.json").read_text())
    for text in (array, last):
        assert is_bash(text)
        asked = heads(text)
        assert (asked["cpus-per-task"], asked["partition"], asked["time"]) == ("2", "long", "1-00:00:00")
        assert int(asked["mem"].removesuffix("M")) * 2**20 >= 2 * 1.25 * told["memory"]
    assert heads(array)["array"] == "1-4"
    call = "batch --tiles s.tif -o out.ome.zarr"
    assert re.search(rf"^.* {call} .*--workers 2 --shard \"\$SLURM_ARRAY_TASK_ID/4\" &$", array, flags=re.MULTILINE)
    assert last.splitlines()[-1].endswith("finish out.ome.zarr --workers 2")
    assert heads(last)["output"] == f"{tmp_path}/out.ome.zarr.finish-%j.log", "the plan's folder goes away"
    refused = program("slurm-script", "s.tif", "--tiles", "-o", "out.ome.zarr", *TILES, "--freeze-from", "first")
    assert (refused.returncode, "--freeze-from does not apply" in refused.stderr) == (2, True)
