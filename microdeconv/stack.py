"""Stacks and PSFs: what a file says, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from microdeconv.optics import Optics, missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Container = Literal["imagej", "ome", "plain", "zarr"]
AXES = "TCZYX"


class Zyx(NamedTuple):
    """Three numbers in the one order used everywhere: z, y, x."""

    z: float
    y: float
    x: float


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a stack: its name, its colour (red, green, blue, 0 to 255) and its optics."""

    name: str | None = None
    colour: tuple[int, int, int] | None = None
    optics: Optics = field(default_factory=Optics)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its pixels.

    Attributes
    ----------
    axes
        Subset of "TCZYX", in that order, ending in "YX".
    shape
        Sizes along `axes`.
    voxel_um
        Voxel size in µm; z is nan when the file does not know it; None when it knows nothing.
    channels
        One for each channel, never empty.
    extras
        What the container holds besides, kept to be written back (ImageJ `Info`, `Labels`, `Ranges`, `LUTs`, …).
    notes
        Warnings that a person should read.
    """

    path: Path | None
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_um: Zyx | None = None
    channels: tuple[Channel, ...] = (Channel(),)
    container: Container = "plain"
    extras: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def size(self, axis: str) -> int:
        """Size along one axis; 1 when the stack has no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """Sizes (z, y, x) of one channel at one time point; z is 1 in 2-D."""
        return self.size("Z"), self.size("Y"), self.size("X")

    @property
    def n_bytes(self) -> int:
        """Bytes of all pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def describe_voxel(self) -> str:
        """Voxel size with its unit and order; "unknown" for what the file does not know."""
        if self.voxel_um is None:
            return "unknown"
        return " x ".join("unknown" if math.isnan(v) else f"{v:g}" for v in self.voxel_um) + " µm (z y x)"

    def lacking(self, optics: Optics) -> tuple[str, ...]:
        """Give the flags of what a PSF for this stack cannot be computed without; a single plane needs no z step."""
        voxel = self.voxel_um
        known = voxel is not None and (self.size("Z") == 1 or math.isfinite(voxel.z))
        return (*missing(optics), *(() if known else ("--voxel",)))

    def describe(self) -> str:
        """Axes with their sizes, and the dtype, in one short text."""
        return " ".join(f"{a}{n}" for a, n in zip(self.axes, self.shape, strict=True)) + f" {self.dtype.name}"


@dataclass(frozen=True, slots=True)
class Stack:
    """A header and a way to its pixels, one volume at a time.

    Attributes
    ----------
    read
        `read(t, c)` gives the volume (z, y, x) of time point t and channel c, in the file's dtype and native byte
        order; nobody writes to it.
    window
        `window(t, c, y, x)` gives what two slices take of that volume and reads little else; None where only whole
        volumes are read.
    """

    header: Header
    read: Callable[[int, int], NDArray[Any]]
    window: Callable[[int, int, slice, slice], NDArray[Any]] | None = None

    def part(self, t: int, c: int, y: slice, x: slice) -> NDArray[Any]:
        """Give all planes of a part of a volume, (z, y, x)."""
        return self.window(t, c, y, x) if self.window else self.read(t, c)[:, y, x]

    def volumes(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Give (t, c, volume) for each time point and channel."""
        for t in range(self.header.size("T")):
            for c in range(self.header.size("C")):
                yield t, c, self.read(t, c)

    def pixels(self) -> NDArray[Any]:
        """All pixels in one array, along `header.axes`."""
        import numpy as np

        whole = np.stack([v for _, _, v in self.volumes()])
        return whole.reshape(self.header.shape)

    @classmethod
    def of(cls, pixels: NDArray[Any], axes: str, voxel_um: Zyx | None = None, **details: Any) -> Stack:
        """Make a stack from an array in memory.

        Parameters
        ----------
        pixels
            Along `axes`.
        axes
            Subset of "TCZYX" in that order, ending in "YX".
        voxel_um
            µm.
        details
            Further fields of `Header`.
        """
        if not axes.endswith("YX") or axes != "".join(a for a in AXES if a in axes) or len(axes) != pixels.ndim:
            raise ValueError(f"axes {axes!r} do not fit an array of {pixels.ndim} dimensions")
        header = Header(None, axes, pixels.shape, pixels.dtype, voxel_um, **details)
        if len(header.channels) != header.size("C"):
            header = Header(
                None,
                axes,
                pixels.shape,
                pixels.dtype,
                voxel_um,
                **{**details, "channels": (Channel(),) * header.size("C")},
            )
        volumes = pixels.reshape(header.size("T"), header.size("C"), *header.volume_shape)
        return cls(header, lambda t, c: volumes[t, c])


@dataclass(frozen=True, slots=True)
class Psf:
    """A point spread function made ready: float32, sums to one, sizes odd, its peak in the middle voxel.

    Attributes
    ----------
    pixels
        (z, y, x); z is 1 in 2-D.
    voxel_um
        µm; None when nobody said it.
    source
        "computed", "measured" or "estimated", with details for the record.
    notes
        What was done to it on the way (centred, resampled, cropped, …), for a person.
    off
        Where its centre was found, voxels of its file from the middle; None when nobody looked.
    """

    pixels: NDArray[np.float32]
    voxel_um: Zyx | None
    optics: Optics | None
    source: str
    notes: tuple[str, ...] = ()
    off: Zyx | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes (z, y, x)."""
        return self.pixels.shape

    @property
    def parts(self) -> tuple[Psf, ...]:
        """Itself, alone."""
        return (self,)


@dataclass(frozen=True, slots=True)
class PsfSet:
    """A PSF that changes over the field: one at each point of a grid, blended linearly between, constant beyond it.

    Attributes
    ----------
    parts
        The PSFs, of any odd sizes, in the order of the grid: z slowest, x quickest.
    places
        Where they lie along z, y and x, growing: voxels from the first plane and the field's first row and column. One
        place along an axis: nothing varies along it.
    source
        As a `Psf`'s, of all of them, with their places.
    notes
        Theirs.
    """

    parts: tuple[Psf, ...]
    places: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if math.prod(len(along) for along in self.places) != len(self.parts):
            raise ValueError(f"{len(self.parts)} PSFs do not fill a grid of {self.places}")
        if any(b <= a for along in self.places for a, b in pairwise(along)):
            raise ValueError(f"the places {self.places} do not grow")

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes (z, y, x) that hold each of them."""
        return tuple(max(sizes) for sizes in zip(*(psf.shape for psf in self.parts), strict=True))

    @property
    def optics(self) -> Optics | None:
        """Those of the first: they differ in depth alone."""
        return self.parts[0].optics

    @property
    def voxel_um(self) -> Zyx | None:
        """Theirs."""
        return self.parts[0].voxel_um

    @property
    def lateral(self) -> bool:
        """Whether it changes along y or x."""
        return len(self.places[1]) * len(self.places[2]) > 1
