"""The noise of a difference between results, with known answers."""

import math

import numpy as np
import pytest

from microdeconv.compare.parts import error_of_difference, figure, moments, of_quarters, parted, pearson, ranked


def mean(image):
    return parted(lambda total, voxels: total / voxels, image)


def test_error_of_a_mean_is_the_noise_over_the_root_of_its_number():
    rng = np.random.default_rng(0)
    shape, errors, apart = (4, 96, 96), [], []
    for _ in range(40):
        one, other = mean(rng.normal(0, 1, shape)), mean(rng.normal(0, 2, shape))
        errors.append(error_of_difference(one, other))
        apart.append(one.value - other.value)
    expected = math.sqrt(5 / math.prod(shape))
    assert np.mean(errors) == pytest.approx(expected, rel=0.1)
    assert np.std(apart) == pytest.approx(expected, rel=0.3)


def test_what_both_share_is_no_noise():
    common = np.random.default_rng(0).normal(0, 1, (2, 96, 96))
    assert error_of_difference(mean(common), mean(common + 1)) == pytest.approx(0, abs=1e-12)


def test_a_small_image_tells_no_noise():
    assert error_of_difference(mean(np.ones((1, 20, 20))), mean(np.ones((1, 20, 20)))) is None
    assert figure("k", "l", "m", "lower", "", [("a", mean(np.ones((1, 8, 8))))]).noise is None


def test_a_figure_has_the_noise_of_its_best_two_and_of_each_pair():
    rng = np.random.default_rng(1)
    made = {name: mean(rng.normal(level, 1, (2, 96, 96))) for name, level in (("a", 1), ("b", 2), ("c", 3))}
    one = figure("k", "l", "m", "higher", "", made.items())
    assert one.noise == one.between["c"]["b"] == error_of_difference(made["c"], made["b"])
    assert one.between["a"]["c"] == one.between["c"]["a"]
    assert figure("k", "l", "m", "", "", [("a", None), ("b", mean(np.full((1, 4, 4), np.nan)))]) is None


def test_order():
    values = {"a": 0.5, "b": 1.1, "c": 3.0}
    assert ranked(values, "higher") == ["c", "b", "a"]
    assert ranked(values, "lower") == ["a", "b", "c"]
    assert ranked(values, "near one") == ["b", "a", "c"]
    assert ranked(values, "") == ["a", "b", "c"]


def test_pearson_and_quarters():
    rng = np.random.default_rng(2)
    y, m = rng.normal(size=(2, 1, 40, 40))
    assert parted(pearson, *moments(y, m)).value == pytest.approx(np.corrcoef(y.ravel(), m.ravel())[0, 1])
    assert math.isnan(pearson(0, 0, 0, 1, 0, 9))
    quarters = of_quarters(lambda a: float(a.mean()), np.kron([[1.0, 2], [3, 6]], np.ones((1, 50, 50))))
    assert quarters.value == 3
    assert quarters.without == pytest.approx([11 / 3, 10 / 3, 3, 2])
    assert not of_quarters(lambda a: 1.0, np.ones((1, 90, 90))).without.size
