"""`batch --tiles`, `finish` and `check` on the command line: refusals are one line with the right code."""

import pytest
from huge_files import make_stack

from microdeconv.cli.app import main

pytest.importorskip("zarr", reason="needs the extra zarr")
OUT = ("-o", "out.ome.zarr")
WORDS = ("--psf", "psf.tif", "-n", "1", "--background", "90", "--axes", "ZYX", "--tile", "32", "--workers", "1",
         "--threads", "1")  # fmt: skip


@pytest.mark.parametrize(
    ("code", "word", "words"),
    [
        (2, "one stack, not 2", ("batch", "--tiles", "s.tif", "t.tif", *OUT)),
        (2, "add --tiles", ("batch", "s.tif", *OUT, "--engine", "dask")),
        (2, "--freeze-from does not apply", ("batch", "--tiles", "s.tif", *OUT, "--freeze-from", "first")),
        (2, "add --engine dask", ("batch", "--tiles", "s.tif", *OUT, "--scheduler", "slurm")),
        (2, "its tasks take the parts", ("batch", "--tiles", "s.tif", *OUT, "--engine", "slurm", "--shard", "1/2")),
        (2, "would throw away", ("batch", "--tiles", "s.tif", *OUT, "--restart", "--shard", "1/2")),
        (2, "--workers 0", ("batch", "--tiles", "s.tif", *OUT, "--workers", "0")),
        (2, ".ome.zarr", ("batch", "--tiles", "s.tif", "-o", "out.tif")),
        (66, "no plan of tiles", ("finish", "out.ome.zarr")),
        (66, "no such folder", ("check", "out.ome.zarr")),
        (65, "no OME-Zarr", ("check", "s.tif")),
    ],
)
def test_refusals_are_one_line(tmp_path, monkeypatch, capsys, code, word, words):
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == code
    told = capsys.readouterr().err
    assert word in told
    assert told.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["psf.tif", "s.tif"]


def test_from_a_part_to_a_checked_result(tmp_path, monkeypatch, capsys):
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["batch", "--tiles", "s.tif", *OUT, *WORDS, "--shard", "1/2"]) == 0
    assert "3 tiles are left" in capsys.readouterr().err
    assert main(["finish", "out.ome.zarr"]) == 75
    assert "3 of 6 tiles are not done" in capsys.readouterr().err
    assert main(["check", "out.ome.zarr"]) == 66
    assert "not finished" in capsys.readouterr().err
    assert main(["batch", "--tiles", "s.tif", *OUT, *WORDS, "--dry-run"]) == 0
    assert capsys.readouterr().out.split() == ["1", "3", "5"]
    assert main(["batch", "--tiles", "s.tif", *OUT, *WORDS]) == 0
    assert "microdeconv finish out.ome.zarr" in capsys.readouterr().err
    assert main(["finish", "out.ome.zarr", "--workers", "1", "--threads", "1"]) == 0
    assert main(["check", "out.ome.zarr"]) == 0
    (tmp_path / "out.ome.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    assert main(["check", "out.ome.zarr"]) == 65
    assert "0/c/0/0/0 is missing" in capsys.readouterr().err


def test_finish_of_what_is_no_result_of_tiles(tmp_path, monkeypatch, capsys):
    make_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["finish", "s.tif"]) == 2
    assert capsys.readouterr().err.startswith("microdeconv: s.tif: no result of tiles: give the OME-Zarr that")
