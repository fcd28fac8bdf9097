"""Rows D of the fault catalogue, as functions: what is refused, with which words, and what is done about the rest."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from microdeconv.errors import DataError, MicrodeconvError
from microdeconv.optics import Optics, completed, read_wavelength
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import load_psf, ready
from microdeconv.stack import Zyx

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
FIELD = (24, 64, 64)
OPTICS = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
VOXEL = Zyx(0.3, 0.1, 0.1)
GOOD = compute_psf(OPTICS, VOXEL, (15, 31, 31)).pixels


def refusal(pixels: np.ndarray, field: tuple[int, int, int] = FIELD) -> str:
    with pytest.raises(DataError) as caught:
        ready(pixels, None, field, name="psf.tif")
    assert caught.value.exit_code == 65
    assert str(caught.value).startswith("psf.tif: ")
    assert caught.value.remedy
    return str(caught.value)


def offset(pixels: np.ndarray) -> float:
    """Farthest that a bead would move: the centroid of the bright part, from the middle voxel."""
    core = np.where(pixels > 0.2 * pixels.max(), pixels, 0).astype(float)
    middle = np.array(pixels.shape) // 2
    places = np.stack(np.meshgrid(*map(np.arange, pixels.shape), indexing="ij"), axis=-1) - middle
    return float(np.abs((core[..., None] * places).sum(axis=(0, 1, 2)) / core.sum()).max())


def test_d1_zeros() -> None:
    assert "no voxel is above zero" in refusal(np.zeros((5, 5, 5)))
    assert "no voxel is above zero" in refusal(np.full((5, 5, 5), -1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_d2_not_finite(value: float) -> None:
    pixels = GOOD.copy()
    pixels[0, 0, :2] = value
    assert "2 voxels are NaN or infinite" in refusal(pixels)


def test_d3_negative() -> None:
    pixels = GOOD / GOOD.max()
    pixels[2, 3, 4] = -0.002
    assert "negative values, down to -0.002 at a peak of 1" in refusal(pixels)


@pytest.mark.parametrize("pixels", [np.zeros((0, 5, 5)), np.ones((5, 5, 5), complex), np.array(["a"])[:, None]])
def test_d3_not_numbers(pixels: np.ndarray) -> None:
    assert "are no PSF" in refusal(pixels)


def test_d4_scale_does_not_matter() -> None:
    for scale in (1e-30, 1000.0, 1e20):
        psf = ready(GOOD.astype(np.float64) * scale, None, FIELD, background=False)
        np.testing.assert_allclose(psf.pixels, ready(GOOD, None, FIELD, background=False).pixels, rtol=1e-5, atol=1e-12)


def test_d5_larger_than_the_image() -> None:
    wide = compute_psf(OPTICS, VOXEL, (47, 301, 301)).pixels
    psf = ready(wide, None, (24, 128, 128), background=False)
    assert psf.pixels.shape == (47, 255, 255)
    assert psf.notes[0] == "larger than the stack can use: cropped, 0.39 % of its energy lost"
    assert psf.pixels.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(10, 14, 14), (11, 14, 15)])
def test_d6_even_sizes(shape: tuple[int, int, int]) -> None:
    grids = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    pixels = np.exp(-0.5 * sum((g / 1.5) ** 2 for g in grids))
    psf = ready(pixels, None, FIELD)
    assert all(n % 2 for n in psf.pixels.shape)
    assert offset(psf.pixels) < 0.05


def test_d7_off_centre() -> None:
    rolled = np.roll(np.pad(GOOD, 8), (0, 3, 5), (0, 1, 2))
    psf = ready(rolled, None, FIELD)
    assert "centred: its peak was (" in psf.source
    assert "0.0, +3.0, +5.0) voxels" in psf.source
    assert offset(psf.pixels) < 0.05
    assert any("0.0, +3.0, +5.0) voxels (z y x) off the middle: it was moved there" in note for note in psf.notes)
    for quiet in (ready(rolled, None, FIELD, centre="none"), ready(GOOD, None, FIELD), ready(GOOD[:-1], None, FIELD)):
        assert not any("off the middle" in note for note in quiet.notes)


def test_d8_dimensions() -> None:
    assert "a 2-D PSF for a 3-D image" in refusal(GOOD[7])
    assert "a 3-D PSF for a 2-D image" in refusal(GOOD, (1, 64, 64))
    assert "not 4" in refusal(GOOD[None])
    assert "swapped" in refusal(np.pad(GOOD, 40), (1, 31, 31))


def test_d9_voxel_size_in_another_unit() -> None:
    with pytest.raises(DataError, match=r"0\.3 x 100 x 100 µm and the stack's of 0\.3 x 0\.1 x 0\.1 µm"):
        ready(GOOD, Zyx(0.3, 100, 100), FIELD, VOXEL)


@pytest.mark.parametrize(
    ("own", "stack", "words"),
    [
        (VOXEL, None, "the stack's are not known"),
        (VOXEL, Zyx(float("nan"), 0.1, 0.1), "the stack's are not known"),
        (None, VOXEL, "its voxel size is not known: taken to be the stack's 0.3 x 0.1 x 0.1 µm"),
    ],
)
def test_d9_voxel_size_of_one_alone(own: Zyx | None, stack: Zyx | None, words: str) -> None:
    notes = [note for note in ready(GOOD, own, FIELD, stack).notes if "--voxel" in note]
    assert len(notes) == 1
    assert words in notes[0]


def test_d9_voxel_size() -> None:
    psf = ready(GOOD[:, 1:-1, 1:-1], Zyx(0.3, 0.05, 0.05), FIELD, VOXEL, background=False)
    assert psf.pixels.shape == (15, 15, 15)
    assert "resampled from voxels of 0.3 x 0.05 x 0.05 µm to the stack's 0.3 x 0.1 x 0.1 µm" in psf.source


@pytest.mark.parametrize(
    "name",
    [
        "actin-dapi-2d-gt/Actin3_blurred.tif",
        "actin-dapi-2d-gt/nucleus.tif",
        "asymmetric-psf-3d/raw.tif",
        "bars-3d-gt/raw.tif",
        "confocal-beads-grid/grid.tif",
        "neuron-3d/object.tif",
        "redcells-lattice/raw.tif",
        "sphere-tubes-3d/truth.tif",
        "spots/synthetic_3d.tif",
    ],
)
def test_d10_an_image_given_for_the_psf(name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip("the shared data are not here")
    field = (1, 64, 64) if tifffile.imread(SHARED / name).ndim == 2 else FIELD
    with pytest.raises(DataError, match="are stack and PSF swapped"):
        load_psf(SHARED / name, None, field)


def test_d10_two_lobes_are_asked_about() -> None:
    both = np.pad(GOOD, ((0, 0), (20, 20), (20, 20)))
    both = both + 0.9 * np.roll(both, 20, axis=2)
    assert any("2 bright spots side by side" in note for note in ready(both, None, FIELD).notes)


def test_d11_a_delta_stays_one() -> None:
    for shape in ((1, 1, 1), (5, 5, 5), (4, 6, 6)):
        delta = np.zeros(shape)
        delta[tuple(n // 2 for n in shape)] = 7
        np.testing.assert_array_equal(ready(delta, None, FIELD).pixels, np.ones((1, 1, 1), np.float32))


def test_d12_several_channels_and_cut_files(tmp_path: Path) -> None:
    path = tmp_path / "psf.tif"
    tifffile.imwrite(path, np.stack([GOOD, GOOD], axis=1), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(DataError, match="is not one PSF"):
        load_psf(path, None, FIELD)
    tifffile.imwrite(path, GOOD, imagej=True, metadata={"axes": "ZYX"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        load_psf(path, None, FIELD)


def test_d12_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MicrodeconvError) as caught:
        load_psf(tmp_path / "none.tif", None, FIELD)
    assert caught.value.exit_code == 66


def test_d13_impossible_optics() -> None:
    with pytest.raises(MicrodeconvError) as caught:
        completed(Optics(na=1.4, emission_nm=520, ri_immersion=1.33))
    assert caught.value.exit_code == 2
    with pytest.raises(ValueError, match="looks like µm; in nm it is 500"):
        read_wavelength("0.5")


def test_d14_cut_off_at_the_border() -> None:
    notes = ready(GOOD[:, 11:20, 11:20], None, FIELD, background=False).notes
    assert any("of its energy lies at its border: it is cut off" in note for note in notes)
    assert not any("border" in note for note in ready(GOOD, None, FIELD, background=False).notes)


def test_d14_cut_off_in_z() -> None:
    notes = ready(GOOD[5:10], None, FIELD, background=False).notes
    assert any("47 would serve" in note for note in notes)
