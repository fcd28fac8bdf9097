"""How far a PSF's light reaches."""

import numpy as np

from microdeconv.extent import support
from microdeconv.stack import Psf


def test_support_of_a_box_grows_with_the_share() -> None:
    """Of a row of 11 equal voxels, 1, 3, … 11 hold 1/11, 3/11, … of the light."""
    pixels = np.zeros((3, 5, 15), np.float32)
    pixels[1, 2, 2:13] = 1 / 11
    psf = Psf(pixels, None, None, "test")
    assert [support(psf, s) for s in (1 / 11, 3 / 11, 0.5, 0.99, 1.0)] == [
        (0, 0, 0), (0, 0, 1), (0, 0, 3), (0, 0, 5), (0, 0, 5),
    ]  # fmt: skip


def test_support_counts_both_sides() -> None:
    pixels = np.zeros((1, 1, 9), np.float32)
    pixels[0, 0, [1, 4, 5]] = [0.2, 0.5, 0.3]
    psf = Psf(pixels, None, None, "test")
    assert [support(psf, s)[2] for s in (0.49, 0.79, 0.81)] == [0, 1, 3]
