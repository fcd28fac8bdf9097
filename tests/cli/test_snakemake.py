"""The README's Snakemake file is run as it stands there: retries, resources, what is done stays done."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from batch_files import make_stacks, results
from conftest import ROOT

SNAKEMAKE = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")


@pytest.mark.skipif(SNAKEMAKE is None, reason="snakemake is not installed: pip install snakemake")
def test_the_readmes_file(tmp_path):
    [text] = re.findall(r"```python\n(STACKS, = .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    make_stacks(tmp_path / "raw", 2)
    (tmp_path / "raw" / "psf.tif").rename(tmp_path / "psf.tif")
    (tmp_path / "deconvolve.toml").write_text(
        'psf = ["psf.tif"]\niterations = 2\naxes = "ZYX"\nbackground = 90.0\n', encoding="utf-8"
    )
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "microdeconv"  # the first try of a stack ends with 75, as on a machine that is taken away
    tool.write_text(
        f'#!/bin/sh\nseen={tmp_path}/bin/$(basename "$2").seen\n[ -e "$seen" ] || {{ touch "$seen"; exit 75; }}\n'
        f'exec {sys.executable} -m microdeconv "$@"\n'
    )
    tool.chmod(0o755)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path),
    }  # fmt: skip

    def call():
        words = [SNAKEMAKE, "--cores", "1", "--nocolor"]
        return subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment, check=False
        )

    done = call()
    assert done.returncode == 0, done.stderr
    assert sorted(results(tmp_path / "out")) == ["s00.tif", "s01.tif"]
    assert done.stderr.count("exit status 75") >= 2 or "Trying to restart job" in done.stderr, done.stderr
    again = call()
    assert (again.returncode, "Nothing to be done" in again.stderr + again.stdout) == (0, True), again.stderr
