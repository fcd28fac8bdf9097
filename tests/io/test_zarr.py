"""OME-Zarr in and out: what is read is what was written, and nothing that is missing or damaged is taken for blank."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from microdeconv.errors import CannotCreateError, DataError, RefusedError, UnavailableError
from microdeconv.io import zarr_write
from microdeconv.io.names import natural_name
from microdeconv.io.selection import Selection
from microdeconv.io.stacks import digest, open_stack, write_stack
from microdeconv.optics import Optics
from microdeconv.stack import Channel, Stack, Zyx

zarr = pytest.importorskip("zarr", reason="needs the extra zarr")

AXES = {"TCZYX": (2, 3, 5, 40, 33), "CZYX": (2, 5, 40, 33), "TYX": (3, 40, 33), "ZYX": (7, 40, 33), "YX": (40, 33)}
VERSIONS = ("0.4", "0.5", "shards")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(zarr_write, "CHUNK", (4, 16, 16))
    monkeypatch.setattr(zarr_write, "PLANE_CHUNK", (1, 16, 16))
    monkeypatch.setattr(zarr_write, "SMALLEST", 16)


def stack_of(axes="ZYX", dtype="uint16"):
    pixels = np.random.default_rng(0).poisson(40, AXES[axes]).astype(dtype)
    count = AXES[axes][axes.index("C")] if "C" in axes else 1
    optics = Optics(na=1.4, emission_nm=520.5, modality="confocal", pinhole_au=1.2)
    channels = tuple(Channel(f"dye {i}", (i, 128, 255), optics) for i in range(count))
    return Stack.of(pixels, axes, Zyx(0.2, 0.1, 0.1), channels=channels, container="zarr")


def written(path, stack, version="0.5", monkeypatch=None, **extras):
    if version == "shards":
        monkeypatch.setattr(zarr_write, "MANY", 3)
        version = "0.5"
    header = replace(stack.header, extras={"ngff": version, **extras})
    write_stack(path, header, stack.volumes(), {"made": "by a test", "not": float("nan")}, overwrite=False)
    return path


def attributes(path):
    if (path / ".zattrs").exists():
        return json.loads((path / ".zattrs").read_text())
    return json.loads((path / "zarr.json").read_text())["attributes"]


def edit(path, change):
    """Change the metadata of a group or array."""
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def a_chunk(path):
    """The last file of pixels of the first level."""
    return sorted(p for p in (path / "0").rglob("*") if p.is_file() and p.name[0] not in ".z")[-1]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", AXES)
def test_what_is_written_is_read(tmp_path, small_chunks, monkeypatch, axes, version):
    stack = stack_of(axes)
    path = written(tmp_path / "a.ome.zarr", stack, version, monkeypatch, Name="cells")
    again = open_stack(path)
    np.testing.assert_array_equal(again.pixels(), stack.pixels())
    assert (again.header.axes, again.header.dtype, again.header.container) == (axes, np.uint16, "zarr")
    assert again.header.channels == stack.header.channels
    assert again.header.voxel_um.x == 0.1
    assert ("Z" not in axes) or again.header.voxel_um.z == 0.2
    assert again.header.extras == {"Name": "cells", "ngff": "0.4" if version == "0.4" else "0.5"}
    assert again.header.notes == ()
    assert attributes(path)["microdeconv"]["record"] == {"made": "by a test", "not": "NaN"}
    array = zarr.open_array(path / "0", mode="r")
    assert (array.shards is not None) == (version == "shards")
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_types(tmp_path, dtype, version):
    stack = stack_of(dtype=dtype)
    again = open_stack(written(tmp_path / "a.ome.zarr", stack, version))
    assert again.header.dtype == dtype
    np.testing.assert_array_equal(again.read(0, 0), stack.read(0, 0))


@pytest.mark.parametrize("version", VERSIONS)
def test_two_validators_find_nothing(tmp_path, small_chunks, monkeypatch, version):
    yaozarrs = pytest.importorskip("yaozarrs", reason="a validator of OME-Zarr, of the extra test")
    models = pytest.importorskip("ome_zarr_models", reason="a validator of OME-Zarr, of the extra test")
    for axes in AXES:
        path = written(tmp_path / f"{axes}.ome.zarr", stack_of(axes), version, monkeypatch, TimeIncrement=2.5)
        yaozarrs.validate_zarr_store(str(path))
        image = models.open_ome_zarr(zarr.open_group(path, mode="r"))
        assert type(image).__name__ == "Image"
        assert f".v0{4 if version == '0.4' else 5}." in type(image).__module__


def test_levels_are_area_means_in_their_places(tmp_path, small_chunks):
    pixels = np.arange(4 * 64 * 33, dtype="uint16").reshape(4, 64, 33)
    stack = Stack.of(pixels, "ZYX", Zyx(0.4, 0.1, 0.1), container="zarr")
    path = written(tmp_path / "a.ome.zarr", stack)
    levels = [zarr.open_array(path / str(n), mode="r")[:] for n in range(4 - 1)]
    assert [one.shape for one in levels] == [(4, 64, 33), (4, 32, 17), (4, 16, 9)]
    even = pixels[:, :, :32].reshape(4, 32, 2, 16, 2).mean((2, 4))
    np.testing.assert_array_equal(levels[1][:, :, :16], np.rint(even))
    np.testing.assert_array_equal(levels[1][:, :, 16], np.rint(pixels[:, :, 32].reshape(4, 32, 2).mean(2)))
    datasets = attributes(path)["ome"]["multiscales"][0]["datasets"]
    scale, shift = datasets[2]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([0.4, 0.4, 0.4])
    assert shift["translation"] == pytest.approx([0, 0.15, 0.15])


@pytest.mark.parametrize(
    ("z", "last"), [(0.1, (2, 4, 4)), (0.2, (2, 4, 4)), (0.29, (2, 4, 4)), (0.31, (1, 4, 4)), (float("nan"), (1, 4, 4))]
)
def test_z_is_halved_where_voxels_are_nearly_cubes(z, last):
    stack = Stack.of(np.zeros((9, 1000, 600), "uint8"), "ZYX", Zyx(z, 0.1, 0.1))
    assert zarr_write.plan_levels(stack.header)[-1].factor[1:] == last[1:]
    assert (zarr_write.plan_levels(stack.header)[-1].factor[0] > 1) == (last[0] > 1)


def test_a_blank_stack_is_written_whole(tmp_path, small_chunks, monkeypatch):
    """Zarr leaves out chunks of its fill value, if it is let."""
    for version in VERSIONS:
        stack = Stack.of(np.zeros((5, 40, 33), "uint16"), "ZYX", container="zarr")
        assert not open_stack(written(tmp_path / f"{version}.ome.zarr", stack, version, monkeypatch)).read(0, 0).any()


def test_chunks_of_other_programs(tmp_path):
    """Any order of axes, big-endian, dots in names, chunks over several time points and channels."""
    pixels = np.arange(6 * 5 * 4 * 3 * 2, dtype=">u2").reshape(6, 5, 4, 3, 2)  # z c x y t
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    array = group.create_array("full", shape=pixels.shape, chunks=(4, 2, 3, 2, 2), dtype=">u2", fill_value=7)
    array[:] = pixels
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zcxyt"]
    steps = [{"type": "scale", "scale": [200, 1, 50, 50, 1]}]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [{"path": "full", "coordinateTransformations": steps}],
            "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 2, 1]}],
        }
    ]
    stack = open_stack(tmp_path / "a.zarr")
    assert (stack.header.axes, stack.header.shape) == ("TCZYX", (2, 5, 6, 3, 4))
    assert stack.header.voxel_um == pytest.approx((0.2, 0.1, 0.1))
    np.testing.assert_array_equal(stack.pixels(), pixels.transpose(4, 1, 0, 3, 2))
    assert stack.header.dtype.isnative
    (tmp_path / "a.zarr" / "full" / "1.2.1.1.0").unlink()
    with pytest.raises(DataError, match=r"chunk full/1\.2\.1\.1\.0 is missing.*--missing-chunks fill takes 7"):
        stack.read(1, 4)
    stack.read(1, 0)
    filled = open_stack(tmp_path / "a.zarr", Selection(missing_chunks="fill")).read(1, 4)
    assert (filled == 7).sum() == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_b27_a_chunk_that_is_missing(tmp_path, small_chunks, monkeypatch, version):
    path = written(tmp_path / "a.ome.zarr", stack_of("CZYX"), version, monkeypatch)
    chunk = a_chunk(path)
    chunk.unlink()
    with pytest.raises(DataError, match=f"chunk {chunk.relative_to(path)} is missing") as caught:
        open_stack(path).pixels()
    assert caught.value.exit_code == 65


def test_b27_a_chunk_that_is_missing_in_a_shard(tmp_path):
    shards = {"shape": (16, 40), "shards": (8, 16), "chunks": (4, 4), "dtype": "uint8", "fill_value": 0}
    array = zarr.create_array(tmp_path / "a.zarr" / "0", **shards)  # which leaves blank chunks out
    pixels = np.ones((16, 40), "uint8")
    pixels[8:12, 20:24] = 0
    array[:] = pixels
    told = {"version": "0.5", "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": told}}
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(DataError, match=r"chunk 0/c/1/1 \(its part 0/1\) is missing"):
        open_stack(tmp_path / "a.zarr").read(0, 0)
    filled = open_stack(tmp_path / "a.zarr", Selection(missing_chunks="fill"))
    np.testing.assert_array_equal(filled.read(0, 0)[0], pixels)


@pytest.mark.parametrize("version", VERSIONS)
def test_b28_flipped_bits_and_cut_chunks_are_seen(tmp_path, small_chunks, monkeypatch, version):
    path = written(tmp_path / "a.ome.zarr", stack_of(), version, monkeypatch)
    chunk = a_chunk(path)
    whole = chunk.read_bytes()
    right, silent = stack_of().read(0, 0), 0
    for place in np.random.default_rng(1).integers(0, 8 * len(whole), 40):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        chunk.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(open_stack(path).read(0, 0), right)  # bits that mean nothing
            silent += 1
        except DataError as error:
            assert re.search(rf"{chunk.relative_to(path)}.*(damaged|missing)", str(error))
            assert "\n" not in str(error)
    assert silent <= 2
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"{chunk.relative_to(path)}.*(damaged|missing)"):
            open_stack(path).read(0, 0)
    chunk.write_bytes(whole)
    np.testing.assert_array_equal(open_stack(path).read(0, 0), right)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_b28_metadata_that_are_missing_or_broken(tmp_path, version):
    path = written(tmp_path / "a.ome.zarr", stack_of(), version)
    names = [".zattrs", "0/.zarray"] if version == "0.4" else ["zarr.json", "0/zarr.json"]
    for name in names:
        whole = (path / name).read_bytes()
        for broken in (b"", whole[: len(whole) // 2], b"[1]", b"{}", b"[" * 100_000, b"\xff\xfe"):
            (path / name).write_bytes(broken)
            with pytest.raises(DataError, match="damaged|no OME-Zarr|metadata"):
                open_stack(path)
        (path / name).unlink()
        with pytest.raises(DataError, match="neither zarr.json nor|zarr.json: No such file"):
            open_stack(path)
        (path / name).write_bytes(whole)
    open_stack(path).read(0, 0)


def test_metadata_of_another_form(tmp_path):
    path = written(tmp_path / "a.ome.zarr", stack_of())

    def image(change):
        return lambda told: change(told["attributes"]["ome"]["multiscales"][0])

    group, array = path / "zarr.json", path / "0" / "zarr.json"
    for file, change, words in (
        (group, image(lambda m: m.update(axes=m["axes"][1:])), "2 axes are described, the array has 3"),
        (group, image(lambda m: m["axes"][0].update(name="angle")), r"axes angle, y, x .*--axes"),
        (group, image(lambda m: m["axes"][0].update(name="y")), r"axes y, y, x .*--axes"),
        (group, image(lambda m: m.update(datasets=[])), r"damaged \(IndexError"),
        (group, image(lambda m: m.pop("axes")), r"damaged \(KeyError: 'axes'"),
        (group, lambda told: told["attributes"]["ome"].update(version="0.6"), "version 0.6 is not read"),
        (group, lambda told: told["attributes"]["ome"].pop("multiscales"), "no multiscales"),
        (group, lambda told: told["attributes"].update(ome={"plate": {}}), "a plate or well"),
        (array, lambda told: told.update(shape=[7, 0, 33]), "can be read"),
        (array, lambda told: told["chunk_grid"].update(name="odd"), "can be read"),
        (array, lambda told: told["codecs"][1].update(name="odd"), "odd"),
        (array, lambda told: told.update(data_type="int64"), "int64 are not taken"),
    ):
        whole = file.read_bytes()
        edit(file, change)
        kind = UnavailableError if words == "odd" else DataError
        with pytest.raises(kind, match=words):
            open_stack(path)
        file.write_bytes(whole)
    edit(group, image(lambda m: m["axes"][0].update(name="angle")))
    assert open_stack(path, Selection(axes="TYX")).header.axes == "TYX"
    with pytest.raises(DataError, match="--axes YX names 2 axes, the array has 3"):
        open_stack(path, Selection(axes="YX"))
    for name in ("../b.ome.zarr/0", "/etc/0"):
        edit(group, image(lambda m, name=name: m["datasets"][0].update(path=name)))
        with pytest.raises(RefusedError, match="outside its folder"):
            open_stack(path)
    with pytest.raises(DataError, match="a bare Zarr array"):
        open_stack(path / "0")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match="neither zarr.json nor"):
        open_stack(tmp_path / "empty.zarr")


def test_units_that_are_missing_or_strange(tmp_path):
    path = written(tmp_path / "a.ome.zarr", stack_of())

    def axes(change):
        return lambda told: [change(a) for a in told["attributes"]["ome"]["multiscales"][0]["axes"]]

    edit(path / "zarr.json", axes(lambda a: a.update(unit="parsec")))
    header = open_stack(path).header
    assert header.voxel_um is None
    assert header.notes == ("the OME-Zarr gives its scale in 'parsec': not taken for µm, give --voxel",)
    edit(path / "zarr.json", axes(lambda a: a.pop("unit")))
    assert "without a unit" in open_stack(path).header.notes[0]
    assert open_stack(path, Selection(voxel_um=Zyx(1, 2, 3))).header.voxel_um == (1, 2, 3)


def test_optics_that_cannot_be_are_told_and_left_out(tmp_path):
    path = written(tmp_path / "a.ome.zarr", stack_of())
    edit(path / "zarr.json", lambda told: told["attributes"]["microdeconv"]["optics"][0].update(na=17, emission="x"))
    header = open_stack(path).header
    assert (header.channels[0].optics.na, header.channels[0].optics.emission_nm) == (None, None)
    assert header.channels[0].optics.modality == "confocal"
    assert len(header.notes) == 2


def test_several_images_in_one_folder(tmp_path):
    """As bioformats2raw lays them out."""
    for number, axes in enumerate(("ZYX", "YX")):
        written(tmp_path / f"{number}.ome.zarr", stack_of(axes), "0.4")
        shutil.move(tmp_path / f"{number}.ome.zarr", tmp_path / "a.zarr" / str(number))
    (tmp_path / "a.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    stack = open_stack(tmp_path / "a.zarr")
    assert stack.header.axes == "ZYX"
    assert stack.header.notes == ("the first of 2 images is read: --series chooses",)
    np.testing.assert_array_equal(stack.read(0, 0), stack_of().read(0, 0))
    assert open_stack(tmp_path / "a.zarr", Selection(series=1)).header.axes == "YX"
    for path in (tmp_path / "a.zarr", tmp_path / "a.zarr" / "0"):
        with pytest.raises(DataError, match="no series 2"):
            open_stack(path, Selection(series=2))


def test_times_and_magnification(tmp_path):
    path = written(
        tmp_path / "a.ome.zarr", stack_of("TYX"), TimeIncrement="1500", TimeIncrementUnit="ms", NominalMagnification=63
    )
    extras = open_stack(path).header.extras
    assert (extras["TimeIncrement"], extras["TimeIncrementUnit"], extras["NominalMagnification"]) == (1.5, "s", 63)


def test_the_extra_is_missing(tmp_path, monkeypatch):
    path = written(tmp_path / "a.ome.zarr", stack_of())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UnavailableError, match=r"extra zarr: pip install .microdeconv\[zarr\]") as caught:
        open_stack(path)
    assert caught.value.exit_code == 69
    with pytest.raises(UnavailableError, match="extra zarr"):
        written(tmp_path / "b.ome.zarr", stack_of())
    assert not (tmp_path / "b.ome.zarr").exists()


def test_an_output_that_exists(tmp_path):
    path = written(tmp_path / "a.ome.zarr", stack_of())
    before = digest(path)
    with pytest.raises(CannotCreateError, match="exists already"):
        written(path, stack_of("YX"))
    assert digest(path) == before

    def breaking():
        yield 0, 0, stack_of().read(0, 0)
        raise DataError("the input broke")

    with pytest.raises(DataError, match="the input broke"):
        write_stack(path, stack_of("TYX").header, breaking(), {}, overwrite=True)
    assert digest(path) == before
    stack = stack_of("YX")
    write_stack(path, stack.header, stack.volumes(), {}, overwrite=True)
    np.testing.assert_array_equal(open_stack(path).pixels(), stack.pixels())
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_names_and_digests(tmp_path):
    from pathlib import Path

    assert [natural_name(Path(n)) for n in ("a.ome.zarr", "a.b.zarr", "a.OME.ZARR")] == ["a", "a.b", "a"]
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"1")
    (tmp_path / "a" / "a").write_bytes(b"2")
    first = digest(tmp_path / "a")
    (tmp_path / "a" / "b" / "c").write_bytes(b"3")
    assert digest(tmp_path / "a") != first
