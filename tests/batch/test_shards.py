"""Parts of a batch (row I10)."""

import pytest

from microdeconv.batch.shards import array_shard, read_shard


@pytest.mark.parametrize("text", ["3/2", "0/0", "0/2", "a/b", "1", "1/2/3", "-1/2", ""])
def test_i10_no_part(text):
    with pytest.raises(ValueError, match="not i/n|no part"):
        read_shard(text)


def test_i10_parts_are_disjoint_and_together_all():
    parts = [read_shard(f"{i}/7") for i in range(1, 8)]
    for place in range(100):
        assert sum(part.takes(place) for part in parts) == 1


@pytest.mark.parametrize(
    ("task", "least", "count", "step", "part"),
    [("0", "0", "4", "1", "1/4"), ("4", "1", "4", "1", "4/4"), ("9", "1", "5", "2", "5/5"), ("3", "", "9", "", "4/9"),
     ("x", "0", "4", "1", "1/1"), ("7", "0", "4", "1", "1/1")],
)  # fmt: skip
def test_a_slurm_array_says_which(task, least, count, step, part):
    names = {"ID": task, "MIN": least, "COUNT": count, "STEP": step}
    assert str(array_shard({f"SLURM_ARRAY_TASK_{k}": v for k, v in names.items()})) == part
    assert str(array_shard({})) == "1/1"
