"""`estimate` through the program: a line for each kind of stacks, and the line for sbatch."""

import re

import pytest
from batch_files import OPTIONS, make_stacks

LINE = re.compile(r"sbatch --array=1-(\d+) --cpus-per-task=(\d+) --mem=(\d+)M --time=([\d:-]+)\n")


def test_it_tells_memory_time_and_what_to_ask_for(program, tmp_path):
    make_stacks(tmp_path, 2)
    make_stacks(tmp_path / "large", 1, edge=64)
    done = program("estimate", "s*.tif", "large/s00.tif", *OPTIONS, "--cpus", 2, "--tasks", 3)
    assert done.returncode == 0, done.stderr
    head, large, small, total, line = done.stdout.splitlines(keepends=True)
    assert head.split("\t") == ["stack", "stacks", "memory", "seconds each", "at most\n"]
    assert large.startswith("large/s00.tif\t1\t")
    assert re.match(r"s0\d.tif\t2\t0\.\d\d GB\t\d+\t\d+\n", small)
    assert total.startswith("all of them: about")
    tasks, cpus, memory, time = LINE.fullmatch(line).groups()
    assert (tasks, cpus, time) == ("3", "2", "00:10:00")
    assert 300 < int(memory) < 2000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large", "psf.tif", "s00.tif", "s01.tif"]


def test_what_cannot_be_planned_is_told(program, tmp_path):
    make_stacks(tmp_path, 1)
    (tmp_path / "bad.tif").write_bytes(b"no picture")
    done = program("estimate", "s00.tif", "bad.tif", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("bad.tif") == 1
    assert "s00.tif\t1\t" in done.stdout
    assert "--array=1-1 " in done.stdout
    done = program("estimate", "bad.tif", *OPTIONS)
    assert (done.returncode, done.stdout) == (65, "")
    assert "none of the stacks can be done" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("none.tif",), 66, "no such file"),
        (("none*.tif",), 66, "no file matches"),
        (("none.csv",), 66, "none.csv"),
        (("psf.tif", "--cpus", "0"), 2, "--cpus"),
        (("psf.tif", "--tasks", "0"), 2, "--tasks"),
        (("psf.tif", "--methd", "rl"), 2, "--methd"),
    ],
)
def test_wrong_values(program, tmp_path, words, code, said):
    make_stacks(tmp_path, 1)
    done = program("estimate", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
