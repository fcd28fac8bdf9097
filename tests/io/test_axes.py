"""Axes: those a file names, those it does not, colours last or first, sizes of one."""

import numpy as np
import pytest
import tifffile

from microdeconv.errors import DataError
from microdeconv.io.selection import Selection, read_axes
from microdeconv.io.tiff import open_stack

COLOURS = np.random.default_rng(0).integers(0, 200, (4, 12, 11, 3)).astype(np.uint8)  # Z Y X C


@pytest.mark.parametrize("metadata", [{}, None], ids=["shaped", "bare"])
@pytest.mark.parametrize("planar", [False, True])
def test_a_sole_unnamed_axis_of_colour_pictures_is_z(tmp_path, metadata, planar):
    path = tmp_path / "a.tif"
    pixels = np.moveaxis(COLOURS, 3, 1) if planar else COLOURS
    tifffile.imwrite(
        path, pixels, photometric="rgb", metadata=metadata, planarconfig="separate" if planar else "contig"
    )
    stack = open_stack(path, Selection(rgb="split"))
    assert (stack.header.axes, stack.header.shape) == ("CZYX", (3, 4, 12, 11))
    assert any("taken for Z" in note for note in stack.header.notes)
    np.testing.assert_array_equal(stack.read(0, 2), COLOURS[..., 2])
    with pytest.raises(DataError, match="--rgb split"):
        open_stack(path)


@pytest.mark.parametrize(("said", "read"), [("ZYXC", "ZYXC"), ("tyxs", "TYXC"), ("YXS", "YXC")])
def test_colours_may_be_named_last(tmp_path, said, read):
    assert read_axes(said) == read
    path = tmp_path / "a.tif"
    pixels = COLOURS if len(said) == 4 else COLOURS[0]
    tifffile.imwrite(path, pixels, photometric="rgb")
    stack = open_stack(path, Selection(axes=read_axes(said), rgb="split"))
    assert not any("taken for Z" in note for note in stack.header.notes)
    volume = stack.read(1, 2) if "T" in read else stack.read(0, 2)
    np.testing.assert_array_equal(volume.squeeze(), COLOURS[1, ..., 2] if "T" in read else pixels[..., 2])


@pytest.mark.parametrize("axes", ["YXZ", "XYZ", "ZXY", "YXC"])
def test_named_axes_in_any_order(tmp_path, axes):
    pixels = COLOURS[..., 0].astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": axes})
    stack = open_stack(tmp_path / "a.tif")
    wanted = pixels.transpose([axes.index(a) for a in "CZYX" if a in axes])
    np.testing.assert_array_equal(stack.pixels(), wanted)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 1, 1), (3, 1, 1), (1, 5, 1), (1, 1, 5), (1, 4, 5)])
@pytest.mark.parametrize("metadata", [{}, None], ids=["shaped", "bare"])
def test_sizes_of_one(tmp_path, shape, metadata):
    pixels = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=metadata)
    stack = open_stack(tmp_path / "a.tif")
    assert stack.header.axes.endswith("YX")
    np.testing.assert_array_equal(stack.read(0, 0).ravel(), pixels.ravel())
    if metadata is not None:
        assert stack.header.volume_shape == (1, 1, *shape)[-3:]


def test_one_voxel_is_a_psf(tmp_path):
    from microdeconv.psf.file import load_psf

    tifffile.imwrite(tmp_path / "psf.tif", np.full((1, 1, 1), 7, np.float32), photometric="minisblack")
    np.testing.assert_array_equal(load_psf(tmp_path / "psf.tif", None, (8, 16, 16)).pixels, np.ones((1, 1, 1)))
