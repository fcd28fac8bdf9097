"""What stacks will take: numbers that follow from their plans, and promises that a real run keeps."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from batch_files import make_stacks
from conftest import CPU, ROOT, plain_environment

from microdeconv.batch import estimate as module
from microdeconv.batch.estimate import (
    CHOOSING,
    OVERHEAD,
    USUAL,
    Expected,
    estimate,
    expect,
    needs,
    tasks_for,
    transform_rate,
)
from microdeconv.errors import DataError
from microdeconv.methods import method_named
from microdeconv.planning import plan
from microdeconv.psf.named import read_psf_file
from microdeconv.request import Request
from microdeconv.solve import Stopping

SYNTHETIC, PSF = ROOT / "sample_data" / "synthetic.tif", ROOT / "sample_data" / "bead_psf.tif"
HOUR = 3600.0


def request(path, **values):
    values = {"psf": (read_psf_file(str(PSF)),), "device": "cpu", "threads": 1, "overwrite": True, **values}
    return Request(Path(path), Path("/tmp/none_decon.tif"), layers=(("command line", values),))


def planned(grid=(10, 20, 20), tiles=1, channels=1, times=1, parts=1, method="rl", **stopping):
    """A plan of which only what is counted is told."""
    cut = SimpleNamespace(grid=grid, tiles=tiles)
    psf = SimpleNamespace(parts=(None,) * parts)
    return SimpleNamespace(
        channels=[SimpleNamespace(cut=cut, psf=psf, number=n) for n in range(channels)], times=range(times),
        method=method_named(method), memory=10**8, request=SimpleNamespace(input=Path("a.tif")),
        stack=SimpleNamespace(header=SimpleNamespace(volume_shape=grid)), group=lambda kind: Stopping(**stopping),
    )  # fmt: skip


def seconds(rate=1e-6, planning=0.5, **how):
    found = expect(planned(**how), rate, planning)
    return found.seconds - 0.5, found.most - 0.5


def test_time_goes_with_steps_voxels_channels_times_and_tiles():
    n = 4000
    step = module.TRANSFORMS * 1e-6 * n * math.log2(n)
    assert seconds(iterations=10) == pytest.approx((10 * step + OVERHEAD,) * 2)
    assert seconds(iterations=10, tiles=7) == pytest.approx((70 * step + OVERHEAD,) * 2)
    assert seconds(iterations=10, channels=2, times=3)[0] == pytest.approx(2 * 3 * (10 * step + OVERHEAD))
    assert seconds(iterations=(10, 30), channels=2)[0] == pytest.approx(40 * step + 2 * OVERHEAD)
    assert seconds(iterations=10, parts=3)[0] == pytest.approx(20 * step + OVERHEAD), "each PSF has its transform"
    assert seconds(method="wiener")[0] == pytest.approx(step + OVERHEAD)
    assert seconds(method="identity")[0] == pytest.approx(step + OVERHEAD)
    usual, most = seconds(max_iterations=120)
    assert usual == pytest.approx(USUAL * step * (1 + CHOOSING) + OVERHEAD)
    assert most == pytest.approx(120 * step * (1 + CHOOSING) + OVERHEAD)


def test_what_is_asked_of_slurm():
    stacks = [Expected(Path("a"), 90, 4 * 10**8, 120.0, 300.0), Expected(Path("b"), 10, 10**9, HOUR, 2 * HOUR)]
    total = 90 * 120 + 10 * HOUR
    assert tasks_for(stacks) == math.ceil(total / HOUR) == 13
    assert tasks_for(stacks, most=5) == 5
    assert tasks_for([Expected(Path("a"), 3, 10, 10 * HOUR, 10 * HOUR)]) == 3, "no more tasks than stacks"
    assert tasks_for([]) == 1
    ten = needs(stacks, 10, 1)
    assert ten.memory == math.ceil((1.25 * 10**9 + module.PARENT) / 2**20 / 100) * 100 == 1400
    assert ten.minutes == math.ceil((1.5 * 2 * HOUR + 300) / 600) * 10 == 190, "the longest stack ends in it"
    assert needs(stacks, 10, 4).memory == math.ceil((4 * 1.25 * 10**9 + module.PARENT) / 2**20 / 100) * 100
    assert needs(stacks, 100, 4).memory == ten.memory, "a task of one stack has one worker"
    assert needs(stacks, 1, 1).minutes == math.ceil((1.5 * total + 300) / 600) * 10
    assert needs(stacks, 1, 4).minutes == math.ceil((1.5 * total / 4 + 300) / 600) * 10


def test_stacks_alike_are_planned_once_and_bad_ones_told(tmp_path, monkeypatch):
    make_stacks(tmp_path, 3)
    make_stacks(tmp_path / "large", 1, edge=48)
    (tmp_path / "bad.tif").write_bytes((tmp_path / "s00.tif").read_bytes()[:100])
    monkeypatch.setattr(module, "transform_rate", lambda machine: 1e-8)
    own = {"axes": "ZYX", "iterations": 2, "psf": (read_psf_file(str(tmp_path / "psf.tif")),)}
    names = ["s00.tif", "s01.tif", "s02.tif", "large/s00.tif", "bad.tif"]
    failed = []
    found = estimate(
        [request(tmp_path / name, **own) for name in names], CPU, lambda one, why: failed.append((one.input.name, why))
    )
    assert [(one.path.name, one.count) for one in found] == [("s00.tif", 1), ("s00.tif", 3)]
    assert found[0].memory > found[1].memory
    assert found[0].seconds > found[1].seconds
    [(name, why)] = failed
    assert name == "bad.tif"
    assert isinstance(why, DataError)


def test_the_rate_is_that_of_this_machine():
    torch.set_num_threads(1)
    assert 1e-11 < transform_rate(CPU) < 1e-6


def test_a_real_run_keeps_within_the_memory_and_near_the_time():
    """As the batch's workers do it, in a process of its own: its peak, and its processor's seconds."""
    code = f"""
import json, time
from microdeconv.machine import peak_memory, prepare
from microdeconv.pipeline import execute
from microdeconv.planning import plan
from microdeconv.psf.named import read_psf_file
from microdeconv.request import Request
from pathlib import Path
import tempfile
began = time.process_time()
values = {{"psf": (read_psf_file({str(PSF)!r}),), "device": "cpu", "threads": 1, "iterations": 60}}
with tempfile.TemporaryDirectory() as folder:
    todo = plan(Request(Path({str(SYNTHETIC)!r}), Path(folder, "a.tif"), layers=(("command line", values),)))
    prepare(todo.machine)
    execute(todo)
print(json.dumps([peak_memory(), time.process_time() - began]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=plain_environment(), check=True
    )
    peak, took = json.loads(done.stdout)
    torch.set_num_threads(1)
    [found] = estimate([request(SYNTHETIC, iterations=60)], CPU, lambda one, why: pytest.fail(str(why)))
    assert found.memory == plan(request(SYNTHETIC, iterations=60)).memory
    assert 0.5 * found.memory < peak <= found.memory, (peak, found.memory)
    assert took / 4 < found.seconds < took * 4, (took, found.seconds)
