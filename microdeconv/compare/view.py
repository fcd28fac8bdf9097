"""The part of a stack that is looked at closely, and what a result says it should look like."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.problem import Problem
from microdeconv.psf.from_counts import telling_box

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from microdeconv.blur import Blur
    from microdeconv.compare.case import Case, Entry
    from microdeconv.stack import Psf, PsfSet

    Image = NDArray[np.float32]
    Box = tuple[slice, ...]

LOOKED_AT = 1_200_000  # voxels, at most
EDGE = 0.1  # of each axis, at either end, where light from outside is uncertain
STEPS = 30  # of Richardson and Lucy, by which the light from outside is found
LEAST = 1e-6  # of the mean light: no model is darker


@dataclass(frozen=True, slots=True)
class View:
    """A box of the case in photo-electrons, and the models that PSFs make of results.

    What lies beyond the box sends light into it. That is estimated once for each PSF, by some steps of Richardson
    and Lucy on the box alone, and is the same for all results; the rim that it decides most is left out of `inner`.

    Attributes
    ----------
    case
        Which.
    box
        Where: the brightest part of at most 1.2 million voxels.
    light
        Photo-electrons (z, y, x) of the box, the camera's offset taken off.
    dark
        Photo-electrons of a voxel without any object.
    inner
        The middle 80 % of the box along each axis longer than one.
    """

    case: Case
    box: Box
    light: Image
    dark: float
    inner: Box
    _known: dict[int, tuple[Blur, Image]] = field(default_factory=dict)
    _models: dict[str, Image] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> View:
        """Choose the box of a case."""
        box = telling_box(case.raw, case.background, LOOKED_AT)
        light = np.asarray(case.camera.to_light(case.raw[box].astype(np.float32)), np.float32)
        dark = max((case.background - case.camera.offset) / case.camera.gain, 0.0)
        return cls(case, box, light.clip(0), dark, middle(light.shape))

    def psf_of(self, entry: Entry) -> Psf | PsfSet | None:
        """By which a result is blurred again: its own, or the case's."""
        return entry.psf or self.case.psf

    def predicted(self, entry: Entry) -> Image | None:
        """What the box should look like: float32, photo-electrons, > 0; None without a PSF. It is kept."""
        psf = self.psf_of(entry)
        if psf is None:
            return None
        if entry.name not in self._models:
            self._models[entry.name] = self.blurred(entry.image, psf)
        return self._models[entry.name]

    def blurred(self, image: Image, psf: Psf | PsfSet) -> Image:
        """What a result says the box should look like, seen with a PSF: float32, photo-electrons, > 0."""
        import torch

        blur, outside = self.seen_with(psf)
        with torch.inference_mode():
            seen = blur.forward(_padded(self.electrons(image), blur)).numpy()
        model = seen + outside + np.float32(self.dark)
        least = LEAST * max(float(self.light.mean()), LEAST)
        return np.asarray(np.maximum(model, least), np.float32)

    def electrons(self, image: Image) -> Image:
        """The box of a result in photo-electrons."""
        return np.asarray(image[self.box] / np.float32(self.case.camera.gain), np.float32)

    def seen_with(self, psf: Psf | PsfSet) -> tuple[Blur, Image]:
        """The forward model of the box, and the light that comes from beyond it, photo-electrons."""
        import torch

        from microdeconv.blur import Blur

        if id(psf) not in self._known:
            z, y, x = self.light.shape
            start = tuple(int(s.start) for s in self.box)
            with torch.inference_mode():
                blur = Blur(psf, (z, y, x), origin=(start[0], start[1], start[2]))
                self._known[id(psf)] = blur, self._outside(blur)
        return self._known[id(psf)]

    def _outside(self, blur: Blur) -> Image:
        """Light from beyond the box, photo-electrons on the box."""
        import torch

        light = torch.from_numpy(self.light)
        level = max(float(light.mean()) - self.dark, LEAST)
        problem = Problem(light, blur, self.dark, level)
        beyond = next(islice(richardson_lucy(problem, RichardsonLucy()), STEPS - 1, None)).image.clone()
        blur.crop(beyond).zero_()
        return np.asarray(blur.forward(beyond).numpy())


def middle(shape: tuple[int, ...]) -> Box:
    """The middle 80 % along each axis."""
    return tuple(slice(int(n * EDGE), n - int(n * EDGE)) for n in shape)


def deviance_map(counts: Image, predicted: Image) -> NDArray[Any]:
    """2 (m − y + y log(y / m)), float32, voxel by voxel, for counts ≥ 0 and a model > 0."""
    from scipy.special import xlogy

    return np.asarray(2 * (predicted - counts + xlogy(counts, counts / predicted)))


def _padded(inside: Image, blur: Blur) -> Tensor:
    import torch

    whole = torch.zeros(blur.object_shape)
    blur.crop(whole).copy_(torch.from_numpy(np.ascontiguousarray(inside)))
    return whole
