"""Spots found and matched, with known answers."""

import numpy as np
import pytest

from microdeconv.spots import Match, best_f1, find_spots, match_spots


def test_f1():
    assert Match(3, 1, 2).f1 == pytest.approx(6 / 9)
    assert Match(0, 0, 0).f1 == 1
    assert Match(0, 4, 0).f1 == 0


def test_pairs_are_one_to_one_and_as_many_as_can_be():
    true = np.array([[10, 10], [10, 12]])
    assert match_spots(np.array([[10, 11]]), true) == (1, 0, 1)
    # the nearest pair first (11 to 12) would leave 13 without one
    assert match_spots(np.array([[10, 11], [10, 13]]), np.array([[10, 12], [10, 9]])) == (2, 0, 0)
    assert match_spots(np.array([[30, 30]]), true) == (0, 1, 2)
    assert match_spots(np.zeros((0, 2), int), true) == (0, 0, 2)


@pytest.mark.parametrize("shape", [(1, 40, 40), (8, 40, 40)])
def test_spots_are_found(shape):
    places = [(0, 5, 5), (0, 5, 12), (0, 30, 39)] if shape[0] == 1 else [(1, 5, 5), (6, 5, 5), (4, 30, 39)]
    image = np.zeros(shape, np.float32)
    for k, place in enumerate(places, 1):
        image[place] = k
    found = find_spots(image, 0.5)
    true = np.array(places)[:, 1:] if shape[0] == 1 else np.array(places)
    assert match_spots(found, true, 0.5) == (3, 0, 0)
    assert len(find_spots(image, 1.5)) == 2
    assert best_f1(image, true) == 1
    assert best_f1(image, true[1:]) == 1  # the faintest is left out by the threshold
    assert best_f1(np.zeros(shape), true) == 0
    assert best_f1(np.zeros(shape), true[:0]) == 1
