"""`microdeconv psf measure` as a person calls it."""

import csv

import numpy as np
import pytest
import tifffile
from bead_fields import bead_field

from microdeconv.io.tiff import open_stack
from microdeconv.psf.file import load_psf
from microdeconv.simulate import gaussian_psf
from microdeconv.stack import Zyx

VOXEL = Zyx(0.3, 0.1, 0.1)
SPOT = gaussian_psf((2.0, 1.5, 1.5))
OPTICS = ("--na", 0.7, "--emission", 520, "--ri-immersion", 1.0)


def save(path, pixels, axes="ZYX", **more):
    metadata = {"axes": axes, "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10, 10), metadata=metadata, **more)


def spots(*shape, **more):
    return bead_field(SPOT if shape[0] > 1 else gaussian_psf((0, 1.5, 1.5)), VOXEL, shape, 1000, apart=14, **more)[0]


@pytest.fixture
def beads(tmp_path):
    save(tmp_path / "beads.tif", spots(21, 110, 110))
    return tmp_path


def test_psf_table_and_page(program, beads):
    save(beads / "more.tif", spots(21, 110, 110, seed=2))
    done = program("psf", "measure", "beads.tif", "more.tif", "-o", "psf.tif", "--bead-diameter", 0.1, *OPTICS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "beads used" in done.stderr
    assert "in theory" in done.stderr
    written = open_stack(beads / "psf.tif").header
    assert written.voxel_um == pytest.approx(VOXEL)
    psf = load_psf(beads / "psf.tif", VOXEL, (30, 200, 200))
    assert psf.optics is not None
    assert psf.optics.na == 0.7
    assert "measured from" in psf.source
    rows = list(csv.DictReader((beads / "psf.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["field"] for row in rows} == {"beads.tif", "more.tif"}
    assert float(rows[0]["fwhm_x_um"]) == pytest.approx(0.353, rel=0.1)
    page = (beads / "psf.html").read_text(encoding="utf-8")
    assert page.count("<img alt=") == page.count("<img ") == 12  # three sections, two scales, measured and in theory
    assert page.count("aria-label=") == page.count("<svg") == 3
    assert "prefers-color-scheme: dark" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_single_plane_gives_a_2d_psf_and_says_so(program, tmp_path):
    save(tmp_path / "flat.tif", spots(1, 150, 150)[0], "YX")
    done = program("psf", "measure", "flat.tif", "-o", "psf.tif", "--no-page")
    assert done.returncode == 0, done.stderr
    assert "2-D PSF" in done.stderr
    assert load_psf(tmp_path / "psf.tif", None, (1, 99, 99)).pixels.shape[0] == 1
    assert not (tmp_path / "psf.html").exists()


def test_bad_input_is_one_line_and_its_code(program, beads):
    noise = np.random.default_rng(1).poisson(50, (9, 60, 60)).astype(np.uint16)
    save(beads / "noise.tif", noise)
    save(beads / "white.tif", np.minimum(spots(21, 110, 110), 255).astype(np.uint8))
    save(beads / "shallow.tif", spots(21, 110, 110)[10:13])
    save(beads / "two.tif", np.stack([spots(21, 110, 110)] * 2, axis=1), "ZCYX")
    tifffile.imwrite(beads / "bare.tif", spots(21, 110, 110), photometric="minisblack")
    save(beads / "plane.tif", spots(1, 110, 110)[0], "YX")
    save(beads / "there.tif", noise)
    cases = [
        (("noise.tif",), 65, "no beads found"),
        (("white.tif",), 65, "saturated"),
        (("shallow.tif",), 65, "at the border"),
        (("two.tif",), 65, "pick with --channel"),
        (("two.tif", "--channel", 4), 65, "beyond the last"),
        (("bare.tif",), 65, "--voxel"),
        (("beads.tif", "plane.tif"), 65, "measure them apart"),
        (("none.tif",), 66, "no such file"),
        (("beads.tif", "--bead-diameter", 100), 2, "looks like nm; in µm it is 0.1"),
        (("beads.tif", "--bead-diameter", -1), 2, "0.01 to 10 µm"),
    ]
    for words, code, said in cases:
        done = program("psf", "measure", *words, "-o", "psf.tif")
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), (words, done.stderr)
        assert said in done.stderr
        assert not (beads / "psf.tif").exists()
    done = program("psf", "measure", "beads.tif", "-o", "psf.csv")
    assert (done.returncode, "end the name in .tif" in done.stderr) == (2, True)
    done = program("psf", "measure", "beads.tif", "-o", "there.tif")
    assert done.returncode == 73
    assert "--overwrite" in done.stderr
    assert program("psf", "measure", "beads.tif", "-o", "beads.tif", "--overwrite").returncode == 73


def test_one_channel_of_several(program, beads):
    both = np.stack([np.full((21, 110, 110), 9, np.uint16), spots(21, 110, 110)], axis=1)
    save(beads / "two.tif", both, "ZCYX")
    done = program("psf", "measure", "two.tif", "--channel", 1, "-o", "psf.tif", "--no-page")
    assert done.returncode == 0, done.stderr
