"""Packages of bioimage.io: what is in them, and that their own library validates and runs them."""

import hashlib
import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import problem_of
from networks import TINY, card_for, tiny

from microdeconv.errors import CannotCreateError, DataError, UnavailableError
from microdeconv.learnt.export import export_model
from microdeconv.learnt.exported import Exported
from microdeconv.learnt.network import views_of
from microdeconv.learnt.physics import promised, scale_of
from microdeconv.learnt.weights import load_model, save_model
from microdeconv.noise import estimate_background

FREE = replace(TINY, voxel=True)


@pytest.fixture(params=[TINY, FREE], ids=["with a PSF", "without"])
def model(tmp_path, request):
    path = tmp_path / "tiny.safetensors"
    save_model(path, tiny(request.param), card_for(request.param))
    return load_model(path)


def test_the_module_is_bank_and_network(scene, psf, tmp_path):
    save_model(tmp_path / "a.safetensors", tiny(), card_for())
    found = load_model(tmp_path / "a.safetensors")
    whole = Exported(found.card["architecture"])
    whole.network.load_state_dict(found.network.state_dict())
    raw = np.stack([scene.counts[:10], scene.counts[10:]]).astype(np.float32) - 100
    with torch.inference_mode():
        both = whole.eval()(torch.from_numpy(raw)[:, None], torch.from_numpy(3 * psf.pixels)[None, None])
        assert both.shape == (2, 1, 10, 48, 44)
        for light, one in zip(raw, both, strict=True):
            problem = problem_of(light, promised(psf), max(estimate_background(np.clip(light, 0, None)).value, 0.0))
            scale = scale_of(problem)
            wanted = found.network([[view] for view in views_of(problem, scale, 1)])[-1][0] * scale
            near = (one[0] - wanted).abs() <= 1e-3 * wanted.max()
            assert float(near.float().mean()) > 0.995


def test_a_psf_that_cannot_be_one_is_refused():
    whole = Exported({"widths": [4, 6, 8], "stages": 1}).eval()
    with pytest.raises(DataError), torch.inference_mode():
        whole(torch.ones(1, 1, 4, 32, 32), torch.zeros(1, 1, 3, 5, 5))


def test_without_the_extra_its_name_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioimageio.core", None)
    with pytest.raises(UnavailableError, match=r"microdeconv\[bioimageio\]") as caught:
        export_model(tmp_path / "a.zip", model)
    assert caught.value.exit_code == 69
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("planes", [False, True], ids=["volumes", "planes"])
@pytest.mark.filterwarnings("ignore")  # of the libraries of others
def test_a_package_passes_the_test_of_its_own_library(model, tmp_path, planes):
    core = pytest.importorskip("bioimageio.core", reason="the extra bioimageio is not installed")
    path = tmp_path / "a.zip"
    export_model(path, model, planes=planes)
    summary = core.test_model(path, devices=["cpu"])
    assert summary.status == "passed", summary.format()
    described = core.load_model_description(path)
    inputs = [str(one.id) for one in described.inputs]
    assert inputs == ["raw"] if model.network.architecture.voxel else ["raw", "psf"]
    card = json.loads(described.config.microdeconv["card"])
    assert card["sha256"] == model.card["sha256"]
    with zipfile.ZipFile(path) as archive:
        assert {"raw.npy", "deconvolved.npy", "weights.pt", "README.md", "cover.png"} <= set(archive.namelist())
        digest = hashlib.sha256(archive.read("weights.pt")).hexdigest()
        assert "# Validation" in archive.read("README.md").decode()
    assert described.weights.pytorch_state_dict.sha256 == digest
    with pytest.raises(CannotCreateError):
        export_model(path, model)
