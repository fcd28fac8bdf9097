"""What the network is given: iterates with the true H of one volume, and data steps that torch can differentiate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from microdeconv.blur import Blur
from microdeconv.classical.wiener import Wiener, restored
from microdeconv.problem import Problem
from microdeconv.stack import Psf, PsfSet

ITERATES = (2, 5, 10, 20, 40)  # steps with momentum: about 3, 10, 30, 70 and 200 plain ones
START, NOISY = 1, 2  # of them: what the network begins with, and what tells the noise
STRENGTHS = (0.3, 3.0)  # of the Wiener filters, times the noise-to-signal ratio
ROOM = 20  # voxels between their borders: the other border is the field's in the whole, and elsewhere in a tile
FADING = ((48, 48), (96, 96))  # voxels: their influence ends there, where nothing is but ringing
CHANNELS = ("RL 2", "RL 5", "RL 10", "RL 20", "RL 40", "Wiener weak", "Wiener strong", "image", "noise", "log NSR")
STEPPED = ("object", "RL step", "Wiener step", "back-projected residual", "RL 10", "log NSR", "coarser object")
MOST = 3.0  # times, at most, that a step makes a voxel brighter
LEFT = 0.2  # of a voxel's light, at least, that momentum leaves
USUAL_UM = 0.1
RESOLVED = 0.5  # pixels: width of the Gaussian through which the network gives objects, what it promises
LIFTED = 0.01  # of the spectrum's power, about: what the Gaussian has left less of is not lifted by all of it
AROUND = 6  # pixels of zeros about a PSF, so that its Gaussian does not wrap
LEAST_NOISE = 0.1  # photo-electrons, variance: no camera has less
SCALED = 10  # steps of the object whose brightness is the scale
COARSER = (0.25, 0.5, 0.25)  # a pixel of half the resolution, drawn and seen, per axis


def scale_of(problem: Problem) -> float:
    """Give the typical brightness of the object, photo-electrons: Σ x² / Σ x after ten steps, whatever is dark."""
    *_, x = islice(_momentum(problem), SCALED)
    return _brightness(problem.blur.crop(x))


def _brightness(x: Tensor) -> float:
    return max(float(x.square().sum(dtype=torch.float64) / x.sum(dtype=torch.float64).clamp_min(1e-30)), 1e-6)


def _momentum(problem: Problem) -> Any:
    """Richardson-Lucy with damped momentum.

    Neither sharpened nor bounded below, and less damped, than the method that users run: what the network was taught
    with.
    """
    inverse = problem.blur.inverse_normalisation()
    x = previous = problem.blur.flat(problem.level)
    for k in range(1, 10_000):
        beta = min((k - 1) / (k + 2), 1 - 1 / math.sqrt(k + 3))
        point = torch.maximum(torch.lerp(x, previous, -beta), LEFT * x)
        step = problem.blur.adjoint(problem.image / problem.predict(point)).mul_(inverse).clamp_max_(MOST)
        previous, x = x, step.mul_(point)
        yield x


@dataclass(frozen=True, slots=True)
class View:
    """One volume at one resolution, as the network sees it; intensities in units of `scale`.

    Attributes
    ----------
    problem
        Counts, forward model and background.
    scale
        Photo-electrons.
    bank
        float32 (channels, z, y, x) on the field, `CHANNELS`.
    start
        float32 on the object grid: where the network begins, and the margin's light for good.
    voxel_um
        Size of the voxels (z, y, x), if known.
    """

    problem: Problem
    scale: float
    bank: Tensor
    start: Tensor
    voxel_um: tuple[float, float, float] | None = None

    @property
    def sizes(self) -> tuple[float, float]:
        """log₂ of the lateral size of voxels over a usual one, and of axial over lateral; zeros where not known."""
        if self.voxel_um is None:
            return 0.0, 0.0
        z, _, x = self.voxel_um
        planes = self.bank.shape[1] > 1 and math.isfinite(z)
        return math.log2(x / USUAL_UM), math.log2(z / x) if planes else 0.0

    @property
    def facts(self) -> Tensor:
        """Logarithms of the noise-to-signal ratio and of the scale, and the share of energy that the OTF lets pass."""
        passed = float(self.problem.blur.power().mean())
        return self.bank.new_tensor([self.nsr, math.log10(self.scale), math.log10(passed + 1e-6)])

    @property
    def nsr(self) -> float:
        """log₁₀ of noise over signal at the scale's brightness."""
        return math.log10(math.sqrt(self.scale + self.problem.background) / self.scale)

    @property
    def begun(self) -> Tensor:
        """`start` on the field."""
        return self.problem.blur.crop(self.start)


def observe(problem: Problem, scale: float | None, voxel_um: tuple[float, float, float] | None = None) -> View:
    """Compute the bank of a problem.

    Parameters
    ----------
    problem
        In photo-electrons.
    scale
        Of the whole volume, so that tiles agree; None: the problem's own, see `scale_of`.
    voxel_um
        (z, y, x), if known.
    """
    with torch.no_grad():
        crop = problem.blur.crop
        found = list[Tensor]()
        for step, x in enumerate(islice(_momentum(problem), ITERATES[-1]), 1):
            if step == SCALED and scale is None:
                scale = _brightness(crop(x))
            if step in ITERATES:
                found.append(crop(x).clone())
            if step == ITERATES[START]:
                start = x.clone()
            if step == ITERATES[NOISY]:
                noise = problem.predict(x).sqrt_()
        assert scale is not None
        nsr = (scale + problem.background) / scale**2
        roomy = replace(problem, blur=problem.blur.with_room(ROOM))
        found += [crop(restored(roomy, Wiener(s * nsr, "tikhonov"), FADING)).clone() for s in STRENGTHS]
        del roomy
        found += [problem.image - problem.background, noise]
        known = torch.full_like(noise, math.log10(nsr) / 2)
        bank = torch.stack([*(one.div_(scale) for one in found), known])
        return View(problem, scale, bank, start.div_(scale), voxel_um)


def coarser(problem: Problem) -> Problem:
    """Give the problem at half the resolution in y and x: counts summed over 2 x 2 pixels, the PSF on these."""
    image = problem.image
    pad = (0, image.shape[2] % 2, 0, image.shape[1] % 2)
    if any(pad):
        image = torch.nn.functional.pad(image[None], pad, mode="replicate")[0]
    image = 4 * torch.nn.functional.avg_pool2d(image, 2)
    field = (image.shape[0], image.shape[1], image.shape[2])
    z, y, x = problem.blur.origin
    blur = Blur(_coarser_psf(problem.blur.psf), field, image.device, origin=(z, y // 2, x // 2))
    return replace(problem, image=image, blur=blur, background=4 * problem.background, level=4 * problem.level)


def _coarser_psf(psf: Psf | PsfSet) -> Psf | PsfSet:
    if isinstance(psf, PsfSet):
        z, y, x = psf.places
        places = (z, tuple(p / 2 for p in y), tuple(p / 2 for p in x))
        return replace(psf, parts=tuple(halved(one) for one in psf.parts), places=places)
    return halved(psf)


def promised(psf: Psf | PsfSet) -> Psf | PsfSet:
    """Give the PSF between the object at the resolution that is promised and the image.

    The network gives objects as seen through a Gaussian of half a pixel (in the plane), which an image of many photons
    cannot be made of by the PSF itself: it is the PSF with that Gaussian taken off. A point stays a point.
    """
    if isinstance(psf, PsfSet):
        return replace(psf, parts=tuple(_sharpened(one) for one in psf.parts))
    return _sharpened(psf)


def _sharpened(psf: Psf) -> Psf:
    """The spectrum divided by the Gaussian's, as far as noise allows; what falls below zero is cut."""
    if psf.shape[1:] == (1, 1):
        return psf
    pixels = np.pad(psf.pixels.astype(np.float64), [(0, 0), (AROUND, AROUND), (AROUND, AROUND)])
    spectrum = np.fft.rfft2(pixels)
    y, x = np.fft.fftfreq(pixels.shape[1])[:, None], np.fft.rfftfreq(pixels.shape[2])
    passed = np.exp(-2 * (np.pi * RESOLVED) ** 2 * (y**2 + x**2))
    sharp = np.fft.irfft2(spectrum * passed / (passed**2 + LIFTED), pixels.shape[1:])
    inner = np.clip(sharp[:, AROUND:-AROUND, AROUND:-AROUND], 0, None)
    return replace(psf, pixels=np.ascontiguousarray(inner / inner.sum(), np.float32))


def halved(psf: Psf) -> Psf:
    """A PSF on pixels of twice the size, its middle in the middle."""
    from scipy.ndimage import convolve1d

    pixels = np.pad(psf.pixels, [(0, 0), *((1 + (n // 2 + 1) % 2,) * 2 for n in psf.pixels.shape[1:])])
    for axis in (1, 2):
        pixels = convolve1d(pixels, COARSER, axis=axis, mode="constant")
    pixels = np.ascontiguousarray(pixels[:, pixels.shape[1] // 2 % 2 :: 2, pixels.shape[2] // 2 % 2 :: 2])
    return replace(psf, pixels=(pixels / pixels.sum()).astype(np.float32), voxel_um=None)


class _Forward(torch.autograd.Function):
    """H x, differentiable; its gradient is Hᵀ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blur: Blur) -> Tensor:
        ctx.blur = blur
        return blur.forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.blur.adjoint(gradients[0]), None


class _Adjoint(torch.autograd.Function):
    """Hᵀ y, differentiable; its gradient is H."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, blur: Blur) -> Tensor:
        ctx.blur = blur
        return blur.adjoint(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.blur.forward(gradients[0]), None


class _Wiener(torch.autograd.Function):
    """Hᵀ y divided by |OTF|² + λ in the spectrum, differentiable in both."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, strength: Tensor, blur: Blur) -> Tensor:
        ctx.blur = blur
        ctx.save_for_backward(y, strength)
        return blur.adjoint(y, blur.filtered_otf(1 / (blur.power() + strength)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        y, strength = ctx.saved_tensors
        transfer = 1 / (ctx.blur.power() + strength)
        back = ctx.blur.forward(gradients[0], None, ctx.blur.filtered_otf(transfer))
        bend = ctx.blur.adjoint(y, ctx.blur.filtered_otf(-transfer.square()))
        return back, (bend * gradients[0]).sum().reshape(strength.shape), None


_forward, _adjoint, _wiener = (cast("Any", one).apply for one in (_Forward, _Adjoint, _Wiener))


def foretold(view: View, x: Tensor) -> Tensor:
    """Give H x + b on the field, in units of the scale, differentiable; the margin's light is that of `start`."""
    problem, blur = view.problem, view.problem.blur
    whole = view.start.clone()
    blur.crop(whole).copy_(x)
    seen: Tensor = _Forward.apply(whole, blur)  # type: ignore[no-untyped-call]
    return (seen + problem.background / view.scale).clamp_min(problem.dark / view.scale)


def data_step(view: View, x: Tensor, strength: Tensor) -> Tensor:
    """Compare an object with the counts in the ways that the next stage is given.

    Parameters
    ----------
    view
        The volume.
    x
        float32 (z, y, x) on the field, units of the scale.
    strength
        λ > 0 of the Wiener step, a scalar.

    Returns
    -------
    Tensor
        float32 (channels, z, y, x) on the field: the first six of `STEPPED`.
    """
    problem, blur = view.problem, view.problem.blur
    whole = view.start.clone()
    blur.crop(whole).copy_(x)
    predicted = (_forward(whole, blur) + problem.background / view.scale).clamp_min(problem.dark / view.scale)
    image = problem.image / view.scale
    ratio = _adjoint(image / predicted, blur) * blur.inverse_normalisation()
    residual = image - predicted
    linear = blur.crop(_wiener(residual, strength, blur))
    whitened = residual * math.sqrt(view.scale) / predicted.clamp_min(LEAST_NOISE / view.scale).sqrt()
    back = blur.crop(_adjoint(whitened, blur))
    stepped = x * blur.crop(ratio).clamp_max(MOST)
    return torch.stack([x, stepped, linear, back, view.bank[2], view.bank[-1]])
