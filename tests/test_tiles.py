"""Tiles: they cover, they fit, they join exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdeconv.errors import MemoryShortError
from microdeconv.tiles import Tiling, join, largest_edge, tiles_of

sizes = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(8, 60), st.integers(0, 20), st.integers(0, 20))
def test_cores_partition_and_reads_are_equal(y, x, edge, halo_y, halo_x):
    tiles = tiles_of((2, y, x), edge, (halo_y, halo_x))
    covered = np.zeros((y, x), int)
    for tile in tiles:
        (cy, cx), (ry, rx) = tile.core, tile.read
        covered[cy.start : cy.stop, cx.start : cx.stop] += 1
        for core, read, size, halo in ((cy, ry, y, halo_y), (cx, rx, x, halo_x)):
            assert 0 <= read.start <= core.start < core.stop <= read.stop <= size
            assert core.stop - core.start <= edge
            assert core.start - read.start >= min(halo, core.start)
            assert read.stop - core.stop >= min(halo, size - core.stop)
    assert (covered == 1).all()
    assert len({(t.read[0].stop - t.read[0].start, t.read[1].stop - t.read[1].start) for t in tiles}) == 1


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.integers(8, 40), st.integers(0, 12), st.sampled_from([np.float32, np.float64]))
def test_joined_tiles_are_the_whole_bit_for_bit(y, x, edge, halo, dtype):
    volume = np.random.default_rng(0).normal(size=(2, y, x)).astype(dtype)
    whole = np.zeros_like(volume)
    for tile in tiles_of(volume.shape, edge, (halo, halo)):
        join(whole, tile, tile.cut(volume))
    np.testing.assert_array_equal(whole, volume)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(8, 60), st.integers(4, 20))
def test_exact_cores_begin_at_multiples_and_join_bit_for_bit(y, x, edge, halo):
    volume = np.random.default_rng(0).normal(size=(2, y, x)).astype(np.float32)
    whole = np.zeros_like(volume)
    tiles = tiles_of(volume.shape, edge, (halo, halo), exact=True)
    for tile in tiles:
        assert all(core.start % edge == 0 and (core.stop % edge == 0 or core.stop in (y, x)) for core in tile.core)
        join(whole, tile, tile.cut(volume))
    np.testing.assert_array_equal(whole, volume)
    tiling = Tiling.of(volume.shape, edge, (halo, halo), exact=True)
    assert [tiling[n] for n in range(len(tiling))] == tiles
    assert all(n in tiling.around(n) and tiling.around(n) == sorted(tiling.around(n)) for n in range(len(tiling)))


def test_seams_are_ramps():
    whole = np.zeros((1, 20, 40), np.float32)
    for value, tile in enumerate(tiles_of(whole.shape, 20, (8, 8)), 1):
        join(whole, tile, np.full_like(tile.cut(whole), value))
    steps = np.diff(whole[0, 10])
    assert steps.max() <= 0.126
    assert whole[0, 10, 0] == 1
    assert whole[0, 10, -1] == 2


def test_the_largest_tile_that_fits_is_taken():
    edge = largest_edge((10, 500, 500), (20, 20), lambda read: read[1] * read[2] <= 200 * 200)
    widest = tiles_of((10, 500, 500), edge, (20, 20))[0].read[0]
    assert 150 <= widest.stop - widest.start <= 200
    assert largest_edge((10, 500, 400), (20, 20), lambda read: True) == 500
    with pytest.raises(MemoryShortError, match="smallest|does not fit"):
        largest_edge((10, 500, 500), (20, 20), lambda read: False)
