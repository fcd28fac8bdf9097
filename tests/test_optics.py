"""Optics: what cannot be is refused, units are guessed, Nyquist and cut-off are the textbook's."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdeconv.errors import UsageError
from microdeconv.optics import (
    Model,
    Optics,
    checked,
    completed,
    cutoff_per_um,
    missing,
    nyquist_um,
    read_depth,
    read_wavelength,
)
from microdeconv.options import convert, options_of

OIL = Optics(na=1.4, emission_nm=520, ri_immersion=1.515)
FLAGS = {o.flag: o for o in options_of(Optics)}


def test_each_field_is_an_option_and_lengths_tell_their_unit() -> None:
    assert len(FLAGS) == len(fields(Optics))
    for one in FLAGS.values():
        for ending, unit in (("_nm", "nm"), ("_um", "µm"), ("_au", "Airy")):
            assert not one.field.endswith(ending) or unit in one.help


@pytest.mark.parametrize(
    ("flag", "raw", "words"),
    [
        ("emission", "0.5", "looks like µm; in nm it is 500"),
        ("emission", "500000", "looks like pm; in nm it is 500"),
        ("emission", "5200", "looks like Å; in nm it is 520"),
        ("excitation", "green", "not a number"),
        ("emission", "nan", "200 to 2500 nm"),
        ("na", "0", "below 0.01"),
        ("na", "-1", "below 0.01"),
        ("na", "140", "above 1.7"),
        ("ri-immersion", "0.9", "below 1"),
        ("ri-sample", "2", "above 1.8"),
        ("depth", "5000", "looks like nm; in µm it is 5"),
        ("depth", "-1", "0 to 2000 µm"),
        ("pinhole", "0", "below 0.01"),
        ("sheet", "3000", "above 100"),
        ("modality", "confokal", "did you mean confocal?"),
    ],
)
def test_impossible_values_are_named_with_the_likely_unit(flag: str, raw: str, words: str) -> None:
    with pytest.raises(UsageError, match="--" + flag) as caught:
        convert(FLAGS[flag], raw)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("optics", "words"),
    [
        (Optics(na=1.4, ri_immersion=1.33), "--na 1.4 with --ri-immersion 1.33"),
        (Optics(na=1.0, ri_immersion=1.0), "--na 1 with --ri-immersion 1"),
        (Optics(emission_nm=0.52), "--emission 0.52: looks like µm"),
        (Optics(na=0.0), "--na 0"),
        (Optics(depth_um=4000.0), "--depth 4000"),
        (Optics(emission_nm=(460.0, 520.0)), "--emission: 2 values for one PSF"),  # type: ignore[arg-type]
        (Optics(modality="light"), "--modality light"),  # type: ignore[arg-type]
    ],
)
def test_values_from_python_are_checked_too(optics: Optics, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(optics)
    assert words in str(caught.value)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_wavelength_is_refused_or_is_light(value: float) -> None:
    try:
        assert 200 <= read_wavelength(value) <= 2500
    except ValueError:
        assert not 200 <= value <= 2500


@given(st.floats(0.01, 1.7), st.floats(1.0, 1.8), st.floats(250, 1200))
def test_only_apertures_below_the_index_stand(na: float, index: float, wavelength: float) -> None:
    optics = Optics(na=na, ri_immersion=index, emission_nm=wavelength)
    if na < index:
        full, notes = completed(optics)
        assert (full.modality, full.ri_sample, full.depth_um, notes) == ("widefield", index, 0.0, ())
        assert all(size > 0 for size in nyquist_um(full))
    else:
        with pytest.raises(UsageError):
            completed(optics)


def test_depth_reads_numbers() -> None:
    assert read_depth("2.5") == 2.5


def test_missing_tells_everything_at_once() -> None:
    assert missing(Optics()) == ("--na", "--ri-immersion", "--emission")
    assert missing(Optics(na=1.0, modality="two-photon")) == ("--ri-immersion", "--excitation")
    assert missing(Optics(na=1.0, modality="light-sheet")) == ("--ri-immersion", "--emission", "--sheet")
    assert missing(OIL) == ()


def test_what_is_assumed_is_told() -> None:
    full, notes = completed(Optics(na=1.4, emission_nm=520, ri_immersion=1.515, modality="confocal"))
    assert (full.pinhole_au, full.excitation_nm) == (1.0, 478.4)
    assert [n.split("(")[1] for n in notes] == ["--pinhole)", "--excitation)"]


def test_cut_off_and_nyquist_of_an_oil_objective() -> None:
    axial, lateral = cutoff_per_um(OIL)
    assert lateral == pytest.approx(2 * 1.4 / 0.52)
    assert axial == pytest.approx((1.515 - (1.515**2 - 1.4**2) ** 0.5) / 0.52)
    assert nyquist_um(OIL) == pytest.approx((0.5 / axial, 0.52 / (4 * 1.4)))


def test_two_wavelengths_add_their_frequencies() -> None:
    confocal = Optics(na=1.4, emission_nm=520, excitation_nm=488, ri_immersion=1.515, modality="confocal")
    assert cutoff_per_um(confocal)[1] == pytest.approx(2 * 1.4 * (1 / 0.52 + 1 / 0.488))
    two_photon = Optics(na=1.0, excitation_nm=900, emission_nm=520, ri_immersion=1.333, modality="two-photon")
    assert nyquist_um(two_photon)[1] == pytest.approx(0.9 / 8)


def test_a_light_sheet_adds_its_own_frequencies_along_z() -> None:
    thin, thick = (Optics(0.3, 520, None, 1.333, modality="light-sheet", sheet_um=w) for w in (2.0, 1e2))
    assert nyquist_um(thin)[0] == pytest.approx(0.5 / (0.5 + cutoff_per_um(replace(thin, modality=None))[0]))
    assert nyquist_um(thick)[0] > 3 * nyquist_um(thin)[0]


def test_the_theory_follows_the_aperture_unless_told() -> None:
    assert (Model().settled(0.69), Model().settled(0.7)) == ("scalar", "vectorial")
    assert (Model("scalar").settled(1.4), Model("vectorial").settled(0.1)) == ("scalar", "vectorial")
    with pytest.raises(UsageError, match="--psf-model vectoral"):
        Model("vectoral").settled(1.0)  # type: ignore[arg-type]
