"""Trains a network: each batch is drawn from its number, so that a stopped training goes on as if it never was."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.errors import DataError
from microdeconv.learnt.checkpoint import State, restore, save
from microdeconv.learnt.recipe import Recipe
from microdeconv.learnt.samples import Sample, training_sample

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.learnt.network import IRDNet
    from microdeconv.learnt.physics import View

SAVED_EVERY = 240.0  # seconds between checkpoints
TOLD_EVERY = 20  # steps between entries of the history
VALIDATED_EVERY = 500  # steps, or
VALIDATED_PART = 8  # that often in a short training
VALIDATION = 10**9  # of the seed's second number: no step has it
CLIPPED = 1.0  # norm of the gradient
SMOOTH = 0.02  # weight of the Hessian where unused counts are the judge; that of ZS-DeconvNet

Batch = Callable[[Recipe, int], list[Sample]]
Judge = Callable[["IRDNet", str], list[float]]
Listen = Callable[[State], None]


def never() -> bool:
    """Nobody asks for an end."""
    return False


def train(
    recipe: Recipe, checkpoint: Path, *, start: IRDNet | None = None, batch: Batch | None = None,
    judge: Judge | None = None, about: Mapping[str, Any] | None = None, device: str = "cpu",
    listen: Listen | None = None, seconds: float = math.inf, stop: Callable[[], bool] = never,
) -> State:  # fmt: skip
    """Train from scratch, from weights, or on from a checkpoint.

    Parameters
    ----------
    recipe
        See `Recipe`.
    checkpoint
        Where the state is kept; taken up when it is there.
    start
        Weights to begin with, of the recipe's architecture; they stay as they are.
    batch
        Gives the samples of a step, a function of the recipe and the step alone; simulated ones by default.
    judge
        Gives figures of a network on samples never trained on, the higher the better; `gains_of` by default.
    about
        Of what, besides the recipe, the checkpoint must be: digests of data and weights.
    device
        A torch device.
    listen
        Called after each step.
    seconds
        After which the training is put by, to be taken up later.
    stop
        Asked after each step; whether it is put by.

    Raises
    ------
    DataError
        When the checkpoint is damaged or of another recipe; when the loss is not finite: the last checkpoint stays.
    """
    table = recipe.table() | ({"about": dict(about)} if about else {})
    state = begun(recipe, start, device)
    if checkpoint.exists():
        restore(checkpoint, state, table)
    batch = batch or simulated
    every = min(VALIDATED_EVERY, max(recipe.steps // VALIDATED_PART, 1))
    started = saved = time.monotonic()
    before = state.seconds
    while state.step < recipe.steps and time.monotonic() - started < seconds and not stop():
        state.recent.append(_step(state, recipe, batch(recipe, state.step), device))
        state.step += 1
        state.seconds = before + time.monotonic() - started
        due = state.step % every == 0 or state.step == recipe.steps
        if due or state.step % TOLD_EVERY == 0:
            found = validation(state, recipe, device, judge) if due else None
            state.history.append((state.step, float(np.mean(state.recent)), found))
            state.recent.clear()
        if listen:
            listen(state)
        if time.monotonic() - saved > SAVED_EVERY:
            save(checkpoint, state, table)
            saved = time.monotonic()
    save(checkpoint, state, table)
    return state


def begun(recipe: Recipe, start: IRDNet | None, device: str) -> State:
    """The state before the first step."""
    import torch

    from microdeconv.learnt.network import IRDNet

    torch.manual_seed(recipe.seed)
    network = (IRDNet(recipe.architecture) if start is None else copy.deepcopy(start)).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=1e-4)
    return State(network, {n: v.detach().clone() for n, v in network.state_dict().items()}, optimiser)


def simulated(recipe: Recipe, step: int) -> list[Sample]:
    """The batch of a step: simulated scenes, of planes or of volumes."""
    volumes = recipe.volume_every > 0 and step % recipe.volume_every == recipe.volume_every - 1
    shape, number = (recipe.volume, recipe.volumes) if volumes else (recipe.plane, recipe.batch)
    return [_simulated(recipe, step, place, shape) for place in range(number)]


def _simulated(recipe: Recipe, step: int, place: int, shape: tuple[int, int, int]) -> Sample:
    rng = np.random.default_rng((recipe.seed, step, place))
    return training_sample(rng, shape, kernel=recipe.kernel).flipped(rng)


def seen(samples: Sequence[Sample], scales: int, device: str) -> list[list[View]]:
    """Views of a batch, the coarsest resolution first."""
    from microdeconv.learnt.network import views_of

    views = []
    for sample in samples:
        problem = sample.problem(device, network=True)
        views.append(views_of(problem, None, scales, sample.voxel_um))
    return [list(level) for level in zip(*views, strict=True)]


def loss_of(
    found: Sequence[Tensor], views: Sequence[Sequence[View]], samples: Sequence[Sample], early: float
) -> Tensor:
    """Absolute and squared error relative to the truth's mean and power; earlier objects count less.

    Where counts were held back these judge the last object; see `held_loss`.
    """
    import torch

    if samples[0].held is not None:
        return held_loss(found[-1], views[-1], samples)
    truth = torch.stack(
        [torch.from_numpy(s.truth).to(v.bank.device) / v.scale for s, v in zip(samples, views[-1], strict=True)]
    )
    total = truth.new_zeros(())
    for place, one in enumerate(found):
        wanted = truth
        while wanted.shape[2:] != one.shape[2:]:
            wanted = torch.nn.functional.avg_pool2d(wanted, 2, ceil_mode=True)
        off = (one - wanted).flatten(1)
        mean, power = wanted.flatten(1).mean(1).clamp_min(0.02), wanted.flatten(1).square().mean(1).clamp_min(0.02)
        error = (off.abs().mean(1) / mean + 0.5 * off.square().mean(1) / power).mean()
        total = total + error * (1.0 if place == len(found) - 1 else early)
    return total


def held_loss(found: Tensor, views: Sequence[View], samples: Sequence[Sample]) -> Tensor:
    """Give half the Poisson deviance per voxel of the counts held back, and a little of the object's Hessian.

    With y₁ the share p of the counts y, f(y₁) the object found in it and b the background of y₁, the other counts are
    expected to be (1 − p) / p · (H f(y₁) + b). Frequencies that H does not pass are not judged: the Hessian keeps them
    smooth, and other batches must teach them.

    Parameters
    ----------
    found
        float32 (n, z, y, x), units of the views' scales.
    views, samples
        Of the finest resolution; with `held`.

    References
    ----------
    C. Qiao et al., doi:10.1038/s41467-024-48575-9 (ZS-DeconvNet), for the Hessian and its weight.
    """
    total = found.new_zeros(())
    for one, view, sample in zip(found, views, samples, strict=True):
        total = total + deviance(one, view, sample) / 2
    along_y, along_x = found.diff(n=2, dim=2).abs().mean(), found.diff(n=2, dim=3).abs().mean()
    both = found.diff(dim=2).diff(dim=3).abs().mean()
    return total / len(samples) + SMOOTH * (along_y + along_x + 2 * both)


def deviance(found: Tensor, view: View, sample: Sample) -> Tensor:
    """Give the Poisson deviance per voxel of the counts a sample holds back, of an object in units of the scale."""
    import torch

    from microdeconv.learnt.physics import foretold

    assert sample.held is not None
    held = torch.from_numpy(sample.held).to(found.device)
    predicted = foretold(view, found) * (view.scale * (1 - sample.share) / sample.share)
    entropy = torch.xlogy(held, held)  # apart: the gradient of 0 log 0 is not a number
    return 2 * (entropy - torch.xlogy(held, predicted) + predicted - held).mean()


def _step(state: State, recipe: Recipe, samples: list[Sample], device: str) -> float:
    import torch

    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate_at(state.step)
    state.network.train()
    views = seen(samples, recipe.architecture.scales, device)
    try:
        loss = loss_of(state.network(views), views, samples, recipe.early)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of what is no longer finite
        raise _diverged(state.step, math.nan, math.nan) from None
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), CLIPPED)
    if not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm))):
        raise _diverged(state.step, float(loss.detach()), float(norm))
    state.optimiser.step()
    kept = min(recipe.averaged, (1 + state.step) / (10 + state.step))
    for name, value in state.network.state_dict().items():
        state.average[name].lerp_(value.to(state.average[name].dtype), 1 - kept)
    return float(loss.detach())


def _diverged(step: int, loss: float, norm: float) -> DataError:
    return DataError(
        f"the training diverged at step {step + 1}: loss {loss:g}, gradient {norm:g}",
        "its last checkpoint is kept; use a lower rate, in another folder",
    )


def averaged(state: State, recipe: Recipe, device: str) -> IRDNet:
    """Give the network of the averaged weights."""
    from microdeconv.learnt.network import IRDNet

    network = IRDNet(recipe.architecture).to(device)
    network.load_state_dict(state.average)
    return network.eval()


def validation(state: State, recipe: Recipe, device: str, judge: Judge | None = None) -> float:
    """Mean figure of the averaged weights on samples never trained on: by default the gain in dB, see `gains_of`."""
    judge = judge or judge_for(recipe)
    return float(np.mean(judge(averaged(state, recipe, device), device)))


def judge_for(recipe: Recipe) -> Judge:
    """Make the judge of a training on simulated scenes."""
    return lambda network, device: gains_of(network, validation_samples(recipe), device)


def validation_samples(recipe: Recipe) -> list[Sample]:
    """Samples of a training that it never trains on; one in four is a volume."""
    volume = [recipe.volume_every > 0 and place % 4 == 3 for place in range(recipe.validated)]
    return [
        _simulated(recipe, VALIDATION, place, recipe.volume if deep else recipe.plane)
        for place, deep in enumerate(volume)
    ]


def gain_of(network: IRDNet, samples: Sequence[Sample], device: str) -> float:
    """Mean of `gains_of`."""
    return float(np.mean(gains_of(network, samples, device)))


def gains_of(network: IRDNet, samples: Sequence[Sample], device: str) -> list[float]:
    """Gain in dB over Richardson-Lucy's iterate that the network begins with, of each sample."""
    import torch

    gains = []
    network.eval()
    with torch.inference_mode():
        for sample in samples:
            views = seen([sample], network.architecture.scales, device)
            truth = torch.from_numpy(sample.truth).to(device) / views[-1][0].scale
            ours, plain = network(views)[-1][0], views[-1][0].begun
            ratio = float((plain - truth).square().mean() / (ours - truth).square().mean())
            gains.append(10 * math.log10(max(ratio, 1e-30)))
    return gains
