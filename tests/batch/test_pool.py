"""How the machine is shared out among workers (rows J17 and of many files)."""

import pytest

from microdeconv.batch.pool import shares, visible_gpus
from microdeconv.errors import UnavailableError

GB = 10**9


def test_many_stacks_have_a_worker_for_each_processor():
    parts = shares("auto", 100, 10**6, 8, 16 * GB, "cpu")
    assert len(parts) == 8
    assert parts[0].options == {"threads": 1, "memory": 2 * GB, "device": "cpu"}
    assert parts[0].environment["OMP_NUM_THREADS"] == "1"


def test_few_stacks_share_the_threads():
    parts = shares("auto", 2, 10**6, 8, 16 * GB, "cpu")
    assert [part.options["threads"] for part in parts] == [4, 4]


def test_no_more_than_the_memory_holds():
    assert len(shares("auto", 100, GB, 8, 18 * GB, "cpu")) == 2
    assert len(shares("auto", 100, 100 * GB, 8, 18 * GB, "cpu")) == 1
    assert len(shares("3", 100, GB, 8, 18 * GB, "cpu")) == 3


def test_j17_each_gpu_has_a_worker_that_sees_only_that():
    gpus = visible_gpus({"CUDA_VISIBLE_DEVICES": "3,GPU-1a2b"})
    parts = shares("auto", 100, GB, 8, 16 * GB, "all", gpus)
    assert [part.environment["CUDA_VISIBLE_DEVICES"] for part in parts] == ["3", "GPU-1a2b"]
    assert {part.options["device"] for part in parts} == {"cuda"}
    with pytest.raises(UnavailableError, match="no GPU"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": ""})
