"""What stands around every command: help, no command at all, the last line of a log."""

import json
import re

import pytest

from microdeconv.cli.app import main
from microdeconv.request import all_options


@pytest.fixture(autouse=True)
def _own_signals(monkeypatch):
    """Leave the signals of the tests' process as they are."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


def squeezed(text):
    """Help without its boxes and line breaks."""
    return re.sub(r"[\s│]+", "", text)


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    import os
    import subprocess
    import sys

    from conftest import ROOT

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "240"}
    return {
        words: subprocess.run(
            [sys.executable, "-m", "microdeconv", *words, "--help"],
            capture_output=True, text=True, check=True, env=environment,
        ).stdout
        for words in (("run",), ("psf", "compute"), ("config", "show"), ("info",))
    }  # fmt: skip


@pytest.mark.parametrize("one", all_options(), ids=lambda o: o.flag)
def test_help_tells_each_default(helps, one):
    shown = f"[default: {one.default}]"
    expected = one.help if one.default is None or one.is_flag else f"{one.help} {shown}"
    assert squeezed(expected) in squeezed(helps["run",])
    assert f"--{one.flag}" in helps["run",]


def test_help_tells_defaults_of_a_commands_own_options(helps):
    assert "[default: INPUT_decon.tif]" in helps["run",]
    assert "[default: 63,101,101]" in helps["psf", "compute"]
    assert "\\[" not in "".join(helps.values())


@pytest.mark.parametrize("words", [(), ("psf",), ("config",)], ids=str)
def test_no_command_is_one_plain_line(program, words):
    done = program(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"microdeconv: no command: see {' '.join(('microdeconv', *words))} --help\n"


def test_a_person_without_a_command_sees_the_help(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main([]) == 2
    told = capsys.readouterr()
    assert "run" in told.out
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--log-format", "json"], ["--log-format=json"]], ids=str)
def test_the_last_event_of_a_failure_has_its_time(tmp_path, capsys, words):
    """Asked for by the words that `main` is given, not by those of the process."""
    assert main(["run", str(tmp_path / "none.tif"), *words]) == 66
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["level"], last["event"], last["code"]) == ("error", "exit", 66)
    assert "none.tif" in last["message"]
    assert re.match(r"\d{4}-\d\d-\d\dT", last["t"])
