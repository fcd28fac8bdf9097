"""The data steps are differentiated rightly, and the coarser view sees what the finer one does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import problem_of

from microdeconv.blur import Blur
from microdeconv.learnt import physics
from microdeconv.learnt.physics import CHANNELS, coarser, data_step, halved, observe, scale_of
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf

SHAPES = {"plane": ((1, 30, 27), (0, 1.5, 1.2)), "volume": ((6, 20, 18), (1.0, 1.5, 1.2))}


@pytest.fixture(params=SHAPES, name="seen")
def _seen(request):
    shape, sigma = SHAPES[request.param]
    psf = Psf(gaussian_psf(sigma), None, None, "")
    scene = simulate("mixed", shape, psf.pixels, Exposure(200, 20, 0, read_noise=0), 1)
    return problem_of(scene.counts.astype(np.float32), psf, 20.0)


def test_forward_and_adjoint_are_each_others_gradients(seen):
    blur = seen.blur
    x = torch.rand(blur.object_shape, requires_grad=True)
    y = torch.rand(blur.field, requires_grad=True)
    physics._forward(x, blur).backward(y.detach())
    torch.testing.assert_close(x.grad, blur.adjoint(y.detach()))
    physics._adjoint(y, blur).backward(x.detach())
    torch.testing.assert_close(y.grad, blur.forward(x.detach()))


def test_gradient_of_the_wiener_step(seen):
    y, strength = torch.rand(seen.blur.field), torch.tensor(0.3, requires_grad=True)
    weights = torch.rand(seen.blur.object_shape)

    def value(s):
        return (physics._wiener(y, s, seen.blur) * weights).sum()

    value(strength).backward()
    step = 0.02
    with torch.no_grad():
        slope = (value(strength + step) - value(strength - step)) / (2 * step)
    assert float(strength.grad) == pytest.approx(float(slope), rel=0.02)


def test_gradient_of_a_data_step(seen):
    view = observe(seen, scale_of(seen))
    x = (view.begun + 0.1).clone().requires_grad_(True)
    weights = torch.rand(6, *seen.blur.field)
    strength = torch.tensor(0.2)
    (data_step(view, x, strength) * weights).sum().backward()
    along = torch.rand_like(x)
    step = 2e-3
    with torch.no_grad():
        ahead, behind = ((data_step(view, x + s * along, strength) * weights).double().sum() for s in (step, -step))
    assert float((x.grad * along).sum()) == pytest.approx(float((ahead - behind) / (2 * step)), rel=0.03)


def test_the_scale_that_is_found_on_the_way_is_the_problems_own(seen):
    view, known = observe(seen, None), observe(seen, scale_of(seen))
    assert view.scale == scale_of(seen)
    assert torch.equal(view.bank, known.bank)
    assert torch.equal(view.start, known.start)


def test_the_bank_has_its_channels_in_units_of_the_scale(seen):
    view = observe(seen, scale_of(seen))
    assert view.bank.shape == (len(CHANNELS), *seen.blur.field)
    bright = replace(seen, image=seen.image * 3, background=seen.background * 3, level=seen.level * 3)
    other = observe(bright, scale_of(bright))
    torch.testing.assert_close(other.bank[:5], view.bank[:5], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(other.bank[7], view.bank[7], rtol=1e-3, atol=1e-3)
    assert other.nsr < view.nsr


def test_a_coarser_view_of_a_coarse_object_is_exact():
    psf = Psf(gaussian_psf((0, 1.6, 1.1)), None, None, "")
    rng = np.random.default_rng(0)
    fine = Blur(psf, (1, 40, 36), margin=1.0)
    coarse = Blur(halved(psf), (1, 20, 18), margin=1.0)
    object_ = torch.zeros(coarse.object_shape)
    coarse.crop(object_).copy_(torch.from_numpy(rng.random((1, 20, 18), dtype=np.float32)))
    spread = torch.zeros(fine.object_shape)
    inner = coarse.crop(object_)
    fine.crop(spread).copy_(inner.repeat_interleave(2, 1).repeat_interleave(2, 2) / 4)
    summed = 4 * torch.nn.functional.avg_pool2d(fine.forward(spread), 2)
    torch.testing.assert_close(summed, coarse.forward(object_), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 9, 9), (1, 11, 13), (5, 7, 15)])
def test_a_halved_psf_keeps_sum_and_middle(size):
    pixels = np.zeros(size, np.float32)
    pixels[tuple(n // 2 for n in size)] = 1
    small = halved(Psf(pixels, None, None, "")).pixels
    assert all(n % 2 for n in small.shape)
    assert small.sum() == pytest.approx(1)
    assert np.unravel_index(small.argmax(), small.shape) == tuple(n // 2 for n in small.shape)


def test_the_coarser_problem_keeps_the_counts(seen):
    small = coarser(seen)
    even = seen.image[:, : seen.image.shape[1] // 2 * 2, : seen.image.shape[2] // 2 * 2]
    kept = small.image[:, : even.shape[1] // 2, : even.shape[2] // 2]
    assert float(kept.sum()) == pytest.approx(float(even.sum()), rel=1e-5)
    assert small.background == 4 * seen.background
