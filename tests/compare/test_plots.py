"""Chi-square maps: colours with known answers, and a scale that still shows something where nothing fits."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from microdeconv.compare.plots import CHI, DIVERGING, chi_map, chi_top, short


def colours(chi, top=CHI):
    address, words = chi_map(np.array(chi, np.float32), top)
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
    return np.asarray(picture, int), words


@pytest.mark.parametrize("top", [CHI, 100.0])
def test_blue_is_none_white_is_one_and_orange_the_top(top):
    [row], words = colours([[0.0, 1.0, top, 2 * top]], top)
    for found, place in zip(row, (0, 2, 4, 4), strict=True):
        assert found == pytest.approx(DIVERGING[place], abs=1)
    assert words.startswith("mean ")
    assert "50% above 1.5" in words


def test_a_scale_of_two_unless_a_result_fits_nowhere():
    fits = np.random.default_rng(1).gamma(20, 1 / 20, (40, 40)).astype(np.float32)
    fits[0, 0] = 50
    assert chi_top([fits, fits]) == CHI
    top = chi_top([fits, 300 * fits])
    assert 300 < top < 600
    picture, _ = colours(300 * fits, top)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_short_numbers():
    assert [short(v) for v in (0.9323, 5.44, 99.96, 4119.4)] == ["0.932", "5.44", "100", "4,119"]
