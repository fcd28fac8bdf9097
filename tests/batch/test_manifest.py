"""Tables of a batch: what people's programs write, and one clear line for what cannot be meant (rows I5–I7)."""

import json

import pytest

from microdeconv.batch.manifest import read_rows
from microdeconv.errors import ConfigError, NoInputError
from microdeconv.request import all_options

OPTIONS = {o.key: o for o in all_options()}


def rows_of(tmp_path, raw, name="m.csv"):
    path = tmp_path / name
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return read_rows([str(path)], OPTIONS)


def test_columns_are_options_and_paths_are_from_the_manifest(tmp_path):
    text = "input,output,psf,iterations,voxel_z,voxel_y,voxel_x,sha256\na.tif,x/b.tif,p.tif@3,7,0.3,0.1,0.1,AB\n"
    [row], problems = rows_of(tmp_path, text)
    assert not problems
    assert (row.number, row.input, row.output, row.sha256) == (2, tmp_path / "a.tif", "x/b.tif", "ab")
    assert row.values["iterations"] == 7
    assert row.values["voxel"] == (0.3, 0.1, 0.1)
    assert row.values["psf"][0].path == tmp_path / "p.tif"
    assert row.values["psf"][0].place == (3.0,)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfinput,iterations\na.tif,7\n",
        b"input,iterations\r\na.tif,7\r\n",
        b"input;iterations\na.tif;7\n",
        b"input\titerations\na.tif\t7\n",
        b"\n\ninput,iterations\n\na.tif,7\n\n",
        b'"input","iterations"\n"a.tif","7"\n',
        b"input,iterations\na.tif,7,,\n",
    ],
    ids=["bom", "crlf", "semicolons", "tabs", "blank lines", "quotes", "empty cells"],
)
def test_i5_what_programs_write_is_read(tmp_path, raw):
    [row], problems = rows_of(tmp_path, raw)
    assert not problems
    assert row.input == tmp_path / "a.tif"
    assert row.values == {"iterations": 7}


def test_i5_a_quoted_newline_is_part_of_a_name(tmp_path):
    [row, after], _ = rows_of(tmp_path, 'input\n"a\nb.tif"\nc.tif\n')
    assert row.input.name == "a\nb.tif"
    assert (row.number, after.number) == (2, 4)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("output\na.tif\n", "no column 'input'"),
        ("input,input\na,b\n", "two columns"),
        ("input\na.tif\nb\xe9.tif\n".encode("latin-1"), "row 3 is not UTF-8"),
        ('input\n"a.tif\n', "row 2"),
    ],
)
def test_i5_no_table(tmp_path, raw, said):
    with pytest.raises(ConfigError, match=said):
        rows_of(tmp_path, raw)


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        ("input,iteratons\na.tif,7\n", 2, "unknown column 'iteratons': did you mean iterations"),
        ("input,iterations\na.tif,7\nb.tif,many\n", 3, "iterations many: not a number"),
        ("input,iterations\na.tif,0\n", 2, "below 1"),
        ("input,device\na.tif,cpu\n", 2, "for the whole batch"),
        ("input,psf\n,p.tif\n", 2, "no input"),
        ("input\na.tif,b.tif\n", 2, "2 cells under 1 headings"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, text, number, said):
    _, [problem] = rows_of(tmp_path, text)
    assert problem.row == number
    assert said in str(problem)
    assert problem.error.exit_code == 78


def test_i6_a_bad_line_of_json_is_numbered(tmp_path):
    lines = [json.dumps({"input": "a.tif", "iterations": 5}), '{"input": ', "[1]", json.dumps({"input": "b.tif"})]
    rows, problems = rows_of(tmp_path, "\n".join(lines), "m.jsonl")
    assert [row.input.name for row in rows] == ["a.tif", "b.tif"]
    assert [problem.row for problem in problems] == [2, 3]


def test_i7_nothing_is_never_a_success(tmp_path):
    with pytest.raises(NoInputError, match="no row"):
        rows_of(tmp_path, "input\n")
    with pytest.raises(NoInputError, match="no row"):
        rows_of(tmp_path, "")
    with pytest.raises(NoInputError, match="no file matches"):
        read_rows([str(tmp_path / "*.tif")], OPTIONS)
    with pytest.raises(NoInputError, match="check the manifest"):
        read_rows([str(tmp_path / "none.csv")], OPTIONS)


def test_patterns_find_zarr_and_not_its_chunks(tmp_path):
    for name in ("a.ome.zarr", "b.zarr", "sub/c.ome.zarr", "old"):
        (tmp_path / name / "0" / "c").mkdir(parents=True)
        (tmp_path / name / "0" / "c" / "0").touch()
    (tmp_path / "old" / ".zattrs").touch()
    (tmp_path / "d.tif").touch()
    rows, _ = read_rows([str(tmp_path / "*.ome.zarr")], OPTIONS)
    assert [row.input.name for row in rows] == ["a.ome.zarr"]
    rows, _ = read_rows([str(tmp_path / "*")], OPTIONS)
    assert [row.input.name for row in rows] == ["a.ome.zarr", "b.zarr", "d.tif", "old"]
    rows, _ = read_rows([str(tmp_path / "**" / "*.zarr")], OPTIONS)
    assert [row.input.name for row in rows] == ["a.ome.zarr", "b.zarr", "c.ome.zarr"]
    rows, _ = read_rows([str(tmp_path / "[ab]*/**")], OPTIONS)
    assert [row.input.name for row in rows] == ["a.ome.zarr", "b.zarr"]
    with pytest.raises(NoInputError, match="no file matches"):
        read_rows([str(tmp_path / "su?")], OPTIONS)


def test_patterns_and_names_in_order(tmp_path):
    for name in ("b.tif", "a.tif", "a[1].tif"):
        (tmp_path / name).touch()
    rows, _ = read_rows([str(tmp_path / "[ab].tif"), str(tmp_path / "a[1].tif")], OPTIONS)
    assert [(row.number, row.input.name) for row in rows] == [(1, "a.tif"), (2, "b.tif"), (3, "a[1].tif")]
