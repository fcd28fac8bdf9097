"""Who works on a unit now: a small file, made by one process only, that outlives it only to be found stale."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from microdeconv.signals import undisturbed

TOUCHED = 30.0  # seconds between signs of life
STALE = 300.0  # seconds without one, after which another may take over
WRITTEN = 1.0  # seconds in which a claim that is being made gets its words: later it is cut


def process_start(pid: int) -> str:
    """Give when a process started, in the system's own units; empty when it does not live. A pid may be used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    import psutil

    with suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return ""


def ourselves() -> dict[str, Any]:
    """Say who this process is."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    named = f"{job}_{task}" if job else os.environ.get("SLURM_JOB_ID", "")
    return {
        "host": socket.gethostname(), "pid": os.getpid(), "start": process_start(os.getpid()),
        "job": named, "restart": os.environ.get("SLURM_RESTART_COUNT", "0"),
    }  # fmt: skip


class Claims:
    """The claims of one batch process.

    Parameters
    ----------
    folder
        Where all claims of a batch lie; made when the first is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: set[Path] = set()
        self._me = ourselves()
        self._touched = time.monotonic()

    def place(self, key: str) -> Path:
        """Where the claim of a unit lies."""
        return self.folder / hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()[:20]

    def standing(self) -> set[str]:
        """Names of all claims that lie there, of the living and the dead."""
        with suppress(OSError):
            return {one.name for one in os.scandir(self.folder)}
        return set()

    def take(self, key: str) -> int | None:
        """Claim a unit.

        Returns
        -------
        int or None
            How often others began it and died; None while another that lives has it.
        """
        path = self.place(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        begun = 0
        for _ in range(3):  # a stale claim that goes away may be taken by another in between
            try:
                with undisturbed():
                    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                    self.held.add(path)
            except FileExistsError:
                told = self._read(path)
                if told is not None and not self._stale(path, told):
                    return None
                begun = max(begun, int((told or {}).get("begun", 0)) + 1)
                self._discard(path)
                continue
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**self._me, "key": key, "begun": begun}, file)
            return begun
        return None

    def _discard(self, path: Path) -> None:
        """Take a stale claim away: by a rename, so that of two who find it one does, and no fresh one is lost."""
        aside = path.with_name(f"{path.name}.{self._me['host'][:40]}.{os.getpid()}")
        with suppress(OSError):
            path.rename(aside)
            told = self._read(aside)
            if told is not None and not self._stale(aside, told):  # a fresh one that another had just made
                with suppress(OSError):
                    os.link(aside, path)
            aside.unlink()

    def release(self, key: str) -> None:
        """Give a unit back, done or not."""
        path = self.place(key)
        with undisturbed():
            self.held.discard(path)
            path.unlink(missing_ok=True)

    def clear(self, keys: Iterable[str]) -> None:
        """Take away the claims that dead processes left on units that are done."""
        begun = self.standing()
        for key in keys if begun else ():
            if self.place(key).name in begun and self.take(key) is not None:
                self.release(key)

    def touch(self) -> None:
        """Give a sign of life, when it is time."""
        if time.monotonic() - self._touched > TOUCHED:
            self._touched = time.monotonic()
            for path in self.held:
                with suppress(OSError):
                    os.utime(path)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """What a claim says; nothing when its writer was killed before a word, None when it is not there."""
        told = _words(path)
        if not told and told is not None:
            time.sleep(WRITTEN)
            told = _words(path)
        return told

    def _stale(self, path: Path, told: dict[str, Any]) -> bool:
        mine = self._me
        if not told:
            return True
        if told.get("job") and told["job"] == mine["job"] and told.get("restart") != mine["restart"]:
            return True  # an earlier start of this very job
        if told.get("host") == mine["host"]:
            return process_start(int(told.get("pid", 0))) != told.get("start")
        try:
            return time.time() - path.stat().st_mtime > STALE
        except OSError:
            return False


def _words(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
