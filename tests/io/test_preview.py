"""Pictures: sizes, proportions, and that they show what they should."""

import numpy as np
import pytest
from PIL import Image

from microdeconv.io.preview import projections, write_preview, write_psf_picture
from microdeconv.stack import Zyx


@pytest.mark.parametrize(
    ("shape", "stretch"), [((8, 400, 300), 3.0), ((1, 64, 64), 3.0), ((20, 1500, 1600), 1.0), ((3, 5, 4), 2.0)]
)
def test_preview_has_both_images_in_proportion(tmp_path, shape, stretch):
    volume = np.zeros(shape, np.float32)
    volume[shape[0] // 2, shape[1] // 4 : shape[1] // 2 + 1, shape[2] // 2 :] = 1
    path = tmp_path / "p.png"
    write_preview(
        path,
        [("before", *projections(volume)), ("after", *projections(volume))],
        Zyx(0.1 * stretch, 0.1, 0.1),
        overwrite=False,
    )
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[1] <= 1700
    assert pixels.shape[1] >= 600
    assert pixels.max() > 240
    half = pixels.shape[1] // 2
    assert (pixels[40:, :half] > 200).any()
    assert (pixels[40:, half:] > 200).any()


def test_psf_picture_shows_five_decades(tmp_path):
    grids = np.meshgrid(*[np.arange(-10, 11)] * 3, indexing="ij")
    psf = np.exp(-0.5 * sum(g**2 for g in grids) / 4)
    write_psf_picture(tmp_path / "p.png", psf, None, "Gaussian", overwrite=False)
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture).astype(int)
    half = pixels.shape[1] // 2
    assert (pixels[30:, half:] > 30).mean() > 2 * (pixels[30:, :half] > 30).mean()
