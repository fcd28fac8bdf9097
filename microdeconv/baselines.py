"""The program's own methods on samples of known truth, as a user would run them who knows the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microdeconv.camera import CameraOptions
from microdeconv.engine import plan_cut
from microdeconv.machine import Machine
from microdeconv.methods import METHODS
from microdeconv.refine import deconvolve
from microdeconv.settle import settle
from microdeconv.solve import Stopping

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from microdeconv.learnt.evaluation import Restore
    from microdeconv.learnt.samples import Sample


def automatic(name: str, machine: Machine, parameters: Any = None) -> Restore:
    """A method with everything chosen from the data but offset, gain and background, which are known.

    Parameters
    ----------
    name
        A key of `METHODS`.
    machine
        Where to compute.
    parameters
        The method's; None: its defaults.
    """
    method = METHODS[name]
    chosen = method.parameters() if parameters is None else parameters

    def restored(sample: Sample) -> NDArray[np.float32]:
        camera = CameraOptions(background=sample.background, offset=0.0, gain=1.0)
        settings = settle(sample.light, sample.psf, 0, method, chosen, camera, Stopping(), machine)
        z, y, x = sample.light.shape
        cut = plan_cut((z, y, x), sample.psf, method, machine, "off", 0)
        return deconvolve(sample.light, sample.psf, method, settings, machine, cut).image

    return restored
