"""The parts of the network. "Deconvolution" has four meanings, and each has its place here or next to it.

The optical inversion is the microscope's H and Hᵀ (`physics`); a transposed convolution is `Unit`'s second half and the
way up in `UNet`; network deconvolution, the decorrelation of channels, is `Decorrelation`; the projection of a filter
back to its input through the stored switches of the pooling is `explain`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-3  # of a channel's variance: correlations beyond it are not undone
SETTLING = 400  # batches after which the statistics of a decorrelation stand still
MEMORY = 0.98  # of the running statistics
SLOPE = 0.1  # of the leaky parts
CLOSE = 0.03  # to the largest of four: it has a share in the switch


class Decorrelation(nn.Module):
    """Takes the mean of channels away and undoes their correlations: y = D (x − m), D the inverse root of theirs.

    Statistics are gathered over the first batches of a training and then stand still. With `pixels` the 3 x 3
    neighbours of each channel are decorrelated with it, and the middle ones given.

    Parameters
    ----------
    channels
        Of the input (n, channels, y, x).
    pixels
        Whether neighbours are decorrelated as well.

    References
    ----------
    C. Ye et al., Network deconvolution, ICLR 2020.
    """

    mean: Tensor
    covariance: Tensor
    seen: Tensor
    matrix: Tensor

    def __init__(self, channels: int, *, pixels: bool = False) -> None:
        super().__init__()
        self.size = 3 if pixels else 1
        self.channels = channels
        n = channels * self.size**2
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("covariance", torch.eye(n))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer(
            "matrix", torch.eye(channels).reshape(channels, channels, 1, 1).repeat(1, 1, *[self.size] * 2)
        )
        nn.init.zeros_(self.matrix)
        self.matrix[:, :, self.size // 2, self.size // 2] = torch.eye(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Give the decorrelated channels, of the shape of the input."""
        if self.training and self.seen < SETTLING:
            self._gather(x.detach())
        matrix = self.matrix.clone()  # a later batch may gather before this one's gradient is taken
        shift = -nn.functional.conv2d(self.mean.reshape(1, self.channels, self.size, self.size), matrix).flatten()
        if self.size > 1:
            x = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv2d(x, matrix, shift)

    def _gather(self, x: Tensor) -> None:
        columns = x.transpose(0, 1).flatten(1)
        if self.size > 1:
            columns = nn.functional.unfold(x, 3).transpose(0, 1).flatten(1)
        mean = columns.mean(1)
        covariance = (columns - mean[:, None]) @ (columns - mean[:, None]).T / columns.shape[1]
        kept = 0.0 if self.seen == 0 else MEMORY
        self.mean.mul_(kept).add_(mean, alpha=1 - kept)
        self.covariance.mul_(kept).add_(covariance, alpha=1 - kept)
        self.seen += 1
        spread = self.covariance.diagonal().clamp_min(1e-8).sqrt()
        values, vectors = torch.linalg.eigh((self.covariance / spread / spread[:, None]).double())
        whitening = (vectors * (values.clamp_min(0) + EPSILON).rsqrt()) @ vectors.T
        rows = (whitening / spread).float().reshape(self.channels, -1, self.channels, self.size**2)
        middle = rows[:, rows.shape[1] // 2] if self.size > 1 else rows[:, 0]
        self.matrix.copy_(middle.reshape(self.channels, self.channels, self.size, self.size))


class Unit(nn.Module):
    """Iterative residual deconvolution: x − Cᵀ PReLU(C x), with C and Cᵀ learnt apart; starts as the identity.

    Parameters
    ----------
    channels
        Of input and output (n, channels, y, x).
    transposed
        Whether the second half is a transposed convolution; else an ordinary one.
    residual
        Whether what is found is taken off the input; else it stands for it.

    References
    ----------
    L. Si-Yao et al., Iterative Residual Image Deconvolution, arXiv:1804.06042.
    """

    def __init__(self, channels: int, *, transposed: bool = True, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.analysis = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.PReLU(channels, 0.25)
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.synthesis = kind(channels, channels, 3, padding=1)
        if residual:
            nn.init.zeros_(self.synthesis.weight)
            nn.init.zeros_(self.synthesis.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Give channels of the shape of the input."""
        found: Tensor = self.synthesis(self.activation(self.analysis(x)))
        if not self.residual:
            return found
        return x - found if torch.is_grad_enabled() else torch.sub(x, found, out=found)


class Axial(nn.Module):
    """Mixes each plane's channels with those above and below: x + Σ W_d x(z + d); starts as the identity.

    Three matrices for each voxel: several times quicker than a 3-D convolution. A single plane is left as it is, so
    that one set of weights serves 2-D and 3-D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.here, self.above, self.below = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(3))
        for one in (self.here, self.above, self.below):
            nn.init.zeros_(one.weight)

    def forward(self, x: Tensor, planes: int) -> Tensor:
        """Mix (n · planes, channels, y, x); nothing lies beyond the first and the last plane."""
        if planes == 1:
            return x
        volume = x.reshape(-1, planes, *x.shape[1:])
        mixed: Tensor = self.here(x)
        seen = mixed.view(volume.shape)
        seen[:, :-1] += self.above(volume[:, 1:].flatten(0, 1)).reshape(volume[:, 1:].shape)
        seen[:, 1:] += self.below(volume[:, :-1].flatten(0, 1)).reshape(volume[:, 1:].shape)
        return x + mixed if torch.is_grad_enabled() else mixed.add_(x)


class UNet(nn.Module):
    """Down twice by pooling with switches, up again by unpooling through them and a transposed convolution.

    Parameters
    ----------
    inputs
        Channels of the input (n · planes, inputs, y, x), y and x multiples of 4.
    widths
        Channels at full, half and quarter size.
    transposed, residual
        See `Unit`.
    switches
        Whether values come up to the places that they had; else they are interpolated.

    References
    ----------
    H. Noh, S. Hong, B. Han, Learning deconvolution network for semantic segmentation, ICCV 2015.
    """

    def __init__(
        self, inputs: int, widths: tuple[int, int, int], *, transposed: bool = True, residual: bool = True,
        switches: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        a, b, c = widths
        self.switches = switches
        self.first = nn.Conv2d(inputs, a, 3, padding=1, padding_mode="replicate")
        self.units = nn.ModuleList(Unit(n, transposed=transposed, residual=residual) for n in (a, b, c, b, a))
        self.axial = nn.ModuleList(Axial(n) for n in (a, b, c, b, a))
        self.narrow = nn.ModuleList([nn.Conv2d(a, b, 1), nn.Conv2d(b, c, 1)])
        self.widen = nn.ModuleList([nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)])
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.dense = nn.ModuleList([kind(b, b, 3, padding=1), kind(a, a, 3, padding=1)])
        self.last = nn.Conv2d(a, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, planes: int) -> Tensor:
        """Give one channel (n · planes, 1, y, x)."""
        x = self._at(0, self.first(x), planes)
        left = []
        for level in (0, 1):
            smaller, switch = pooled(x)
            left.append((x, switch))
            x = self._at(level + 1, self.narrow[level](smaller), planes)
        for level in (0, 1):
            skip, switch = left.pop()  # what has served is let go: half of the memory of a pass
            x = self._up(self.widen[level](x), switch)
            x = self.dense[level](nn.functional.leaky_relu(x, SLOPE, inplace=True)).add_(skip)
            del skip, switch
            x = self._at(level + 3, x, planes)
        found: Tensor = self.last(x)
        return found

    def _at(self, number: int, x: Tensor, planes: int) -> Tensor:
        mixed: Tensor = self.axial[number](self.units[number](x), planes)
        return mixed

    def _up(self, x: Tensor, switch: Tensor) -> Tensor:
        if not self.switches:
            return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return unpooled(x, switch)


def pooled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of 2 x 2, and the switch: one where it was, zero elsewhere.

    What is close to the largest has a share in the switch, all the more the closer it is. So the switch does not jump:
    rounding, which is another in a tile than in the whole, shows no more in the result than in what came in.

    Parameters
    ----------
    x
        float32 (n, c, y, x), y and x even.

    Returns
    -------
    tuple
        float32 (n, c, y / 2, x / 2), and the switches (n, c, y, x), which sum to one over each 2 x 2.
    """
    with torch.no_grad():
        switch = x.clone()
        fours = _fours(switch)
        fours.sub_(_one_of_four(nn.functional.max_pool2d(x, 2))).div_(CLOSE).add_(1).clamp_min_(0)
        fours.div_(_one_of_four(4 * nn.functional.avg_pool2d(switch, 2)))
    return 4 * nn.functional.avg_pool2d(x * switch, 2), switch


def unpooled(x: Tensor, switch: Tensor) -> Tensor:
    """Bring values (n, c, y, x) up to the places that a switch (n, c, 2 y, 2 x) tells, zero elsewhere.

    Without gradients the switch is used up: its memory is the answer's.
    """
    if torch.is_grad_enabled():
        return (_fours(switch) * _one_of_four(x)).flatten(4, 5).flatten(2, 3)
    _fours(switch).mul_(_one_of_four(x))
    return switch


def _fours(x: Tensor) -> Tensor:
    """2 x 2 along axes of their own: (n, c, y / 2, 2, x / 2, 2), the same memory."""
    n, c, y, width = x.shape
    return x.view(n, c, y // 2, 2, width // 2, 2)


def _one_of_four(x: Tensor) -> Tensor:
    return x[:, :, :, None, :, None]
