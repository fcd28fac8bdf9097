"""Shell scripts that mount file systems of their own, seen by nobody else."""

import os
import subprocess

import pytest
from conftest import ROOT


def mounted(script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script apart; it exits with 99 where mounting fails, and the test is skipped then."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    words = ["unshare", "-m", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode in (1, 99):
        pytest.skip("mounting is not allowed here")
    return done
