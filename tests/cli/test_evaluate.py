"""`evaluate` as a person and a script call it."""

import csv
import json

import pytest
import torch

from microdeconv.cli.app import main
from microdeconv.learnt import suite
from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.weights import save_model


@pytest.fixture
def small_suite(monkeypatch):
    monkeypatch.setattr(suite, "QUICK_PLANES", 1)
    monkeypatch.setattr(suite, "QUICK_VOLUMES", 1)


def model(path, **more):
    torch.manual_seed(0)
    save_model(path, IRDNet(Architecture(widths=(4, 4, 4), stages=0, **more)), {"training": {"recipe": {}}})
    return path


WORDS = ("--quick", "--threads", "1", "--device", "cpu")


def test_a_table_and_files(tmp_path, small_suite, capsys):
    weights = model(tmp_path / "tiny.safetensors")
    folder = tmp_path / "found"
    words = ["evaluate", "--model", str(weights), "--cells", "2d-seen,2d-empty", *WORDS, "-o", str(folder)]
    assert main(words) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["cell", "n", "method", "against"]
    assert {line[2] for line in lines if line[0] == "2d-seen"} == {"network", "guarded"}
    assert {line[-1] for line in lines if line[0] == "aim"} <= {"reached", "missed"}
    told = json.loads((folder / "suite.json").read_text())
    assert told["not_frozen"] == 0
    assert set(told["cells"]) == {"2d-seen", "2d-empty"}
    assert set(told["cells"]["2d-seen"]["means"]) == {"raw", "rl", "network", "guarded", "rl-best", "rl-best-seen"}
    difference = told["cells"]["2d-seen"]["differences"][0]
    assert {"mean", "low", "high", "fifth", "worst", "worse"} <= set(difference)
    assert difference["by_photons"] == [difference["mean"], None, None, None]
    with (folder / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10  # six of an image, four of an empty one
    assert main(words) == 73
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_a_network_without_a_psf_stands_against_what_needs_none(tmp_path, small_suite, capsys):
    weights = model(tmp_path / "tiny.safetensors", voxel=True)
    assert main(["evaluate", "--model", str(weights), "--cells", "2d-psf", *WORDS]) == 0
    out = capsys.readouterr().out
    assert "guess\traw" in out
    assert "guess\tunsharp" in out
    assert "guarded" not in out


def test_other_samples_are_told(tmp_path, small_suite, capsys, monkeypatch):
    weights = model(tmp_path / "tiny.safetensors", voxel=True)
    monkeypatch.setattr(suite, "frozen", dict)
    assert main(["evaluate", "--model", str(weights), "--cells", "2d-empty", *WORDS]) == 0
    assert "1 of 1 samples are not those that the suite was frozen with" in capsys.readouterr().err


def test_bad_words(tmp_path, capsys):
    for words, code, told in (
        (("--cells", "2d-nothing"), 2, "2d-nothing"),
        (("--model", "none.safetensors"), 66, "none.safetensors"),
        (("--device", "abacus"), 2, "--device"),
    ):
        assert main(["evaluate", "--quick", *words]) == code
        said = capsys.readouterr()
        assert told in said.err
        assert said.out == ""
