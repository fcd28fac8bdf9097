"""A judge of PSFs that knows what objects look like: the network in the place of a prior."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from microdeconv.classical.richardson_lucy import accelerated
from microdeconv.learnt.method import Learnt, object_of, through
from microdeconv.learnt.reconciled import FAINT
from microdeconv.psf.fit import judged, problem_of

if TYPE_CHECKING:
    from microdeconv.psf.fit import Fit, Split
    from microdeconv.stack import Psf

LOOKS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 130)  # steps after the network, from which unused counts are foretold


def foretold_by_network(split: Split, psf: Psf) -> Fit:
    """Find how well a PSF foretells the held-out counts when the network finds the object, and steps refine it.

    Whoever restores objects worse than could be lets wrong PSFs foretell better: where an object is smooth those that
    are too wide, as they hold down its noise, where it is lines those that are too narrow. Total variation does so; a
    network that was trained on many kinds of object, with the PSF before its eyes, hardly does. Where it falls short of
    the counts, as with a PSF that is aberrated more than any it saw, Richardson-Lucy's steps go on from its object; the
    best of them counts, the network's own among them.

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
        found = object_of(problem, Learnt())
        shape = split.kept.shape
        problem = replace(problem, blur=Blur(through(psf), (shape[0], shape[1], shape[2]), split.kept.device))
        best = judged(problem, split, found, 0)
        start = found.clamp_min(FAINT * problem.level)
        steps = accelerated(problem, preconditioned=False, start=start)
        for done, one in enumerate(islice(steps, LOOKS[-1]), 1):
            if done not in LOOKS:
                continue
            fit = judged(problem, split, one.image, done)
            if fit.deviance > best.deviance and done > 2 * best.steps + LOOKS[3]:
                break
            best = min(best, fit, key=lambda fit: fit.deviance)
    return best
