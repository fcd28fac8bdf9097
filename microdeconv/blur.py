"""The forward model: what the microscope does to an object, y = H x, and its adjoint.

The object is estimated beyond the field as well, since light from there comes in: the object grid is the field with a
margin on every side. The margin is a part of the PSF's half-width; light from beyond it is a little less than right.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from microdeconv.fft import Convolver, Shape, good_size
from microdeconv.stack import Psf

MARGIN = 0.25
LEAST_MARGIN = 12  # voxels, or the whole half-width of a PSF that is smaller: there it costs little
LEAST_SEEN = 0.05  # object voxels of which less than this share of the light is seen are not estimated


class Blur:
    """Convolution of an object on its grid with a PSF, seen on the field.

    Parameters
    ----------
    psf
        Sums to one, sizes odd.
    field
        Sizes (z, y, x) of the image.
    device
        A torch device.
    margin
        Width of the object's margin, as a share of the PSF's half-width: 1 is all that can be seen, 0 none of it.

    Attributes
    ----------
    object_shape
        Sizes of the object grid, field and margins.
    grid
        Sizes of the transform.
    normalisation
        Hᵀ1, float32 on the object grid: the share of a voxel's light that falls in the field.
    """

    def __init__(self, psf: Psf, field: Shape, device: str | torch.device = "cpu", margin: float = MARGIN) -> None:
        plan = plan_grids(psf.pixels.shape, field, margin)
        self.field = field
        self.margin, self.object_shape, self.grid = plan
        kernel = torch.as_tensor(psf.pixels, dtype=torch.float32, device=device)
        self._convolver = Convolver(kernel, self.grid)
        self.normalisation = self.adjoint(torch.ones(field, device=device))

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self._convolver.spectrum.device

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Blur: object grid → field, float32; into `out` if it is given."""
        return self._convolver.convolve(x, self.margin, x.new_empty(self.field) if out is None else out)

    def adjoint(self, y: Tensor, filtered: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Spread back: field → object grid, float32, into `out` if given; filtered as well with `filtered_otf`'s."""
        out = y.new_empty(self.object_shape) if out is None else out
        return self._convolver.correlate(y, self.margin, out, filtered)

    def restore(self, x: Tensor, transfer: Tensor) -> Tensor:
        """Apply conj(OTF) · transfer within the object grid: the shape of every linear restoration filter."""
        return self._convolver.correlate(x, (0, 0, 0), torch.empty_like(x), self.filtered_otf(transfer))

    def filtered_otf(self, transfer: Tensor) -> Tensor:
        """OTF · transfer, for `adjoint`: a real filter sampled like `power`, at no further transform."""
        return self._convolver.spectrum * transfer

    def frequencies(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles per voxel of the samples of `power` and of transfers, along z, y and x, shaped to broadcast."""
        z, y, x = self._convolver.frequencies()
        return z.float(), y.float(), x.float()

    def power(self) -> Tensor:
        """|OTF|² at the samples of the transform, float32."""
        return self._convolver.spectrum.abs().square_()

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


def plan_grids(kernel: tuple[int, ...], field: Shape, margin: float = MARGIN) -> tuple[Shape, Shape, Shape]:
    """Give the object's margin, the object grid and the transform grid for a PSF and a field, in voxels."""
    half = [k // 2 for k in kernel]
    least = LEAST_MARGIN if margin else 0
    wide = [min(h, max(math.ceil(margin * h), least)) for h in half]
    shape = [n + 2 * w for n, w in zip(field, wide, strict=True)]
    needed = [max(n + w + h, o, k) for n, w, h, o, k in zip(field, wide, half, shape, kernel, strict=True)]
    grid = [good_size(n, even=axis == 1) for axis, n in enumerate(needed)]
    return _shape(wide), _shape(shape), _shape(grid)


def _shape(sizes: list[int]) -> Shape:
    z, y, x = sizes
    return z, y, x
