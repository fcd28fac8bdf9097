"""Outputs are whole or absent, whatever happens."""

import errno
import os
import socket

import pytest

from microdeconv.errors import CannotCreateError, WriteError
from microdeconv.io.atomic import atomic_output, check_output


def test_the_file_appears_whole_and_the_partial_goes(tmp_path):
    path = tmp_path / "a.tif"
    with atomic_output(path, overwrite=False) as partial:
        partial.write_bytes(b"all of it")
        assert partial.parent == tmp_path
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert os.listdir(tmp_path) == ["a.tif"]  # noqa: PTH208


def test_mode_follows_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "a", overwrite=False) as partial:
            partial.write_bytes(b"x")
    finally:
        os.umask(previous)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")

    def write_badly():
        with atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(b"half")
            raise OSError("2621440 requested and 1048448 written")  # numpy's, without a number

    with pytest.raises(WriteError, match="writing failed|disk is full") as caught:
        write_badly()
    assert caught.value.exit_code == 74
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "No space|full"), (errno.EFBIG, "ulimit"), (errno.EIO, "failed")]
)
def test_reasons_are_told(tmp_path, number, words):
    def write_badly():
        with atomic_output(tmp_path / "a", overwrite=True):
            raise OSError(number, os.strerror(number))

    with pytest.raises(WriteError, match=words):
        write_badly()


def test_an_output_that_appeared_meanwhile_is_kept(tmp_path):
    path = tmp_path / "a.tif"

    def write():
        with atomic_output(path, overwrite=False) as partial:
            partial.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(CannotCreateError, match="exists already"):
        write()
    assert path.read_bytes() == b"theirs"


def test_partials_of_the_dead_are_swept_and_of_the_living_kept(tmp_path):
    host = socket.gethostname()[:40]
    dead, living = tmp_path / f".a.tif.{host}.999999999.partial", tmp_path / f".a.tif.{host}.1.partial"
    for one in (dead, living):
        one.write_bytes(b"")
    with atomic_output(tmp_path / "a.tif", overwrite=False) as partial:
        partial.write_bytes(b"x")
    assert not dead.exists()
    assert living.exists()


def test_long_names_are_shortened_for_the_partial(tmp_path):
    path = tmp_path / ("é" * 120 + ".tif")
    with atomic_output(path, overwrite=False) as partial:
        partial.write_bytes(b"x")
    assert path.exists()
    with pytest.raises(CannotCreateError, match="too long"):
        check_output(tmp_path / ("x" * 256), [], overwrite=False, parents=False)


def test_checks_before_any_computing(tmp_path, monkeypatch):
    there = tmp_path / "there.tif"
    there.write_bytes(b"x")
    check_output(tmp_path / "new.tif", [there], overwrite=False, parents=False)
    check_output(there, [], overwrite=True, parents=False)
    check_output(tmp_path / "a" / "b" / "new.tif", [], overwrite=False, parents=True)
    for path, kind, words in [
        (there, CannotCreateError, "--overwrite"),
        (tmp_path, CannotCreateError, "folder"),
        (tmp_path / "no" / "b.tif", CannotCreateError, "--parents"),
    ]:
        with pytest.raises(kind, match=words):
            check_output(path, [], overwrite=False, parents=False)
    with pytest.raises(WriteError, match="free"):
        check_output(tmp_path / "huge.tif", [], overwrite=False, parents=False, needed=10**18)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CannotCreateError, match="cannot be written to"):
        check_output(tmp_path / "new.tif", [], overwrite=False, parents=False)
