"""Tiles fail, are left, are damaged: each is told, and what is done again gives the same bytes."""

import pytest
import tifffile
from huge_files import Here, asked_for, drive_for, make_stack, scheme_for

from microdeconv.batch.claims import Claims
from microdeconv.batch.shards import Shard
from microdeconv.errors import CannotCreateError, DataError, NoInputError
from microdeconv.huge.finish import UnfinishedError, finish, scheme_of
from microdeconv.huge.jobs import Job
from microdeconv.huge.state import State
from microdeconv.io.stacks import digest
from microdeconv.io.zarr_check import check_zarr

zarr = pytest.importorskip("zarr", reason="needs the extra zarr")


def end(scheme, folder, engine=None):
    return finish(scheme, folder / "out.ome.zarr", engine or Here(scheme), lambda *_: None)


def chunks(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_failed_tile_does_not_stop_the_others(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    drive = drive_for(scheme, Here(scheme, broken=[1, 4]))
    assert drive.run() == 3
    assert sorted(drive.failed) == [1, 4]
    with pytest.raises(UnfinishedError, match=r"2 of 6 tiles are not done \(1, 4\)") as caught:
        end(scheme, tmp_path)
    assert caught.value.exit_code == 75
    again = drive_for(scheme)
    assert again.needed == [1, 4]
    assert again.run() == 0
    assert end(scheme, tmp_path) == []
    assert check_zarr(tmp_path / "out.ome.zarr", lambda *_: None).faults == []
    assert not scheme.folder.exists()


def test_fail_fast_ends_at_the_first(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    drive = drive_for(scheme, Here(scheme, broken=[2]), fail_fast=True)
    assert drive.run() == 71
    assert sorted(State(scheme.folder).done) == []
    state = State(scheme.folder)
    state.refresh()
    assert sorted(state.done) == [0, 1]


def test_parts_do_all_tiles_once_and_give_what_one_process_gives(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    whole = scheme_for(tmp_path, output="whole.ome.zarr")
    for number in (1, 2):
        part = asked_for(tmp_path, shard=Shard(number, 2))
        drive = drive_for(scheme, asked=part)
        assert drive.needed == list(range(number - 1, 6, 2))
        assert drive.run() == 0
    assert drive_for(whole).run() == 0
    assert chunks(scheme.image) == chunks(whole.image)


def test_a_tile_that_is_done_again_gives_the_same_bytes(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    assert drive_for(scheme).run() == 0
    before = chunks(scheme.image), chunks(scheme.folder / "seams")
    assert next(one for one in Here(scheme).map([Job("tile", 3)]) if one is not None).status == "done"
    assert (chunks(scheme.image), chunks(scheme.folder / "seams")) == before


def test_a_tile_that_another_has_is_left_to_it(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    Claims(scheme.folder / "claims").take("5")  # by this process, which lives
    drive = drive_for(scheme)
    assert drive.run() == 75
    assert 5 not in drive.state.done
    assert len(drive.state.done) == 5


@pytest.mark.parametrize("what", ["chunk cut", "chunk gone", "seam cut", "seam gone"])
def test_damaged_tiles_are_found_and_done_again(tmp_path, what):
    make_stack(tmp_path)
    wanted = scheme_for(tmp_path, output="calm.ome.zarr")
    drive_for(wanted).run()
    finish(wanted, tmp_path / "calm.ome.zarr", Here(wanted), lambda *_: None)
    scheme = scheme_for(tmp_path)
    drive_for(scheme).run()
    kind, how = what.split()
    path = scheme.image / "0" / "c" / "0" / "1" / "0" if kind == "chunk" else scheme.frame(2)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="1 of 6 tiles are damaged"):
        end(scheme, tmp_path)
    assert not (tmp_path / "out.ome.zarr").exists()
    again = drive_for(scheme)
    assert again.needed == [2]
    assert again.run() == 0
    end(scheme, tmp_path)
    assert digest(tmp_path / "out.ome.zarr" / "0") == digest(tmp_path / "calm.ome.zarr" / "0")


def test_an_output_that_came_in_between_is_kept(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    drive_for(scheme).run()
    (tmp_path / "out.ome.zarr").mkdir()
    with pytest.raises(CannotCreateError, match="exists already"):
        end(scheme, tmp_path)
    assert scheme.folder.is_dir()


def test_a_finish_that_was_killed_after_the_rename_is_ended(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    drive_for(scheme).run()
    scheme.image.rename(tmp_path / "out.ome.zarr")
    assert end(scheme, tmp_path) == []
    assert (tmp_path / "out.ome.zarr").is_dir()
    assert not scheme.folder.exists()


def test_what_killed_writers_left_is_not_in_the_output(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    assert drive_for(scheme).run() == 0
    chunk = next(p for p in (scheme.image / "0").rglob("*") if p.is_file() and p.suffix != ".json")
    chunk.with_name(f"{chunk.name}.0123abcd.partial").write_bytes(b"half a chunk")
    end(scheme, tmp_path)
    assert not list((tmp_path / "out.ome.zarr").rglob("*.partial"))


def test_chunks_of_the_input_that_are_newer_than_the_plan_are_told(tmp_path):
    image = tifffile.imread(make_stack(tmp_path))
    array = zarr.create_array(tmp_path / "s.zarr" / "0", data=image, chunks=(4, 35, 20), compressors=None)
    ome = {"version": "0.5", "multiscales": [{
        "axes": [{"name": name, "type": "space"} for name in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}],
    }]}  # fmt: skip
    zarr.open_group(tmp_path / "s.zarr", mode="a").attrs["ome"] = ome
    scheme = scheme_for(tmp_path, stack="s.zarr", axes=None)
    assert drive_for(scheme).run() == 0
    array[0, 0, 0] = 5
    (note,) = end(scheme, tmp_path)
    assert "s.zarr: chunks are newer than the plan" in note


def test_what_was_never_begun_cannot_be_finished(tmp_path):
    with pytest.raises(NoInputError, match="no plan of tiles"):
        scheme_of(tmp_path / "out.ome.zarr")


def test_check_tells_each_file_that_is_not_as_it_was_written(tmp_path):
    make_stack(tmp_path)
    scheme = scheme_for(tmp_path)
    drive_for(scheme).run()
    end(scheme, tmp_path)
    out = tmp_path / "out.ome.zarr"
    chunk = out / "0" / "c" / "0" / "0" / "0"
    good = chunk.read_bytes()
    chunk.write_bytes(good[:30] + bytes([good[30] ^ 1]) + good[31:])
    (out / "0" / "c" / "0" / "2" / "1").unlink()
    faults = check_zarr(out, lambda *_: None).faults
    assert len(faults) == 2
    assert "damaged" in faults[0]
    assert "missing" in faults[1]
