"""`compare` as a person and a script call it; figures, verdict and page have tests of their own and are stand-ins here."""

import csv
import json
import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import tifffile

from microdeconv.camera import thin
from microdeconv.cli.app import main
from microdeconv.compare.case import Figure, Verdict
from microdeconv.compare.many import Told, differences, spread
from microdeconv.io.tiff import open_stack
from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))
METADATA = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
OPTICS = ("--na", "1.2", "--emission", "520", "--ri-immersion", "1.33", "--modality", "confocal")
LEAN = ("--threads", "1", "--device", "cpu", "--psf", "psf.tif")


def save(path, pixels, axes="ZYX", per_um=10.0):
    details = {"imagej": True, "resolution": (per_um, per_um), "metadata": {**METADATA, "axes": axes}}
    tifffile.imwrite(path, pixels, **details)


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A stack with its truth, its PSF and a result made elsewhere."""
    scene = simulate("mixed", (12, 40, 44), PSF, Exposure(200, 20, 100), 1)
    save(tmp_path / "cells.tif", scene.counts)
    save(tmp_path / "truth.tif", scene.truth.astype(np.float32))
    save(tmp_path / "psf.tif", PSF)
    light = (scene.counts - 120.0).astype(np.float32)
    save(tmp_path / "other.tif", light)
    save(tmp_path / "shifted.tif", np.concatenate([light[1:], light[-1:]]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Seen:
    """What the stand-ins were given."""

    cases: list


@pytest.fixture
def seen(monkeypatch):
    """Stand-ins for the figures, the verdict and the page."""
    found = Seen([])

    def halves_of_counts(raw, camera):
        import torch

        light = torch.from_numpy(np.asarray(camera.to_light(raw.astype(np.float32)), np.float32))
        return tuple(half.numpy() for half in thin(light, 0.5, torch.Generator().manual_seed(22)))

    def figures_of(case, view=None):
        means = {e.name: float(e.image.mean()) for e in case.entries}
        error = {} if case.truth is None else {e.name: float(np.abs(e.image - case.truth).mean()) for e in case.entries}
        return (
            Figure("mean", "mean", "mean light", "", "counts", means),
            Figure("error", "error", "mean difference", "lower", "counts", error, 0.1),
        )

    def write_page(path, case, figures, curves, verdict, *, overwrite):
        found.cases.append((case, verdict))
        path.write_text("<!doctype html>")

    class View:
        @classmethod
        def of(cls, case):
            return cls()

    modules = {
        "halves": {"halves_of_counts": halves_of_counts},
        "view": {"View": View, "LOOKED_AT": 1_200_000},
        "figures": {"figures_of": figures_of, "curves_of": lambda case, view=None: None},
        "verdict": {
            "verdict_of": lambda case, figures: Verdict(case.entries[0].name, ("The first is best.",), ("odd",))
        },
        "page": {"write_page": write_page},
    }
    for name, content in modules.items():
        module = ModuleType(f"microdeconv.compare.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_units_are_not_mixed():
    def told(name, unit, a, b):
        return Told(
            name, ("a", "b"), (Figure("finest", "finest", "", "lower", unit, {"a": a, "b": b}),), ("a", "b"), (), ()
        )

    stacks = [told("one", "nm", 200.0, 250.0), told("two", "voxels", 2.0, 3.0), told("three", "nm", 300.0, 250.0)]
    off = differences(stacks)
    assert [(d["unit"], d["n"], d["mean"], d["worst_stack"]) for d in off] == [
        ("nm", 2, 0.0, "one"),
        ("voxels", 1, -1.0, "two"),
    ]
    assert [(d["unit"], d["result"], d["median"]) for d in spread(stacks)] == [
        ("nm", "a", 250.0), ("nm", "b", 250.0), ("voxels", "a", 2.0), ("voxels", "b", 3.0),
    ]  # fmt: skip


def report(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_methods_with_a_truth_and_a_result_made_elsewhere(cells, seen, capsys):
    words = ["compare", "cells.tif", "--truth", "truth.tif", "--methods", "rl,wiener,identity", "-n", "4", *LEAN]
    assert main([*words, "--result", "Other=shifted.tif", "-o", "found", "--keep"]) == 0
    out = capsys.readouterr()
    lines = [line.split("\t") for line in out.out.splitlines()]
    assert lines[0] == ["figure", "", "rl", "wiener", "identity", "Other"]
    assert "The first is best." in out.out
    assert "Other: lay off rl: moved by z +1 voxels" in out.err
    assert "warning: odd" in out.err
    told = report(cells / "found")
    assert [e["name"] for e in told["entries"]] == ["rl", "wiener", "identity", "Other"]
    assert told["entries"][0]["settings"]["iterations"] == "4 (given)"
    assert told["entries"][0]["stopped"] == 4
    assert told["entries"][1]["stopped"] is None
    assert told["entries"][0]["seconds"] > 0
    assert told["entries"][0]["memory_bytes"] >= 0
    assert told["verdict"]["winner"] == "rl"
    assert "odd" in told["warnings"]
    heads = [head for head, _ in told["provenance"]]
    assert {"command", "input SHA-256", "PSF SHA-256", "machine", "truth", "Other"} <= set(heads)
    with (cells / "found" / "report.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["result"] for row in rows] == ["rl", "wiener", "identity", "Other"]
    assert float(rows[0]["error"]) < float(rows[2]["error"])
    [(case, _)] = seen.cases
    raw = tifffile.imread(cells / "cells.tif")
    np.testing.assert_allclose(case.entries[2].image, raw - case.background, atol=1e-3)
    np.testing.assert_allclose(case.entries[3].image[1:], raw[1:] - 120.0, atol=1e-3)
    kept = open_stack(cells / "found" / "rl.tif")
    assert kept.header.dtype == np.float32
    assert kept.header.voxel_um == pytest.approx((0.3, 0.1, 0.1))
    np.testing.assert_array_equal(kept.pixels(), case.entries[0].image)


def test_halves_are_two_results_of_the_same_light(cells, seen):
    assert main(["compare", "cells.tif", "--methods", "rl,identity", "-n", "4", *LEAN, "-o", "found"]) == 0
    [(case, _)] = seen.cases
    for entry in case.entries:
        one, other = entry.halves
        assert one.dtype == np.float32
        assert one.shape == case.raw.shape
        assert not np.array_equal(one, other)
        assert one.mean() == pytest.approx(entry.image.mean(), rel=0.05)
    one, other = case.entries[1].halves
    # one electron of 20 000 voxels' rounding apart: what was shared out is all there was
    np.testing.assert_allclose((one + other) / 2, case.entries[1].image, atol=case.camera.gain)


def test_as_run_does_it(cells, seen):
    assert main(["compare", "cells.tif", "--methods", "rl", *LEAN, "-o", "found"]) == 0
    assert main(["run", "cells.tif", *LEAN, "-o", "run.tif", "--dtype", "float32", "--report"]) == 0
    (compared, _), (run, verdict) = seen.cases
    np.testing.assert_array_equal(compared.entries[0].image, run.entries[0].image)
    assert compared.entries[0].settings == run.entries[0].settings
    assert compared.entries[0].trace == run.entries[0].trace
    assert len(run.entries[0].trace["risk"]) > 3
    for one, other in zip(compared.entries[0].halves, run.entries[0].halves, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (cells / "run.html").exists()
    assert verdict == Verdict(None, (), ("odd",))
    assert main(["run", "cells.tif", *LEAN, "-o", "new.tif", "--report", "--overwrite"]) == 0


def test_the_page_of_a_run_is_not_written_over(cells, seen, capsys):
    (cells / "run.html").write_text("mine")
    assert main(["run", "cells.tif", *LEAN, "-o", "run.tif", "--report"]) == 73
    assert "run.html: exists already" in capsys.readouterr().err
    assert not (cells / "run.tif").exists()


def test_values_and_psfs_are_compared(cells, seen):
    save(cells / "wide.tif", gaussian_psf((2.0, 1.6, 1.6)))
    words = ["compare", "cells.tif", "--methods", "rl,wiener", "--threads", "1", "--device", "cpu", "-o", "found"]
    more = ["--vary", "iterations=2,3", "--psf", "psf.tif", "--psf", "wide.tif", "--psf", "optics", *OPTICS]
    assert main([*words, *more, "--psf-model", "scalar"]) == 0
    told = report(cells / "found")
    assert [e["name"] for e in told["entries"]] == [
        f"{name}, {psf}{more}"
        for psf in ("psf.tif", "wide.tif", "optics")
        for name, more in (("rl", ", 2 iterations"), ("rl", ", 3 iterations"), ("wiener", ""))
    ]
    assert len({e["psf"] for e in told["entries"]}) == 3
    [(case, _)] = seen.cases
    assert len({id(e.psf) for e in case.entries}) == 3  # one each, not made anew


def test_one_channel_of_several_with_a_note(cells, seen, capsys):
    raw = tifffile.imread(cells / "cells.tif")
    save(cells / "two.tif", np.stack([raw, raw[::-1]], 1), "ZCYX")
    words = ["compare", "two.tif", "--methods", "rl", "-n", "2", *LEAN]
    assert main([*words, "-o", "found"]) == 0
    assert "channel 0 of 2 (counted from 0) is shown: --channel picks another" in capsys.readouterr().err
    assert main([*words, "-o", "other", "--channel", "1"]) == 0
    assert "is shown" not in capsys.readouterr().err
    np.testing.assert_array_equal(seen.cases[1][0].raw, raw[::-1])
    assert main(["run", "two.tif", "-n", "2", *LEAN, "--report"]) == 0
    np.testing.assert_array_equal(seen.cases[2][0].raw, raw)
    assert any("--channel picks another" in w for w in seen.cases[2][0].warnings)


def test_a_run_that_fails_is_left_out_with_a_warning(cells, seen, capsys, monkeypatch):
    from microdeconv.compare import results
    from microdeconv.errors import DataError

    right = results.settle

    def settle(volume, psf, channel, method, *others, **more):
        if method.name == "wiener":
            raise DataError("not finite")
        return right(volume, psf, channel, method, *others, **more)

    monkeypatch.setattr(results, "settle", settle)
    assert main(["compare", "cells.tif", "--methods", "rl,wiener", "-n", "2", *LEAN, "-o", "found"]) == 0
    assert "wiener is not shown: not finite" in capsys.readouterr().err
    assert [e["name"] for e in report(cells / "found")["entries"]] == ["rl"]
    assert main(["compare", "cells.tif", "--methods", "wiener", *LEAN, "-o", "none"]) == 65


def test_many_stacks(cells, seen, capsys):
    for number in (2, 3):
        scene = simulate("mixed", (12, 40, 44), PSF, Exposure(200, 20, 100), number)
        save(cells / f"s{number}.tif", scene.counts)
        save(cells / f"t{number}.tif", scene.truth.astype(np.float32))
    lines = [
        "stack,truth,psf,name,iterations,result:Other", "cells.tif,truth.tif,psf.tif,first,3,other.tif",
        "s2.tif,t2.tif,psf.tif,,5,", "s3.tif,t3.tif,psf.tif,first,,", "none.tif,,psf.tif,lost,,",
    ]  # fmt: skip
    (cells / "list.csv").write_text("\n".join(lines) + "\n")
    words = ["compare", "--manifest", "list.csv", "--methods", "rl,wiener", "--max-iterations", "4"]
    assert main([*words, "--threads", "1", "-o", "found"]) == 3
    out = capsys.readouterr()
    assert "lost: none.tif: there is no such file" in out.err
    assert "1 of 4 stacks failed" in out.err
    told = report(cells / "found")
    assert [s["name"] for s in told["stacks"]] == ["first", "s2", "first-2"]
    assert told["failed"][0][0] == "lost"
    assert report(cells / "found" / "first")["entries"][0]["settings"]["iterations"] == "3 (given)"
    assert [e["name"] for e in report(cells / "found" / "first")["entries"]] == ["rl", "wiener", "Other"]
    [off] = [d for d in told["differences"] if d["key"] == "error" and d["result"] == "wiener"]
    assert off["n"] == 3
    assert off["against"] == "rl"
    values = {
        s["name"]: {f["key"]: f["values"] for f in report(cells / "found" / s["name"])["figures"]}["error"]
        for s in told["stacks"]
    }
    gains = {name: v["rl"] - v["wiener"] for name, v in values.items()}  # lower is better
    assert off["mean"] == pytest.approx(np.mean(list(gains.values())), abs=1e-4)
    assert off["worst_stack"] == min(gains, key=gains.get)
    [spread] = [d for d in told["distributions"] if d["key"] == "error" and d["result"] == "rl"]
    assert spread["median"] == pytest.approx(np.median([v["rl"] for v in values.values()]))
    page = (cells / "found" / "index.html").read_text(encoding="utf-8")
    for name in ("first", "s2", "first-2"):
        assert f"href='{name}/index.html'" in page
    assert "http" not in page
    with (cells / "found" / "report.csv").open(encoding="utf-8") as file:
        assert [r["stack"] for r in csv.DictReader(file)] == ["first"] * 3 + ["s2"] * 2 + ["first-2"] * 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("cells.tif", "--methods", "rl,weiner"), 2, "no method 'weiner': did you mean wiener?"),
        (("cells.tif", "--methods", ","), 2, "no method"),
        (("cells.tif", "--vary", "iteratons=5,10"), 2, "there is no such option: did you mean iterations?"),
        (("cells.tif", "--vary", "iterations"), 2, "not OPTION=VALUE"),
        (("cells.tif", "--vary", "iterations=0,5"), 2, "--iterations 0: below 1"),
        (("cells.tif", "--vary", "na=1.2,1.4"), 2, "not an option of a method"),
        (("cells.tif", "--methods", "rl", "--vary", "prior=tikhonov"), 2, "none of rl has prior: wiener would"),
        (("cells.tif", "--vary", "iterations=5", "-n", "4"), 2, "--iterations: given and varied as well"),
        (("cells.tif", "--methods", "rl", "--prior", "tikhonov"), 2, "--prior does not apply to --method rl"),
        (("cells.tif", "--result", "other.tif"), 2, "--result other.tif: not NAME=FILE"),
        (("cells.tif", "--result", "rl=other.tif"), 2, "there is a result of that name"),
        (("cells.tif", "--result", "A=none.tif"), 66, "none.tif: there is no such file"),
        (("cells.tif", "--truth", "none.tif"), 66, "none.tif: there is no such file"),
        (("none.tif",), 66, "none.tif: there is no such file"),
        (("cells.tif", "--psf", "psf.tif", "--psf", "psf.tif"), 2, "given twice"),
        (("cells.tif", "--psf", "none", "--methods", "rl"), 2, "--psf none: rl needs a PSF"),
        (("cells.tif", "--channel", "3"), 2, "3 is beyond the last"),
        ((), 2, "no stack"),
        (("cells.tif", "--manifest", "list.csv"), 2, "--manifest and a stack"),
        (("--manifest", "none.csv"), 66, "none.csv"),
    ],
)
def test_bad_words(cells, capsys, words, code, told):
    assert main(["compare", *words, "-o", "found"]) == code
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (cells / "found").exists()


def test_without_a_psf_and_optics(program, cells):
    done = program("compare", "cells.tif", "-o", "found")
    assert done.returncode == 65
    assert "the optics are not all known: give --na" in done.stderr


@pytest.mark.parametrize("what", ["--truth", "--result"])
def test_files_that_do_not_fit(program, cells, what):
    whole = tifffile.imread(cells / "other.tif")
    save(cells / "short.tif", whole[1:])
    save(cells / "coarse.tif", whole, per_um=5.0)
    save(cells / "blank.tif", np.full_like(whole, 7))
    save(cells / "nan.tif", np.where(whole > whole.max() / 2, np.nan, whole))
    save(cells / "odd.tif", np.stack([whole] * 3, 1), "ZCYX")
    for name, told in (
        ("short", "has 11 x 40 x 44 voxels (z y x), the stack 12 x 40 x 44"),
        ("coarse", "has voxels of 0.3 x 0.2 x 0.2 µm (z y x), the stack of 0.3 x 0.1 x 0.1 µm"),
        ("blank", "is blank, every voxel has the same value"),
        ("nan", "are NaN or infinite"),
        ("odd", "3 channels, cells.tif has 1"),
    ):
        word = f"{name}.tif" if what == "--truth" else f"A={name}.tif"
        done = program("compare", "cells.tif", *LEAN, what, word, "-o", "found")
        assert done.returncode == 65, (name, done.stderr)
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


def test_results_of_something_else(program, cells):
    whole = tifffile.imread(cells / "other.tif")
    save(cells / "noise.tif", np.random.default_rng(1).random(whole.shape, np.float32))
    save(cells / "far.tif", np.roll(whole, 15, 2))
    for name, told in (("noise", "does not show what the stack shows"), ("far", "voxels off")):
        done = program(
            "compare", "cells.tif", *LEAN, "--methods", "rl", "-n", 3, "--result", f"A={name}.tif", "-o", "found"
        )
        assert done.returncode == 65, (name, done.stderr)
        assert told in done.stderr


def test_a_blank_stack(program, cells):
    save(cells / "flat.tif", np.full((5, 20, 20), 100, np.uint16))
    done = program("compare", "flat.tif", *LEAN, "-o", "found")
    assert done.returncode == 65
    assert "blank" in done.stderr


def test_a_report_that_exists_is_kept(program, cells):
    (cells / "found").mkdir()
    (cells / "found" / "report.json").write_text("mine")
    done = program("compare", "cells.tif", *LEAN, "-o", "found")
    assert done.returncode == 73
    assert "report.json: exists already: --overwrite replaces it" in done.stderr
    assert (cells / "found" / "report.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stack,trueth\ncells.tif,truth.tif\n", "unknown column 'trueth': did you mean truth?"),
        ("truth\ntruth.tif\n", "no column 'stack'"),
        ("stack,psf\n,psf.tif\n", "line 2 names no stack"),
        ("stack,iterations\ncells.tif,many\n", "line 2: --iterations many"),
        ("stack\n", "no stack below the headings"),
        ("", "empty"),
        ("stack,stack\na,b\n", "two columns 'stack'"),
    ],
)
def test_bad_manifests(cells, capsys, text, told):
    (cells / "list.csv").write_text(text)
    assert main(["compare", "--manifest", "list.csv", "-o", "found"]) == 78
    assert told in capsys.readouterr().err
    assert not (cells / "found").exists()
