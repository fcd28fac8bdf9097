"""One volume deconvolved: tiles within memory, memory running out."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CPU

from microdeconv import engine
from microdeconv.camera import Camera, CameraOptions
from microdeconv.engine import deconvolve_volume, plan_cut
from microdeconv.errors import MemoryShortError
from microdeconv.methods import METHODS
from microdeconv.settle import Settings, settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf, PsfSet
from microdeconv.tiles import tiles_of

RL = METHODS["rl"]
GIVEN = CameraOptions(background=(120.0,), offset=(100.0,), gain=(1.0,))


def settled(volume, psf, **stopping):
    return settle(volume, psf, 0, RL, RL.parameters(), GIVEN, Stopping(**stopping), CPU)


def test_counts_are_absolute(scene, psf):
    """Twice the gain, twice the counts; the flux of the result is that of the image above its background."""
    settings = settled(scene.counts, psf, iterations=(15,))
    cut = plan_cut(scene.counts.shape, psf, RL, CPU, "off", 0)
    image, _ = deconvolve_volume(scene.counts, psf, RL, settings, CPU, cut)
    assert image.sum() == pytest.approx(scene.counts.sum() - 120.0 * scene.counts.size, rel=0.1)


def test_memory_decides_the_tiles(psf):
    roomy = plan_cut((20, 400, 400), psf, RL, CPU, "auto", 0)
    tight = plan_cut((20, 400, 400), psf, RL, replace(CPU, memory=engine.BASE_MEMORY + 40 * 10**6), "auto", 0)
    assert roomy.tiles == 1
    assert tight.tiles > 4
    assert tight.tile_bytes <= 40 * 10**6
    with pytest.raises(MemoryShortError):
        plan_cut((20, 400, 400), psf, RL, replace(CPU, memory=engine.BASE_MEMORY), "auto", 0)
    with pytest.raises(MemoryShortError, match="--tile off"):
        plan_cut((20, 400, 400), psf, RL, replace(CPU, memory=engine.BASE_MEMORY + 40 * 10**6), "off", 0)


def test_out_of_memory_halves_the_tiles_and_goes_on(scene, psf, monkeypatch):
    settings = settled(scene.counts, psf, iterations=(5,))
    cut = plan_cut(scene.counts.shape, psf, RL, CPU, "off", 0)
    whole, _ = deconvolve_volume(scene.counts, psf, RL, settings, CPU, cut)
    real, calls = engine.solve, []

    def failing(problem, *rest, **more):
        calls.append(problem.image.shape)
        if len(calls) == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(problem, *rest, **more)

    monkeypatch.setattr(engine, "solve", failing)
    image, notes = deconvolve_volume(scene.counts, psf, RL, settings, CPU, replace(cut, halo=(24, 24)))
    assert notes == ("memory ran out: tiles of 32 voxels instead",)
    assert np.abs(image - whole).max() < 2e-3 * whole.max()

    monkeypatch.setattr(engine, "solve", lambda *a, **k: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryShortError):
        deconvolve_volume(scene.counts, psf, RL, settings, CPU, cut)

    def broken(*rest, **more):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine, "solve", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        deconvolve_volume(scene.counts, psf, RL, settings, CPU, cut)


def test_blank_volumes_are_answered(psf):
    for value in (0, 100):
        volume = np.full((6, 30, 30), value, np.uint16)
        settings = settle(volume, psf, 0, RL, RL.parameters(), CameraOptions(), Stopping(), CPU)
        cut = plan_cut(volume.shape, psf, RL, CPU, "off", 0)
        image, _ = deconvolve_volume(volume, psf, RL, settings, CPU, cut)
        assert np.abs(image - value).max() <= 1e-3 * value
        assert "blank" in settings.notes[0]


def widening(*places):
    """PSFs that grow wider along a grid of places."""
    widths = np.linspace(0.9, 1.6, int(np.prod([len(along) for along in places])))
    return PsfSet(tuple(Psf(gaussian_psf((1.5, w, w)), None, None, "") for w in widths), places, "widening")


@pytest.mark.parametrize("method", [METHODS["rl"], METHODS["wiener"]], ids=lambda m: m.name)
@pytest.mark.parametrize("places", [((0.0,), (0.0, 50.0, 125.0), (10.0, 110.0)), ((0.0, 5.0), (0.0,), (0.0, 129.0))])
def test_tiled_equals_whole_where_the_psf_changes(method, places, psf):
    scene = simulate("tissue", (6, 130, 140), psf.pixels, Exposure(200, 10, 0), seed=2)
    known = {"regularisation": 0.002, "noise_to_signal": 0.01}
    names = method.parameters.__dataclass_fields__
    parameters = method.parameters(**{k: v for k, v in known.items() if k in names})
    settings = Settings(Camera(), 10.0, 60.0, 8, parameters, {})
    cuts = [engine.Cut(edge, (36, 36), (0,) * 3, (0,) * 3, 0, 1) for edge in (200, 44)]
    assert tiles_of((6, 130, 140), 44, (36, 36))[0].read[0].stop < 130
    whole, tiled = (deconvolve_volume(scene.counts, widening(*places), method, settings, CPU, cut)[0] for cut in cuts)
    assert np.abs(tiled - whole).max() < 1e-4 * whole.max()


def test_more_psfs_take_more_memory(psf):
    both = PsfSet((psf, psf), ((0.0, 9.0), (0.0,), (0.0,)), "two")
    one, two = (plan_cut((20, 400, 400), p, RL, CPU, "auto", 0) for p in (psf, both))
    assert (one.halo, one.grid) == (two.halo, two.grid)
    assert 1.2 < two.tile_bytes / one.tile_bytes < 1.5
