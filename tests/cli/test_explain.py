"""`explain` as a person and a script call it."""

import json
import re

import numpy as np
import pytest
import tifffile
import torch

from microdeconv.cli.app import main
from microdeconv.cli.explain import read_region
from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.weights import save_model
from microdeconv.psf.file import write_psf
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf

MODEL = ("--model", "net.safetensors")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A plane, a volume, their PSFs and a network of random weights."""
    monkeypatch.chdir(tmp_path)
    pixels = gaussian_psf((1.2, 1.3, 1.3))
    flat = pixels.sum(0, keepdims=True)
    for name, one, shape in (("plane", flat, (1, 80, 72)), ("volume", pixels, (7, 40, 36))):
        scene = simulate("filaments", shape, one, Exposure(300, 20, 100), 1)
        tifffile.imwrite(f"{name}.tif", scene.counts[0] if shape[0] == 1 else scene.counts)
        psf = Psf((one / one.sum()).astype(np.float32), None, None, "Gaussian")
        write_psf(tmp_path / f"{name}_psf.tif", psf, overwrite=False)
    torch.manual_seed(0)
    network = IRDNet(Architecture(widths=(4, 6, 8), stages=1))
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.02 * torch.randn_like(value))
    save_model(tmp_path / "net.safetensors", network, {"name": "toy"})
    return tmp_path


@pytest.mark.parametrize(
    ("name", "region", "size"),
    [("plane", ("0", "30", "30", "16"), [1, 16, 16]), ("volume", ("3", "20", "20", "3", "10", "12"), [3, 10, 12])],
)
def test_a_page_and_its_figures(folder, name, region, size, capsys):
    words = ["explain", f"{name}.tif", "--psf", f"{name}_psf.tif", *MODEL, "--region", *region]
    assert main([*words, "--patches", "3", "--filters", "1", "-o", "page.html"]) == 0
    assert "The correction is" in capsys.readouterr().err
    told = json.loads((folder / "page.json").read_text())
    assert told["region_of_stack"]["size"] == told["region"]["size"] == size
    page = (folder / "page.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 4 + 2 + 3 * 2 + 2
    assert all(re.search(r'alt="[^"]{8,}"', one) for one in pictures)
    assert told["bands"]["meaning"] in page
    assert page.count("<svg role=img") == 3 + len(told["channels"])


def test_the_brightest_region_is_the_default(folder):
    assert main(["explain", "plane.tif", "--psf", "plane_psf.tif", *MODEL, "--patches", "3", "-o", "page.html"]) == 0
    told = json.loads((folder / "page.json").read_text())["region_of_stack"]
    counts = tifffile.imread("plane.tif")
    y, x = told["start"][1:]
    assert counts[y : y + 32, x : x + 32].mean() > 1.1 * counts.mean()


def test_bad_input(folder, capsys):
    usual = ("plane.tif", "--psf", "plane_psf.tif", *MODEL, "-o", "page.html")
    (folder / "there.html").write_text("mine")
    (folder / "bad.safetensors").write_bytes(b"no network")
    for words, code, told in (
        ((*usual, "--region", "0", "80", "0"), 2, "outside the stack of 1x80x72"),
        ((*usual, "--region", "0", "40", "30", "90"), 2, "larger than the stack"),
        ((*usual, "--region", "0", "40"), 2, "three are a middle"),
        ((*usual, "--region", "brightst"), 2, "brightest, centre"),
        ((*usual, "--stage", "2"), 2, "stages 0 to 1"),
        ((*usual, "--psf-model", "scalar"), 2, "does not apply"),
        (("plane.tif", *MODEL, "-o", "page.html"), 65, "optics are not all known"),
        (("plane.tif", "--psf", "estimate", *MODEL, "-o", "page.html"), 2, "psf estimate"),
        (("plane.tif", "--psf", "volume_psf.tif", *MODEL, "-o", "page.html"), 65, "PSF"),
        (("plane.tif", "--psf", "plane_psf.tif", "--model", "nothing.safetensors", "-o", "page.html"), 66, "nothing"),
        (("plane.tif", "--psf", "plane_psf.tif", "--model", "bad.safetensors", "-o", "page.html"), 65, "bad"),
        (("nothing.tif", *usual[1:]), 66, "nothing.tif"),
        ((*usual[:-1], "page.pdf"), 2, "HTML"),
        ((*usual[:-1], "there.html"), 73, "exists"),
    ):
        assert main(["explain", *words]) == code, words
        said = capsys.readouterr()
        assert told in said.err, said.err
        assert said.err.count("\n") == 1
    assert not (folder / "page.html").exists()


def test_too_large_for_memory(folder, monkeypatch, capsys):
    from microdeconv import engine

    monkeypatch.setattr(engine, "plan_cut", lambda *_: engine.Cut(8, (1, 1), (1, 8, 8), (1, 8, 8), 10, 4))
    assert main(["explain", "plane.tif", "--psf", "plane_psf.tif", *MODEL, "-o", "page.html"]) == 71
    assert "give a smaller region" in capsys.readouterr().err


def test_without_a_psf(folder):
    words = ["explain", "plane.tif", "--psf", "none", *MODEL, "--region", "centre", "--patches", "3"]
    assert main([*words, "-o", "page.html"]) == 0
    assert json.loads((folder / "page.json").read_text())["psf"] == "none needed"


def test_regions_are_read():
    assert read_region("1 2 3") == read_region("1,2,3") == read_region([1, 2, 3]) == (1, 2, 3)
    assert read_region("centre") == "centre"
    for raw in ("", "1", "1 2 3 4 5", "a b c", "1 2 3 0"):
        with pytest.raises(ValueError, match=r"number|below"):
            read_region(raw)
