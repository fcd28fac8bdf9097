"""Networks on the command line: listed, shown, exported."""

import json
import sys

import pytest
from networks import card_for, tiny

from microdeconv.cli.app import main
from microdeconv.learnt import card as cards
from microdeconv.learnt.card import card_path
from microdeconv.learnt.weights import save_model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(path, tiny(), card_for(held_out=[{"cell": "seen", "gain_db": 1.25}], suite="suite 1"))
    return path


def test_the_list(path, monkeypatch, capsys):
    monkeypatch.setattr(cards, "FOLDER", path.parent)
    card = json.loads(card_path(path).read_text())
    assert main(["models", "list"]) == 0
    wanted = ["tiny", "needed", str(card["parameters"]), "3", card["sha256"][:12], "suite 1"]
    assert capsys.readouterr().out == "\t".join(wanted) + "\n"
    assert main(["models", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["steps"] == 3
    assert row["parameters"] == card["parameters"]


def test_an_empty_list_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    assert main(["models", "list"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no networks are shipped" in said.err


def test_the_list_leaves_torch_asleep(program, tmp_path):
    done = program("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


def test_a_card_as_lines_and_as_json(path, capsys):
    assert main(["models", "show", str(path)]) == 0
    lines = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["architecture.widths"] == "4 6 8"
    assert lines["held_out.rows.1.gain_db"] == "1.25"
    assert lines["folded"] == "channels"
    assert lines["file"] == str(path)
    assert main(["models", "show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(card_path(path).read_text()) | {"file": str(path)}


def test_a_card_as_a_table(path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["models", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "intended_use" in shown
    assert "suite 1" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_a_card_does_not_steer_the_terminal(path, capsys):
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps(card | {"about": "\x1b[2J\x07 hello\nyou", "\x1b[1m": "x"}))
    assert main(["models", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "hello you" in shown


def test_names_that_are_none(path, monkeypatch, capsys):
    monkeypatch.setattr(cards, "FOLDER", path.parent)
    assert main(["models", "show", "tinny"]) == 66
    assert "did you mean tiny?" in capsys.readouterr().err
    assert main(["models"]) == 2


def test_export_without_the_extra(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bioimageio.core", None)
    assert main(["models", "export", str(path), "-o", str(tmp_path / "a.zip")]) == 69
    assert "pip install 'microdeconv[bioimageio]'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # of the libraries of others
def test_export(path, tmp_path, capsys):
    pytest.importorskip("bioimageio.core", reason="the extra bioimageio is not installed")
    target = tmp_path / "a.zip"
    assert main(["models", "export", str(path), "-o", str(target)]) == 0
    assert target.exists()
    assert main(["models", "export", str(path), "-o", str(target)]) == 73
    assert "--overwrite" in capsys.readouterr().err
