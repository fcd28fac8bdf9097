"""PSFs with places: how they are named, and that they form a grid."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from microdeconv.errors import DataError, UsageError
from microdeconv.psf.named import PsfFile, read_psf_file
from microdeconv.psf.several import arranged, load_psfs
from microdeconv.simulate import gaussian_psf
from microdeconv.stack import Psf, PsfSet, Zyx

FIELD = (20, 40, 50)
VOXEL = Zyx(0.5, 0.1, 0.2)


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [("a.tif", "a.tif", ()), ("a.tif@20", "a.tif", (20,)), ("a.tif@0,-1.5", "a.tif", (0, -1.5)), ("b@2/a.tif@1,2,3", "b@2/a.tif", (1, 2, 3)),
     ("a@home.tif", "a@home.tif", ()), ("a@1,2,3,4", "a@1,2,3,4", ()), ("a@nan", "a@nan", ()), ("@20", "@20", ()), ("a@", "a@", ()),
     ("a@0@20", "a@0", (20,))],
)  # fmt: skip
def test_only_trailing_numbers_are_a_place(text, path, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_psf_file(text) == PsfFile(Path(path), place)
    assert read_psf_file(str(read_psf_file(text))) == read_psf_file(text)


def test_a_file_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.tif@20").touch()
    assert read_psf_file("a.tif@20") == PsfFile(Path("a.tif@20"))
    assert read_psf_file("a.tif@20@3") == PsfFile(Path("a.tif@20"), (3,))


def psf(width=1.0):
    return Psf(gaussian_psf((1.0, width, width)), None, None, f"width {width:g}")


def test_a_grid_in_any_order():
    places = [(6.0, 2.0), (0.0, 2.0), (6.0, 0.0), (0.0, 0.0)]
    found = arranged([(psf(1 + i / 10), place) for i, place in enumerate(places)], FIELD, VOXEL)
    assert isinstance(found, PsfSet)
    assert found.places == ((0.0,), (0.0, pytest.approx(60)), (0.0, pytest.approx(10)))
    assert [one.source for one in found.parts] == ["width 1.3", "width 1.1", "width 1.2", "width 1"]
    assert "y 0, 6; x 0, 2 µm" in found.source
    assert any("y 6 µm lies outside the stack, 0 to 3.9 µm" in note for note in found.notes)
    assert not any(note.startswith("x") for note in found.notes)


def test_two_by_two_places_are_told_to_be_few():
    def told(*counts):
        places = [(float(y), float(x)) for y in range(counts[0]) for x in range(counts[1])]
        return any("give 3 x 3" in note for note in arranged([(psf(), place) for place in places], FIELD).notes)

    assert told(2, 2)
    assert not told(3, 3)
    assert not told(1, 2)


def test_depths_count_from_the_coverslip():
    pairs = [(psf(1.0), (5.0,)), (psf(1.4), (14.5,))]
    assert arranged(pairs, FIELD, VOXEL, depth_um=5.0).places[0] == (0.0, 19.0)
    assert arranged(pairs, FIELD, VOXEL, depth_um=5.0).notes == ()
    assert arranged(pairs, FIELD).places[0] == (5.0, 14.5)
    both = arranged([(psf(), (z, y, 3.0)) for z in (0, 9) for y in (0, 30)], FIELD)
    assert both.places == ((0.0, 9.0), (0.0, 30.0), (3.0,))


@pytest.mark.parametrize(
    ("places", "words"),
    [([(0.0,), ()], "PSF 1 has no place"), ([(), ()], "2 PSFs, and PSF 0 has no place"),
     ([(0.0,), (0.0, 1.0)], "places of 1 and 2 numbers"), ([(3.0,), (3.0,)], "PSF 0 and PSF 1 are at one place"),
     ([(0.0, 0.0), (0.0, 5.0), (5.0, 0.0)], r"no grid: none is at @5,5")],
)  # fmt: skip
def test_what_is_no_grid_is_refused(places, words):
    with pytest.raises(UsageError, match=words) as caught:
        arranged([(psf(), place) for place in places], FIELD, VOXEL)
    assert caught.value.remedy


def test_one_alone_and_planes():
    alone = arranged([(psf(), (20.0,))], FIELD, VOXEL)
    assert isinstance(alone, Psf)
    assert "alone serves the whole stack" in alone.notes[0]
    with pytest.raises(UsageError, match="the image has one plane"):
        arranged([(psf(), (0.0,)), (psf(), (1.0,))], (1, 40, 50), VOXEL)


def test_files_are_each_made_ready(tmp_path):
    """Unlike voxel sizes are resampled; what is wrong is told with the file's name."""
    own = {"a.tif": 0.1, "b.tif": 0.2, "flat.tif": 0.1}
    for name, size in own.items():
        pixels = gaussian_psf((1, 0.2 / size, 0.2 / size))
        metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
        pixels = pixels[4:5] if name == "flat.tif" else pixels
        tifffile.imwrite(tmp_path / name, pixels, imagej=True, resolution=(1 / size, 1 / size), metadata=metadata)
    files = [PsfFile(tmp_path / "a.tif", (0.0,)), PsfFile(tmp_path / "b.tif", (8.0,))]
    found = load_psfs(files, Zyx(0.5, 0.1, 0.1), FIELD)
    assert found.places[0] == (0.0, 16.0)
    widths = [
        float((one.pixels.sum(axis=(0, 1)) * (np.arange(one.shape[2]) - one.shape[2] // 2) ** 2).sum())
        for one in found.parts
    ]
    assert widths[0] == pytest.approx(4, rel=0.05)
    assert widths[1] == pytest.approx(4, rel=0.2)
    assert "from b.tif, resampled" in found.source
    with pytest.raises(DataError, match="voxel size is not known"):
        load_psfs(files, None, FIELD)
    with pytest.raises(DataError, match="voxel size is not known"):
        load_psfs(files, Zyx(float("nan"), 0.1, 0.1), FIELD)
    with pytest.raises(UsageError, match=r"a\.tif: stands at 2 places"):
        load_psfs([files[0], PsfFile(tmp_path / "a.tif", (9.0,))], VOXEL, FIELD)
    with pytest.raises(DataError, match=r"flat\.tif: a 2-D PSF for a 3-D image"):
        load_psfs([files[0], PsfFile(tmp_path / "flat.tif", (9.0,))], VOXEL, FIELD)
