"""The same settings on two halves of the light: what both results agree on is no noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.engine import plan_cut
from microdeconv.machine import release
from microdeconv.psf.from_counts import telling_box
from microdeconv.refine import deconvolve, of_share
from microdeconv.settle import DELTA, Listen, Settings
from microdeconv.stack import PsfSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.camera import Camera
    from microdeconv.planning import Plan
    from microdeconv.stack import Psf

    Image = NDArray[np.float32]
    Box = tuple[slice, ...]

PLANES = 24  # beyond the PSF's half-depth from which the telling box is blurred


@dataclass(slots=True)
class Halves:
    """Two halves of a volume's photo-electrons, shared out once and deconvolved by every method.

    Of a large volume only the telling box that figures look at is deconvolved, and what it is blurred from: the
    results are zero beyond it, and such pages of memory are never touched.

    Attributes
    ----------
    volume
        Counts (z, y, x).
    camera
        Offset and gain.
    background
        Counts, offset included.
    shared_out
        Photo-electrons of both halves, once they were asked for.
    """

    volume: NDArray[Any]
    camera: Camera
    background: float
    shared_out: tuple[Image, Image] | None = None

    def deconvolved(self, todo: Plan, settings: Settings, listen: Listen) -> tuple[Image, Image]:
        """Deconvolve both halves as the whole was: the same steps and parameters.

        Parameters
        ----------
        todo
            Its first channel's PSF, the method and the machine are used.
        settings
            Those of the whole.
        listen
            See `deconvolve`.

        Returns
        -------
        tuple
            float32 (z, y, x), counts above the background, brought to the scale of the whole.
        """
        from microdeconv.compare.halves import halves_of_counts
        from microdeconv.compare.view import LOOKED_AT

        if self.shared_out is None:
            self.shared_out = halves_of_counts(self.volume, self.camera)
        psf, method = todo.channels[0].psf, todo.method
        inner = telling_box(self.volume, self.background, LOOKED_AT)
        halo = todo.channels[0].cut.halo
        box = _grown(inner, (psf.shape[0] // 2 + PLANES, *halo), self.volume.shape)
        shape = tuple(span.stop - span.start for span in box)
        own = _moved_psf(psf, box)
        cut = plan_cut((shape[0], shape[1], shape[2]), own, method, todo.machine, todo.values["tile"].value, 0)
        part = of_share(settings, 0.5)
        found = []
        for place, light in enumerate(self.shared_out):
            if method.keeps_counts:
                image = light[box] - np.float32(part.background)
            else:
                image = deconvolve(light[box], own, method, part, todo.machine, cut, _of_half(listen, place)).image
            whole = np.zeros(self.volume.shape, np.float32)
            whole[box] = image * np.float32(2 * settings.camera.gain)
            found.append(whole)
            release(todo.machine.device)
        return found[0], found[1]


def _of_half(listen: Listen, place: int) -> Listen:
    return lambda work, step, steps: listen(f"half {place + 1}, {work}", step, steps)


def _grown(box: Box, reach: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box with what lies around it, as far as the volume goes."""
    return tuple(
        slice(max(0, span.start - n), min(size, span.stop + n)) for span, n, size in zip(box, reach, shape, strict=True)
    )


def _moved_psf(psf: Psf | PsfSet, box: Box) -> Psf | PsfSet:
    """The PSF, its places counted from the box's corner."""
    if psf is DELTA or not isinstance(psf, PsfSet):
        return psf
    places = [tuple(p - span.start for p in along) for along, span in zip(psf.places, box, strict=True)]
    return replace(psf, places=(places[0], places[1], places[2]))
