"""The forward model against its definition."""

import numpy as np
import pytest
import torch
from facts import adjointness
from scipy.signal import convolve, fftconvolve

from microdeconv.blur import Blur, hats, plan_grids
from microdeconv.fft import Convolver, good_size
from microdeconv.stack import Psf, PsfSet

CASES = [
    ((8, 13, 9), (5, 7, 3)),
    ((1, 20, 21), (1, 9, 5)),
    ((6, 6, 6), (11, 11, 11)),  # a PSF larger than the field
    ((12, 10, 16), (1, 1, 1)),
    ((7, 9, 11), (13, 3, 9)),
]


def random_psf(shape, seed=0):
    pixels = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return Psf(pixels / pixels.sum(), None, None, "random")


@pytest.mark.parametrize(("field", "kernel"), CASES)
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_forward_is_linear_convolution(field, kernel, margin):
    psf = random_psf(kernel)
    blur = Blur(psf, field, margin=margin)
    x = np.random.default_rng(1).standard_normal(blur.object_shape).astype(np.float32)
    full = convolve(x, psf.pixels, mode="full", method="direct")
    corner = [m + k // 2 for m, k in zip(blur.margin, kernel, strict=True)]
    expected = full[tuple(slice(c, c + n) for c, n in zip(corner, field, strict=True))]
    got = blur.forward(torch.from_numpy(x)).numpy()
    assert np.abs(got - expected).max() <= 2e-6 * np.abs(expected).max()  # float32, measured 3e-7


@pytest.mark.parametrize(("field", "kernel"), CASES)
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.0])
def test_adjoint(field, kernel, margin):
    blur = Blur(random_psf(kernel), field, margin=margin)
    assert adjointness(blur.forward, blur.adjoint, blur.object_shape, field) < 2e-7


def test_against_fftconvolve_at_size():
    psf = random_psf((15, 21, 21))
    blur = Blur(psf, (30, 60, 50), margin=1.0)
    x = np.random.default_rng(2).random(blur.object_shape, dtype=np.float32)
    expected = fftconvolve(x, psf.pixels, mode="valid")
    assert np.abs(blur.forward(torch.from_numpy(x)).numpy() - expected).max() <= 1e-5 * expected.max()


def test_a_point_becomes_the_psf_at_its_place():
    psf = random_psf((5, 7, 9))
    blur = Blur(psf, (11, 13, 15))
    x = torch.zeros(blur.object_shape)
    x[tuple(m + p for m, p in zip(blur.margin, (5, 6, 7), strict=True))] = 1
    image = blur.forward(x).numpy()
    np.testing.assert_allclose(image[3:8, 3:10, 3:12], psf.pixels, atol=1e-7)
    assert image.sum() == pytest.approx(1, abs=1e-5)


def test_normalisation_is_the_share_of_light_seen():
    psf = random_psf((5, 7, 7))
    blur = Blur(psf, (12, 16, 16), margin=1.0)
    inside = blur.crop(blur.normalisation)
    assert float(inside[3:-3, 4:-4, 4:-4].sub(1).abs().max()) < 1e-5
    assert 0 < float(blur.normalisation[0, 0, 0]) < 0.05
    assert float(blur.inverse_normalisation()[0, 0, 0]) == 0


def test_filtered_adjoint_multiplies_the_spectrum():
    blur = Blur(random_psf((5, 7, 7)), (12, 16, 16))
    y = torch.rand(12, 16, 16)
    doubled = blur.adjoint(y, blur.filtered_otf(torch.full_like(blur.power(), 2.0)))
    torch.testing.assert_close(doubled, 2 * blur.adjoint(y), rtol=1e-5, atol=1e-6)


def test_frequencies_are_those_of_the_spectrum():
    sigma = 1.7
    axis = np.arange(-8, 9)
    line = np.exp(-0.5 * (axis / sigma) ** 2)
    kernel = (line[:, None, None] * line[None, :, None] * line[None, None, :]).astype(np.float32)
    convolver = Convolver([torch.from_numpy(kernel / kernel.sum())], (18, 20, 21))
    squared = sum(f**2 for f in convolver.frequencies())
    expected = torch.exp(-2 * np.pi**2 * sigma**2 * squared)  # transform of a Gaussian
    assert float((convolver.spectrum.abs() - expected).abs().max()) < 2e-5


def test_plan_leaves_no_way_round():
    margin, shape, grid = plan_grids((13, 11, 9), (20, 30, 40), 0.25)
    for m, s, g, k, n in zip(margin, shape, grid, (13, 11, 9), (20, 30, 40), strict=True):
        assert s == n + 2 * m
        assert g >= n + m + k // 2
    assert grid[1] % 2 == 0


def test_room_changes_nothing_but_the_grid():
    psf = random_psf((5, 7, 7))
    blur = Blur(psf, (6, 30, 27))
    roomy = blur.with_room(20)
    assert (roomy.margin, roomy.object_shape, roomy.grid[0]) == (blur.margin, blur.object_shape, blur.grid[0])
    assert all(wide > narrow + 15 for wide, narrow in zip(roomy.grid[1:], blur.grid[1:], strict=True))
    x = torch.rand(blur.object_shape)
    torch.testing.assert_close(roomy.forward(x), blur.forward(x))
    torch.testing.assert_close(roomy.normalisation, blur.normalisation)


def test_filters_of_a_small_psf_find_zeros_before_the_other_border():
    margin, _, grid = plan_grids((3, 7, 7), (6, 100, 90))
    assert grid[0] < 6 + margin[0] + 10
    assert all(g >= n + m + 24 for g, n, m in zip(grid[1:], (100, 90), margin[1:], strict=True))


TWO = PsfSet((random_psf((3, 7, 7)), random_psf((3, 7, 7), 1)), ((0.0,), (0.0,), (5.0, 40.0)), "two")


@pytest.mark.parametrize(
    ("psf", "field"),
    [(random_psf((3, 7, 7)), (6, 40, 45)), (random_psf((1, 7, 7)), (1, 40, 47)), (TWO, (6, 40, 45))],
    ids=["volume", "plane", "two"],
)
def test_a_faded_filter_acts_no_further_than_it_may(psf, field):
    blur = Blur(psf, field, margin=1.0)
    point = torch.zeros(blur.object_shape)
    place = tuple(n // 2 for n in point.shape)
    point[place] = 1
    transfer = 1 / (blur.power() + 1e-3)
    free, faded = blur.restore(point, transfer), blur.restore(point, transfer, ((4, 3), (9, 8)))
    y, x = (torch.arange(n) - p for n, p in zip(point.shape[1:], place[1:], strict=True))
    near = (y.abs()[:, None] <= 4) & (x.abs() <= 3)
    far = (y.abs()[:, None] >= 9) | (x.abs() >= 8)
    torch.testing.assert_close(faded[:, near], free[:, near], rtol=1e-4, atol=1e-4 * float(free.max()))
    assert float(free[:, far].abs().max()) > 1e-2 * float(free.max())
    assert float(faded[:, far].abs().max()) < 1e-5 * float(free.max())


def test_the_normalisation_bears_gradients_whoever_asked_first():
    blur = Blur(random_psf((1, 7, 7)), (1, 20, 20))
    with torch.inference_mode():
        assert blur.inverse_normalisation().min() >= 0
    x = torch.rand(blur.object_shape, requires_grad=True)
    (x * blur.normalisation).sum().backward()
    torch.testing.assert_close(x.grad, blur.normalisation)


@pytest.mark.parametrize("n", [1, 2, 97, 211, 1031])
def test_good_sizes(n):
    for even in (False, True):
        size = good_size(n, even=even)
        assert size >= n
        assert not even or size % 2 == 0
        for prime in (2, 3, 5, 7):
            while size % prime == 0:
                size //= prime
        assert size == 1


def test_a_kernel_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Convolver([torch.ones(5, 5, 5)], (4, 8, 8))


GRIDS = [
    ((-1.0, 6.5), (4.0,), (4.0,)),
    ((3.0,), (0.0, 9.0, 30.0), (2.0, 12.5)),
    ((0.0, 5.0, 40.0), (1.0, 8.0), (3.0, 9.0)),  # a place far outside
]


def random_set(places, shapes=((5, 7, 3), (3, 9, 5), (7, 5, 5))):
    number = int(np.prod([len(along) for along in places]))
    return PsfSet(tuple(random_psf(shapes[i % 3], seed=i) for i in range(number)), places, "random")


@pytest.mark.parametrize("places", GRIDS)
@pytest.mark.parametrize("origin", [(0, 0, 0), (0, 6, 3)])
@pytest.mark.parametrize("field", [(8, 13, 9), (9, 14, 12)])
def test_several_psfs_blend_and_have_their_adjoint(places, origin, field):
    """Against the definition: the object times each PSF's weights, blurred with it alone."""
    psf = random_set(places)
    blur = Blur(psf, field, origin=origin)
    x = np.random.default_rng(1).standard_normal(blur.object_shape).astype(np.float32)
    along = [hats(p, o - m, n) for p, o, m, n in zip(places, origin, blur.margin, blur.object_shape, strict=True)]
    weights = np.einsum("az,by,cx->abczyx", *along).reshape(-1, *x.shape)
    assert np.abs(weights.sum(axis=0) - 1).max() < 1e-6
    expected = np.zeros(field)
    for one, weight in zip(psf.parts, weights, strict=True):
        full = convolve(x * weight, one.pixels, mode="full", method="direct")
        corner = [m + k // 2 for m, k in zip(blur.margin, one.shape, strict=True)]
        expected += full[tuple(slice(c, c + n) for c, n in zip(corner, field, strict=True))]
    assert np.abs(blur.forward(torch.from_numpy(x)).numpy() - expected).max() <= 2e-6 * np.abs(expected).max()
    assert adjointness(blur.forward, blur.adjoint, blur.object_shape, field) < 2e-7
    doubled = blur.filtered_otf(torch.full_like(blur.power(), 2.0))
    y = torch.rand(field)
    torch.testing.assert_close(blur.adjoint(y, doubled), 2 * blur.adjoint(y), rtol=1e-5, atol=1e-6)
    out, plain = (torch.empty(blur.object_shape) for _ in range(2))
    blur.adjoints(y, doubled, out, plain)
    torch.testing.assert_close((out, plain), (blur.adjoint(y, doubled), blur.adjoint(y)))


def test_both_adjoints_at_once():
    blur = Blur(random_psf((5, 7, 3)), (8, 13, 9))
    filtered = blur.filtered_otf(1 / (blur.power() + 0.5))
    y = torch.rand(blur.field)
    out, plain = (torch.empty(blur.object_shape) for _ in range(2))
    blur.adjoints(y, filtered, out, plain)
    torch.testing.assert_close((out, plain), (blur.adjoint(y, filtered), blur.adjoint(y)))


def test_a_model_placed_elsewhere_is_the_same_but_for_its_place():
    blur = Blur(random_psf((5, 7, 3)), (8, 13, 9))
    moved = blur.placed((0, 40, 7))
    assert blur.placed((0, 0, 0)) is blur
    assert (blur.origin, moved.origin) == ((0, 0, 0), (0, 40, 7))
    x = torch.rand(blur.object_shape)
    assert bool((moved.forward(x) == blur.forward(x)).all())
    along_z, lateral = random_set(((0.0, 5.0), (0.0,), (0.0,))), random_set(GRIDS[1])
    assert Blur(along_z, (8, 13, 9)).placed((0, 5, 5)).origin == (0, 5, 5)
    with pytest.raises(ValueError, match="changes over the field"):
        Blur(lateral, (8, 13, 9)).placed((0, 5, 5))


def test_several_like_psfs_are_one():
    psf = random_psf((5, 7, 3))
    both = PsfSet((psf, psf), ((1.0, 6.0), (0.0,), (0.0,)), "twice")
    one, two = Blur(psf, (8, 13, 9)), Blur(both, (8, 13, 9))
    x = torch.rand(one.object_shape)
    torch.testing.assert_close(two.forward(x), one.forward(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(two.normalisation, one.normalisation, rtol=1e-5, atol=1e-6)


def test_psfs_without_weight_cost_nothing():
    psf = random_set(((0.0,), (0.0, 100.0, 200.0), (0.0, 100.0)))
    assert len(Blur(psf, (4, 20, 20)).power()) == 4
    assert len(Blur(psf, (4, 20, 20), origin=(0, 400, 400)).power()) == 1


def test_a_set_that_is_no_grid_is_refused():
    with pytest.raises(ValueError, match="do not fill"):
        PsfSet((random_psf((3, 3, 3)),), ((0.0, 1.0), (0.0,), (0.0,)), "one missing")
    with pytest.raises(ValueError, match="do not grow"):
        PsfSet((random_psf((3, 3, 3)),) * 2, ((1.0, 0.0), (0.0,), (0.0,)), "backwards")
