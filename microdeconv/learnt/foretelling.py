"""A judge of PSFs that knows what objects look like: the network in the place of a prior."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from microdeconv.learnt.method import Learnt, learnt, through
from microdeconv.psf.fit import judged, problem_of

if TYPE_CHECKING:
    from microdeconv.psf.fit import Fit, Split
    from microdeconv.stack import Psf


def foretold_by_network(split: Split, psf: Psf) -> Fit:
    """Find how well a PSF foretells the held-out counts when the network finds the object.

    Whoever restores objects worse than could be lets PSFs that are too wide foretell better: they hold down its noise.
    Total variation does so with smooth objects; a network that was trained on many kinds, with the PSF before its eyes,
    hardly does. It knows planes best; in volumes it speaks against spherical aberration.

    Parameters
    ----------
    split
        From `split_counts`.
    psf
        On the image's voxels.
    """
    import torch

    from microdeconv.blur import Blur

    with torch.inference_mode():
        problem = problem_of(split, psf)
        (iterate,) = learnt(problem, Learnt())
        shape = split.kept.shape
        blur = Blur(through(psf), (shape[0], shape[1], shape[2]), split.kept.device)
        return judged(replace(problem, blur=blur), split, iterate.image, 1)
