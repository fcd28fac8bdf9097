"""One huge stack in tiles is bit for bit what `run` gives on one machine with the same tile."""

import json

import numpy as np
import pytest
import tifffile
from batch_files import OPTIONS, PSF

zarr = pytest.importorskip("zarr", reason="needs the extra zarr")

SHAPE = (2, 5, 150, 130)  # c, z, y, x: of tiles of 64 the last are 22 and 2 wide
MANY = (*OPTIONS[:2], "--tile", "64", "--threads", "1")


def make_stack(folder, name="s.tif", shape=SHAPE, seed=0):
    random = np.random.default_rng(seed)
    image = random.poisson(100, shape).astype(np.uint16)
    image[..., ::9, ::7] += random.poisson(400, image[..., ::9, ::7].shape).astype(np.uint16)
    tifffile.imwrite(folder / "psf.tif", PSF, photometric="minisblack")
    tifffile.imwrite(folder / name, image, photometric="minisblack")
    return image


def levels(path):
    group = zarr.open_group(str(path), mode="r")
    return {name: group[name][:] for name in sorted(group.array_keys())}


def without_limits(path):
    told = json.loads((path / "zarr.json").read_text())["attributes"]
    told["microdeconv"]["record"].pop("input_sha256", None)
    return told


def assert_same(one, other):
    a, b = levels(one), levels(other)
    assert a.keys() == b.keys()
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name], err_msg=name)
        assert values.dtype == b[name].dtype


METHODS = {
    "rl": ("-m", "rl", "-n", "3"),
    "float": ("-m", "rl", "--dtype", "float32", "--max-iterations", "6"),
    "tv": ("-m", "rl-tv", "-n", "2", "--regularisation", "0.01"),
    "wiener": ("-m", "wiener"),
}


@pytest.mark.parametrize("name", METHODS)
def test_tiles_give_what_run_gives(program, tmp_path, name):
    make_stack(tmp_path)
    words = (*MANY, *METHODS[name], "--axes", "CZYX", "--voxel", "0.3", "0.1")
    assert program("run", "s.tif", "-o", "whole.ome.zarr", *words).returncode == 0
    done = program("batch", "--tiles", "s.tif", "-o", "tiles.ome.zarr", *words, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "18 of 18 tiles" in done.stderr
    done = program("finish", "tiles.ome.zarr", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "tiles.ome.zarr", tmp_path / "whole.ome.zarr")
    assert without_limits(tmp_path / "tiles.ome.zarr") == without_limits(tmp_path / "whole.ome.zarr")
    assert not (tmp_path / "tiles.ome.zarr.tiles").exists()
    assert program("check", "tiles.ome.zarr").returncode == 0
