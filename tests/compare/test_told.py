"""The whole way: `compare` as a process, its figures held against scikit-image's, its page against its report."""

import csv
import html
import json
import re

import numpy as np
import pytest
import tifffile
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from microdeconv.simulate import Exposure, gaussian_psf, simulate

PSF = gaussian_psf((1.5, 1.2, 1.2))
SHAPE = (14, 64, 60)


def save(path, pixels):
    details = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10.0, 10.0), metadata=details)


@pytest.fixture
def report(program, tmp_path):
    """The folder of a report on two methods and a result made elsewhere, each kept."""
    scene = simulate("mixed", SHAPE, PSF, Exposure(300, 20, 100), 5)
    save(tmp_path / "cells.tif", scene.counts)
    save(tmp_path / "truth.tif", (7 * scene.truth).astype(np.float32))
    save(tmp_path / "psf.tif", PSF)
    save(tmp_path / "other.tif", (scene.counts - 120.0).astype(np.float32))
    done = program(
        "compare", "cells.tif", "--truth", "truth.tif", "--psf", "psf.tif", "--methods", "rl,wiener", "-n", "6",
        "--result", "Other <1>=other.tif", "--threads", "1", "--device", "cpu", "--keep", "-o", "report",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tmp_path / "report"


def middle(volume):
    return volume[tuple(slice(n // 10, n - n // 10) for n in volume.shape)].astype(np.float64)


def independent(image, truth, raw, background):
    """PSNR, NRMSE and SSIM by scikit-image after the best factor, on the middle; light over the image's."""
    x, t = middle(image), middle(truth)
    x = x * np.linalg.lstsq(x.reshape(-1, 1), t.ravel(), rcond=None)[0][0]
    return {
        "psnr": peak_signal_noise_ratio(t, x, data_range=t.max()),
        "nrmse": normalized_root_mse(t, x, normalization="euclidean"),
        "ssim": structural_similarity(t, x, data_range=np.ptp(t), gaussian_weights=True, full=True)[1].mean(),
        "flux": image.sum(dtype=float) / (raw.astype(float) - background).sum(),
    }


def test_figures_and_page_of_a_whole_comparison(report):
    told = json.loads((report / "report.json").read_text(encoding="utf-8"))
    names = ["rl", "wiener", "Other <1>"]
    assert [e["name"] for e in told["entries"]] == names
    figures = {f["key"]: f["values"] for f in told["figures"]}
    truth, raw, other = (tifffile.imread(report.parent / f"{n}.tif") for n in ("truth", "cells", "other"))
    images = [tifffile.imread(report / "rl.tif"), tifffile.imread(report / "wiener.tif"), other]
    for name, image in zip(names, images, strict=True):
        for key, value in independent(image, truth, raw, told["background"]).items():
            assert figures[key][name] == pytest.approx(value, rel=2e-3), (name, key)
    assert figures["psnr"]["rl"] > figures["psnr"]["Other <1>"] + 1  # it does something
    assert not any(figures["shift"].values())
    assert told["voxel_um"] == pytest.approx([0.3, 0.1, 0.1])
    with (report / "report.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["result"] for row in rows] == names
    assert [float(row["psnr"]) for row in rows] == pytest.approx([figures["psnr"][n] for n in names])
    assert told["verdict"]["sentences"]
    page_says_the_same(told, (report / "index.html").read_text(encoding="utf-8"))


def page_says_the_same(told, page):
    """Names, verdict, warnings and values are in the page, and as many pictures as there should be."""
    names = ["image", "truth", *(e["name"] for e in told["entries"])]
    sentences = [*told["verdict"]["sentences"], *told["warnings"]]
    for words in (*names, *sentences, *(f["label"] for f in told["figures"])):
        assert html.escape(words) in page, words
    for value in next(f for f in told["figures"] if f["key"] == "psnr")["values"].values():
        assert f"{value:.4g}" in page
    assert page.count("<figure class=cell") == len(names)
    assert len(re.findall(r"<img id=i\d+-(?:xy|xz|yz) ", page)) == 3 * len(names)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [p["name"] for p in data["pictures"]] == names
    assert [len(p["planes"]) for p in data["pictures"]] == [SHAPE[0]] * len(names)
    assert "Other <1>" not in page.replace(data_of(page), "")  # what people type is no markup
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def data_of(page):
    return page[page.index('id="data">') : page.index("</script>")]
