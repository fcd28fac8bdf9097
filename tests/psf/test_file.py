"""A PSF from an array or a file: what is done to it, in numbers, and that it is told."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from microdeconv.errors import DataError
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.file import Centre, load_psf, ready, write_psf
from microdeconv.stack import Psf, Zyx

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
FIELD = (40, 64, 64)
VOXEL = Zyx(0.3, 0.1, 0.1)


def blob(shape: tuple[int, ...], centre: tuple[float, ...], width: tuple[float, ...]) -> np.ndarray:
    """Gaussian of given standard deviations, voxels."""
    axes = (np.exp(-0.5 * ((np.arange(n) - c) / w) ** 2) for n, c, w in zip(shape, centre, width, strict=True))
    z, y, x = axes
    return z[:, None, None] * y[:, None] * x


def centroid(psf: Psf) -> np.ndarray:
    """Away from the middle voxel, in voxels."""
    total = psf.pixels.sum(dtype=np.float64)
    profiles = [psf.pixels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) for axis in range(3)]
    return np.array([(np.arange(p.size) - p.size // 2) @ p / total for p in profiles])


def spread(psf: Psf) -> np.ndarray:
    """Standard deviations along z, y and x, in voxels."""
    total = psf.pixels.sum(dtype=np.float64)
    profiles = [psf.pixels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) for axis in range(3)]
    return np.sqrt([(np.arange(p.size) - p.size // 2.0) ** 2 @ p / total for p in profiles])


@given(
    arrays(
        st.sampled_from([np.float32, np.float64, np.uint16, np.int32]), array_shapes(min_dims=2, max_dims=3, max_side=9)
    ),
    st.sampled_from(["peak", "centroid", "none"]),
    st.booleans(),
    st.floats(0.1, 10),
)
@example(np.array([[[175]], [[0]]], np.float32), "none", False, 0.25)  # its light falls between the stack's planes
@settings(deadline=None)
def test_any_array_is_refused_or_made_ready(
    pixels: np.ndarray, centre: Centre, background: bool, factor: float
) -> None:
    voxel = Zyx(0.3 * factor, 0.1, 0.1 / factor)
    with np.errstate(over="ignore"), suppress(DataError):
        psf = ready(pixels, voxel, (7, 8, 9), VOXEL, centre=centre, background=background)
        assert psf.pixels.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
        assert psf.pixels.min() >= 0
        assert all(n % 2 and n <= 2 * f - 1 for n, f in zip(psf.pixels.shape, (7, 8, 9), strict=True))


@given(
    st.tuples(*[st.integers(16, 23)] * 3), st.tuples(*[st.floats(-0.5, 0.5)] * 3), st.tuples(*[st.floats(1.2, 2.0)] * 3)
)
@settings(max_examples=25, deadline=None)
def test_any_gaussian_is_centred_to_a_fiftieth_of_a_voxel(
    shape: tuple[int, int, int], off: tuple[float, float, float], width: tuple[float, float, float]
) -> None:
    centre = tuple((n - 1) / 2 + o for n, o in zip(shape, off, strict=True))
    psf = ready(1000 * blob(shape, centre, width), None, FIELD)
    assert all(n % 2 for n in psf.pixels.shape)
    assert psf.pixels.dtype == np.float32
    assert psf.pixels.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert np.abs(centroid(psf)).max() < 0.02
    np.testing.assert_allclose(spread(psf), width, rtol=0.01)


def test_a_right_psf_stays_as_it_is() -> None:
    pixels = blob((21, 25, 27), (10, 12, 13), (3, 3, 3))
    psf = ready(pixels, VOXEL, FIELD, VOXEL, background=False)
    np.testing.assert_allclose(psf.pixels, pixels / pixels.sum(), rtol=1e-6)
    assert (psf.notes, psf.voxel_um, psf.source) == ((), VOXEL, "measured")


def test_centre_none_keeps_the_middle_voxel_and_centroid_moves_it() -> None:
    pixels = blob((21, 21, 21), (10, 10, 12.4), (2, 2, 2))
    kept = ready(pixels, None, FIELD, centre="none", background=False)
    assert centroid(kept)[2] == pytest.approx(2.4, abs=0.01)
    pixels[:, :, :6] += 0.01
    lopsided = ready(pixels, None, FIELD, centre="centroid", background=False)
    assert abs(centroid(lopsided)[2]) < 0.1
    assert abs(centroid(ready(pixels, None, FIELD, background=False))[2]) > 1


@pytest.mark.parametrize("factor", [0.5, 0.8, 2.0, 3.0])
def test_other_voxels_are_resampled(factor: float) -> None:
    """The width follows the voxel size; averaging over a larger pixel adds its own variance, (r² − 1) / 12."""
    own = Zyx(VOXEL.z / factor, VOXEL.y / factor, VOXEL.x / factor)
    psf = ready(blob((41, 41, 41), (20, 20, 20), (4, 5, 6)), own, FIELD, VOXEL, background=False)
    expected = np.sqrt(np.array([16, 25, 36]) + max(factor**2 - 1, 0) / 12 * np.array([0, 1, 1])) / factor
    np.testing.assert_allclose(spread(psf), expected, rtol=0.02)
    assert np.abs(centroid(psf)).max() < 0.02
    assert psf.voxel_um == VOXEL
    assert "resampled from voxels of" in psf.source


def test_a_resampled_computed_psf_is_the_one_computed_there() -> None:
    """From half the voxel size; measured 1.1 % of the peak (cubic splines, a Gaussian for the box)."""
    optics = Optics(na=0.8, emission_nm=520, ri_immersion=1.0)
    fine = compute_psf(optics, Zyx(0.25, 0.05, 0.05), (81, 121, 121))
    coarse = compute_psf(optics, Zyx(0.5, 0.1, 0.1), (41, 61, 61))
    resampled = ready(fine.pixels, fine.voxel_um, FIELD, coarse.voxel_um, centre="none", background=False)
    assert resampled.pixels.shape == coarse.pixels.shape
    assert np.abs(resampled.pixels - coarse.pixels).max() < 0.02 * coarse.pixels.max()


def test_unknown_or_equal_voxels_are_not_resampled() -> None:
    pixels = blob((11, 11, 11), (5, 5, 5), (1, 1, 1))
    for own in (None, Zyx(float("nan"), 0.1, 0.1), Zyx(0.301, 0.1, 0.1)):
        assert ready(pixels, own, FIELD, VOXEL, background=False).source == "measured"


def test_a_small_background_is_taken_off_and_light_is_not() -> None:
    pixels = blob((21, 41, 41), (10, 20, 20), (2, 2, 2))
    psf = ready(pixels + 0.03, None, FIELD)
    assert psf.source == "measured, a background of 2.9 % of its peak taken off"
    np.testing.assert_allclose(spread(psf), 2, rtol=0.01)
    kept = ready(pixels + 0.03, None, FIELD, background=False)
    assert spread(kept)[2] > 8


def test_slight_negatives_are_clipped_and_told() -> None:
    pixels = blob((21, 21, 21), (10, 10, 10), (2, 2, 2))
    pixels[0, 0, 0] = -5e-4
    psf = ready(pixels, None, FIELD)
    assert psf.pixels.min() >= 0
    assert psf.notes[0] == "negative values down to 0.05 % of its peak set to zero"


def test_empty_rims_are_dropped() -> None:
    pixels = np.zeros((21, 51, 51))
    pixels[8:13, 20:31, 20:31] = blob((5, 11, 11), (2, 5, 5), (1, 2, 2))
    assert ready(pixels, None, FIELD).pixels.shape == (5, 11, 11)


def test_written_psfs_are_read_back_unchanged_with_their_optics(tmp_path: Path) -> None:
    optics = Optics(na=1.3, emission_nm=600, ri_immersion=1.406, ri_sample=1.38, depth_um=10.0)
    psf = compute_psf(optics, VOXEL, (31, 41, 41))
    path = tmp_path / "psf.tif"
    write_psf(path, psf, overwrite=False)
    back = load_psf(path, VOXEL, FIELD)
    np.testing.assert_array_equal(back.pixels, psf.pixels)
    assert back.optics == psf.optics
    assert back.voxel_um == pytest.approx(VOXEL)
    assert (back.source, back.notes) == ("from psf.tif (computed, vectorial, widefield)", ())


def test_a_psf_without_optics_is_written_and_read_too(tmp_path: Path) -> None:
    pixels = ready(blob((9, 9, 9), (4, 4, 4), (1, 1, 1)), VOXEL, FIELD)
    write_psf(tmp_path / "bead.tif", pixels, overwrite=False)
    back = load_psf(tmp_path / "bead.tif", VOXEL, FIELD)
    np.testing.assert_array_equal(back.pixels, pixels.pixels)
    assert (back.optics, back.source) == (None, "from bead.tif (measured)")


def test_planes_saved_as_time_points_are_planes(tmp_path: Path) -> None:
    pixels = blob((9, 11, 11), (4, 5, 5), (1, 1, 1)).astype(np.float32)
    tifffile.imwrite(tmp_path / "time.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    assert load_psf(tmp_path / "time.tif", None, FIELD).pixels.shape == (9, 11, 11)


def test_one_channel_of_several_is_picked(tmp_path: Path) -> None:
    narrow, wide = blob((9, 21, 21), (4, 10, 10), (1, 1, 1)), blob((9, 21, 21), (4, 10, 10), (1, 3, 3))
    both = np.stack([narrow, wide], axis=1).astype(np.float32)
    tifffile.imwrite(tmp_path / "two.tif", both, imagej=True, metadata={"axes": "ZCYX"})
    widths = [spread(load_psf(tmp_path / "two.tif", None, FIELD, channel=c))[2] for c in (0, 1)]
    assert widths == pytest.approx([1, 3], rel=0.05)
    with pytest.raises(DataError, match="no channel 2"):
        load_psf(tmp_path / "two.tif", None, FIELD, channel=2)


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("actin-dapi-2d-gt/PSF.tif", (1, 480, 480), ()),
        ("asymmetric-psf-3d/psf.tif", (160, 160, 160), ("background", "border", "319 would serve", "see --voxel")),
        ("bars-3d-gt/psf.tif", (32, 64, 64), ("63 would serve",)),
        ("bead-widefield-3d/psf.tif", (64, 64, 64), ("127 would serve",)),
        ("redcells-lattice/psf.tif", (150, 95, 110), ("its peak was (-2.8, +10.0, +0.0)", "see --voxel")),
        ("sphere-tubes-3d/psf.tif", (64, 64, 64), ()),
        ("reference-psfs/sdeconv_gibson_lanni_128x128x18.tif", (18, 128, 128), ("35 would serve",)),
    ],
)
def test_shared_psfs_are_taken(name: str, field: tuple[int, int, int], words: tuple[str, ...]) -> None:
    if not (SHARED / name).exists():
        pytest.skip("the shared data are not here")
    psf = load_psf(SHARED / name, None, field)
    told = (psf.source, *psf.notes)
    assert all(any(word in one for one in told) for word in words)
    assert len(psf.notes) == sum(any(word in note for word in words) for note in psf.notes)
    peak = np.unravel_index(psf.pixels.argmax(), psf.pixels.shape)
    assert all(p == n // 2 for p, n in zip(peak, psf.pixels.shape, strict=True))


@pytest.mark.parametrize("text", ['{"psf": "of a later version", "optics": {"colour": 1}}', '["psf"]', "not JSON"])
def test_records_that_cannot_be_read_do_no_harm(tmp_path: Path, text: str) -> None:
    pixels = blob((9, 11, 11), (4, 5, 5), (1, 1, 1)).astype(np.float32)
    info = {"axes": "ZYX", "Info": f"\n[microdeconv]\n{text}"}
    tifffile.imwrite(tmp_path / "psf.tif", pixels, imagej=True, metadata=info)
    psf = load_psf(tmp_path / "psf.tif", None, FIELD)
    assert psf.optics is None
    assert psf.pixels.shape == (9, 11, 11)
