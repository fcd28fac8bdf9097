"""The Python interface."""

import numpy as np
import pytest
import torch

import microdeconv as md
from microdeconv import api
from microdeconv.errors import DataError, UsageError
from microdeconv.simulate import Exposure, simulate


def test_arrays_in_arrays_out(scene, psf):
    sharp = md.deconvolve(scene.counts, psf.pixels * 7, iterations=5, background=120, offset=100, gain=1, device="cpu")
    assert sharp.shape == scene.counts.shape
    assert sharp.dtype == np.float32
    same = md.deconvolve(scene.counts, psf, iterations=5, background=120, offset=100, gain=1, device="cpu", tile="off")
    np.testing.assert_allclose(sharp, same, rtol=0.03, atol=0.02 * same.max())


def test_two_dimensions_and_identity(scene, psf):
    plane = scene.counts[10]
    assert md.deconvolve(plane, psf.pixels.sum(0), method="wiener", noise_to_signal=0.01).shape == plane.shape
    same = md.deconvolve(plane, None, method="identity")
    np.testing.assert_array_equal(same, plane)
    assert same.dtype == np.float64


def test_lists_and_odd_values_as_files_have_them(scene, psf):
    counts, words = scene.counts[:, :24, :24], {"iterations": 2, "background": 120, "gain": 1}
    plain = md.deconvolve(counts, psf, **words)
    np.testing.assert_array_equal(md.deconvolve(counts.tolist(), psf, **words), plain)
    np.testing.assert_array_equal(md.deconvolve(counts.astype(">u2"), psf, **words), plain)
    shifted = md.deconvolve(counts.astype(float) - 200, psf, iterations=2, background=-80, offset=-100, gain=1)
    assert shifted.sum() == pytest.approx(plain.sum(), rel=0.02)
    hole = counts.astype(np.float32)
    hole[3, 4, 5] = np.nan
    assert np.isfinite(md.deconvolve(hole, psf, nan="median", **words)).all()


def test_details_tell_what_was_chosen(scene, psf):
    found = md.deconvolve(scene.counts, psf.pixels, max_iterations=10, details=True)
    assert isinstance(found, md.Result)
    assert found.settings.sources["iterations"] == "split counts"
    words = {"background": found.settings.background, "offset": found.settings.camera.offset}
    again = md.deconvolve(
        scene.counts, psf.pixels, iterations=found.settings.iterations, gain=found.settings.camera.gain, **words
    )
    np.testing.assert_array_equal(again, found.image)
    assert found.psf.source == "measured"
    blank = md.deconvolve(np.full((4, 16, 16), 7), psf, details=True)
    assert "blank" in blank.notes[0]


def test_threads_are_set_and_given_back(scene, psf, monkeypatch):
    before, seen = torch.get_num_threads(), []
    real = api.settle
    monkeypatch.setattr(api, "settle", lambda *a, **k: seen.append(torch.get_num_threads()) or real(*a, **k))
    for threads in (before + 1, "auto"):
        md.deconvolve(scene.counts[:, :16, :16], psf, iterations=1, threads=threads)
        assert torch.get_num_threads() == before
    with pytest.raises(DataError):
        md.deconvolve(scene.counts[0], psf, threads=before + 1)
    assert torch.get_num_threads() == before
    assert seen == [before + 1, before]


def test_every_option_stands_in_the_docstring():
    for name in ("iterations", "psf_centre", "background", "regularisation", "noise_to_signal", "nan", "threads"):
        assert f"\n        - {name}=" in md.deconvolve.__doc__
    assert "- axes=" not in md.deconvolve.__doc__
    assert "{options}" not in md.deconvolve.__doc__


@pytest.mark.parametrize(
    ("options", "words"),
    [({"iteration": 5}, "did you mean iterations"), ({"method": "lr"}, "no method"), ({"iterations": -1}, "below 1"),
     ({"method": "wiener", "acceleration": "none"}, "no option of method wiener"),
     ({"method": "wiener", "iterations": 5}, "iterations does not apply to --method wiener"),
     ({"method": "identity", "background": 5}, "background does not apply"), ({"psf_centre": "none"}, "psf_centre does"),
     ({"background": [5, 6]}, "2 values for 1 channel"), ({"psf_voxel_um": (1, 1, 1)}, "psf_voxel_um does not apply")],
)  # fmt: skip
def test_wrong_options_are_named(scene, psf, options, words):
    with pytest.raises(UsageError, match=words):
        md.deconvolve(scene.counts, psf, **options)


def test_wrong_arrays_are_named(psf):
    for image, words in (
        (np.ones((2, 2, 2, 2)), "shape"),
        (np.ones((0, 4, 4)), "shape"),
        (3.0, "shape"),
        (np.full((4, 4, 4), np.nan), "64 voxels are NaN or infinite"),
        (np.full((4, 4, 4), -5.0), "negative, down to -5"),
        (np.ones((4, 4, 4), complex), "complex128 are not taken"),
        ([[["a"]]], "are not taken"),
        ([[1, 2], [3]], "unlike lengths"),
        (np.ones((9, 9)), "not both"),
    ):
        with pytest.raises(DataError, match=words):
            md.deconvolve(image, psf)
    with pytest.raises(DataError, match="the PSF: values of type complex"):
        md.deconvolve(np.ones((4, 9, 9)), psf.pixels.astype(complex))
    with pytest.raises(UsageError, match="alone"):
        md.deconvolve(np.ones((4, 9, 9)), psf.pixels, voxel_um=(0.3, 0.1, 0.1))
    with pytest.raises(UsageError, match="needs a PSF"):
        md.deconvolve(np.ones((4, 9, 9)), None)


def test_names_are_late_and_listed():
    assert "deconvolve" in dir(md)
    assert md.Zyx(1, 2, 3).x == 3
    with pytest.raises(AttributeError, match="nothing"):
        md.nothing  # noqa: B018


def test_psfs_with_places(scene, psf):
    """A list of pairs in any order, arrays or made ready; alike they give what one gives."""
    words = {"iterations": 4, "background": 120, "offset": 100, "gain": 1}
    one = md.deconvolve(scene.counts, psf, **words)
    pairs = [(psf, 19), (psf, 0)]
    np.testing.assert_allclose(md.deconvolve(scene.counts, pairs, **words), one, rtol=2e-3, atol=1e-3 * one.max())
    wide = np.pad(psf.pixels, 1) + np.roll(np.pad(psf.pixels, 1), 1, 2)
    corners = [(wide if y else psf.pixels, (y, x)) for y in (0, 47) for x in (0, 43)]
    found = md.deconvolve(scene.counts, corners, details=True, psf_centre="centroid", **words)
    assert found.psf.places == ((0.0,), (0.0, 47.0), (0.0, 43.0))
    assert "4 PSFs at y 0, 47; x 0, 43 voxels" in found.psf.source
    np.testing.assert_array_equal(md.deconvolve(scene.counts, found.psf, **words), found.image)
    with pytest.raises(UsageError, match="none is at @47,43"):
        md.deconvolve(scene.counts, corners[:3])
    with pytest.raises(UsageError, match="psf_centre does not apply"):
        md.deconvolve(scene.counts, pairs, psf_centre="none")


def test_a_psf_is_estimated_from_an_image_and_used():
    optics = md.Optics(na=1.2, emission_nm=520, ri_immersion=1.333)
    psf = md.compute_psf(optics, md.Zyx(0.3, 0.1, 0.1), (1, 21, 21))
    scene = simulate("spots", (1, 96, 96), psf.pixels, Exposure(300, 30, 100), 3)
    found = md.estimate_psf(scene.counts[0], optics, md.Zyx(0.3, 0.1, 0.1), background=130, offset=100, gain=1)
    assert found.why
    assert md.deconvolve(scene.counts[0], found.psf, iterations=3).shape == (96, 96)
    free = md.estimate_psf(scene.counts[0], optics, md.Zyx(0.3, 0.1, 0.1), free=True, start=psf)
    assert free.psf.pixels.shape == psf.pixels.shape
    with pytest.raises(UsageError):
        md.estimate_psf(scene.counts[0], optics, md.Zyx(0.3, 0.1, 0.1), nonsense=3)
