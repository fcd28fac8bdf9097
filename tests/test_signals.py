"""Signals that ask the program to end."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile
from conftest import ROOT

from microdeconv.signals import ENDING, hear, undisturbed, unhear

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

# what `with condition:` runs: the handler may be called just after the lock was taken, and no `finally` gives it back
HELD = """
import os, signal, sys, threading, time
from microdeconv.cli.app import main
taken = threading.Condition.__enter__
entered, main_thread = 0, threading.get_ident()

def enter(self):
    global entered
    value = taken(self)
    if threading.get_ident() == main_thread and sys._getframe(1).f_globals["__name__"] == "concurrent.futures._base":
        entered += 1
        if entered == {nth}:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)
    return value

threading.Condition.__enter__ = enter
sys.exit(main({words!r}))
"""


@pytest.fixture
def heard():
    """Give the numbers that a handler of INT, TERM and HUP hears meanwhile."""
    numbers: list[int] = []
    before = hear(lambda number, _: numbers.append(number))
    yield numbers
    unhear(before)


def test_signals_wait_until_it_is_done(heard):
    with undisturbed():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        assert heard == []
    assert heard == [signal.SIGTERM, signal.SIGINT]
    signal.raise_signal(signal.SIGHUP)
    assert heard[2:] == [signal.SIGHUP], "the handler is back"


def test_one_inside_another_and_after_an_error(heard):
    def work() -> None:
        with undisturbed():
            with undisturbed():
                signal.raise_signal(signal.SIGINT)
            assert heard == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert heard == [signal.SIGINT]


def test_what_is_ignored_stays_so(heard):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with undisturbed():
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
    assert set(hear(lambda *_: None)) == set(ENDING) - {signal.SIGHUP}
    assert heard == []


def test_in_another_thread_nothing_is_changed(heard):
    def work() -> None:
        with undisturbed():
            handlers.extend(signal.getsignal(number) for number in ENDING)

    handlers, before = [], [signal.getsignal(number) for number in ENDING]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == before


def test_nohup_keeps_a_run_alive(tmp_path):
    """As a shell's `nohup` and `&` start it: HUP and INT are ignored, TERM is not."""
    tifffile.imwrite(tmp_path / "a.tif", np.ones((5, 9, 9), np.uint16), photometric="minisblack")
    code = (
        "import signal, sys; from microdeconv.cli import app; build = app.build_app\n"
        "app.build_app = lambda: [signal.raise_signal(n) for n in {numbers}] and build()\n"
        "sys.exit(app.main(['run', 'a.tif', '-m', 'identity', '-o', 'b.tif']))"
    )

    def call(*numbers: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", code.format(numbers=numbers)], cwd=tmp_path, env=ENVIRONMENT, timeout=60,
            check=False, preexec_fn=lambda: [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGHUP, signal.SIGINT)],
        ).returncode  # fmt: skip

    assert call(int(signal.SIGTERM)) == 143
    assert call(int(signal.SIGHUP), int(signal.SIGINT)) == 0
    assert (tmp_path / "b.tif").exists()


@pytest.mark.parametrize("nth", [1, 2, 5])
@pytest.mark.parametrize(("source", "output"), [("a.tif", "b.ome.zarr"), ("a.ome.zarr", "b.tif")])
def test_a_signal_while_a_library_holds_a_lock(program, tmp_path, source, output, nth):
    """Its threads would wait for that lock, and the program for them."""
    pytest.importorskip("zarr")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9, 5, 2, 20, 21), np.uint16), imagej=True, metadata={"axes": "TZCYX"})
    assert program("run", "a.tif", "-m", "identity", "-o", "a.ome.zarr").returncode == 0
    code = HELD.format(words=["run", source, "-m", "identity", "-o", output], nth=nth)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, timeout=30, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "nothing was left behind" in done.stderr) == (130, True), done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "a.ome.zarr"}
