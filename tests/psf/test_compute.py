"""Computed PSFs against psfmodels and against what the textbooks say."""

from dataclasses import replace

import numpy as np
import pytest

from microdeconv.errors import UsageError
from microdeconv.optics import Optics, cutoff_per_um
from microdeconv.psf.compute import auto_shape, compute_psf
from microdeconv.psf.pupil import Layers, Pupil
from microdeconv.stack import Zyx

OIL = Optics(na=1.4, emission_nm=520, ri_immersion=1.515)
DRY = Optics(na=0.3, emission_nm=520, ri_immersion=1.0)
VOXEL = Zyx(0.2, 0.1, 0.1)
# NA, immersion, sample, depth µm, emission µm, pixel µm, step µm
SETTINGS = [
    (0.5, 1.0, 1.0, 0.0, 0.52, 0.2, 0.8),
    (0.8, 1.0, 1.33, 0.0, 0.6, 0.12, 0.5),
    (0.95, 1.0, 1.33, 2.0, 0.52, 0.1, 0.3),
    (1.05, 1.333, 1.333, 0.0, 0.52, 0.1, 0.3),
    (1.2, 1.333, 1.38, 5.0, 0.52, 0.1, 0.3),
    (1.2, 1.333, 1.38, 50.0, 0.52, 0.1, 0.3),
    (1.3, 1.406, 1.38, 10.0, 0.6, 0.1, 0.3),
    (1.3, 1.515, 1.33, 0.0, 0.52, 0.1, 0.3),
    (1.4, 1.515, 1.515, 0.0, 0.52, 0.1, 0.3),
    (1.4, 1.515, 1.33, 3.0, 0.52, 0.1, 0.3),
    (1.4, 1.515, 1.45, 10.0, 0.67, 0.1, 0.25),
    (1.45, 1.515, 1.515, 0.0, 0.45, 0.065, 0.2),
    (1.45, 1.515, 1.47, 5.0, 0.52, 0.1, 0.3),
]


def full_width(profile: np.ndarray, step: float) -> float:
    """Full width at half maximum, interpolated."""
    half = profile.max() / 2
    above = np.flatnonzero(profile > half)
    first, last = above[0], above[-1]
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float((right - left) * step)


@pytest.mark.parametrize("model", ["scalar", "vectorial"])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"NA{s[0]}-n{s[1]}-{s[2]}-{s[3]}um")
def test_agrees_with_psfmodels(setting: tuple[float, ...], model: str) -> None:
    """Measured: correlation 0.99997 or more, RMS 1.3e-4 of the peak or less; theirs sums three points over a pixel."""
    psfmodels = pytest.importorskip("psfmodels", reason="psfmodels has wheels for Python 3.11 only")
    na, immersion, sample, depth, wavelength, pixel, step = setting
    focus = Pupil(na, wavelength, Layers(sample, immersion, depth), model == "vectorial").focus_um()
    heights = focus + (np.arange(31) - 15) * step
    reference = psfmodels.make_psf(
        heights + depth, 41, dxy=pixel, pz=depth, NA=na, wvl=wavelength, ns=sample, ni=immersion, ni0=immersion,
        ng=1.515, ng0=1.515, model=model,
    )  # fmt: skip
    optics = Optics(na, wavelength * 1000, None, immersion, sample, depth)
    ours = compute_psf(optics, Zyx(step, pixel, pixel), (31, 41, 41), model).pixels
    reference = reference / reference.sum()
    assert np.corrcoef(ours.ravel(), reference.ravel())[0, 1] > 0.9995
    assert np.sqrt(np.mean((ours - reference) ** 2)) < 1e-3 * reference.max()


@pytest.mark.parametrize("modality", ["widefield", "confocal", "spinning-disk", "light-sheet", "two-photon"])
@pytest.mark.parametrize("depth", [0.0, 10.0])
def test_sums_to_one_with_its_peak_in_the_middle(modality: str, depth: float) -> None:
    optics = replace(
        OIL, modality=modality, excitation_nm=488, sheet_um=2.0, pinhole_au=1.0, depth_um=depth, ri_sample=1.4
    )
    psf = compute_psf(optics, VOXEL, (21, 25, 27))
    assert psf.pixels.dtype == np.float32
    assert psf.pixels.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert np.unravel_index(psf.pixels.argmax(), psf.pixels.shape) == (10, 12, 13)
    assert psf.pixels.min() >= 0
    assert psf.source == f"computed, vectorial, {modality}"
    assert psf.optics is not None
    assert psf.optics.modality == modality


def test_is_round_and_symmetric_without_mismatch() -> None:
    pixels = compute_psf(OIL, VOXEL, (15, 31, 31)).pixels
    for other in (pixels[::-1], pixels[:, ::-1], pixels[:, :, ::-1], pixels.transpose(0, 2, 1)):
        np.testing.assert_allclose(other, pixels, atol=1e-7 * pixels.max())


def test_oil_into_water_trails_to_where_the_focus_is_set_deeper() -> None:
    """Marginal rays bend more at the coverslip: they meet before the paraxial ones, and need a deeper setting."""
    planes = compute_psf(replace(OIL, ri_sample=1.33, depth_um=5.0), VOXEL, (41, 21, 21)).pixels[:, 10, 10]
    assert planes[26:].sum() > 3 * planes[:15].sum()


def test_mismatch_breaks_the_symmetry_in_z() -> None:
    pixels = compute_psf(replace(OIL, ri_sample=1.33, depth_um=5.0), VOXEL, (31, 31, 31)).pixels
    assert np.abs(pixels[::-1] - pixels).max() > 0.1 * pixels.max()


def test_width_at_low_aperture_is_the_textbooks() -> None:
    """FWHM 0.514 λ / NA laterally; 1.77 n λ / NA² axially (paraxial)."""
    pixels = compute_psf(DRY, Zyx(0.5, 0.05, 0.05), (61, 61, 61), "scalar").pixels
    assert full_width(pixels[30, 30], 0.05) == pytest.approx(0.514 * 0.52 / 0.3, rel=0.01)
    assert full_width(pixels[:, 30, 30], 0.5) == pytest.approx(1.77 * 0.52 / 0.3**2, rel=0.03)


def test_every_wide_field_plane_holds_the_same_light() -> None:
    pixels = compute_psf(replace(DRY, na=0.5), Zyx(1.0, 0.25, 0.25), (9, 201, 201), "scalar").pixels
    planes = pixels.sum(axis=(1, 2), dtype=np.float64)
    assert planes.max() / planes.min() < 1.01


def test_transfer_is_zero_beyond_the_cut_off() -> None:
    step = 0.06
    pixels = compute_psf(OIL, Zyx(step, step, step), (1, 401, 401)).pixels[0].astype(float)
    transfer = np.abs(np.fft.fft(pixels.sum(axis=0)))
    frequency = np.abs(np.fft.fftfreq(401, step))
    cutoff = cutoff_per_um(OIL)[1]
    assert transfer[frequency > 1.05 * cutoff].max() < 2e-3
    assert transfer[frequency < 0.5 * cutoff].min() > 0.1


def test_vectorial_light_is_wider_than_scalar_at_high_aperture() -> None:
    widths = [
        full_width(compute_psf(OIL, Zyx(0.2, 0.03, 0.03), (1, 61, 61), model).pixels[0, 30], 0.03)
        for model in ("scalar", "vectorial")
    ]
    assert 1.05 < widths[1] / widths[0] < 1.25


def test_a_closed_pinhole_is_narrower_by_root_two_and_an_open_one_is_not() -> None:
    grid, shape = Zyx(0.1, 0.03, 0.03), (1, 81, 81)
    wide = full_width(compute_psf(OIL, grid, shape).pixels[0, 40], 0.03)
    confocal = replace(OIL, modality="confocal", excitation_nm=520)
    closed = full_width(compute_psf(replace(confocal, pinhole_au=0.05), grid, shape).pixels[0, 40], 0.03)
    opened = full_width(compute_psf(replace(confocal, pinhole_au=30), grid, shape).pixels[0, 40], 0.03)
    assert wide / closed == pytest.approx(2**0.5, rel=0.04)
    assert opened == pytest.approx(wide, rel=0.005)


def test_two_photon_is_the_excitation_squared() -> None:
    grid, shape = Zyx(0.2, 0.1, 0.1), (11, 41, 41)
    once = compute_psf(replace(OIL, emission_nm=900), grid, shape).pixels.astype(float)
    two_photon = Optics(na=1.4, ri_immersion=1.515, excitation_nm=900, modality="two-photon")
    twice = compute_psf(two_photon, grid, shape).pixels
    np.testing.assert_allclose(twice, once**2 / (once**2).sum(), rtol=1e-4, atol=1e-9)


def test_a_light_sheet_dims_planes_by_its_gaussian() -> None:
    sheet = compute_psf(replace(OIL, modality="light-sheet", sheet_um=2.0), Zyx(0.5, 0.1, 0.1), (9, 61, 61)).pixels
    wide = compute_psf(OIL, Zyx(0.5, 0.1, 0.1), (9, 61, 61)).pixels
    dimmed = sheet.sum(axis=(1, 2)) / wide.sum(axis=(1, 2))
    np.testing.assert_allclose(dimmed[[2, 6]] / dimmed[4], 0.5, rtol=1e-5)  # 1 µm off: half of the FWHM


def test_spinning_disk_widens_with_the_pinhole() -> None:
    disk = replace(OIL, modality="spinning-disk", excitation_nm=488)
    widths = [
        full_width(compute_psf(replace(disk, pinhole_au=p), Zyx(0.1, 0.1, 0.1), (61, 21, 21)).pixels[:, 10, 10], 0.1)
        for p in (0.3, 1.0, 3.0)
    ]
    assert widths[0] < widths[1] < widths[2]


def test_coarse_pixels_hold_the_light_of_the_fine_ones_within() -> None:
    fine = compute_psf(OIL, VOXEL, (3, 135, 135)).pixels.astype(float)
    coarse = compute_psf(OIL, Zyx(0.2, 0.5, 0.3), (3, 27, 45)).pixels
    summed = fine.reshape(3, 27, 5, 45, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(coarse, summed, atol=2e-5 * summed.max())


def test_auto_takes_the_theory_for_the_aperture() -> None:
    assert compute_psf(DRY, VOXEL, (1, 9, 9)).source == "computed, scalar, widefield"
    np.testing.assert_array_equal(
        compute_psf(OIL, VOXEL, (3, 9, 9)).pixels, compute_psf(OIL, VOXEL, (3, 9, 9), "vectorial").pixels
    )


@pytest.mark.parametrize(
    ("optics", "voxel", "shape", "words"),
    [
        (Optics(), VOXEL, (3, 3, 3), "give --na --ri-immersion --emission"),
        (OIL, VOXEL, (3, 4, 3), "3 x 4 x 3 voxels"),
        (OIL, VOXEL, (3, -1, 3), "3 x -1 x 3 voxels"),
        (OIL, Zyx(float("nan"), 0.1, 0.1), (3, 3, 3), "give --voxel"),
        (OIL, Zyx(0.1, 0.0, 0.1), (1, 3, 3), "give --voxel"),
        (replace(OIL, emission_nm=0.52), VOXEL, (3, 3, 3), "looks like µm"),
        (replace(OIL, na=1.6), VOXEL, (3, 3, 3), "--na 1.6 with --ri-immersion 1.515"),
    ],
)
def test_refuses_what_cannot_be(optics: Optics, voxel: Zyx, shape: tuple[int, int, int], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compute_psf(optics, voxel, shape)
    assert words in str(caught.value)


def test_a_plane_needs_no_z_step() -> None:
    assert compute_psf(OIL, Zyx(float("nan"), 0.1, 0.1), (1, 9, 9)).pixels.shape == (1, 9, 9)


@pytest.mark.parametrize(
    ("modality", "pinhole", "depth"),
    [("confocal", 0.5, 0.0), ("confocal", 3.0, 10.0), ("spinning-disk", 1.0, 0.0), ("two-photon", None, 10.0)],
)
def test_the_automatic_shape_holds_the_light_that_fades(modality: str, pinhole: float | None, depth: float) -> None:
    """Of the light in a PSF many times as large; measured 0.91 to 0.97."""
    optics = replace(OIL, modality=modality, excitation_nm=488, pinhole_au=pinhole, depth_um=depth, ri_sample=1.4)
    shape = auto_shape(optics, VOXEL, (101, 301, 301))
    whole = compute_psf(optics, VOXEL, (121, 151, 151)).pixels
    inner = (slice((n - min(s, n)) // 2, (n + min(s, n)) // 2) for n, s in zip(whole.shape, shape, strict=True))
    assert 0.89 < whole[tuple(inner)].sum() < 0.99
    assert all(n % 2 for n in shape)


@pytest.mark.parametrize("optics", [OIL, replace(OIL, na=1.2, ri_immersion=1.333, ri_sample=1.38, depth_um=10.0)])
def test_the_automatic_shape_of_wide_field_holds_its_light(optics: Optics) -> None:
    """Measured 0.93 of what lies within 30 µm of the axis."""
    planes, rows, columns = auto_shape(optics, VOXEL, (20, 1000, 1000))
    whole = compute_psf(optics, VOXEL, (planes, 601, 601), "scalar").pixels
    inner = (slice(300 - n // 2, 301 + n // 2) for n in (rows, columns))
    assert 0.91 < whole[:, *inner].sum() < 0.96


def test_the_automatic_shape_of_wide_field_has_twice_the_planes_less_one() -> None:
    assert auto_shape(OIL, VOXEL, (20, 64, 48)) == (39, 65, 49)
    assert auto_shape(OIL, VOXEL, (20, 1000, 1000))[1:] == (103, 103)
    planes, rows, _ = auto_shape(OIL, VOXEL, (1, 512, 512))
    assert (planes, rows) == (1, 39)


def test_the_automatic_shape_of_a_huge_field_stays_within_memory() -> None:
    shape = auto_shape(OIL, VOXEL, (600, 4000, 4000))
    assert shape[0] == 1199
    assert np.prod(shape) < 2**26 * 1.02
