"""Rows that cannot be done together, and what is done already (rows I2–I4, F13, F14)."""

import os

import pytest

from microdeconv.batch.journal import short_digest
from microdeconv.batch.manifest import Row
from microdeconv.batch.units import Common, check, line_for, reason, standing, units_of


def units(tmp_path, *pairs):
    return units_of([Row(n, tmp_path / source, output) for n, (source, output) in enumerate(pairs, 1)], tmp_path / "o")


def test_names_follow_from_the_input(tmp_path):
    found, problems = units(tmp_path, ("a.tif", ""), ("b.ome.tif", ""), ("c.tif", "x/"), ("d.tif", "y/d.tif"))
    assert not problems
    assert [u.key for u in found] == ["a_decon.tif", "b_decon.ome.tif", "x/c_decon.tif", "y/d.tif"]


@pytest.mark.parametrize("output", ["../../x.tif", "/tmp/x.tif", "in/../../x.tif", "link/x.tif"])
def test_i2_outside_is_refused(tmp_path, output):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "link").symlink_to(tmp_path)
    _, [problem] = units(tmp_path, ("a.tif", output))
    assert problem.error.exit_code == 77
    assert "outside" in str(problem)


@pytest.mark.parametrize("second", ["X.tif", "x.TIF", "./x.tif", "y/../x.tif"])
def test_i3_one_output_of_two_rows(tmp_path, second):
    _, [problem] = units(tmp_path, ("a.tif", "x.tif"), ("b.tif", second))
    assert (problem.row, problem.error.exit_code) == (2, 78)
    assert "row 1" in str(problem)


def test_i3_accents_in_two_encodings(tmp_path):
    _, [problem] = units(tmp_path, ("a.tif", "\u00e9.tif"), ("b.tif", "e\u0301.tif"))
    assert problem.error.exit_code == 78


def test_i4_an_output_that_is_an_input(tmp_path):
    found, problems = units_of([Row(1, tmp_path / "a.tif", "b.tif"), Row(2, tmp_path / "b.tif", "c.tif"),
                                Row(3, tmp_path / "d.tif", "d.tif")], tmp_path)  # fmt: skip
    assert len(found) == 3
    assert [str(p) for p in problems] == [
        "row 1: output b.tif is the input of row 2: give another one",
        "row 3: output d.tif is its own input: give another one",
    ]


@pytest.mark.parametrize(
    ("output", "wanted", "said"),
    [
        ("x.png", "same", "results are TIFF files or OME-Zarr"),
        ("x.tif", "ome-zarr", "end the name in .ome.zarr"),
        ("x.ome.zarr", "tiff", "end the name in .tif"),
        ("x.ome.zarr/y.tif", "same", "lies in an OME-Zarr"),
        ("X.ZARR/y/z.ome.zarr", "same", "lies in an OME-Zarr"),
    ],
)
def test_names_that_are_no_results(tmp_path, output, wanted, said):
    _, [problem] = units_of([Row(1, tmp_path / "a.tif", output)], tmp_path / "o", wanted)
    assert problem.error.exit_code == 78
    assert said in str(problem)


@pytest.mark.parametrize(
    ("source", "output", "wanted", "key"),
    [
        ("a.ome.zarr", "", "same", "a_decon.ome.zarr"),
        ("a.zarr", "x/", "same", "x/a_decon.ome.zarr"),
        ("a.ome.zarr", "", "tiff", "a_decon.tif"),
        ("a.ome.zarr", "", "ome-tiff", "a_decon.ome.tif"),
        ("a.ome.zarr", "b.tif", "same", "b.tif"),
        ("a.tif", "", "ome-zarr", "a_decon.ome.zarr"),
        ("a.ome.tif", "", "tiff", "a_decon.tif"),
        ("a.tif", "b.ome.zarr/", "same", "b.ome.zarr"),
        ("folder", "", "same", "folder_decon.ome.zarr"),
    ],
)
def test_names_of_zarr_and_of_formats_are_those_of_run(tmp_path, source, output, wanted, key):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "zarr.json").touch()
    [unit], problems = units_of([Row(1, tmp_path / source, output)], tmp_path / "o", wanted)
    assert (unit.key, problems) == (key, [])


def test_a_rows_own_format_counts_and_the_frozen_one_does_not(tmp_path):
    [unit], _ = units_of([Row(1, tmp_path / "a.tif", "", {"format": "ome-zarr"})], tmp_path / "o", "tiff")
    assert unit.key == "a_decon.ome.zarr"
    layers = (("command line", {"format": "tiff", "ome_zarr": "0.4", "missing_chunks": "fill"}),)
    values = Common(tmp_path / "o", layers, frozen={"format": "ome-tiff"}).request(unit, {}).values()
    assert values["format"].value == "ome-zarr"
    assert (values["ome_zarr"].value, values["missing_chunks"].source) == ("0.4", "default")


@pytest.fixture
def done(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"input")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "a_decon.tif").write_bytes(b"output")
    [unit], _ = units(tmp_path, ("a.tif", ""))
    common = Common(tmp_path / "o", (("command line", {"iterations": 5}),))
    from hashlib import sha256

    stats = [p.stat() for p in (tmp_path / "a.tif", tmp_path / "o" / "a_decon.tif")]
    told = {"input_size": 5, "input_time": stats[0].st_mtime_ns, "input_sha256": sha256(b"input").hexdigest(),
            "size": 6, "time": stats[1].st_mtime_ns, "sha256": sha256(b"output").hexdigest(), "seconds": 1}  # fmt: skip
    line = line_for(unit, told, common, 1)
    assert line.digest == short_digest(told["sha256"])

    def why(common=common, verify=False, line=line):
        return reason(unit, line, common, standing(common.output / unit.key), verify=verify)

    return tmp_path, common, unit, why


def test_f13_f14_f16_only_what_changed(done):
    folder, common, unit, why = done
    source, result = folder / "a.tif", folder / "o" / "a_decon.tif"
    assert why() == ""
    assert why(line=None) == "new"
    os.utime(source, (2**32, 2**32))  # in the future, the same bytes
    os.utime(result, (1, 1))
    assert why() == ""
    source.write_bytes(b"inqut")
    assert why() == "its input changed"
    source.write_bytes(b"input")
    result.write_bytes(b"outqut")
    assert why() == "its output was changed"
    result.write_bytes(b"output")
    assert why() == ""
    result.unlink()
    assert why() == "its output is gone"
    result.write_bytes(b"output")
    assert why(Common(common.output, (("command line", {"iterations": 6}),))) == "its parameters changed"
    assert why(Common(common.output, common.layers, frozen={"background": 3.0})) == "its parameters changed"
    unit.row.values = {"gain": 2.0}
    assert why() == "its parameters changed"


def test_f14_verify_finds_a_flip_that_left_size_and_time(done):
    folder, _, _, why = done
    result = folder / "o" / "a_decon.tif"
    stats = result.stat()
    result.write_bytes(b"outqut")
    os.utime(result, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    assert why() == ""
    assert why(verify=True) == "its output was changed"


def test_folders_are_no_stacks_unless_they_are_zarr(tmp_path):
    for name in ("a.ome.zarr", "plain"):
        (tmp_path / name).mkdir()
    found, _ = units(tmp_path, ("a.ome.zarr", ""), ("plain", "b.tif"))
    [problem] = check(found, Common(tmp_path / "o", ()), (), set())
    assert "plain: is a folder, and no OME-Zarr" in str(problem)


def test_a_link_is_not_what_it_points_to(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"output")
    (tmp_path / "link.tif").symlink_to("a.tif")
    (tmp_path / "loose.tif").symlink_to("nowhere")
    assert standing(tmp_path / "a.tif")[0] == 6
    assert standing(tmp_path / "link.tif")[0] == 5
    assert standing(tmp_path / "loose.tif")[0] == 7
    assert standing(tmp_path / "none.tif") is None
    assert standing(tmp_path / "a.tif" / "b.tif") == (-1, 0)


def test_how_it_is_done_is_no_parameter(done):
    _, common, _, why = done
    layers = (("command line", {"iterations": 5, "memory": 10**9, "threads": 3, "overwrite": True, "device": "cpu"}),)
    assert why(Common(common.output, layers)) == ""


def test_check_lists_what_is_missing_and_what_is_there(tmp_path):
    (tmp_path / "a.tif").touch()
    found, _ = units(tmp_path, ("a.tif", ""), ("b.tif", ""))
    common = Common(tmp_path / "o", ())
    problems = check(found, common, (), {"a_decon.tif"})
    assert [(p.row, p.error.exit_code) for p in problems] == [(1, 73), (2, 66)]
    assert [p.row for p in check(found, common, {"a_decon.tif"}, {"a_decon.tif"})] == [2]
    assert found[0].ours
    assert [p.row for p in check(found, Common(tmp_path / "o", (), (), True), (), {"a_decon.tif"})] == [2]


def test_check_refuses_options_that_do_not_go_together(tmp_path):
    (tmp_path / "a.tif").touch()
    [unit], _ = units(tmp_path, ("a.tif", ""))
    unit.row.values = {"method": "wiener", "iterations": 5}
    [problem] = check([unit], Common(tmp_path / "o", ()), (), set())
    assert "--iterations does not apply to --method wiener" in str(problem)
