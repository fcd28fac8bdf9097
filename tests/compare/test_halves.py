"""Two halves of the counts."""

import numpy as np

from microdeconv.camera import Camera
from microdeconv.compare.halves import halves_of_counts


def test_halves_are_always_the_same_add_up_and_are_independent():
    rng = np.random.default_rng(0)
    counts = (100 + 2 * rng.poisson(30, (4, 64, 64))).astype(np.uint16)
    one, other = halves_of_counts(counts, Camera(100.0, 2.0))
    assert np.array_equal(one + other, (counts - 100) / 2)
    assert np.array_equal(one, halves_of_counts(counts, Camera(100.0, 2.0))[0])
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    assert abs(one.mean() - 15) < 0.2
