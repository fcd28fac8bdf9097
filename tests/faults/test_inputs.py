"""Rows B, C7 and E8 of the fault catalogue through the program: one line, the right code, no output."""

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import ROOT
from mounting import mounted
from PIL import Image

from microdeconv.errors import DataError
from microdeconv.io.pixels import check_pixels
from microdeconv.io.selection import Selection
from microdeconv.io.tiff import open_stack
from microdeconv.simulate import gaussian_psf

PSF = gaussian_psf((1.5, 1.2, 1.2))
COUNTS = np.random.default_rng(0).poisson(100, (12, 48, 48)).astype(np.uint16)


@pytest.fixture
def refused(program, tmp_path):
    """Run a file: it must be refused with one line and nothing written, the input as it was."""
    tifffile.imwrite(tmp_path / "psf.tif", PSF, photometric="minisblack")

    def call(name, code, *said, words=(), **environment):
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        done = program("run", name, "--psf", "psf.tif", "-n", 2, *words, **environment)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("microdeconv: ")
        for one in (name, *said):
            assert one in done.stderr
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before

    return call


def write(path, pixels=COUNTS, share=1.0, **how):
    """A TIFF, perhaps cut after a share of its bytes."""
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **how})
    if share < 1:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def pyramid(path, share=1.0):
    with tifffile.TiffWriter(path, ome=path.name.endswith(".ome.tif")) as writer:
        how = {"photometric": "minisblack", "tile": (16, 16), "compression": "zlib"}
        writer.write(COUNTS, subifds=1, metadata={"axes": "ZYX"}, **how)
        writer.write(COUNTS[:, ::2, ::2], subfiletype=1, **how)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def test_b2_what_is_no_file(refused):
    refused("/dev/null", 66, "not a regular file")


@pytest.mark.parametrize("kind", ["nothing", "PNG", "JPEG"])
def test_b4_what_is_no_tiff(refused, tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "nothing":
        path.write_bytes(b"")
    else:
        Image.fromarray(COUNTS[0].astype(np.uint8)).save(path, format=kind)
    refused("a.tif", 65, "empty" if kind == "nothing" else "not a TIFF", "convert it")


@pytest.mark.parametrize(
    ("row", "name", "share", "how"),
    [
        ("B5", "a.tif", 0.3, {}),
        ("B6", "a.tif", 0.7, {"imagej": True, "metadata": {"axes": "ZYX"}}),
        ("B7", "a.ome.tif", 0.7, {"metadata": {"axes": "ZYX"}}),
        ("B8", "a.tif", 0.5, {"compression": "zlib"}),
        ("B8", "a.tif", 0.5, {"tile": (16, 16)}),
    ],
)
def test_b5_to_b8_cut_files(refused, tmp_path, row, name, share, how):
    write(tmp_path / name, share=share, **how)
    refused(name, 65)


def test_b8_a_cut_pyramid(refused, tmp_path):
    pyramid(tmp_path / "a.ome.tif", 0.6)
    refused("a.ome.tif", 65)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("kind", ["pyramid", "zlib", "tiled"])
def test_b8_cut_at_six_places(tmp_path, name, share, kind):
    """A pyramid's smaller levels lie last: where only they are cut, the first is read whole or the file refused."""
    path = tmp_path / name
    if kind == "pyramid":
        pyramid(path, share)
    else:
        write(path, share=share, **({"compression": "zlib"} if kind == "zlib" else {"tile": (16, 16)}))
    try:
        pixels = open_stack(path).read(0, 0)
    except DataError as reason:
        assert str(path) in str(reason)
    else:
        assert kind == "pyramid"
        np.testing.assert_array_equal(pixels, COUNTS)


def test_b13_a_claim_beyond_the_file(refused, tmp_path):
    tags = [(256, 4, 2**31 - 1), (257, 4, 2**31 - 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, 2**31 - 1), (279, 4, 100)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    (tmp_path / "a.tif").write_bytes(head + entries + b"\0" * 100)
    refused("a.tif", 65, "claims")


def test_b18_a_missing_part(refused, tmp_path):
    xml = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="48" SizeY="48" SizeZ="24" SizeC="1" SizeT="1">
<Channel ID="Channel:0:0"/><TiffData FirstZ="0" PlaneCount="12"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>
<TiffData FirstZ="12" PlaneCount="12"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>"""
    write(tmp_path / "a.ome.tif", description=xml, metadata=None)
    refused("a.ome.tif", 65, "b.ome.tif is missing")


def test_b19_a_codec_that_is_not_there(refused, tmp_path):
    write(tmp_path / "a.tif", compression="zstd")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "imagecodecs.py").write_text("raise ImportError('imagecodecs')\n", encoding="utf-8")
    refused("a.tif", 69, "pip install imagecodecs", PYTHONPATH=f"{tmp_path / 'without'}{os.pathsep}{ROOT}")


@pytest.mark.parametrize("kind", ["complex64", "rgb", "palette"])
def test_b20_pixels_that_are_not_taken(refused, tmp_path, kind):
    path = tmp_path / "a.tif"
    said = "uint16"
    if kind == "rgb":
        write(path, np.zeros((12, 11, 3), np.uint8), photometric="rgb")
        said = "--rgb split"
    elif kind == "palette":
        colours = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
        write(path, COUNTS.astype(np.uint8), photometric="palette", colormap=colours)
        said = "greyscale"
    else:
        write(path, np.ones((4, 16, 16), kind))
    refused("a.tif", 65, said)


def test_b20_a_palette_of_rising_greys_only_shows_intensities(tmp_path):
    write(tmp_path / "a.tif", COUNTS.astype(np.uint8), photometric="palette",
          colormap=np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1)))  # fmt: skip
    np.testing.assert_array_equal(open_stack(tmp_path / "a.tif").read(0, 0), COUNTS.astype(np.uint8))


def test_b21_axes_that_nobody_names(refused, tmp_path):
    write(tmp_path / "a.tif", COUNTS.reshape(3, 4, 48, 48))
    refused("a.tif", 65, "--axes")


def test_b22_an_axis_of_size_zero(refused, tmp_path):
    with pytest.warns(UserWarning, match="zero-size"):
        write(tmp_path / "a.tif", np.zeros((0, 16, 16), np.uint16))
    refused("a.tif", 65)


def test_c7_denormal_numbers_are_taken_for_zero_and_told(program, tmp_path):
    tifffile.imwrite(tmp_path / "psf.tif", PSF, photometric="minisblack")
    write(tmp_path / "a.tif", (COUNTS * 1e-42).astype(np.float32))
    done = program("run", "a.tif", "--psf", "psf.tif", "-n", 3)
    assert done.returncode == 0, done.stderr
    assert "too small for 32-bit numbers" in done.stderr
    assert not tifffile.imread(tmp_path / "a_decon.tif").any()


def test_c7_numbers_that_overflow():
    with pytest.raises(DataError, match=r"a.tif: values up to 1e\+300 are too large for 32-bit numbers: divide them"):
        check_pixels(np.full((4, 4, 4), 1e300), Selection(), Path("a.tif"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_e8_a_read_only_file_system(tmp_path):
    """Refused before anything is computed, even to root, whom permissions do not stop."""
    write(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "psf.tif", PSF, photometric="minisblack")
    script = f"""
mkdir -p {tmp_path}/fixed && mount -t tmpfs -o size=1m tmpfs {tmp_path}/fixed || exit 99
mount -o remount,ro {tmp_path}/fixed || exit 99
cd {tmp_path} && {sys.executable} -m microdeconv run a.tif --psf psf.tif -n 2 -o fixed/b.tif
"""
    done = mounted(script)
    assert done.returncode == 73, done.stderr
    assert done.stderr == "microdeconv: fixed: cannot be written to: choose another folder with -o\n"
