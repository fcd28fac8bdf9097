"""The plan: what is refused before anything is computed, and what is settled for each channel."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from microdeconv.errors import CannotCreateError, DataError, UsageError
from microdeconv.options import convert
from microdeconv.outputs import refuse_shared_outputs
from microdeconv.planning import plan
from microdeconv.request import LINE, Request, all_options
from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))
OPTICS = {"na": 1.2, "emission": 520, "ri_immersion": 1.33, "voxel": "0.3 0.1"}
OPTIONS = {o.key: o for o in all_options()}


def asked(path, *kept, output=None, settings=None, source=LINE, **values):
    read = {key: convert(OPTIONS[key], raw) for key, raw in values.items()}
    return Request(Path(path), output, None, settings, kept, ((source, read),))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stack `a.tif`, one of three channels `rgb.tif`, and `psf.tif`."""
    monkeypatch.chdir(tmp_path)
    counts = [simulate(k, (10, 32, 32), PSF, Exposure(200, 20, 100), 1).counts for k in ("spots", "nuclei", "tissue")]
    tifffile.imwrite("a.tif", counts[0], photometric="minisblack")
    tifffile.imwrite("rgb.tif", np.stack(counts, axis=1), imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite("psf.tif", PSF, photometric="minisblack")
    return tmp_path


@pytest.mark.parametrize("name", ["psf.tif", "rgb.tif", "exp.toml.tif"])
def test_no_output_replaces_what_is_read(folder, name):
    (folder / "exp.toml.tif").write_text("na = 1.2\n", encoding="utf-8")
    kept = (Path("a.tif"), Path("rgb.tif"), Path("exp.toml.tif"))
    with pytest.raises(CannotCreateError, match=f"{name}: the output is the input"):
        plan(asked("a.tif", *kept, output=Path(name), psf="psf.tif", overwrite=True))


@pytest.mark.parametrize(
    ("values", "there", "words"),
    [({"preview": True}, "a_decon.png", "exists already"), ({"record": True}, "a_decon.json", "exists already"),
     ({"settings": Path("exp.toml")}, "exp.toml", "exists already"),
     ({"settings": Path("none/exp.toml")}, "", "no such folder"),
     ({"settings": Path("psf.tif"), "overwrite": True}, "", "is the input"),
     ({"settings": Path("a_decon.json"), "record": True}, "", "name of two outputs")],
)  # fmt: skip
def test_what_is_written_beside_the_result_is_checked_too(folder, values, there, words):
    if there:
        (folder / there).write_bytes(b"old")
    with pytest.raises(CannotCreateError, match=words):
        plan(asked("a.tif", psf="psf.tif", **values))


def test_two_requests_with_one_output_are_refused(folder):
    for place in ("x", "y"):
        (folder / place).mkdir()
        (folder / place / "a.tif").write_bytes((folder / "a.tif").read_bytes())
    both = [Request(Path(place, "a.tif"), folder=folder / "out") for place in ("x", "y")]
    with pytest.raises(CannotCreateError, match=r"both x/a\.tif and y/a\.tif"):
        refuse_shared_outputs(both)
    with pytest.raises(CannotCreateError, match=r"both a\.tif and a\.tif"):
        refuse_shared_outputs([asked("a.tif"), asked("a.tif")])
    refuse_shared_outputs([Request(Path("x/a.tif")), Request(Path("y/a.tif")), Request(Path("none/a.tif"))])


@pytest.mark.parametrize(
    ("values", "words"),
    [({"psf": "psf.tif", "psf_model": "scalar"}, "--psf-model does not apply to a PSF that is given"),
     ({**OPTICS, "psf_centre": "none"}, "--psf-centre does not apply to a PSF that is computed"),
     ({**OPTICS, "psf_background": "keep"}, "--psf-background does not apply"),
     ({**OPTICS, "pinhole": 1}, "--pinhole does not apply to widefield"),
     ({**OPTICS, "excitation": 488}, "--excitation does not apply to widefield"),
     ({**OPTICS, "sheet": 3, "modality": "confocal"}, "--sheet does not apply to confocal"),
     ({"method": "identity", "psf": "psf.tif"}, "--psf does not apply to --method identity"),
     ({"method": "identity", "na": 1.2}, "--na does not apply to --method identity"),
     ({"method": "identity", "background": 9}, "--background does not apply"),
     ({"method": "identity", "nan": "median"}, "--nan does not apply"),
     ({"method": "wiener", "psf": "psf.tif", "iterations": 4}, "--iterations does not apply to --method wiener"),
     ({"psf": "psf.tif", "background": "1,2,3,4"}, "--background: 4 values for 3 channel")],
)  # fmt: skip
def test_what_can_do_nothing_is_refused_when_typed(folder, values, words):
    with pytest.raises(UsageError, match=words):
        plan(asked("rgb.tif", **values))
    if "4 values" in words:
        notes = plan(asked("rgb.tif", source="config c.toml", **values)).notes
        assert "background: more values than the 3 channel(s), the last are not used" in notes


@pytest.mark.parametrize(
    "values",
    [{"psf": "psf.tif", "psf_model": "scalar", "regularisation": 0.01}, {**OPTICS, "psf_centre": "none", "pinhole": 1},
     {**OPTICS, "modality": "confocal", "pinhole": 1}, {"method": "identity", "na": 1.2, "voxel": "0.3 0.1"}],
)  # fmt: skip
def test_a_configuration_may_serve_several_methods(folder, values):
    plan(asked("a.tif", source="config c.toml", **values))


def test_an_image_is_not_its_own_psf(folder):
    with pytest.raises(DataError, match="is the image itself"):
        plan(asked("a.tif", psf="a.tif"))


def test_wavelengths_may_differ_between_channels(folder):
    todo = plan(asked("rgb.tif", **{**OPTICS, "emission": "460,520,600"}))
    assert [c.optics.emission_nm for c in todo.channels] == [460, 520, 600]
    widths = [c.psf.pixels[c.psf.pixels.shape[0] // 2].max() for c in todo.channels]
    assert widths[0] > widths[1] > widths[2]
    assert not any("serves" in note for note in todo.notes)


def test_one_wavelength_for_several_channels_is_told(folder):
    assert (
        "--emission 520 serves 3 channels: --emission A,B,… gives each its own"
        in plan(asked("rgb.tif", **OPTICS)).notes
    )
    for quiet in ({"channel": 1}, {"psf": "psf.tif"}):
        assert not any("serves" in note for note in plan(asked("rgb.tif", **OPTICS, **quiet)).notes)


SAMPLED = {**OPTICS, "ri_sample": 1.42, "voxel": "0.4 0.1"}


def test_depths_are_chosen_told_and_refused(folder):
    todo = plan(asked("a.tif", **SAMPLED, depths=3, depth=2))
    assert "3 PSFs at depths of 2, 3.8, 5.6 µm" in todo.channels[0].psf.source
    assert not any("made for --depth" in note for note in todo.notes)
    one = plan(asked("a.tif", **SAMPLED, depths="off"))
    assert len(one.channels[0].psf.parts) == 1
    assert todo.channels[0].cut.tile_bytes > one.channels[0].cut.tile_bytes
    for values, words in (
        ({**OPTICS, "depths": 3}, "--depths 3: the PSF does not change with depth here"),
        ({"psf": "psf.tif", "depths": "off"}, "--depths does not apply to a PSF that is given"),
    ):
        with pytest.raises(UsageError, match=words):
            plan(asked("a.tif", **values))
        plan(asked("a.tif", source="config c.toml", **values))


def test_psfs_at_places(folder):
    tifffile.imwrite("b.tif", PSF[:, 1:-1, 1:-1], photometric="minisblack")
    todo = plan(asked("rgb.tif", psf=["psf.tif@1", "b.tif@4"], voxel="0.4 0.1", depth=1))
    assert all(c.psf.places[0] == pytest.approx((0, 7.5)) for c in todo.channels)
    for psf, error, words in (
        (["psf.tif@0", "b.tif"], UsageError, "b.tif has no place"),
        (["psf.tif@0,0", "b.tif@0,1", "a.tif@1,0"], DataError, "a.tif: is the image itself"),
        (["psf.tif@0", "b.tif@5,5"], UsageError, "places of 1 and 2 numbers"),
    ):
        with pytest.raises(error, match=words):
            plan(asked("a.tif", psf=psf, voxel="0.4 0.1"))
    with pytest.raises(DataError, match="give --voxel"):
        plan(asked("a.tif", psf=["psf.tif@0", "b.tif@4"]))
    with pytest.raises(CannotCreateError, match=r"b\.tif: the output is the input"):
        plan(asked("a.tif", psf=["psf.tif@0", "b.tif@4"], voxel="0.4 0.1", output=Path("b.tif"), overwrite=True))
