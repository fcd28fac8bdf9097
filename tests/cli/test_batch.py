"""`batch` through the program: its options with right and wrong values, its report, its words. Faults: tests/faults."""

import csv
import json

import numpy as np
import pytest
import tifffile
from batch_files import OPTIONS, journal, leftovers, make_stacks, results


@pytest.fixture
def batch(program, tmp_path):
    """Call `batch` on three stacks, in their folder."""
    make_stacks(tmp_path, 3)

    def call(*words, items=("s*.tif",), output="out", **environment):
        return program("batch", *items, "-o", output, *OPTIONS, *words, **environment)

    return call


def table(folder, part=""):
    with (folder / f"batch_report{part}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--workers", "two"), 2, "--workers two: not auto or a whole number from 1 to 1024"),
        (("--workers", "1025"), 2, "--workers 1025"),
        (("--workers", "-1"), 2, "--workers -1"),
        (("--shard", "0/2"), 2, "they are counted from 1"),
        (("--shard", "2"), 2, "not i/n"),
        (("--freeze-from", ""), 2, "--freeze-from: no stack"),
        (("--grace", "-1"), 2, "--grace"),
        (("--device", "gpu"), 2, "--device gpu"),
        (("--memory", "1MB"), 2, "--memory 1MB"),
        (("--threads", "0"), 2, "--threads 0"),
        (("--config", "none.toml"), 66, "none.toml"),
        (("--log-format", "xml"), 2, "--log-format"),
        (("--shards", "1/2"), 2, "--shards"),
    ],
)
def test_wrong_values_are_refused_in_a_line(batch, tmp_path, words, code, said):
    done = batch(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("input,output\ns00.tif,a.tif\ns01.tif,A.tif\n", 78, ["row 3", "is that of row 2 too"]),
        ("input,iteratoins\ns00.tif,5\n", 78, ["unknown column 'iteratoins'", "did you mean iterations"]),
        ("input,device\ns00.tif,cpu\n", 78, ["column 'device' is for the whole batch", "--device"]),
        ("input,iterations\ns00.tif,many\n", 78, ["row 2", "iterations"]),
        ("input\ns00.tif\nnone.tif\nnot.tif\n", 66, ["row 3: none.tif: no such file", "2 problems, nothing was done"]),
        ("input,psf\ns00.tif,none.tif\n", 66, ["none.tif: no such PSF"]),
        ("stack\ns00.tif\n", 78, ["no column 'input'"]),
        ("input,method,iterations\ns00.tif,wiener,5\n", 78, ["--iterations does not apply"]),
        ("input\n", 66, ["no row"]),
    ],
)
def test_a_manifest_is_checked_whole_first(program, tmp_path, text, code, said):
    make_stacks(tmp_path, 2)
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    done = program("batch", "m.csv", "-o", "out")
    assert done.returncode == code, done.stderr
    for word in said:
        assert word in done.stderr
    assert not (tmp_path / "out").exists()


def test_where_results_may_go(batch, tmp_path):
    assert batch(output="a/b").returncode == 73
    (tmp_path / "file").touch()
    refused = batch(output="file")
    assert (refused.returncode, "file: is not a folder" in refused.stderr) == (73, True)
    assert batch("--dry-run", "--parents", output="a/b").returncode == 0
    assert not (tmp_path / "a").exists()


def test_failures_are_listed_and_the_code_is_3(batch, tmp_path):
    (tmp_path / "s01.tif").write_bytes(b"no picture")
    done = batch("--workers", 2, "--log-format", "json", "-v", "--preview")
    assert done.returncode == 3
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[-1]["event"] == "exit"
    assert events[-1]["code"] == 3
    assert {e["unit"] for e in events if e["event"] == "done"} == {"s00_decon.tif", "s02_decon.tif"}
    [error] = [e for e in events if e.get("level") == "error" and e.get("unit")]
    assert (error["unit"], error["code"]) == ("s01_decon.tif", 65)
    rows = table(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert [row["exit"] for row in rows] == ["0", "65", "0"]
    assert "not a TIFF file" in rows[1]["message"]
    assert rows[1]["remedy"]
    assert float(rows[0]["seconds"]) > 0
    assert 10**8 < int(rows[0]["memory_bytes"]) < 2 * 10**9
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["s00_decon.png", "s02_decon.png"]


def test_parts_are_disjoint_and_together_all(batch, tmp_path):
    done = batch("--shard", "2/2", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(results(tmp_path / "out")) == ["s01_decon.tif"]
    assert [row["input"] for row in table(tmp_path / "out", ".2of2")] == ["s01.tif"]
    task = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}
    done = batch(**task)
    assert done.returncode == 0, done.stderr
    assert "part 1/2 (Slurm's array): 2 stacks" in done.stderr
    done = batch("--shard", "1/1")
    assert "3 stacks, 3 done already: nothing to do" in done.stderr
    assert [row["status"] for row in table(tmp_path / "out")] == ["kept"] * 3


def test_overwrite_restart_and_dry_runs(batch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s01_decon.tif").write_bytes(b"mine")
    assert batch().returncode == 73
    done = batch("--overwrite", "--dry-run")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert (tmp_path / "out" / "s01_decon.tif").read_bytes() == b"mine"
    assert batch("--overwrite").returncode == 0
    first = results(tmp_path / "out")
    assert first["s01_decon.tif"] != b"mine"
    assert batch("--dry-run").stdout == ""
    assert len(batch("--dry-run", "--restart").stdout.splitlines()) == 3
    again = batch("--restart", "--workers", 1)
    assert again.returncode == 0, again.stderr
    assert "3 done" in again.stderr
    assert results(tmp_path / "out") == first
    assert len(journal(tmp_path / "out")) == 6
    assert leftovers(tmp_path / "out") == []


def test_columns_set_options_and_paths_are_from_the_manifest(program, tmp_path):
    make_stacks(tmp_path / "data", 2)
    lines = [
        {"input": "s00.tif", "output": "x/", "psf": "psf.tif", "iterations": 3, "axes": "ZYX", "background": 90},
        {"input": "s01.tif", "output": "y.tif", "method": "identity", "axes": "ZYX"},
    ]
    (tmp_path / "data" / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    done = program("batch", "data/m.jsonl", "-o", "out", "--record", "--config", "c.toml")
    assert done.returncode == 66
    (tmp_path / "c.toml").write_text('dtype = "float32"\n', encoding="utf-8")
    done = program("batch", "data/m.jsonl", "-o", "out", "--record", "--config", "c.toml")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "x" / "s00_decon.json").read_text(encoding="utf-8"))
    assert (record["method"], record["channels"][0]["iterations"]) == ("rl", 3)
    assert record["options"]["iterations"] == [3, "row 1"]
    image = tifffile.imread(tmp_path / "out" / "y.tif")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, tifffile.imread(tmp_path / "data" / "s01.tif"))


def test_help_names_what_it_takes(program):
    told = program("batch", "--help").stdout
    for word in (
        "--shard",
        "--workers",
        "--freeze-from",
        "--verify",
        "--restart",
        "--fail-fast",
        "--dry-run",
        "--grace",
    ):
        assert word in told
    nothing = program("batch")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1
