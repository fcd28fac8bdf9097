"""The learnt method as the registry has it."""

import numpy as np
import pytest
from conftest import CPU

from microdeconv.camera import CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.learnt import suite
from microdeconv.learnt.evaluation import unguarded
from microdeconv.learnt.method import Learnt
from microdeconv.learnt.weights import load_model
from microdeconv.methods import METHODS
from microdeconv.refine import deconvolve
from microdeconv.settle import settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf

LEARNT = METHODS["learnt"]
KNOWN = CameraOptions(background=20.0, offset=0.0, gain=1.0)


@pytest.mark.parametrize(
    ("kind", "shape", "widths"),
    [
        ("filaments", (1, 320, 320), (0, 1.5, 1.5)),
        ("mixed", (1, 300, 300), (0, 2.5, 2.5)),
        ("tissue", (3, 224, 224), (1.2, 1.5, 1.5)),
    ],
    ids=["plane", "wide", "volume"],
)
def test_tiles_leave_no_seams(kind, shape, widths):
    """With a halo as it is planned; switches that jumped at rounding left 6e-4 and 8e-4 of the maximum.

    Wiener filters that reached round the grid left 1.1e-4 and 1.3e-4 in the second and third.
    """
    psf = Psf(gaussian_psf(widths), None, None, "Gaussian")
    counts = simulate(kind, shape, psf.pixels, Exposure(300, 20, 0), seed=2).counts
    settings = settle(counts, psf, 0, LEARNT, LEARNT.parameters(), KNOWN, Stopping(iterations=5), CPU)
    cuts = [plan_cut(shape, psf, LEARNT, CPU, tile, 0) for tile in ("off", 64)]
    assert cuts[1].grid != cuts[0].grid
    whole, tiled = (deconvolve_volume(counts, psf, LEARNT, settings, CPU, cut)[0] for cut in cuts)
    assert np.abs(tiled - whole).max() < 1e-4 * whole.max()


def test_tiles_leave_no_seams_in_what_the_guard_blends():
    """Richardson-Lucy's part of it left 9e-4 of the maximum when each tile scaled its steps for itself."""
    shape, psf = (1, 270, 280), Psf(gaussian_psf((0, 2.5, 2.5)), None, None, "Gaussian")
    counts = simulate("mixed", shape, psf.pixels, Exposure(300, 20, 0), seed=2).counts
    settings = settle(counts, psf, 0, LEARNT, LEARNT.parameters(), KNOWN, Stopping(iterations=20), CPU)
    cuts = [plan_cut(shape, psf, LEARNT, CPU, tile, 0) for tile in ("off", 96)]
    whole, tiled = (deconvolve(counts, psf, LEARNT, settings, CPU, cut).image for cut in cuts)
    assert all(part < n for part, n in zip(cuts[1].read[1:], shape[1:], strict=True))
    assert np.abs(tiled - whole).max() < 1e-4 * whole.max()


@pytest.mark.parametrize("cell", ["2d-seen", "3d-seen"])
def test_what_is_evaluated_is_what_a_run_gives_unchecked(cell):
    sample = suite.Case(suite.CELLS[cell], 2).sample()
    camera = CameraOptions(background=sample.background, offset=0.0, gain=1.0)
    settings = settle(sample.light, sample.psf, 0, LEARNT, Learnt(trust="off"), camera, Stopping(iterations=5), CPU)
    cut = plan_cut(sample.light.shape, sample.psf, LEARNT, CPU, "off", 0)
    given = deconvolve(sample.light, sample.psf, LEARNT, settings, CPU, cut).image
    judged = unguarded(load_model("small").network)(sample)
    assert np.abs(given - judged).max() < 1e-3 * judged.max()
