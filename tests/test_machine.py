"""The machine: memory, threads and devices, with every limit that may be set."""

import pytest
import torch

from microdeconv import machine
from microdeconv.errors import UnavailableError
from microdeconv.machine import (
    MachineOptions,
    is_out_of_memory,
    machine_for,
    memory_limit,
    read_device,
    read_size,
    thread_count,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("500 MiB", 500 * 2**20), ("1e9", None), ("auto", "auto"), ("3", None), ("2g", 2 * 10**9)],
)
def test_sizes(text, size):
    if size is None:
        with pytest.raises(ValueError, match="size|50MB"):
            read_size(text)
    else:
        assert read_size(text) == size


@pytest.mark.parametrize("text", ["cuda:foo", "gpu9", "cuda:", ""])
def test_devices_that_cannot_be_named(text):
    with pytest.raises(ValueError, match="no such device"):
        read_device(text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_says_what_is():
    with pytest.raises(UnavailableError, match="it has cpu") as caught:
        machine_for(MachineOptions(device="cuda"))
    assert caught.value.exit_code == 69
    assert machine_for(MachineOptions(device="auto")).device == "cpu"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "2"}, 1), ({"SLURM_CPUS_ON_NODE": "1"}, 1)],
)
def test_threads_by_slurm(environment, expected):
    assert thread_count(environment) == expected


def test_threads_otherwise():
    assert thread_count({"SLURM_CPUS_PER_TASK": "abc"}) == thread_count({}) >= 1
    assert thread_count({"SLURM_CPUS_PER_TASK": "9999"}) == thread_count({})


def test_memory_is_the_smallest_limit(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 10**10)
    monkeypatch.setattr(machine, "_address_space", lambda: [])
    monkeypatch.setattr(machine, "CGROUPS", ())
    assert memory_limit({}) == (10**10, "the free memory")
    assert memory_limit({"SLURM_MEM_PER_NODE": "2000"}) == (2000 * 2**20, "Slurm's grant")
    assert memory_limit({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "1"}) == (100 * 2**20, "Slurm's grant")
    monkeypatch.setattr(machine, "_address_space", lambda: [10**9])
    assert memory_limit({"SLURM_MEM_PER_NODE": "2000"}) == (10**9, "RLIMIT_AS")
    assert machine_for(MachineOptions(device="cpu")).memory == int(0.8 * 10**9)
    assert machine_for(MachineOptions(device="cpu", memory=123456789)).memory == 123456789


def test_a_cgroup_limit_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text("300000000\n", encoding="ascii")
    monkeypatch.setattr(machine, "CGROUPS", (str(limit),))
    monkeypatch.setattr(machine, "_address_space", lambda: [])
    assert memory_limit({}) == (300000000, "the cgroup's limit")
    limit.write_text("max\n", encoding="ascii")
    assert memory_limit({})[1] == "the free memory"


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
        (RuntimeError("cuFFT error: CUFFT_INTERNAL_ERROR"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_known_by_its_words(error, memory):
    assert is_out_of_memory(error) is memory


def test_peak_memory_is_plausible():
    assert 50 * 10**6 < machine.peak_memory() < 10**12
