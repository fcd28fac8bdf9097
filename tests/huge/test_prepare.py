"""A plan is made once, and taken again only for what it was made for."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from huge_files import asked_for, make_stack, scheme_for

from microdeconv.errors import MicrodeconvError
from microdeconv.huge.make import refuse_shared_shards
from microdeconv.huge.prepare import prepared
from microdeconv.huge.scheme import PLAN, load
from microdeconv.io.zarr_chunks import read_grid
from microdeconv.stack import PsfSet
from microdeconv.tiles import Tiling

pytest.importorskip("zarr", reason="needs the extra zarr")


def refused(folder, code, *words, **given):
    with pytest.raises(MicrodeconvError) as caught:
        prepared(asked_for(folder, **given), lambda *_: None)
    assert caught.value.exit_code == code, caught.value
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "word", "given"),
    [
        (2, ".ome.zarr", {"output": "out.tif"}),
        (2, "guard", {"method": "learnt", "iterations": None}),
        (2, "whole stack", {"psf": ["estimate"], "na": 1.0, "emission": 520, "voxel": "0.3 0.1", "ri_immersion": 1.5}),
        (2, "neighbours", {"nan": "median"}),
        (2, "must be tiles", {"tile": "off"}),
        (2, "multiples of 16", {"tile": 50}),
        (2, "--preview", {"preview": True}),
        (66, "no such file", {"stack": "none.tif"}),
    ],
)
def test_what_cannot_be_tiled_is_refused(tmp_path, code, word, given):
    make_stack(tmp_path)
    refused(tmp_path, code, word, **given)
    assert not (tmp_path / "out.ome.zarr.tiles").exists()


def test_a_plan_is_taken_again_for_the_same_and_refused_for_another(tmp_path):
    make_stack(tmp_path)
    make_stack(tmp_path, "other.tif", seed=1)
    scheme = scheme_for(tmp_path)
    assert scheme.count == 6
    again, notes = prepared(asked_for(tmp_path), lambda *_: None)
    assert again.told == scheme.told
    assert "goes on" in notes[0]
    refused(tmp_path, 73, "another stack", stack="other.tif")
    refused(tmp_path, 73, "iterations 2 then, 3 now", iterations=3)
    make_stack(tmp_path, shape=(4, 70, 41))
    refused(tmp_path, 73, "was changed")
    assert scheme_for(tmp_path, restart=True).field == (4, 70, 41)


def test_another_psf_under_the_same_name_is_refused(tmp_path):
    make_stack(tmp_path)
    scheme_for(tmp_path)
    tifffile.imwrite(tmp_path / "psf.tif", np.ones((3, 3, 3), np.float32), photometric="minisblack")
    refused(tmp_path, 73, "psf file 0")


def test_an_output_that_stands_is_not_planned_over(tmp_path):
    make_stack(tmp_path)
    (tmp_path / "out.ome.zarr").mkdir()
    (tmp_path / "out.ome.zarr" / "zarr.json").write_text("{}")
    refused(tmp_path, 73, "exists already")


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[]"])
def test_a_damaged_plan_is_data_that_cannot_be_used(tmp_path, text):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    (scheme.folder / PLAN).write_text(text)
    refused(tmp_path, 65, "plan")


def test_j13_tiles_that_share_a_shard_are_our_bug(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    grid = read_grid(scheme.image / "0")
    refuse_shared_shards(scheme.tiling, grid, scheme.axes)
    with pytest.raises(MicrodeconvError, match="inside a shard") as caught:
        refuse_shared_shards(Tiling.of(scheme.field, 24, (8, 8), exact=True), grid, scheme.axes)
    assert caught.value.exit_code == 70


def test_psfs_that_change_over_the_field_are_kept_exactly(tmp_path):
    make_stack(tmp_path)
    shutil.copy(tmp_path / "psf.tif", tmp_path / "q.tif")
    both = [f"{tmp_path / 'psf.tif'}@0,0", f"{tmp_path / 'q.tif'}@0,3"]
    scheme = scheme_for(tmp_path, psf=both, voxel="0.3 0.1")
    [psf] = load(scheme.folder).psfs
    assert isinstance(psf, PsfSet)
    assert psf.lateral
    assert len(psf.parts) == 2


def test_a_stack_beyond_the_memory_is_chosen_from_blocks(tmp_path):
    make_stack(tmp_path, shape=(4, 3000, 2600))
    scheme = scheme_for(tmp_path, background="auto", memory="4GB", tile="auto")
    whole = json.loads((scheme.folder / PLAN).read_text())["channels"][0]
    assert 85 < whole["background"] < 115
    small = scheme_for(tmp_path, output="b.ome.zarr", background="auto", memory="600MB", tile=256)
    told = small.told
    assert any("does not fit into memory" in note for note in told["notes"])
    assert told["channels"][0]["background"] == pytest.approx(whole["background"], abs=3)
    assert told["channels"][0]["level"] == pytest.approx(whole["level"], rel=0.1)
