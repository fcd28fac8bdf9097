"""The program as a person, a script and a cluster call it: real processes, streams and exit codes."""

import json
import os
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import tifffile
from conftest import plain_environment

from microdeconv import machine, planning
from microdeconv.cli.run import run
from microdeconv.io.tiff import open_stack
from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))
OPTICS = ("--na", 1.2, "--emission", 520, "--ri-immersion", 1.33, "--modality", "confocal")


@pytest.fixture
def cells(tmp_path):
    """An ImageJ stack of two channels with its PSF beside it."""
    scenes = [simulate(kind, (12, 40, 44), PSF, Exposure(200, 20, 100), 1) for kind in ("nuclei", "filaments")]
    pixels = np.stack([s.counts for s in scenes], axis=1)  # Z C Y X
    metadata = {"axes": "ZCYX", "spacing": 0.3, "unit": "um", "Info": "taken on a Monday"}
    tifffile.imwrite(tmp_path / "cells.tif", pixels, imagej=True, resolution=(10, 10), metadata=metadata)
    tifffile.imwrite(
        tmp_path / "psf.tif",
        PSF,
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "ZYX", "spacing": 0.3, "unit": "um"},
    )
    return tmp_path


def test_run_with_a_psf_and_all_outputs(program, cells):
    done = program(
        "run", "cells.tif", "--psf", "psf.tif", "--max-iterations", 20, "--preview", "--record", "--log-format", "json"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["event"] == "exit"
    assert lines[-1]["code"] == 0
    assert sum("PSF from psf.tif" in line.get("message", "") for line in lines) == 2
    before, after = open_stack(cells / "cells.tif"), open_stack(cells / "cells_decon.tif")
    assert after.header.axes == before.header.axes
    assert after.header.dtype == before.header.dtype
    assert after.header.voxel_um == pytest.approx(before.header.voxel_um)
    assert "taken on a Monday" in after.header.extras["Info"]
    record = json.loads((cells / "cells_decon.json").read_text(encoding="utf-8"))
    inside = json.loads(after.header.extras["Info"].split("[microdeconv]\n")[1])
    for key in ("method", "input_sha256", "channels"):
        assert inside[key] == record[key]
    assert [c["background"] for c in record["channels"]] == pytest.approx([120, 120], abs=6)
    assert record["peak_memory_bytes"] > 0
    assert (cells / "cells_decon.png").read_bytes().startswith(b"\x89PNG")
    assert not list(cells.glob(".*partial"))


def test_a_psf_file_of_as_many_channels_gives_each_its_own(program, cells):
    both = np.stack(
        [gaussian_psf((1.5, 1.2, 1.2)), np.pad(gaussian_psf((1.2, 0.9, 0.9)), ((1, 1), (1, 1), (1, 1)))[:, :11, :11]], 1
    )
    metadata = {"axes": "ZCYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(cells / "two.tif", both, imagej=True, resolution=(10, 10), metadata=metadata)
    done = program("run", "cells.tif", "--psf", "two.tif", "-n", 2, "--record")
    assert done.returncode == 0, done.stderr
    record = json.loads((cells / "cells_decon.json").read_text(encoding="utf-8"))
    assert len({c["psf_sha256"] for c in record["channels"]}) == 2


def test_run_computes_the_psf_from_optics(program, cells):
    done = program("run", "cells.tif", *OPTICS, "-o", "out.tif", "--channel", 1, "-n", 3)
    assert done.returncode == 0, done.stderr
    assert "pinhole of 1 Airy unit assumed" in done.stderr
    assert open_stack(cells / "out.tif").header.size("C") == 1


def test_what_is_missing_is_asked_for_at_once(program, cells):
    pixels = tifffile.imread(cells / "cells.tif")[:, 0]
    tifffile.imwrite(cells / "bare.tif", pixels, photometric="minisblack")
    done = program("run", "bare.tif", "--na", 1.2)
    assert done.returncode == 65
    assert done.stderr.count("\n") == 1
    for flag in ("--emission", "--ri-immersion", "--voxel", "--psf", "bare.tif"):
        assert flag in done.stderr
    done = program("run", "bare.tif", *OPTICS, "--voxel", 0.3, 0.1, 0.1, "-n", 2)
    assert done.returncode == 0, done.stderr


def test_threads_are_set_before_the_psf_is_computed(cells, monkeypatch):
    order = []
    monkeypatch.setattr(machine, "prepare", lambda taken: order.append(taken.threads))
    real = planning.plan
    monkeypatch.setattr(planning, "plan", lambda request: order.append("plan") or real(request))
    run([cells / "cells.tif"], dry_run=True, given={"psf": str(cells / "psf.tif"), "threads": "1"})
    assert order == [1, "plan"]


def test_identity_is_bit_for_bit_through_tiles(program, cells):
    done = program("run", "cells.tif", "-m", "identity", "--tile", 16)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(tifffile.imread(cells / "cells_decon.tif"), tifffile.imread(cells / "cells.tif"))


def test_settings_are_saved_and_used_again(program, cells):
    assert (
        program(
            "run", "cells.tif", "--psf", "psf.tif", "--save-settings", "exp.toml", "--max-iterations", 15
        ).returncode
        == 0
    )
    saved = tomllib.loads((cells / "exp.toml").read_text(encoding="utf-8"))
    assert len(saved["background"]) == len(saved["iterations"]) == 2
    done = program("run", "cells.tif", "--config", "exp.toml", "-o", "again.tif", "--record")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(tifffile.imread(cells / "again.tif"), tifffile.imread(cells / "cells_decon.tif"))
    record = json.loads((cells / "again.json").read_text(encoding="utf-8"))
    assert {c["sources"]["iterations"] for c in record["channels"]} == {"given"}
    assert record["options"]["background"][1].startswith("config")


def test_settings_of_some_channels_stay_with_them(program, cells):
    """Chosen for channels 1 and 2 of three, from another folder, they serve the same channels again."""
    pixels = tifffile.imread(cells / "cells.tif")
    three = np.stack([pixels[:, 1] // 2, pixels[:, 0], pixels[:, 1] + 50], axis=1)
    tifffile.imwrite(cells / "three.tif", three, imagej=True, metadata={"axes": "ZCYX"})
    words = ("three.tif", "-m", "rl-tv", "--channel", "1,2", "--record")
    done = program(
        "run", *words, "--psf", "psf.tif", "--save-settings", "sub/exp.toml", "--parents", "--max-iterations", 8
    )
    assert done.returncode == 0, done.stderr
    saved = tomllib.loads((cells / "sub" / "exp.toml").read_text(encoding="utf-8"))
    first = json.loads((cells / "three_decon.json").read_text(encoding="utf-8"))["channels"]
    assert saved["psf"] == [str((cells / "psf.tif").resolve())]
    for key in ("background", "offset", "gain", "iterations"):
        assert saved[key] == ["auto", *(c[key] for c in first)]
    assert saved["regularisation"] == ["auto", *(c["parameters"]["regularisation"] for c in first)]
    done = program("run", *words, "--config", "sub/exp.toml", "-o", "again.tif")
    assert done.returncode == 0, done.stderr
    again = json.loads((cells / "again.json").read_text(encoding="utf-8"))["channels"]
    for key in ("channel", "background", "offset", "gain", "iterations", "parameters"):
        assert [c[key] for c in again] == [c[key] for c in first]
    np.testing.assert_array_equal(tifffile.imread(cells / "again.tif"), tifffile.imread(cells / "three_decon.tif"))


def test_line_beats_environment_beats_config_and_config_show_says_so(program, tmp_path):
    (tmp_path / "c.toml").write_text("na = 1.1\nemission = 500\nri_immersion = 1.5\n", encoding="utf-8")
    done = program(
        "config", "show", "--config", "c.toml", "--na", 1.3, MICRODECONV_NA="1.2", MICRODECONV_EMISSION="600"
    )
    assert done.returncode == 0, done.stderr
    for line in (
        "na = 1.3  (command line)",
        "emission = 600  (environment)",
        "ri_immersion = 1.5  (config c.toml)",
        "depth = -  (default)",
    ):
        assert line in done.stdout.splitlines()


def test_dry_run_prints_the_plan_and_writes_nothing(program, cells):
    before = sorted(cells.iterdir())
    done = program("run", "cells.tif", *OPTICS, "--dry-run")
    assert done.returncode == 0, done.stderr
    for word in (
        "na 1.2 (command line)",
        "padded to",
        "tile(s)",
        "memory about",
        "device cpu",
        "PSF ",
        "writes cells_decon.tif",
    ):
        assert word in done.stdout
    assert sorted(cells.iterdir()) == before


def test_optics_of_the_file_are_used_and_differences_told(program, tmp_path):
    pixels = simulate("spots", (8, 30, 30), PSF, Exposure(), 1).counts
    channel = {"Name": ["GFP"], "EmissionWavelength": [520.0], "EmissionWavelengthUnit": ["nm"]}
    metadata = {"axes": "CZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.3, "Channel": channel}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels[None], ome=True, metadata=metadata, photometric="minisblack")
    done = program("run", "a.ome.tif", "--na", 1.2, "--ri-immersion", 1.33, "--dry-run")
    assert "emission 520 (the file)" in done.stdout
    done = program("run", "a.ome.tif", "--na", 1.2, "--ri-immersion", 1.33, "--emission", 610, "-n", 2)
    assert done.returncode == 0, done.stderr
    assert "where the file says 520" in done.stderr
    again = open_stack(tmp_path / "a_decon.ome.tif").header
    assert (again.container, again.channels[0].name) == ("ome", "GFP")
    assert again.channels[0].optics.emission_nm == 520
    with tifffile.TiffFile(tmp_path / "a_decon.ome.tif") as file:
        assert "input_sha256" in file.ome_metadata


def test_many_inputs_one_bad(program, cells):
    (cells / "bad.tif").write_bytes(b"II")
    done = program("run", "cells.tif", "bad.tif", "--psf", "psf.tif", "-n", 2, "-o", "out/", "--parents")
    assert done.returncode == 3
    assert "bad.tif" in done.stderr
    assert (cells / "out" / "cells_decon.tif").exists()


def test_two_dimensions(program, cells):
    plane = tifffile.imread(cells / "cells.tif")[6, 0]
    tifffile.imwrite(cells / "flat.tif", plane, photometric="minisblack")
    done = program(
        "run", "flat.tif", "--na", 1.2, "--emission", 520, "--ri-immersion", 1.33, "--voxel", 1, 0.1, "-n", 4
    )
    assert done.returncode == 0, done.stderr
    assert tifffile.imread(cells / "flat_decon.tif").shape == plane.shape


@pytest.mark.parametrize("method", ["rl", "rl-tv", "wiener"])
def test_methods_with_everything_auto(program, cells, method):
    done = program(
        "run",
        "cells.tif",
        "--psf",
        "psf.tif",
        "-m",
        method,
        "--channel",
        0,
        "--dtype",
        "float32",
        *([] if method == "wiener" else ["--max-iterations", 12]),
    )
    assert done.returncode == 0, done.stderr
    image = tifffile.imread(cells / "cells_decon.tif")
    assert image.dtype == np.float32
    assert image.min() >= 0


def test_psf_compute_writes_what_run_takes(program, tmp_path):
    words = ("--na", 1.2, "--emission", 520, "--ri-immersion", 1.33, "--voxel", 0.3, 0.1, 0.1, "--shape", "15,21,21")
    done = program("psf", "compute", "p.tif", *words)
    assert done.returncode == 0, done.stderr
    header = open_stack(tmp_path / "p.tif").header
    assert header.voxel_um == pytest.approx((0.3, 0.1, 0.1))
    assert '"na": 1.2' in header.extras["Info"]
    assert (tmp_path / "p.png").exists()
    assert program("psf", "compute", "p.tif", *words).returncode == 73
    assert program("psf", "compute", "q.tif", "--na", 1.2).stderr.count("--") >= 3


def test_info_and_devices(program, cells):
    done = program("info", "cells.tif")
    assert done.returncode == 0
    assert "Z12 Y40 X44 uint16" in done.stdout
    assert "--na --ri-immersion --emission" in done.stdout
    done = program("devices")
    assert done.returncode == 0
    assert "cpu" in done.stdout
    assert "thread" in done.stdout


def test_help_groups_options_and_version_is_told(program):
    done = program("run", "--help")
    for panel in ("Method", "PSF and optics", "Image", "Machine", "Output", "General"):
        assert f"─ {panel} ─" in done.stdout
    assert program("--version").stdout.startswith("microdeconv 0.")


@pytest.mark.parametrize(("memory", "cut"), [(700, True), (1100, True), (2500, False)])
@pytest.mark.parametrize("method", ["rl", "rl-tv"])
def test_memory_promise_is_kept(program, tmp_path, method, memory, cut):
    """A field that needs tiles, or does not: the peak stays within what --memory allows."""
    pixels = np.random.default_rng(0).poisson(50, (16, 700, 700)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "big.tif", pixels, photometric="minisblack")
    weight = ("--regularisation", 0.002) if method == "rl-tv" else ()
    done = program(
        "run", "big.tif", *OPTICS, "--voxel", 0.3, 0.1, "-n", 2, "--memory", f"{memory}MB", "--record",
        "--background", 10, "--method", method, *weight,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "big_decon.json").read_text(encoding="utf-8"))
    assert (record["channels"][0]["tiles"] > 1) == cut
    assert record["peak_memory_bytes"] <= memory * 1e6


@pytest.mark.parametrize(("shape", "memory", "cut"), [((1, 500, 2000), 620, True), ((8, 160, 170), 625, False)])
def test_memory_promise_is_kept_by_the_network(tmp_path, shape, memory, cut):
    pixels = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "field.tif", pixels, photometric="minisblack")
    words = ("run", "field.tif", *OPTICS, "--voxel", "0.3", "0.1", "-n", "2", "--memory", f"{memory}MB", "--record",
             "--background", "10", "--method", "learnt", "--threads", "1")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "microdeconv", *map(str, words)], cwd=tmp_path, env=plain_environment(), timeout=240,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "field_decon.json").read_text(encoding="utf-8"))
    assert (record["channels"][0]["tiles"] > 1) == cut
    assert record["peak_memory_bytes"] <= memory * 1e6


def test_psfs_at_places_from_line_to_record_and_back(program, cells):
    wide = gaussian_psf((1.8, 1.5, 1.5))
    metadata = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(cells / "deep.tif", wide, imagej=True, resolution=(10, 10), metadata=metadata)
    both = ("--psf", "psf.tif@0", "--psf", "deep.tif@3.3")
    done = program("run", "cells.tif", *both, "-n", 3, "--record", "--save-settings", "exp.toml")
    assert done.returncode == 0, done.stderr
    assert "2 PSFs at z 0, 3.3 µm: from psf.tif" in done.stderr
    record = json.loads((cells / "cells_decon.json").read_text(encoding="utf-8"))
    assert record["options"]["psf"] == [["psf.tif@0", "deep.tif@3.3"], "command line"]
    assert record["channels"][0]["psf_places_voxels"] == {"z": [0, 11], "y": [0], "x": [0]}
    saved = tomllib.loads((cells / "exp.toml").read_text(encoding="utf-8"))
    assert saved["psf"] == [str(cells / "psf.tif") + "@0", str(cells / "deep.tif") + "@3.3"]
    again = program("run", "cells.tif", "--config", "exp.toml", "-o", "again.tif")
    assert again.returncode == 0, again.stderr
    np.testing.assert_array_equal(tifffile.imread(cells / "again.tif"), tifffile.imread(cells / "cells_decon.tif"))
    shown = program("config", "show", MICRODECONV_PSF=os.pathsep.join(("psf.tif@0", "deep.tif@3.3")))
    assert "psf = psf.tif@0 deep.tif@3.3  (environment)" in shown.stdout.splitlines()
    plan = program("run", "cells.tif", *both, "--dry-run", "-o", "new.tif")
    assert "PSF 17 x 13 x 13, 2 PSFs at z 0, 3.3 µm" in plan.stdout
    assert "psf psf.tif@0 deep.tif@3.3 (command line)" in plan.stdout
    assert program("run", "cells.tif", "--psf", "psf.tif@0", "--psf", "deep.tif", "-o", "new.tif").returncode == 2
    assert program("run", "cells.tif", "--psf", "psf.tif@0", "--psf", "none.tif@3", "-o", "new.tif").returncode == 66
