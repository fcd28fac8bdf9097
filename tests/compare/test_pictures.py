"""Pictures of a page: that levels give the counts back, what is kept when there is little room, what is said of it."""

import base64
import io

import numpy as np
import pytest
from compare.cases import a_case
from PIL import Image

from microdeconv.compare.pictures import gallery_of


@pytest.fixture(scope="module")
def case():
    return a_case(shape=(12, 64, 80), entries=2)


def pixels(address):
    kind, text = address.split(",", 1)
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("L"))


def counts(picture, levels):
    return picture.low + (picture.high - picture.low) * (levels / 255) ** 2


def test_order_and_projections(case):
    gallery = gallery_of(case, 10**7)
    assert [p.name for p in gallery.pictures] == ["image", "truth", "rl", "sharpened"]
    assert gallery.planes == tuple(range(12))
    for picture, volume in zip(gallery.pictures[2:], (e.image for e in case.entries), strict=True):
        for view, axis in (("xy", 0), ("xz", 1), ("yz", 2)):
            back, true = counts(picture, pixels(picture.views[view])), volume.max(axis=axis)
            step = 2 * np.sqrt((true - picture.low) * (picture.high - picture.low)) / 255 + 1e-3 * picture.high
            inside = true < picture.high
            assert (np.abs(back - true) < step)[inside].all()


def test_the_image_is_above_its_background_and_the_truth_has_its_light(case):
    image, truth = gallery_of(case, 10**7).pictures[:2]
    assert np.median(counts(image, pixels(image.planes[6]))) == pytest.approx(np.median(case.raw[6]) - 120, abs=2)
    light = np.mean([counts(truth, pixels(p)).mean() for p in truth.planes])
    assert light == pytest.approx(case.raw.mean() - 120, rel=0.1)


@pytest.mark.parametrize(("budget", "words"), [(150_000, "small loss"), (60_000, "every"), (25_000, "averaged")])
def test_less_room_keeps_less_and_says_so(case, budget, words):
    gallery = gallery_of(case, budget)
    assert words in " ".join(gallery.notes)
    assert len(gallery.planes) == len(gallery.pictures[0].planes) >= 1


def test_the_budget_is_kept(case):
    gallery = gallery_of(case, 100_000)
    held = sum(len(a) for p in gallery.pictures for a in (*p.views.values(), *p.planes))
    assert held <= 100_000


def test_one_plane_has_one_picture():
    gallery = gallery_of(a_case(shape=(1, 40, 48), entries=1), 10**6)
    assert all(set(p.views) == {"xy"} and not p.planes for p in gallery.pictures)
    assert gallery.planes == ()


def test_wide_stacks_are_averaged_and_constant_ones_can_be_coded():
    case = a_case(shape=(2, 32, 40), entries=1, truth=False)
    object.__setattr__(case, "raw", np.full((2, 1030, 1500), 120, np.uint16))
    object.__setattr__(case.entries[0], "image", np.zeros((2, 1030, 1500), np.float32))
    gallery = gallery_of(case, 10**6)
    assert pixels(gallery.pictures[0].views["xy"]).shape == (515, 750)
    assert "averaged over 2 x 2" in gallery.notes[1]
    assert all(p.high > p.low for p in gallery.pictures)


def test_what_is_no_number_is_shown_as_nothing():
    case = a_case(shape=(3, 32, 40), entries=1, truth=False)
    image = case.entries[0].image.copy()
    image[1, 5, 5], image[1, 6, 6] = np.nan, np.inf
    object.__setattr__(case.entries[0], "image", image)
    picture = gallery_of(case, 10**6).pictures[1]
    assert np.isfinite([picture.low, picture.high, *picture.windows["max"]]).all()
    assert counts(picture, pixels(picture.planes[1]))[5, 5] == pytest.approx(0, abs=1)
