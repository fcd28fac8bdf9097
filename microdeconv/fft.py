"""Fourier transforms: the only file that calls them, and the sizes at which they are quick.

A real volume is convolved with one complex transform of half its size each way (a "right-angle" convolution), which is
quicker on a CPU than the real transform and its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, int, int]


def good_size(n: int, *, even: bool = False) -> int:
    """Smallest size of at least n whose only prime factors are 2, 3, 5 and 7; even on request."""
    size = max(n, 2 if even else 1)
    while (even and size % 2) or not _is_smooth(size):
        size += 1
    return size


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


class Share(NamedTuple):
    """What of a volume belongs to a kernel: a box that begins at `start`, its voxels weighted along some axes.

    Weights are float32, shaped to broadcast over the box (z, y, x).
    """

    start: Shape
    size: Shape
    weights: tuple[Tensor, ...]

    def of(self, volume: Tensor) -> Tensor:
        """The box of a volume, in it; not weighted yet."""
        z, y, x = (slice(s, s + n) for s, n in zip(self.start, self.size, strict=True))
        return volume[z, y, x]

    def weighted(self, box: Tensor) -> Tensor:
        """A copy of a box, weighted."""
        for number, weight in enumerate(self.weights):
            box = box.mul_(weight) if number else box * weight
        return box


class Convolver:
    """Linear convolution, for boxes of voxels inside a grid large enough that nothing wraps round.

    With several kernels it is Σ kᵢ ∗ (wᵢ x), each acting on its share of the volume: a kernel that changes from place
    to place. The spectra are summed before the one transform back.

    With h = Y / 2 the real volume x[y] is packed as the complex x[y] + i x[y + h], turned by exp(iπ y / Y) and
    transformed at half the size: multiplication there is convolution with the sign changed at each turn round the
    y axis (modulo t^Y + 1), which equals linear convolution wherever nothing wraps.

    Parameters
    ----------
    kernels
        float32 (z, y, x), odd sizes, the origin in the middle voxel.
    grid
        Sizes of the transform, the middle one even, all at least the kernels'.
    shares
        What each of several kernels acts on; a single one acts on all.

    Attributes
    ----------
    spectrum
        complex64, the kernels along its first axis.

    References
    ----------
    R. Crandall, B. Fagin, Math. Comp. 62, 305 (1994), right-angle convolution.
    """

    def __init__(self, kernels: Sequence[Tensor], grid: Shape, shares: Sequence[Share] = ()) -> None:
        for kernel in kernels:
            if grid[1] % 2 or any(k > g for k, g in zip(kernel.shape, grid, strict=True)):
                raise ValueError(f"a kernel of {tuple(kernel.shape)} does not fit a grid of {grid}")
        self.grid = grid
        self.half = grid[1] // 2
        self._shares = shares
        angle = torch.arange(self.half, dtype=torch.float64, device=kernels[0].device) * (math.pi / grid[1])
        self._turn = torch.polar(torch.ones_like(angle), angle).to(torch.complex64).reshape(1, -1, 1)
        self._turn_back = self._turn.conj().resolve_conj()
        spectra = [self._transfer_of(kernel) for kernel in kernels]
        self.spectrum = torch.stack(spectra) if shares else spectra[0][None]  # no copy of a single one

    def _transfer_of(self, kernel: Tensor) -> Tensor:
        # at the corner, where it reaches to the origin in steps, each a phase
        spectrum: Tensor = torch.fft.fftn(self._packed(kernel, (0, 0, 0)))
        for n, frequency in zip(kernel.shape, self.frequencies(), strict=True):
            angle = 2 * math.pi * (n // 2) * frequency
            spectrum.mul_(torch.polar(torch.ones_like(angle), angle).to(torch.complex64))
        return spectrum

    def frequencies(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles per voxel of each sample of the spectrum, float64, along z, y and x, shaped to broadcast."""
        z, half, x = (
            torch.fft.fftfreq(n, dtype=torch.float64, device=self._turn.device)
            for n in (self.grid[0], self.half, self.grid[2])
        )
        # the turn moves each along y by a quarter of a sample
        return z.reshape(-1, 1, 1), (half - 0.25 / self.half).reshape(1, -1, 1), x.reshape(1, 1, -1)

    def fade(self, spectrum: Tensor, near: tuple[int, int], far: tuple[int, int]) -> Tensor:
        """Take from kernels, by their spectra, what lies beyond `far` voxels along y or x; it fades from `near` on.

        The spectra are overwritten.
        """
        y, x = (
            _falling(n, first, last, spectrum.device) for n, first, last in zip(self.grid[1:], near, far, strict=True)
        )
        for one in spectrum:
            kernel = torch.fft.ifftn(one).mul_(self._turn_back)
            torch.view_as_real(kernel).mul_(y.reshape(2, self.half, 1).movedim(0, -1)).mul_(x.reshape(-1, 1))
            one.copy_(torch.fft.fftn(kernel.mul_(self._turn)))
        return spectrum

    def convolve(self, volume: Tensor, start: Shape, out: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """Convolve a volume that lies at the grid's corner; fill `out` with the box that begins at `start`.

        Another `spectrum` may stand for the kernels' own, as in `correlate`.
        """
        kernels = self.spectrum if spectrum is None else spectrum
        if not self._shares:
            total = torch.fft.fftn(self._packed(volume, (0, 0, 0))).mul_(kernels[0])
        else:
            total = torch.zeros_like(kernels[0])
            for share, kernel in zip(self._shares, kernels, strict=True):
                packed = self._packed(share.weighted(share.of(volume)), share.start)
                total.addcmul_(torch.fft.fftn(packed), kernel)
                del packed
        return self._unpacked(torch.fft.ifftn(total), start, out)

    def correlate(self, volume: Tensor, start: Shape, out: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """The adjoint: correlate a volume that lies at `start`; fill `out` with the box at the grid's corner.

        Another `spectrum` may stand for the kernels' own: with theirs times a real filter it filters as well.
        """
        product = self._conjugate(volume, start)
        return self._correlated(product, self.spectrum if spectrum is None else spectrum, out)

    def correlate_both(self, volume: Tensor, start: Shape, spectrum: Tensor, out: Tensor, plain: Tensor) -> None:
        """Fill `out` as `correlate` with a `spectrum`, and `plain` as without: the first transform serves both."""
        product = self._conjugate(volume, start)
        self._correlated(product, spectrum, out, keep=True)
        self._correlated(product, self.spectrum, plain)

    def _conjugate(self, volume: Tensor, start: Shape) -> Tensor:
        # ifft(conj(K) fft(w)) = conj(fft(K ifft(conj(w)))): no conjugated copy of the kernel's spectrum
        spectrum: Tensor = torch.fft.ifftn(self._packed(volume, start).conj_physical_())
        return spectrum

    def _correlated(self, product: Tensor, kernels: Tensor, out: Tensor, *, keep: bool = False) -> Tensor:
        """End a correlation; `product` is overwritten, unless it is to be kept."""
        if not self._shares:
            product = product * kernels[0] if keep else product.mul_(kernels[0])
            return self._unpacked(torch.fft.fftn(product).conj_physical_(), (0, 0, 0), out)
        out.zero_()
        for share, kernel in zip(self._shares, kernels, strict=True):
            box = out.new_empty(share.size)
            self._unpacked(torch.fft.fftn(product * kernel).conj_physical_(), share.start, box)
            share.of(out).add_(share.weighted(box))
        return out

    def _packed(self, volume: Tensor, start: Shape) -> Tensor:
        z, y, x = (slice(s, s + n) for s, n in zip(start, volume.shape, strict=True))
        packed = torch.zeros(self.grid[0], self.half, self.grid[2], dtype=torch.complex64, device=volume.device)
        parts = torch.view_as_real(packed)
        split = min(max(self.half - start[1], 0), volume.shape[1])
        parts[z, y.start : y.start + split, x, 0] = volume[:, :split]
        if split < volume.shape[1]:
            first = y.start + split - self.half
            parts[z, first : first + volume.shape[1] - split, x, 1] = volume[:, split:]
        packed.mul_(self._turn)
        return packed

    def _unpacked(self, packed: Tensor, start: Shape, out: Tensor) -> Tensor:
        z, y, x = (slice(s, s + n) for s, n in zip(start, out.shape, strict=True))
        parts = torch.view_as_real(packed.mul_(self._turn_back))
        split = min(max(self.half - start[1], 0), out.shape[1])
        out[:, :split] = parts[z, y.start : y.start + split, x, 0]
        if split < out.shape[1]:
            out[:, split:] = parts[z, y.start + split - self.half : y.stop - self.half, x, 1]
        return out


def _falling(n: int, near: int, far: int, device: torch.device) -> Tensor:
    """One up to `near` samples from the first, either way round, then half a cosine, zero from `far` on."""
    along = torch.arange(n, device=device)
    lag = torch.minimum(along, n - along)
    return (1 + (math.pi * ((lag - near) / max(far - near, 1)).clamp(0, 1)).cos()) / 2


def light_of(pupil: Tensor) -> Tensor:
    """Intensity of the light that a pupil, complex (..., y, x) in the order of the transform, brings to a plane."""
    field: Tensor = torch.fft.fft2(pupil)
    return field.real**2 + field.imag**2


def filtered_planes(planes: Tensor, transfer: Tensor) -> Tensor:
    """Multiply the spectrum of each plane (z, y, x) by a real, even transfer (y, x)."""
    half = transfer[:, : planes.shape[-1] // 2 + 1]
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes) * half, s=planes.shape[-2:])
    return filtered


def power_spectrum(volume: Tensor, sizes: Shape | None = None) -> Tensor:
    """|F|² of a real volume, zero-padded to sizes, at the samples of `half_frequencies`."""
    spectrum: Tensor = torch.fft.rfftn(volume, sizes)
    return spectrum.real**2 + spectrum.imag**2


def half_frequencies(sizes: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Cycles per voxel of the samples of `power_spectrum`, along z, y and x, shaped to broadcast."""
    z, y = (torch.fft.fftfreq(n) for n in sizes[:2])
    return z.reshape(-1, 1, 1), y.reshape(1, -1, 1), torch.fft.rfftfreq(sizes[2]).reshape(1, 1, -1)


def correlation(volume: Tensor, with_this: Tensor, last: Shape, sizes: Shape) -> Tensor:
    """Σ_p volume[p] with_this[p + last − j] for each j of a box of the given sizes."""
    sizes_of_both = zip(volume.shape, with_this.shape, strict=True)
    grid = [good_size(n + m, even=axis == 2) for axis, (n, m) in enumerate(sizes_of_both)]
    product = torch.fft.rfftn(volume, grid).conj() * torch.fft.rfftn(with_this, grid)
    found: Tensor = torch.fft.irfftn(product, grid)
    for axis, (n, end, size) in enumerate(zip(sizes, last, grid, strict=True)):
        found = found.index_select(axis, (end - torch.arange(n, device=found.device)) % size)
    return found


def passed_through(volume: Tensor, transfer: Tensor, grid: Shape) -> Tensor:
    """Filter a volume, filled up with zeros to a grid, by a real transfer at the samples of `half_frequencies`."""
    filtered: Tensor = torch.fft.irfftn(torch.fft.rfftn(volume, grid) * transfer, grid)
    return filtered[tuple(slice(0, n) for n in volume.shape)]
