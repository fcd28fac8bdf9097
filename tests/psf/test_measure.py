"""PSFs measured from beads against the PSFs that the beads were made with."""

from collections import Counter

import numpy as np
import pytest
from bead_fields import bead_field, likeness

from microdeconv.errors import DataError
from microdeconv.io.tiff import open_stack
from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.measure import measure_psf
from microdeconv.psf.widths import fwhm, lopsided
from microdeconv.stack import Zyx

SNR_20 = 440  # photo-electrons at the peak, on a background of 10
WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="widefield")
CASES = {
    "confocal": (
        Optics(na=1.3, emission_nm=520, excitation_nm=488, ri_immersion=1.406, modality="confocal"),
        Zyx(0.2, 0.08, 0.08), (25, 250, 250), 18,
    ),
    "confocal, aberrated": (
        Optics(na=1.4, emission_nm=520, excitation_nm=488, ri_immersion=1.515, ri_sample=1.34, depth_um=8,
               modality="confocal"),
        Zyx(0.2, 0.08, 0.08), (31, 250, 250), 18,
    ),
    "wide field": (WATER, Zyx(0.25, 0.1, 0.1), (25, 280, 280), 20),
    "wide field, aberrated": (
        Optics(na=1.4, emission_nm=520, ri_immersion=1.515, ri_sample=1.34, depth_um=6, modality="widefield"),
        Zyx(0.2, 0.08, 0.08), (31, 280, 280), 20,
    ),
    "one plane": (Optics(na=0.8, emission_nm=520, ri_immersion=1.0), Zyx(0.25, 0.1, 0.1), (1, 280, 280), 20),
}  # fmt: skip


def truth(optics, voxel, field):
    return compute_psf(optics, voxel, (2 * field[0] - 1, 81, 81)).pixels


@pytest.fixture(scope="module")
def water():
    return truth(WATER, Zyx(0.25, 0.1, 0.1), (21, 0, 0))


@pytest.mark.parametrize(("name", "bead_um"), [*((name, 0.0) for name in CASES), ("confocal", 0.1)])
def test_the_true_psf_comes_back_from_thirty_beads_of_snr_20(name, bead_um):
    optics, voxel, field, apart = CASES[name]
    true = truth(optics, voxel, field)
    stack, places = bead_field(true, voxel, field, SNR_20, apart=apart, bead_um=bead_um)
    found = measure_psf({"beads": stack}, voxel, bead_um or None, optics)
    assert len(places) >= 20
    assert found.used >= 0.8 * len(places)
    assert likeness(found.psf.pixels, true) >= 0.995  # 0.9977 to 0.9999
    due = [w * v for w, v in zip(fwhm(true), voxel, strict=True)]
    assert found.fwhm_um == pytest.approx(due, rel=0.03, nan_ok=True)
    assert found.psf.pixels.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert found.psf.pixels.min() >= 0
    used = np.array([bead.fwhm_um for bead in found.beads if bead.used])
    assert used.mean(axis=0) == pytest.approx(due, rel=0.03, nan_ok=True)


def test_places_are_found_to_a_small_part_of_a_voxel(water):
    voxel = Zyx(0.25, 0.1, 0.1)
    stack, places = bead_field(water, voxel, (21, 200, 200), 4000, apart=20, seed=3)
    found = np.array([bead.place_um for bead in measure_psf({"beads": stack}, voxel).beads]) / voxel
    off = np.array([found[np.argmin(np.abs(found - place).sum(axis=1))] - place for place in places])
    assert np.abs(off - off.mean(axis=0)).max() < 0.06
    assert np.abs(off.mean(axis=0)).max() < 0.06


def test_tails_keep_their_light(water):
    """Dim light far from the focus is smoothed, not cut: each plane has its share, where no other bead adds to it."""
    voxel = Zyx(0.25, 0.1, 0.1)
    stack, _ = bead_field(water, voxel, (21, 280, 280), SNR_20, apart=60)
    pixels = measure_psf({"beads": stack}, voxel).psf.pixels
    middle = pixels.shape[0] // 2
    half = middle, 30, 30
    got, due = (
        p[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(p.shape, half, strict=True))].sum(axis=(1, 2))
        for p in (pixels, water)
    )
    got, due = got / got[middle], due / due[middle]
    assert got[1:-1] == pytest.approx(due[1:-1], rel=0.25)


def test_several_fields_are_one_measurement(water):
    voxel = Zyx(0.25, 0.1, 0.1)
    stacks = {f"{seed}": bead_field(water, voxel, (21, 130, 130), SNR_20, apart=22, seed=seed)[0] for seed in (1, 2, 3)}
    found = measure_psf(stacks, voxel)
    assert {bead.field for bead in found.beads} == {"1", "2", "3"}
    assert likeness(found.psf.pixels, water) > 0.98


def test_what_cannot_serve_is_refused_with_its_reason(water):
    voxel = Zyx(0.25, 0.1, 0.1)
    one, middle = water[10:31, 20:61, 20:61] / water.max(), (10, 20, 20)
    light = np.full((21, 240, 240), 20.0)

    def add(z, y, x, height):
        box = [slice(max(0, at - m), at + m + 1) for at, m in zip((z, y, x), middle, strict=True)]
        part = light[tuple(box)]
        start = [max(0, m - at) for at, m in zip((z, y, x), middle, strict=True)]
        part += height * one[tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))]

    for place in ((10, 40, 40), (10, 40, 120), (10, 40, 200), (10, 120, 40), (10, 200, 40), (10, 120, 200)):
        add(*place, 1000)
    add(10, 120, 120, 1000), add(10, 120, 127, 1000)  # a pair
    add(10, 2, 160, 1000)  # at the border
    add(10, 200, 120, 9000)  # beyond the camera's 4095
    add(10, 200, 200, 600), add(10, 202, 202, 600), add(10, 198, 202, 600)  # a clump
    stack = np.minimum(np.random.default_rng(1).poisson(light), 4095).astype(np.uint16)
    found = measure_psf({"beads": stack}, voxel)
    assert found.used == 6
    assert found.refused["saturated"] == 1
    assert found.refused["at the border"] == 1
    assert found.refused["too close to another"] >= 2
    assert found.refused.total() >= 5
    assert likeness(found.psf.pixels, water) > 0.99


def test_a_bead_unlike_the_others_is_left_out(water):
    voxel = Zyx(0.25, 0.1, 0.1)
    stack, places = bead_field(water, voxel, (21, 200, 200), 2000, apart=22)
    z, y, x = places[0].round().astype(int)
    stack[z + 2 : z + 5, y - 3 : y + 4, x - 2 : x + 4] += 700
    found = measure_psf({"beads": stack}, voxel)
    assert found.refused == Counter({"unlike the others": 1})
    bead = min(found.beads, key=lambda b: abs(b.place_um.y / 0.1 - y) + abs(b.place_um.x / 0.1 - x))
    assert not bead.used


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (np.random.default_rng(1).poisson(50, (9, 60, 60)).astype(np.uint16), "no beads found"),
        (np.full((9, 60, 60), 7, np.uint8), "no beads found"),
    ],
    ids=["noise", "blank"],
)
def test_no_beads(stack, words):
    with pytest.raises(DataError, match=words):
        measure_psf({"x.tif": stack}, Zyx(0.2, 0.1, 0.1))


def test_real_confocal_beads(shared):
    """Widths over the other axes' sums are those that the README of the data tells: 200 nm x, 253 nm y, 640 nm z."""
    stack = open_stack(shared / "confocal-beads-grid" / "beads.tif")
    found = measure_psf({"beads": stack.read(0, 0)}, stack.header.voxel_um)
    assert found.used == 4
    assert "4 beads only" in found.psf.notes[0]
    pixels = found.psf.pixels
    across = fwhm(pixels.sum(axis=0)[None])
    assert across.x * 22.5 == pytest.approx(200, rel=0.08)
    assert across.y * 22.5 == pytest.approx(253, rel=0.08)
    own = np.array([bead.fwhm_um for bead in found.beads])
    assert own.std(axis=0).max() / own.mean() < 0.03
    assert lopsided(pixels).lateral > 1.2


def test_a_real_large_bead_is_told(shared):
    stack = open_stack(shared / "bead-widefield-3d" / "raw.tif")
    found = measure_psf({"bead": stack.read(0, 0)}, Zyx(0.64, 0.258, 0.258), 2.5)
    assert found.used == 1
    assert any("take beads below half its width" in note for note in found.psf.notes)
