"""Own pairs: a table of files, registered and brought to the same units."""

import numpy as np
import pytest
import tifffile

from microdeconv.errors import DataError, NoInputError
from microdeconv.learnt.own import Own
from microdeconv.learnt.pairs import read_pairs, registered
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf


@pytest.fixture(scope="module")
def scene():
    psf = Psf(gaussian_psf((0, 1.3, 1.3)), None, None, "")
    return simulate("mixed", (1, 96, 80), psf.pixels, Exposure(800, 20, 100), 5), psf


@pytest.fixture
def folder(tmp_path, scene):
    (counts, truth), psf = scene
    tifffile.imwrite(tmp_path / "raw.tif", counts[0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", truth[0])
    tifffile.imwrite(tmp_path / "psf.tif", psf.pixels[0])
    (tmp_path / "pairs.csv").write_text(
        "raw, truth, psf, background, offset, gain\nraw.tif, truth.tif, psf.tif, 120, 100, 1\n"
    )
    return tmp_path


@pytest.mark.parametrize("by", [(0, 0), (3, -2), (1.5, 0.5)], ids=str)
def test_a_moved_truth_in_other_units_is_brought_back(scene, by):
    from scipy.ndimage import shift

    (counts, truth), psf = scene
    light = counts.astype(np.float32) - 100
    moved = 5 * shift(truth, (0, *(-b for b in by)), order=1, mode="nearest") + 70
    found, told = registered(Own("a", light, moved.astype(np.float32), psf, 20.0))
    lost = [int(np.ceil(abs(b))) for b in by]
    assert found.light.shape == (1, 96 - lost[0], 80 - lost[1])
    assert found.light.shape == found.truth.shape
    y0, x0 = (n if b > 0 else 0 for n, b in zip(lost, by, strict=True))
    wanted = truth[:, y0 : y0 + found.light.shape[1], x0 : x0 + found.light.shape[2]]
    if by[0] == int(by[0]):
        error = np.sqrt(np.mean((found.truth - wanted) ** 2)) / np.sqrt(np.mean(wanted**2))
        assert error < 0.05
    if any(by):
        assert [float(word) for word in told.split()[3:6]] == pytest.approx((0, *by), abs=0.11)
    assert found.truth.sum() == pytest.approx(wanted.sum(), rel=0.05)
    assert ("not moved" in told) == (by == (0, 0))


def test_the_table(folder):
    [pair], notes = read_pairs(folder / "pairs.csv")
    assert pair.background == pytest.approx(20)
    assert pair.truth.shape == pair.light.shape == (1, 96, 80)
    assert any("raw.tif: background 120, 1 counts" in note for note in notes)
    (folder / "pairs.csv").write_text("raw,truth,psf\nraw.tif,truth.tif,psf.tif\n")
    [pair], _ = read_pairs(folder / "pairs.csv")
    assert pair.background > 0


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("raw,truth,psf\nnone.tif,truth.tif,psf.tif\n", NoInputError, "none.tif"),
        ("raw,truth,psf\nraw.tif,truth.tif,\n", DataError, "line 2: no psf"),
        ("raw,truth\nraw.tif,truth.tif\n", DataError, "no column psf"),
        ("raw,thruth,psf\nraw.tif,truth.tif,psf.tif\n", DataError, "did you mean truth"),
        ("raw,truth,psf,gain\nraw.tif,truth.tif,psf.tif,0\n", DataError, "gain"),
        ("raw,truth,psf\n", DataError, "lists no pairs"),
        ("", DataError, "no column"),
        ("raw,truth,psf\nraw.tif,small.tif,psf.tif\n", DataError, "of the same sizes"),
        ("raw,truth,psf\nraw.tif,blank.tif,psf.tif\n", DataError, "blank"),
        ("raw,truth,psf\nraw.tif,noise.tif,psf.tif\n", DataError, "unlike"),
        ("raw,truth,psf\nraw.tif,truth.tif,raw.tif\n", DataError, "raw.tif"),
    ],
)
def test_wrong_tables(folder, text, error, words):
    rng = np.random.default_rng(1)
    for name, pixels in (
        ("small", rng.random((50, 50))),
        ("blank", np.zeros((96, 80))),
        ("noise", rng.random((96, 80))),
    ):
        tifffile.imwrite(folder / f"{name}.tif", pixels.astype(np.float32))
    (folder / "pairs.csv").write_text(text)
    with pytest.raises(error, match=words):
        read_pairs(folder / "pairs.csv")
    with pytest.raises(NoInputError, match="--pairs"):
        read_pairs(folder / "other.csv")
