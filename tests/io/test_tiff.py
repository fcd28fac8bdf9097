"""Reading TIFF files of every kind, and refusing damaged ones."""

import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from microdeconv.errors import DataError, NoInputError, RefusedError, UnavailableError
from microdeconv.io import tiff
from microdeconv.io.selection import Selection, pick, read_axes, read_indices, read_voxel
from microdeconv.io.tiff import open_stack, read_header
from microdeconv.io.writer import container_for, write_stack
from microdeconv.stack import Channel, Header, Stack, Zyx


def counts(*shape, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_imagej_hyperstack(tmp_path):
    pixels = counts(2, 5, 3, 8, 9)  # T Z C Y X
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels, imagej=True, resolution=(10, 10), metadata={"axes": "TZCYX", "spacing": 0.3, "unit": "um"}
    )
    stack = open_stack(path)
    assert (stack.header.container, stack.header.axes, stack.header.shape) == ("imagej", "TCZYX", (2, 3, 5, 8, 9))
    assert stack.header.voxel_um == pytest.approx(Zyx(0.3, 0.1, 0.1))
    np.testing.assert_array_equal(stack.read(1, 2), pixels[1, :, 2])


OPTICS = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Instrument ID="Instrument:0"><Objective ID="Objective:0" LensNA="1.4" Immersion="Oil"/></Instrument>
<Image ID="Image:0"><ObjectiveSettings ID="Objective:0" RefractiveIndex="1.518"/>
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="7" SizeY="6" SizeZ="4" SizeC="2" SizeT="1"
 PhysicalSizeX="65" PhysicalSizeXUnit="nm" PhysicalSizeY="65" PhysicalSizeYUnit="nm" PhysicalSizeZ="0.2">
<Channel ID="Channel:0:0" Name="GFP" Color="16711935" EmissionWavelength="509" ExcitationWavelength="488"
 AcquisitionMode="SpinningDiskConfocal"/>
<Channel ID="Channel:0:1" Name="RFP" Color="-16776961" EmissionWavelength="0.6" EmissionWavelengthUnit="um"/>
<TiffData/></Pixels></Image></OME>"""


def test_ome_optics(tmp_path):
    path = tmp_path / "a.ome.tif"
    pixels = counts(2, 4, 6, 7)
    tifffile.imwrite(path, pixels, description=OPTICS, metadata=None, photometric="minisblack")
    header = read_header(path)
    assert (header.container, header.axes, header.shape) == ("ome", "CZYX", (2, 4, 6, 7))
    assert header.voxel_um == pytest.approx(Zyx(0.2, 0.065, 0.065))
    green, red = header.channels
    assert (green.name, green.colour) == ("GFP", (0, 255, 0))
    assert (green.optics.na, green.optics.ri_immersion, green.optics.emission_nm) == (1.4, 1.518, 509)
    assert green.optics.modality == "spinning-disk"
    assert red.colour == (255, 0, 0)
    assert red.optics.emission_nm == pytest.approx(600)


@pytest.mark.parametrize(
    "how",
    [{}, {"bigtiff": True}, {"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "lzw"}, {"compression": "zstd"},
     {"byteorder": ">"}, {"compression": "zlib", "predictor": True}],
    ids=str,
)  # fmt: skip
def test_plain_files_in_every_form(tmp_path, how):
    pixels = counts(5, 40, 33)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", **how)
    stack = open_stack(path)
    assert stack.header.axes == "ZYX"
    assert stack.header.dtype == np.dtype("uint16")
    got = stack.read(0, 0)
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, pixels)


def test_pyramid_gives_level_0(tmp_path):
    path = tmp_path / "a.ome.tif"
    pixels = counts(3, 64, 64)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(pixels, subifds=1, metadata={"axes": "ZYX"}, photometric="minisblack")
        writer.write(pixels[:, ::2, ::2], subfiletype=1, photometric="minisblack")
    stack = open_stack(path)
    np.testing.assert_array_equal(stack.read(0, 0), pixels)


def test_series_and_pages_of_other_sizes(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(counts(8, 9), photometric="minisblack", metadata=None)
        writer.write(counts(5, 6), photometric="minisblack", metadata=None)
    with pytest.raises(DataError, match="page 1"):
        open_stack(path)
    assert open_stack(path, Selection(series=1)).header.shape == (5, 6)
    with pytest.raises(DataError, match="no series 7"):
        open_stack(path, Selection(series=7))


def test_axes(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts(2, 3, 8, 9), photometric="minisblack", metadata=None)
    stacks = counts(2, 3, 8, 9)
    tifffile.imwrite(path, stacks, photometric="minisblack")
    with pytest.raises(DataError, match="--axes"):
        open_stack(path)
    stack = open_stack(path, Selection(axes="ZCYX"))
    assert (stack.header.axes, stack.header.shape) == ("CZYX", (3, 2, 8, 9))
    np.testing.assert_array_equal(stack.read(0, 1), stacks[:, 1])
    with pytest.raises(DataError, match="3 axes"):
        open_stack(path, Selection(axes="ZYX"))


def test_colour_pictures(tmp_path):
    path = tmp_path / "a.tif"
    rgb = counts(12, 11, 3, dtype=np.uint8)
    tifffile.imwrite(path, rgb, photometric="rgb")
    with pytest.raises(DataError, match="--rgb split"):
        open_stack(path)
    stack = open_stack(path, Selection(rgb="split"))
    assert stack.header.size("C") == 3
    np.testing.assert_array_equal(stack.read(0, 2)[0], rgb[..., 2])


@pytest.mark.parametrize("dtype", ["complex64", "float16", "bool"])
def test_types_that_are_not_taken(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((4, 8, 8), dtype), photometric="minisblack")
    with pytest.raises(DataError, match="uint16"):
        open_stack(path)


@pytest.mark.parametrize(
    ("kind", "share"),
    [(k, s) for k in ("imagej", "ome", "plain", "zlib", "tiled") for s in (0.001, 0.3, 0.6, 0.99)],
)
def test_a_cut_file_is_never_a_short_stack(tmp_path, kind, share):
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    how = {
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}}, "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
        "plain": {}, "zlib": {"compression": "zlib"}, "tiled": {"tile": (32, 32)},
    }[kind]  # fmt: skip
    tifffile.imwrite(path, counts(24, 64, 64), photometric="minisblack", **how)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(5, int(share * len(whole)))])
    with pytest.raises(DataError) as caught:
        open_stack(path).read(0, 0)
    assert str(path) in str(caught.value)


def test_a_flipped_byte_in_a_compressed_page_names_the_page(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts(6, 64, 64), compression="zlib", photometric="minisblack")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[3].dataoffsets[0]
    data[place + 1] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="page 3"):
        open_stack(path).read(0, 0)


def test_claims_beyond_the_file_are_refused_before_allocation(tmp_path):
    path = tmp_path / "a.tif"
    tags = [(256, 4, 2**31 - 1), (257, 4, 2**31 - 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, 2**31 - 1), (279, 4, 100)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0" * 100)
    with pytest.raises(DataError, match="claims"):
        open_stack(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 512, 512), np.uint16), compression="zlib", photometric="minisblack")
    monkeypatch.setattr(tiff, "BOMB", 10)
    with pytest.raises(DataError, match="claims"):
        open_stack(path)


def test_files_that_are_none(tmp_path):
    for name, content, words in [
        ("empty.tif", b"", "empty"),
        ("text.tif", b"hello", "not a TIFF"),
        ("png.tif", b"\x89PNG....", "not a TIFF"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            open_stack(tmp_path / name)
    with pytest.raises(NoInputError, match="no such file"):
        open_stack(tmp_path / "nowhere.tif")
    with pytest.raises(NoInputError, match="regular"):
        open_stack(tmp_path)
    import os

    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(NoInputError, match="regular"):
        open_stack(tmp_path / "pipe.tif")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    with pytest.raises(NoInputError, match="link"):
        open_stack(tmp_path / "loop.tif")


@pytest.mark.parametrize("how", ["lzw", "zstd", "jpeg"])
def test_a_missing_codec_names_what_to_install(tmp_path, monkeypatch, how):
    import sys

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts(3, 32, 32, dtype=np.uint8), compression=how, photometric="minisblack")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnavailableError, match="pip install imagecodecs$"):
        open_stack(path)


def test_parts_of_a_series_of_files(tmp_path):
    xml = OPTICS.replace(
        "<TiffData/>",
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="{}">urn:uuid:1</UUID></TiffData><TiffData IFD="0" FirstZ="1"><UUID FileName="a.ome.tif">urn:uuid:2</UUID></TiffData>',
    )
    path = tmp_path / "a.ome.tif"
    for name, kind in [("gone.ome.tif", DataError), ("../other.ome.tif", RefusedError)]:
        tifffile.imwrite(
            path, counts(2, 4, 6, 7), description=xml.format(name), metadata=None, photometric="minisblack"
        )
        with pytest.raises(kind, match=r"gone|outside"):
            open_stack(path)


@pytest.mark.parametrize(
    ("unit", "resolution", "voxel"),
    [("um", (10, 10), 0.1), ("nm", (0.01, 0.01), 0.1), ("micron", (5, 5), 0.2), ("pixel", (6.9, 6.9), None), ("", (1, 1), None),
     ("m", (1, 1), None), ("cm", (100000, 100000), 0.1)],
)  # fmt: skip
def test_voxel_sizes_are_believed_only_if_they_can_be(tmp_path, unit, resolution, voxel):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        counts(3, 8, 8),
        imagej=True,
        resolution=resolution,
        metadata={"axes": "ZYX", "unit": unit, "spacing": 1 / resolution[0]},
    )
    header = read_header(path)
    if voxel is None:
        assert header.voxel_um is None
    else:
        assert header.voxel_um.x == pytest.approx(voxel, rel=1e-5)
        assert header.voxel_um.z == pytest.approx(voxel, rel=1e-5)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_screens_give_no_voxel_size(tmp_path, dpi):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, counts(8, 8), resolution=(dpi, dpi), resolutionunit="INCH", photometric="minisblack")
    assert read_header(path).voxel_um is None


def test_every_shared_stack_comes_back_bit_for_bit(shared, tmp_path):
    for path in sorted(shared.rglob("*.tif")):
        stack = open_stack(path)
        container, note = container_for(stack.header, "same", stack.header.dtype)
        assert note == ""
        out = tmp_path / ("o.ome.tif" if container == "ome" else "o.tif")
        write_stack(out, stack.header, stack.volumes(), {"made": "by a test"}, container=container, overwrite=True)
        again = open_stack(out)
        assert (again.header.axes, again.header.shape, again.header.dtype) == (
            stack.header.axes,
            stack.header.shape,
            stack.header.dtype,
        )
        assert again.header.container == stack.header.container
        assert [c.name for c in again.header.channels] == [c.name for c in stack.header.channels]
        if stack.header.voxel_um:
            np.testing.assert_allclose(again.header.voxel_um, stack.header.voxel_um, rtol=1e-5)
        for (_, _, a), (_, _, b) in zip(stack.volumes(), again.volumes(), strict=True):
            np.testing.assert_array_equal(a, b)
        out.unlink()


AXES = ["YX", "ZYX", "CZYX", "TZYX", "TCZYX", "TCYX"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(AXES),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from(["imagej", "ome", "plain"]),
    st.data(),
)
def test_what_is_written_is_read_again(tmp_path_factory, axes, dtype, container, data):
    sizes = tuple(data.draw(st.integers(2, 5)) for _ in axes)
    pixels = np.random.default_rng(1).integers(0, 99, sizes).astype(dtype)
    n = sizes[axes.index("C")] if "C" in axes else 1
    channels = tuple(Channel(f"c{i}", (255, i, 0)) for i in range(n))
    stack = Stack.of(pixels, axes, Zyx(0.3, 0.1, 0.1), channels=channels, container=container)
    path = tmp_path_factory.mktemp("io") / ("a.ome.tif" if container == "ome" else "a.tif")
    write_stack(path, stack.header, stack.volumes(), {"x": 1}, container=container, overwrite=False)
    again = open_stack(path)
    assert again.header.axes == axes
    np.testing.assert_array_equal(again.pixels(), pixels)
    assert again.header.voxel_um.x == pytest.approx(0.1, rel=1e-5)
    if container == "ome":
        assert again.header.channels[0].name == "c0"
        assert again.header.channels[-1].colour == channels[-1].colour


def test_selections_are_read():
    assert read_voxel("0.2 0.065 0.065") == Zyx(0.2, 0.065, 0.065)
    assert read_voxel("0.2,0.065") == Zyx(0.2, 0.065, 0.065)
    assert read_voxel([1, 0.1]) == Zyx(1, 0.1, 0.1)
    assert read_axes("tzyx") == "TZYX"
    assert pick(read_indices("0,2:,-1"), 5) == [0, 2, 3, 4]
    assert pick(None, 3) == [0, 1, 2]
    for bad in ("65 65 200", "0 1 1", "0.0001 0.1 0.1", "1", "a b c"):
        with pytest.raises(ValueError, match=r"."):
            read_voxel(bad)
    for bad in ("x", "1:2:3:4", ""):
        with pytest.raises(ValueError, match="list"):
            read_indices(bad)
    for bad in ("XYZ", "ZZYX", "SYX"):
        with pytest.raises(ValueError, match="letters"):
            read_axes(bad)
    with pytest.raises(ValueError, match="beyond"):
        pick((9,), 3)


def test_headers_describe_themselves():
    header = Header(None, "CZYX", (2, 3, 4, 5), np.dtype("uint16"))
    assert header.describe() == "C2 Z3 Y4 X5 uint16"
    assert header.volume_shape == (3, 4, 5)
    assert header.n_bytes == 240
    with pytest.raises(ValueError, match="axes"):
        Stack.of(np.zeros((2, 2)), "XY")


def test_ome_optics_are_written_back(tmp_path):
    """Objective and modality come through, as OME-XML that its schema's order allows."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, counts(2, 4, 6, 7), description=OPTICS, metadata=None, photometric="minisblack")
    stack = open_stack(path)
    out = tmp_path / "b.ome.tif"
    write_stack(out, stack.header, stack.volumes(), {"µ": "é"}, container="ome", overwrite=False)
    again = open_stack(out)
    assert [c.optics for c in again.header.channels] == [c.optics for c in stack.header.channels]
    np.testing.assert_array_equal(again.pixels(), stack.pixels())
    with tifffile.TiffFile(out) as file:
        xml = file.ome_metadata
    assert xml.index("<Instrument ") < xml.index("<Image ") < xml.index("<InstrumentRef") < xml.index("<Pixels ")
    assert "é" in xml
