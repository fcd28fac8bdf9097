"""Who works on a unit: one that lives, or nobody."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from microdeconv.batch.claims import STALE, Claims, ourselves, process_start


def plant(claims, key, **changes):
    claims.folder.mkdir(exist_ok=True)
    told = {**ourselves(), "key": key, "begun": 0, **changes}
    claims.place(key).write_text(json.dumps(told), encoding="utf-8")


def test_one_has_it_until_it_is_given_back(tmp_path):
    one, other = Claims(tmp_path / "c"), Claims(tmp_path / "c")
    assert one.take("a") == 0
    assert other.take("a") is None
    assert other.take("b") == 0
    one.release("a")
    assert other.take("a") == 0


@pytest.mark.parametrize(
    ("changes", "begun"),
    [
        ({"pid": 2**22 - 3}, 1),  # dead
        ({"start": "1"}, 1),  # the pid of somebody else now
        ({"begun": 2, "start": "1"}, 3),
        ({"host": "elsewhere"}, None),  # may live
        ({}, None),
    ],
)
def test_of_the_dead_it_is_taken(tmp_path, changes, begun):
    claims = Claims(tmp_path / "c")
    plant(claims, "a", **changes)
    assert claims.take("a") == begun


def test_a_silent_one_elsewhere_is_dead_after_a_while(tmp_path):
    claims = Claims(tmp_path / "c")
    plant(claims, "a", host="elsewhere")
    old = time.time() - STALE - 1
    os.utime(claims.place("a"), (old, old))
    assert claims.take("a") == 1


def test_an_earlier_start_of_the_same_job_is_dead(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    claims = Claims(tmp_path / "c")
    plant(claims, "a", host="elsewhere", restart="0")
    assert claims.take("a") == 1


@pytest.mark.parametrize("words", ["", '{"host": "h', "[1]"])
def test_a_claim_cut_by_a_kill_or_a_full_disk_is_nobodys(tmp_path, monkeypatch, words):
    monkeypatch.setattr("microdeconv.batch.claims.WRITTEN", 0.1)
    claims = Claims(tmp_path / "c")
    claims.folder.mkdir()
    claims.place("a").write_text(words, encoding="utf-8")
    assert claims.take("a") == 1
    assert [one.name for one in claims.folder.iterdir()] == [claims.place("a").name]


def test_a_claim_that_is_being_written_is_its_writers(tmp_path):
    claims = Claims(tmp_path / "c")
    claims.folder.mkdir()
    claims.place("a").touch()
    writer = threading.Timer(0.3, plant, (claims, "a"))
    writer.start()
    assert claims.take("a") is None
    writer.join()


def test_a_process_is_known_by_its_start():
    assert process_start(os.getpid())
    assert process_start(2**22 - 3) == ""
    assert ourselves()["host"] == socket.gethostname()


def test_a_signal_in_the_middle_leaves_no_claim_that_nobody_knows_of(tmp_path, monkeypatch):
    """TERM comes while the file is made, and while it goes: it is heard when both disk and memory know."""

    class StoppedError(Exception):
        pass

    def stop(number, frame):
        raise StoppedError

    ended = threading.Event()
    other = threading.Thread(target=ended.wait)  # it may be the one that the signal goes to
    other.start()
    one, real = Claims(tmp_path), {"open": os.open, "unlink": Path.unlink}

    def disturbed(name):
        def call(*words, **how):
            done = real[name](*words, **how)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)  # until the other thread has taken it, if it does
            return done

        return call

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", disturbed("open"))
            with pytest.raises(StoppedError):
                one.take("a.tif")
        assert one.held == {one.place("a.tif")} == set(tmp_path.iterdir())
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", disturbed("unlink"))
            with pytest.raises(StoppedError):
                one.release("a.tif")
        assert one.held == set() == set(tmp_path.iterdir())
    finally:
        signal.signal(signal.SIGTERM, before)
        ended.set()
        other.join()


def test_what_the_dead_left_on_units_that_are_done_goes(tmp_path):
    claims, living = Claims(tmp_path / "c"), Claims(tmp_path / "c")
    plant(claims, "dead", start="1")
    plant(claims, "not asked", start="1")
    assert living.take("living") == 0
    claims.clear(["dead", "living", "never begun"])
    assert claims.standing() == {claims.place("living").name, claims.place("not asked").name}
