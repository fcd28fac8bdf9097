"""A batch before its first unit: how much memory its workers need."""

import numpy as np
import tifffile

from microdeconv.batch.prepare import _unpacked


def test_memory_is_that_of_the_pixels_however_well_they_are_packed(tmp_path):
    packed = tmp_path / "packed.tif"
    tifffile.imwrite(packed, np.zeros((20, 64, 64), np.uint16), compression="zlib", photometric="minisblack")
    assert packed.stat().st_size < _unpacked(packed) == 20 * 64 * 64 * 2


def test_what_cannot_be_read_is_as_large_as_it_lies_there(tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"none")
    assert (_unpacked(bad), _unpacked(tmp_path / "gone.tif")) == (4, 0)
