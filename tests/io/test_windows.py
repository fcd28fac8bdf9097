"""A part of a stack is that part of the whole, in every container, and little else is read."""

import numpy as np
import pytest
import tifffile

from microdeconv.io.selection import Selection
from microdeconv.io.stacks import open_stack, write_stack

RNG = np.random.default_rng(0)
Y, X = slice(13, 40), slice(5, 22)


@pytest.mark.parametrize(
    "how",
    [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (16, 16)}, {"rowsperstrip": 7}, {"bigtiff": True}],
)
def test_a_window_of_a_tiff(tmp_path, how):
    pixels = RNG.poisson(100, (2, 3, 50, 37)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **how)
    stack = open_stack(tmp_path / "a.tif", Selection(axes="CZYX"))
    for c in (0, 1):
        np.testing.assert_array_equal(stack.part(0, c, Y, X), pixels[c, :, Y, X])
        np.testing.assert_array_equal(stack.read(0, c), pixels[c])
    assert stack.part(0, 1, Y, X).dtype.isnative


def test_a_window_of_a_plain_tiff_reads_its_rows_alone(tmp_path, monkeypatch):
    pixels = RNG.poisson(100, (3, 50, 37)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    stack = open_stack(tmp_path / "a.tif")
    taken = []
    real = tifffile.FileHandle.read_array
    monkeypatch.setattr(tifffile.FileHandle, "read_array",
                        lambda self, dtype, count=-1, *a, **k: taken.append(count) or real(self, dtype, count, *a, **k))  # fmt: skip
    stack.part(0, 0, Y, X)
    assert taken == [27 * 37] * 3


def test_a_cut_file_is_damage_in_a_window_too(tmp_path):
    pixels = RNG.poisson(100, (3, 50, 37)).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    stack = open_stack(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(Exception, match="damaged|claims"):
        stack.part(0, 0, slice(30, 50), X)


def test_a_window_of_a_zarr(tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    pixels = RNG.poisson(100, (2, 3, 50, 37)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    stack = open_stack(tmp_path / "a.tif", Selection(axes="CZYX"))
    out = tmp_path / "b.ome.zarr"
    from dataclasses import replace

    write_stack(out, replace(stack.header, container="zarr"), stack.volumes(), {}, overwrite=False)
    np.testing.assert_array_equal(open_stack(out).part(0, 1, Y, X), pixels[1, :, Y, X])
