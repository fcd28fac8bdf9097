"""Fixtures of all tests: small problems, real stacks, and a program to call."""

from __future__ import annotations

import os

# before torch is awake: threads that wait would burn the processors that other workers need
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
if "PYTEST_XDIST_WORKER" in os.environ:  # and each has one thread, as on a node that Slurm shares out
    os.environ.setdefault("SLURM_CPUS_PER_TASK", "1")

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from microdeconv.blur import Blur
from microdeconv.machine import Machine
from microdeconv.optics import Optics
from microdeconv.problem import Problem
from microdeconv.psf.compute import compute_psf
from microdeconv.signals import ENDING
from microdeconv.simulate import Exposure, Scene, gaussian_psf, simulate
from microdeconv.stack import Psf, Zyx

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
CPU = Machine("cpu", 8 * 10**9, "test", None, 2)
for one in ENDING:  # the programs that tests start hear signals even where `nohup` or `&` started the tests
    if signal.getsignal(one) == signal.SIG_IGN:
        signal.signal(one, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real stacks; tests that need it are skipped without."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared real stacks is not here")
    return SHARED


def plain_environment() -> dict[str, str]:
    """Give what a process needs whose memory is measured: coverage, which counts its lines, would take 20 MB of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def psf() -> Psf:
    """A Gaussian PSF, odd, 13 x 11 x 11."""
    return Psf(gaussian_psf((1.5, 1.2, 1.2)), None, None, "Gaussian")


@pytest.fixture(scope="session")
def scene(psf: Psf) -> Scene:
    """Filaments, spots and nuclei in 20 x 48 x 44 voxels."""
    return simulate("mixed", (20, 48, 44), psf.pixels, Exposure(200, 20, 100), seed=4)


@pytest.fixture
def problem(psf: Psf, scene: Scene) -> Problem:
    """The scene as a problem in photo-electrons."""
    return problem_of(scene.counts.astype(np.float32) - 100, psf, 20.0)


def problem_of(light: np.ndarray, psf: Psf, background: float, margin: float = 0.25) -> Problem:
    """Set up a problem on the CPU."""
    blur = Blur(psf, light.shape, "cpu", margin)
    image = torch.from_numpy(np.ascontiguousarray(light, dtype=np.float32)).clamp_min(0)
    return Problem(image, blur, background, max(float(image.mean()) - background, 1e-6))


def computed_plane() -> Psf:
    """A confocal PSF on fine pixels: its light reaches 4 of the 46 that its array does."""
    optics = Optics(na=1.4, emission_nm=520, ri_immersion=1.515, modality="confocal")
    return compute_psf(optics, Zyx(0.3, 0.04, 0.04), (1, 93, 93), "scalar")


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program as a process, in an empty folder."""

    def call(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        import os

        return subprocess.run(
            [sys.executable, "-m", "microdeconv", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **environment},
            check=False,
        )

    return call
