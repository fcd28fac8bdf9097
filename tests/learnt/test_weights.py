"""Weights on disk: what is saved is the same function, is what its card says, and comes back bit by bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import problem_of
from networks import TINY, card_for, tiny

from microdeconv.errors import CannotCreateError, DataError, NoInputError, UsageError
from microdeconv.learnt import card as cards
from microdeconv.learnt.card import card_path, doubts, shipped
from microdeconv.learnt.layers import Decorrelation
from microdeconv.learnt.network import IRDNet, views_of
from microdeconv.learnt.physics import scale_of
from microdeconv.learnt.weights import Usual, folded, load_model, save_model


def answer(network, problem, scale):
    with torch.inference_mode():
        views = views_of(problem, scale, network.architecture.scales)
        return network([[view] for view in views])[-1]


@pytest.mark.parametrize("planes", [1, 20])
@pytest.mark.parametrize("change", [{}, {"shared": False, "stages": 2}, {"scales": 2}], ids=["one", "apart", "scales"])
def test_folding_does_not_change_the_function(scene, psf, change, planes):
    light = scene.counts.astype(np.float32)[:planes] - 100
    known = replace(psf, pixels=psf.pixels.sum(0, keepdims=True)) if planes == 1 else psf
    problem = problem_of(light, known, 20.0)
    # through switches the last digit decides between two pooled values that are alike, and shows in the result
    network = tiny(replace(TINY, switches=False, **change))
    plain = folded(network)
    assert plain.architecture.decorrelate == "off"
    assert not any("decorrelations" in name for name in plain.state_dict())
    scale = scale_of(problem)
    before, after = answer(network, problem, scale), answer(plain, problem, scale)
    assert float(before.std()) > 0
    assert float((before - after).abs().max()) <= 1e-5 * float(before.abs().max())


@pytest.mark.parametrize("shared", [True, False])
def test_folding_is_exact_in_each_first_convolution(shared):
    network = tiny(replace(TINY, shared=shared, stages=2))
    plain = folded(network)
    generator = torch.Generator().manual_seed(1)
    pairs = [(0, network.integrate, plain.integrate)]
    pairs += [(1, old, new) for old, new in zip(network.refine, plain.refine, strict=True)]
    for kind, old, new in pairs:
        given = 3 * torch.randn((2, old.first.in_channels, 13, 17), generator=generator)
        with torch.inference_mode():
            before, after = old.first(network.decorrelations[kind](given)), new.first(given)
        assert float((before - after).abs().max()) <= 1e-5 * float(before.abs().max())


def test_what_needs_no_folding_is_given_back():
    for kind in ("off", "pixels"):
        network = tiny(replace(TINY, decorrelate=kind))
        assert folded(network) is network


@pytest.mark.parametrize("kind", ["off", "channels", "pixels"])
def test_saved_and_loaded(tmp_path, kind):
    architecture = replace(TINY, decorrelate=kind)
    network, path = tiny(architecture), tmp_path / "a.safetensors"
    told = save_model(path, network, card_for(architecture))
    model = load_model(path)
    saved = folded(network).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in model.network.state_dict().items())
    assert not model.network.training
    assert (model.usual is None) == (kind == "off")
    if kind != "off":
        assert torch.equal(model.usual.mean, network.decorrelations[0].mean)
        assert torch.equal(model.usual.matrix, network.decorrelations[0].matrix)
    assert model.card == json.loads(card_path(path).read_text()) == json.loads(json.dumps(told))
    assert model.card["architecture"]["decorrelate"] == ("pixels" if kind == "pixels" else "off")
    assert model.card.get("folded") == ("channels" if kind == "channels" else None)
    assert model.card["parameters"] == sum(v.numel() for v in saved.values())
    assert model.card["training"]["recipe"]["architecture"]["decorrelate"] == kind
    assert len(model.card["recipe_sha256"]) == 64
    assert model.source == str(path)


@pytest.mark.parametrize("kind", ["channels", "pixels"])
def test_a_bank_unlike_the_trainings_is_far(kind):
    generator = torch.Generator().manual_seed(2)

    def bank(mixing):
        return (mixing @ torch.randn((10, 4 * 64 * 64), generator=generator) + 3).reshape(10, 4, 64, 64)

    mixing = torch.randn((10, 10), generator=generator)
    learning = Decorrelation(10, pixels=kind == "pixels")
    for _ in range(3):
        learning(bank(mixing).transpose(0, 1))
    usual = Usual(learning.mean, learning.matrix)
    same, other = usual.distance(bank(mixing)), usual.distance(bank(torch.eye(10)))
    assert 0 <= same < 1
    assert other > same + 5


def test_what_was_usual_is_kept_when_a_folded_network_is_saved_again(tmp_path):
    first, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_model(first, tiny(), card_for())
    model = load_model(first)
    save_model(again, model.network, card_for(), usual=model.usual)
    assert torch.equal(load_model(again).usual.matrix, model.usual.matrix)


def test_without_its_card_a_file_tells_what_it_knows(tmp_path):
    path = tmp_path / "a.safetensors"
    save_model(path, tiny(), card_for())
    card_path(path).unlink()
    assert load_model(path).card["architecture"]["widths"] == [4, 6, 8]


def test_nothing_is_replaced_unless_asked(tmp_path):
    path = tmp_path / "a.safetensors"
    save_model(path, tiny(), card_for())
    before = path.read_bytes()
    with pytest.raises(CannotCreateError):
        save_model(path, tiny(seed=4), card_for())
    assert path.read_bytes() == before
    save_model(path, tiny(seed=4), card_for(), overwrite=True)
    assert path.read_bytes() != before
    load_model(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_what_is_not_finite_is_not_kept(tmp_path):
    network = tiny()
    network.strengths[0].bias.data[2] = torch.nan
    with pytest.raises(DataError, match=r"strengths\.0\.bias"):
        save_model(tmp_path / "a.safetensors", network, card_for())
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UsageError):
        save_model(tmp_path / "a.pt", tiny(), card_for())


def test_names_of_shipped_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    save_model(tmp_path / "small.safetensors", tiny(), card_for())
    assert list(shipped()) == ["small"]
    assert load_model("small").source == str(tmp_path / "small.safetensors")
    with pytest.raises(NoInputError, match="did you mean small"):
        load_model("smal")


def test_doubts_name_what_the_training_had_not():
    card = card_for(voxel_um=(0.05, 0.3))
    assert doubts(card, 10, (0.5, 0.1, 0.1)) == []
    assert "voxels of 0.05 to 0.3 µm, these are of 0.6 µm" in doubts(card, 10, (1.0, 0.6, 0.6))[0]
    assert "not known" in doubts(card, 10, None)[0]
    assert doubts(card_for(), 10, None) == []
    card["training"]["recipe"]["volume_every"] = 0
    assert "single planes" in doubts(card, 2, (0.5, 0.1, 0.1))[0]
    assert doubts(card, 1, (0.5, 0.1, 0.1)) == []
    assert doubts({}, 4, None) == []


@pytest.mark.skipif(not shipped(), reason="no network is shipped yet")
def test_shipped_networks_are_small_and_whole():
    for name, path in shipped().items():
        model = load_model(name)
        assert path.stat().st_size <= 5e6
        assert isinstance(model.network, IRDNet)
        assert model.card["sha256"]
        assert (model.card["psf"] == "none") == model.network.architecture.voxel
        for key in ("training", "held_out", "ablation", "intended_use", "failure_modes", "licence"):
            assert model.card[key], key
