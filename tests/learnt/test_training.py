"""A training: the same however often it is stopped, and never silent when it breaks."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from microdeconv.errors import DataError
from microdeconv.learnt import training
from microdeconv.learnt.network import Architecture
from microdeconv.learnt.own import Own, batches, no_truth
from microdeconv.learnt.recipe import Recipe
from microdeconv.learnt.training import averaged, begun, deviance, gains_of, held_loss, seen, simulated, train
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Psf

TINY = Recipe(
    Architecture(widths=(4, 4, 4), stages=1), steps=6, plane=(1, 32, 32), batch=2, volume=(4, 24, 24), volume_every=3,
    validated=2, warm=2,
)  # fmt: skip
PSF = Psf(gaussian_psf((0, 1.3, 1.3)), None, None, "")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def own(seed=1, *, known=False, size=64):
    scene = simulate("mixed", (1, size, size), PSF.pixels, Exposure(200, 10, 0), seed)
    truth = scene.truth.astype(np.float32) if known else no_truth()
    return Own("a", scene.counts.astype(np.float32), truth, PSF, 10.0)


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("pictures", [(), (own(),), (own(known=True), own(2))], ids=["simulated", "stack", "both"])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, pictures):
    batch = batches(pictures) if pictures else None
    whole = train(TINY, tmp_path / "whole.safetensors", batch=batch)
    steps = iter([False, False, False, True])
    first = train(TINY, tmp_path / "parts.safetensors", batch=batch, stop=lambda: next(steps))
    assert first.step == 3
    second = train(TINY, tmp_path / "parts.safetensors", batch=batch)
    assert second.step == 6
    assert same(whole.network.state_dict(), second.network.state_dict())
    assert same(whole.average, second.average)


def test_a_finished_training_does_nothing_more(tmp_path):
    done = train(TINY, tmp_path / "c.safetensors")
    again = train(TINY, tmp_path / "c.safetensors", listen=lambda _: pytest.fail("a step was made"))
    assert same(done.average, again.average)
    assert again.history == done.history


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    train(TINY, path, about={"pictures": ["a"]})
    with pytest.raises(DataError, match="another recipe"):
        train(replace(TINY, rate=1e-3), path, about={"pictures": ["a"]})
    with pytest.raises(DataError, match="other data"):
        train(TINY, path, about={"pictures": ["b"]})
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="damaged"):
        train(TINY, path)


def test_batches_depend_on_seed_step_and_place_alone():
    for batch in (simulated, batches((own(), own(2)))):
        for step in (0, 1, 2):
            one, other = batch(TINY, step), batch(TINY, step)
            assert all(np.array_equal(a.light, b.light) for a, b in zip(one, other, strict=True))
            assert not np.array_equal(one[0].light, batch(replace(TINY, seed=2), step)[0].light)
        assert not np.array_equal(batch(TINY, 0)[0].light, batch(TINY, 0)[1].light)


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    monkeypatch.setattr(training, "SAVED_EVERY", 0.0)

    def broken(recipe, step):
        samples = simulated(recipe, step)
        return samples if step < 3 else [replace(s, truth=s.truth * np.nan) for s in samples]

    with pytest.raises(DataError, match="diverged at step 4") as error:
        train(TINY, path, batch=broken)
    assert error.value.exit_code == 65
    assert train(TINY, path, stop=lambda: True).step == 3


def test_the_start_is_not_changed_and_is_where_it_begins():
    start = begun(replace(TINY, seed=5), None, "cpu").network
    state = begun(TINY, start, "cpu")
    assert same(start.state_dict(), state.network.state_dict())
    state.network.integrate.first.weight.data.add_(1)
    assert not same(start.state_dict(), state.network.state_dict())


def test_history_and_judge(tmp_path):
    calls = []

    def judge(network, device):
        calls.append(network)
        return [1.0, 3.0]

    state = train(TINY, tmp_path / "c.safetensors", judge=judge)
    assert [value for _, _, value in state.history] == [2.0] * 6  # an eighth of six steps: each
    assert all(math.isfinite(loss) for _, loss, _ in state.history)
    assert json.dumps(state.history)
    assert len(gains_of(averaged(state, TINY, "cpu"), training.validation_samples(TINY), "cpu")) == 2


def test_deviance_of_held_counts_is_least_at_the_object():
    picture = own(known=True)
    held = batches((own(),))(replace(TINY, plane=(1, 48, 48)), 0)[0]
    assert held.held is not None
    assert np.allclose((held.light + held.held).sum(), picture.light.sum(), rtol=0.8)
    [[view]] = seen([held], 1, "cpu")
    flat = torch.full_like(view.begun, float(view.begun.mean()))
    assert float(deviance(view.begun, view, held)) < float(deviance(flat, view, held))
    found = view.begun[None].clone().requires_grad_()
    held_loss(found, [view], [held]).backward()
    assert bool(found.grad.isfinite().all())
    assert float(found.grad.abs().max()) > 0
