"""The PSF that torch can differentiate, against the exact one and against optics' textbook facts."""

import numpy as np
import pytest
import torch

from microdeconv.optics import Optics, completed
from microdeconv.psf.aberrated import AberratedModel
from microdeconv.psf.compute import compute_psf
from microdeconv.psf.widths import fwhm, lopsided
from microdeconv.stack import Zyx

OIL = Optics(na=1.4, emission_nm=520, ri_immersion=1.515)
WATER = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
KINDS = {
    "widefield": (OIL, Zyx(0.2, 0.1, 0.1), (31, 41, 41)),
    "air": (Optics(na=0.5, emission_nm=520, ri_immersion=1.0), Zyx(1, 0.2, 0.2), (21, 41, 41)),
    "plane": (WATER, Zyx(0.3, 0.1, 0.1), (1, 31, 31)),
    "confocal": (Optics(na=1.2, emission_nm=520, ri_immersion=1.333, modality="confocal"), Zyx(0.3, 0.1, 0.1), (21, 31, 31)),
    "two-photon": (
        Optics(na=1.0, excitation_nm=900, ri_immersion=1.333, modality="two-photon"), Zyx(0.3, 0.1, 0.1), (31, 31, 31)
    ),
    "light-sheet": (
        Optics(na=1.0, emission_nm=520, ri_immersion=1.333, modality="light-sheet", sheet_um=2), Zyx(0.3, 0.1, 0.1),
        (31, 31, 31),
    ),
}  # fmt: skip


def model_of(kind):
    optics, voxel, shape = KINDS[kind]
    return AberratedModel(completed(optics)[0], voxel, shape)


def deviating(model, **values):
    return torch.tensor([float(values.get(name, 0.0)) for name in model.terms])


@pytest.mark.parametrize("kind", KINDS)
def test_without_deviations_it_is_the_nominal_psf(kind):
    model = model_of(kind)
    psf = model.psf(deviating(model)).numpy()
    exact = compute_psf(*KINDS[kind]).pixels
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(psf.ravel(), exact.ravel())[0, 1] > 0.998
    wide, wanted = (np.array(fwhm(p)) for p in (psf, exact))
    np.testing.assert_allclose(wide[np.isfinite(wanted)], wanted[np.isfinite(wanted)], rtol=0.02)


def test_size_scales_all_axes_alike():
    model = model_of("two-photon")
    plain, large = (np.array(fwhm(model.psf(deviating(model, size=s)).numpy())) for s in (0.0, np.log(1.3)))
    np.testing.assert_allclose(large / plain, 1.3, rtol=0.05)


def test_spherical_aberration_is_lopsided_along_z_and_its_sign_turns_it():
    model = model_of("confocal")
    plus, minus = (model.psf(deviating(model, spherical=s)).numpy() for s in (0.8, -0.8))
    np.testing.assert_allclose(plus, minus[::-1], atol=1e-6)
    assert abs(lopsided(plus).axial) > 0.02


def test_astigmatism_is_oval_out_of_focus_and_coma_moves_the_light():
    model = model_of("confocal")
    above = model.psf(deviating(model, astigmatism=0.7)).numpy()[13:14]
    assert abs(lopsided(above).lateral - 1) > 0.1
    coma = model.psf(deviating(model, coma_y=0.7)).numpy()
    profile = coma.sum(axis=(0, 2))
    assert abs(float((profile * (np.arange(profile.size) - profile.size // 2)).sum())) > 0.1


def test_a_shift_moves_the_light():
    model = model_of("confocal")
    there = model.psf(deviating(model), (0.3, 0.2, -0.1)).numpy()
    assert np.unravel_index(int(there.argmax()), there.shape) == (10 + 1, 15 + 2, 15 - 1)


@pytest.mark.parametrize("kind", ["confocal", "plane"])
def test_gradients_are_those_of_differences(kind):
    model = model_of(kind)
    weights = torch.linspace(0.5, 1.5, int(np.prod(model.shape))).reshape(model.shape) ** 2

    def figure(at):
        return (model.psf(at) * weights).sum() + (model.psf(at) ** 2).sum() * 100

    at = deviating(model, size=0.1, spherical=0.4, defocus=0.4, astigmatism=0.2, coma_y=0.2, blur=0.03, aperture=-0.05)
    at.requires_grad_()
    figure(at).backward()
    for place in range(len(model.terms)):
        step = torch.zeros_like(at)
        step[place] = 2e-2 if model.terms[place] != "blur" else 2e-3
        with torch.no_grad():
            slope = float(figure(at + step) - figure(at - step)) / (2 * float(step[place]))
        assert float(at.grad[place]) == pytest.approx(slope, rel=0.05, abs=2e-3 * float(at.grad.abs().max()))
