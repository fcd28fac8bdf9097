"""`microdeconv train` as a person calls it: killed, taken up, refused."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from conftest import ROOT
from networks import card_for, tiny
from safetensors import safe_open

from microdeconv.learnt.network import Architecture
from microdeconv.learnt.weights import load_model, save_model
from microdeconv.simulate import Exposure, gaussian_psf, simulate

RECIPE = """
steps = {steps}
plane = [1, 32, 32]
volume = [4, 24, 24]
batch = 2
validated = {validated}
rate = {rate}
"""
SMALL = "[architecture]\nwidths = [4, 4, 4]\nstages = 1\n"
ONE = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def folder(tmp_path):
    psf = gaussian_psf((0, 1.3, 1.3))
    counts, truth = simulate("mixed", (1, 96, 64), psf, Exposure(500, 20, 100), 5)
    tifffile.imwrite(tmp_path / "raw.tif", counts[0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", truth[0])
    tifffile.imwrite(tmp_path / "psf.tif", psf[0])
    (tmp_path / "pairs.csv").write_text("raw,truth,psf\nraw.tif,truth.tif,psf.tif\n")
    (tmp_path / "six.toml").write_text(RECIPE.format(steps=6, validated=2, rate=0.002) + SMALL)
    (tmp_path / "own.toml").write_text(RECIPE.format(steps=4, validated=8, rate=0.002))
    network = tiny(Architecture(widths=(4, 4, 4), stages=1))
    save_model(tmp_path / "start.safetensors", network, card_for(network.architecture))
    return tmp_path


def weights_in(checkpoint, kind="weights."):
    with safe_open(checkpoint, "np") as file:
        told = json.loads(file.metadata()["state"])
        return told["step"], {n: file.get_tensor(n) for n in file.keys() if n.startswith(kind)}  # noqa: SIM118


def test_from_scratch_weights_card_and_curve(program, folder):
    done = program("train", "-o", "net", "--name", "mine", "--config", "six.toml", *ONE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "never trained on" in done.stderr
    model = load_model(folder / "net" / "mine.safetensors")
    assert model.card["name"] == "mine"
    assert model.card["training"]["steps"] == 6
    assert model.card["held_out"]["rows"][0]["samples"] == 2
    assert "step 6 of 6" in (folder / "net" / "curve.svg").read_text()
    again = program("train", "-o", "net", "--name", "mine", "--config", "six.toml", *ONE)
    assert again.returncode == 73
    (folder / "other.toml").write_text("seed = 2\n" + (folder / "six.toml").read_text())
    other = program("train", "-o", "net", "--config", "other.toml", *ONE)
    assert other.returncode == 65
    assert "another recipe" in other.stderr


def started(folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    code = (
        "import sys; from microdeconv.learnt import training; training.SAVED_EVERY = 0.0; "
        "from microdeconv.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", *words, "--config", "long.toml", *ONE]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(checkpoint, step, process):
    for _ in range(600):
        if checkpoint.exists() and weights_in(checkpoint)[0] >= step:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("no checkpoint in a minute")


def test_killed_at_any_time_it_goes_on_to_the_same_weights(folder, program):
    (folder / "long.toml").write_text(RECIPE.format(steps=40, validated=2, rate=0.002) + SMALL)
    process = started(folder, "-o", "killed")
    checkpoint = folder / "killed" / "checkpoint.safetensors"
    wait_for(checkpoint, 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    step, _ = weights_in(checkpoint)
    assert 3 <= step < 40
    assert program("train", "-o", "killed", "--config", "long.toml", *ONE).returncode == 0
    assert program("train", "-o", "whole", "--config", "long.toml", *ONE).returncode == 0
    (one, first), (other, second) = (
        weights_in(checkpoint, ""),
        weights_in(folder / "whole" / "checkpoint.safetensors", ""),
    )
    assert one == other == 40
    assert all(np.array_equal(value, second[name]) for name, value in first.items())
    assert [p.name for p in (folder / "killed").iterdir() if "partial" in p.name] == []


def test_asked_to_stop_it_saves_and_says_so(folder):
    (folder / "long.toml").write_text(RECIPE.format(steps=5000, validated=2, rate=0.002) + SMALL)
    process = started(folder, "-o", "net", "--log-format", "json")
    wait_for(folder / "net" / "checkpoint.safetensors", 2, process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    lines = [json.loads(line) for line in told.splitlines()]
    [put_by] = [line for line in lines if "goes on from there" in line.get("message", "")]
    assert put_by["step"] == weights_in(folder / "net" / "checkpoint.safetensors")[0]
    assert (lines[-1]["event"], lines[-1]["code"]) == ("exit", 143)
    assert not (folder / "net" / "small.safetensors").exists()


def test_hours_put_it_by(program, folder):
    done = program("train", "-o", "net", "--config", "six.toml", "--hours", "1e-9", *ONE)
    assert done.returncode == 0, done.stderr
    assert "put by at step" in done.stderr
    assert (folder / "net" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("words", [("--pairs", "pairs.csv"), ("--stack", "raw.tif", "--psf", "psf.tif")], ids=str)
def test_own_pictures_keep_the_better_weights(program, folder, words):
    done = program("train", "-o", "net", "--start", "start.safetensors", "--config", "own.toml", *words, *ONE)
    assert done.returncode == 0, done.stderr
    card = load_model(folder / "net" / "own.safetensors").card
    if "kept" not in card:
        assert "own" in card["about"]
    (folder / "still.toml").write_text(RECIPE.format(steps=4, validated=8, rate=0))
    still = program("train", "-o", "old", "--start", "start.safetensors", "--config", "still.toml", *words, *ONE)
    assert still.returncode == 0, still.stderr
    assert "not surely better" in still.stderr
    kept = load_model(folder / "old" / "own.safetensors")
    start = load_model(folder / "start.safetensors")
    assert "not surely better" in kept.card["kept"]
    for name, value in start.network.state_dict().items():
        assert bool((kept.network.state_dict()[name] == value).all())


def test_a_dry_run_prints_the_recipe_and_writes_nothing(program, folder):
    done = program("train", "-o", "net", "--config", "six.toml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not (folder / "net").exists()
    (folder / "again.toml").write_text(done.stdout)
    again = program("train", "-o", "net", "--config", "again.toml", "--dry-run")
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--pairs", "pairs.csv", "--stack", "raw.tif"), 2, "--pairs with --stack"),
        (("--pairs", "pairs.csv", "--preset", "quick"), 2, "--preset"),
        (("--psf", "psf.tif"), 2, "--psf is for --stack"),
        (("--stack", "raw.tif", "--psf", "psf.tif", "--na", "1.2"), 2, "--na"),
        (("--hours", "0"), 2, "--hours"),
        (("--name", "a/b"), 2, "--name"),
        (("--name", "checkpoint"), 2, "--name"),
        (("--config", "wrong.toml"), 78, "did you mean steps"),
        (("--config", "word.toml"), 78, "architecture.unit"),
        (("--config", "none.toml"), 66, "none.toml"),
        (("--pairs", "none.csv", "--start", "start.safetensors"), 66, "none.csv"),
        (("--stack", "raw.tif", "--start", "start.safetensors"), 65, "--psf"),
        (("--stack", "none.tif", "--start", "start.safetensors", "--psf", "psf.tif"), 66, "none.tif"),
        (("--start", "start.safetensors", "--preset", "small"), 65, "another architecture"),
        (("--start", "nobody"), 66, "nobody"),
        (("-o", "raw.tif"), 73, "raw.tif"),
        (("-o", "/proc/nowhere/net"), 73, "/proc"),
    ],
    ids=str,
)
def test_wrong_words(folder, monkeypatch, capsys, words, code, told):
    from microdeconv.cli.app import main

    monkeypatch.chdir(folder)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (folder / "wrong.toml").write_text("stepps = 5\n")
    (folder / "word.toml").write_text('[architecture]\nunit = "irr"\n')
    out = () if "-o" in words else ("-o", "net")
    assert main(["train", *out, *words]) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert told in line


def test_a_training_that_diverges_ends_with_its_checkpoint(program, folder):
    (folder / "hot.toml").write_text(RECIPE.format(steps=60, validated=2, rate=1e30) + SMALL)
    done = program("train", "-o", "net", "--config", "hot.toml", *ONE)
    assert done.returncode == 65
    assert "diverged" in done.stderr
    assert not (folder / "net" / "small.safetensors").exists()
