"""The forward model: what the microscope does to an object, y = H x, and its adjoint.

The object is estimated beyond the field as well, since light from there comes in: the object grid is the field with a
margin on every side. The margin is a part of the PSF's half-width; light from beyond it is a little less than right.

A PSF that changes over the field is blended: H x = Σ Hᵢ (wᵢ x), with weights on the object that fall linearly from one
at the place of PSF i to zero at its neighbours' and sum to one everywhere. So a voxel's light keeps its sum, whatever
lies between, and the adjoint is Σ wᵢ Hᵢᵀ y. Of n PSFs a step takes (n + 1) / 2 of the time of one.

J. G. Nagy, D. P. O'Leary, SIAM J. Sci. Comput. 19, 1063 (1998); L. Denis et al., Int. J. Comput. Vis. 115, 253 (2015),
for weights on the object.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microdeconv.fft import Convolver, Shape, Share, good_size
from microdeconv.stack import Psf, PsfSet

Fading = tuple[tuple[int, int], tuple[int, int]]  # voxels along (y, x): from where on, and where it has gone
MARGIN = 0.25
LEAST_MARGIN = 12  # voxels, or the whole half-width of a PSF that is smaller: there it costs little
ROOM = 24  # zeros along y and x, at least, between one border and the other: filters reach further than a small PSF
LEAST_SEEN = 0.05  # object voxels of which less than this share of the light is seen are not estimated


class Blur:
    """Convolution of an object on its grid with a PSF, the same everywhere or changing, seen on the field.

    Parameters
    ----------
    psf
        Sums to one, sizes odd; or several with their places.
    field
        Sizes (z, y, x) of the image.
    device
        A torch device.
    margin
        Width of the object's margin, as a share of the PSF's half-width: 1 is all that can be seen, 0 none of it.
    origin
        Where the image begins in the field that the places of several PSFs are counted in, voxels.
    room
        Zeros more along y and x, voxels: what filters make of one border does not come out at the other.

    Attributes
    ----------
    psf, field, origin
        As given.
    object_shape
        Sizes of the object grid, field and margins.
    grid
        Sizes of the transform.
    """

    def __init__(
        self,
        psf: Psf | PsfSet,
        field: Shape,
        device: str | torch.device = "cpu",
        margin: float = MARGIN,
        origin: Shape = (0, 0, 0),
        room: int = 0,
    ) -> None:
        self.psf, self.field, self.origin, self._reach = psf, field, origin, margin
        self.margin, self.object_shape, self.grid = plan_grids(psf.shape, field, margin, room)
        acting, shares = [*psf.parts], list[Share]()
        if isinstance(psf, PsfSet):
            start = [o - m for o, m in zip(origin, self.margin, strict=True)]
            found = _shares(psf, start, self.object_shape, device)
            acting = [part for part, share in zip(psf.parts, found, strict=True) if share is not None]
            shares = [share for share in found if share is not None]
        kernels = [torch.as_tensor(one.pixels, dtype=torch.float32, device=device) for one in acting]
        self._convolver = Convolver(kernels, self.grid, shares)

    @cached_property
    def normalisation(self) -> Tensor:
        """Hᵀ1, float32 on the object grid: the share of a voxel's light that falls in the field."""
        with torch.inference_mode(False), torch.no_grad():  # whoever asks first: gradients may go through it later
            return self.adjoint(torch.ones(self.field, device=self.device))

    @property
    def apart(self) -> tuple[int, int]:
        """Zeros along y and x, at least, between one border and the other, voxels: filters may reach so far."""
        y, x = (_apart(n // 2) for n in self.psf.shape[1:])
        return y, x

    def with_room(self, voxels: int) -> Blur:
        """The same model with so many zeros more along y and x."""
        return Blur(self.psf, self.field, self.device, self._reach, self.origin, voxels)

    def placed(self, origin: Shape) -> Blur:
        """The same model of a part that begins elsewhere in the field.

        Raises
        ------
        ValueError
            When the PSF changes along y or x: another part has others.
        """
        if origin == self.origin:
            return self
        if isinstance(self.psf, PsfSet) and self.psf.lateral:
            raise ValueError("this PSF changes over the field")
        same = copy.copy(self)
        same.origin = origin
        return same

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self._convolver.spectrum.device

    def forward(self, x: Tensor, out: Tensor | None = None, filtered: Tensor | None = None) -> Tensor:
        """Blur: object grid → field, float32; into `out` if it is given; with `filtered_otf`'s, the adjoint of that."""
        return self._convolver.convolve(x, self.margin, x.new_empty(self.field) if out is None else out, filtered)

    def adjoint(self, y: Tensor, filtered: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Spread back: field → object grid, float32, into `out` if given; filtered as well with `filtered_otf`'s."""
        out = y.new_empty(self.object_shape) if out is None else out
        return self._convolver.correlate(y, self.margin, out, filtered)

    def adjoints(self, y: Tensor, filtered: Tensor, out: Tensor, plain: Tensor) -> None:
        """Fill `out` with `adjoint` filtered and `plain` with it unfiltered, whose transform serves both."""
        self._convolver.correlate_both(y, self.margin, filtered, out, plain)

    def restore(self, x: Tensor, transfer: Tensor, fading: Fading | None = None) -> Tensor:
        """Apply conj(OTF) · transfer within the object grid: the shape of every linear restoration filter.

        Of several PSFs each one's filter acts for itself, and the results are blended like the PSFs.
        """
        kernel = self.filtered_otf(transfer, fading)
        return self._convolver.correlate(x, (0, 0, 0), torch.empty_like(x), kernel)

    def filtered_otf(self, transfer: Tensor, fading: Fading | None = None) -> Tensor:
        """OTF · transfer, for `adjoint`: real filters sampled like `power`, at no further transform.

        Given `fading`, the influence of one voxel on another fades from so many voxels along y and x on, and has gone
        at so many.
        """
        kernel = self._convolver.spectrum * transfer
        return self._convolver.fade(kernel, *fading) if fading else kernel

    def frequencies(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles per voxel of the samples of `power` and of transfers along z, y and x, shaped to broadcast."""
        z, y, x = self._convolver.frequencies()
        return z.float(), y.float(), x.float()

    def power(self) -> Tensor:
        """|OTF|² at the samples of the transform, float32; of each PSF, along the first axis."""
        spectrum = self._convolver.spectrum
        return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)

    def crop(self, x: Tensor) -> Tensor:
        """The part of an object that lies in the field."""
        return x[tuple(slice(m, m + n) for m, n in zip(self.margin, self.field, strict=True))]

    def flat(self, value: float) -> Tensor:
        """An object of one value everywhere."""
        return torch.full(self.object_shape, value, device=self.device)

    def inverse_normalisation(self) -> Tensor:
        """1 / Hᵀ1, and zero where too little of a voxel is seen for it to be estimated."""
        seen = self.normalisation > LEAST_SEEN
        return torch.where(seen, 1 / self.normalisation.clamp_min(LEAST_SEEN), self.normalisation.new_zeros(()))


def hats(places: Sequence[float], start: float, n: int) -> NDArray[np.float32]:
    """Weights of the places (first axis) at n voxels from `start` on: one at its own place, zero at the neighbours'.

    Beyond the ends the first and the last place have it all; so weights sum to one everywhere.
    """
    at = start + np.arange(n)
    return np.array([np.interp(at, places, alone) for alone in np.eye(len(places))], dtype=np.float32)


def _shares(psf: PsfSet, start: Sequence[int], shape: Shape, device: str | torch.device) -> list[Share | None]:
    """What of a box of the field each PSF acts on; nothing where it has no weight in it."""
    along = [hats(*axis) for axis in zip(psf.places, start, shape, strict=True)]
    found: list[Share | None] = []
    for place in np.ndindex(*(len(places) for places in psf.places)):
        lines = [weights[i] for weights, i in zip(along, place, strict=True)]
        spans = [np.flatnonzero(line) for line in lines]
        if not all(span.size for span in spans):
            found.append(None)
            continue
        weights = []
        for axis, (line, span) in enumerate(zip(lines, spans, strict=True)):
            if len(psf.places[axis]) > 1:
                shaped = line[span[0] : span[-1] + 1].reshape([-1 if a == axis else 1 for a in range(3)])
                weights.append(torch.as_tensor(shaped, device=device))
        corner, size = _shape([int(s[0]) for s in spans]), _shape([int(s[-1] - s[0]) + 1 for s in spans])
        found.append(Share(corner, size, tuple(weights)))
    return found


def plan_grids(
    kernel: tuple[int, ...], field: Shape, margin: float = MARGIN, room: int = 0
) -> tuple[Shape, Shape, Shape]:
    """Give the object's margin, the object grid and the transform grid for a PSF and a field, in voxels.

    Between the borders lie as many zeros along y and x as the PSF is half wide, `ROOM` at least, and `room` more.
    """
    half = [k // 2 for k in kernel]
    least = LEAST_MARGIN if margin else 0
    wide = [min(h, max(math.ceil(margin * h), least)) for h in half]
    shape = [n + 2 * w for n, w in zip(field, wide, strict=True)]
    apart = [half[0], *(_apart(h) + room if h else 0 for h in half[1:])]
    needed = [max(n + w + a, o, k) for n, w, a, o, k in zip(field, wide, apart, shape, kernel, strict=True)]
    grid = [good_size(n, even=axis == 1) for axis, n in enumerate(needed)]
    return _shape(wide), _shape(shape), _shape(grid)


def _apart(half: int) -> int:
    return max(half, ROOM) if half else 0


def _shape(sizes: list[int]) -> Shape:
    z, y, x = sizes
    return z, y, x
