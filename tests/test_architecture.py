"""The house: floors, sleeping libraries, short files, described options."""

import ast
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from microdeconv.options import options_of
from microdeconv.request import SHARED as GROUPS
from microdeconv.request import all_options

SOURCES = sorted((ROOT / "microdeconv").rglob("*.py"))
HELPS = [
    [],
    ["run"],
    ["batch"],
    ["finish"],
    ["check"],
    ["estimate"],
    ["slurm-script"],
    ["psf"],
    ["psf", "compute"],
    ["psf", "measure"],
    ["psf", "estimate"],
    ["psf", "check"],
    ["psf", "list"],
    ["models"],
    ["models", "list"],
    ["models", "show"],
    ["models", "export"],
    ["compare"],
    ["evaluate"],
    ["explain"],
    ["info"],
    ["devices"],
    ["config"],
    ["config", "show"],
    ["train"],
]


def test_imports_point_downward():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [["--version"], *([*h, "--help"] for h in HELPS)], ids=" ".join)
def test_help_leaves_torch_asleep(words):
    code = (
        "import sys; from microdeconv.cli.app import main; code = main(sys.argv[1:]); "
        "awake = {'torch', 'numpy', 'scipy', 'skimage', 'tifffile'} & set(sys.modules); "
        "sys.exit(f'{code} {awake}' if code or awake else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_a_network_is_loaded_while_torchs_compiler_sleeps():
    """It takes a second and 100 MB to wake, and compiles nothing here."""
    code = (
        "import sys; from microdeconv.learnt.weights import load_model; load_model('small', 'cpu'); "
        "sys.exit('torch._dynamo' in sys.modules and 'awake')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_a_psf_is_computed_while_torch_sleeps(tmp_path):
    code = (
        "import sys; from microdeconv.cli.app import main; code = main(sys.argv[1:]); "
        "sys.exit(code or ('torch' in sys.modules and 'awake'))"
    )
    words = "p.tif --psf-recipe 63x-1.4-oil --emission 520 --voxel 0.2,0.1,0.1 --shape 3,9,9 --modality confocal"
    done = subprocess.run(
        [sys.executable, "-c", code, "psf", "compute", *words.split()], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1:2] if isinstance(node.body[0], ast.Expr) else node.body[:1]
            body = (node.end_lineno or 0) - (first[0].lineno if first else node.lineno) + 1
            assert body <= 60, f"{path.name}: {node.name} has {body} lines"


def test_every_option_is_described_and_read():
    text = "\n".join(p.read_text(encoding="utf-8") for p in SOURCES)
    for one in all_options():
        assert one.help.strip().endswith((".", "…")) or ";" in one.help, one.flag
        uses = len(re.findall(rf"\.{one.field}\b|\"{one.key}\"", text))
        assert uses >= 1, f"--{one.flag} is described and never read"


def test_keys_are_unique_over_groups():
    keys = [o.key for group in GROUPS for o in options_of(group)]
    assert len(keys) == len(set(keys))
