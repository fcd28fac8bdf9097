"""Trains a network: each batch is drawn from its number, so that a stopped training goes on as if it never was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from microdeconv.learnt.checkpoint import State, restore, save
from microdeconv.learnt.recipe import Recipe
from microdeconv.learnt.samples import Sample, training_sample

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.learnt.network import IRDNet
    from microdeconv.learnt.physics import View

SAVED_EVERY = 240.0  # seconds between checkpoints
TOLD_EVERY = 20  # steps between entries of the history
VALIDATED_EVERY = 500
VALIDATION = 10**9  # of the seed's second number: no step has it
CLIPPED = 1.0  # norm of the gradient

Batch = Callable[[Recipe, int], list[Sample]]
Listen = Callable[[State], None]


def train(
    recipe: Recipe, checkpoint: Path, *, start: IRDNet | None = None, batch: Batch | None = None,
    device: str = "cpu", listen: Listen | None = None, seconds: float = math.inf,
) -> State:  # fmt: skip
    """Train from scratch, from weights, or on from a checkpoint.

    Parameters
    ----------
    recipe
        See `Recipe`.
    checkpoint
        Where the state is kept; taken up when it is there.
    start
        Weights to begin with, of the recipe's architecture.
    batch
        Gives the samples of a step; simulated ones by default.
    device
        A torch device.
    listen
        Called after each step.
    seconds
        After which the training is put by, to be taken up later.

    Raises
    ------
    DataError
        When the checkpoint is damaged or of another recipe.
    """
    state = begun(recipe, start, device)
    if checkpoint.exists():
        restore(checkpoint, state, recipe.table())
    batch = batch or simulated
    started = saved = time.monotonic()
    before = state.seconds
    while state.step < recipe.steps and time.monotonic() - started < seconds:
        loss = _step(state, recipe, batch(recipe, state.step), device)
        state.step += 1
        state.seconds = before + time.monotonic() - started
        if state.step % TOLD_EVERY == 0 or state.step == recipe.steps:
            due = state.step % VALIDATED_EVERY == 0 or state.step == recipe.steps
            state.history.append((state.step, loss, validation(state, recipe, device) if due else None))
        if listen:
            listen(state)
        if time.monotonic() - saved > SAVED_EVERY:
            save(checkpoint, state, recipe.table())
            saved = time.monotonic()
    save(checkpoint, state, recipe.table())
    return state


def begun(recipe: Recipe, start: IRDNet | None, device: str) -> State:
    """The state before the first step."""
    import torch

    from microdeconv.learnt.network import IRDNet

    torch.manual_seed(recipe.seed)
    network = (IRDNet(recipe.architecture) if start is None else start).to(device)
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
    from microdeconv.learnt.physics import scale_of

    views = []
    for sample in samples:
        problem = sample.problem(device, network=True)
        views.append(views_of(problem, scale_of(problem), scales, sample.voxel_um))
    return [list(level) for level in zip(*views, strict=True)]


def loss_of(
    found: Sequence[Tensor], views: Sequence[Sequence[View]], samples: Sequence[Sample], early: float
) -> Tensor:
    """Absolute and squared error relative to the truth's mean and power; earlier objects count less."""
    import torch

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


def _step(state: State, recipe: Recipe, samples: list[Sample], device: str) -> float:
    import torch

    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate_at(state.step)
    state.network.train()
    views = seen(samples, recipe.architecture.scales, device)
    loss = loss_of(state.network(views), views, samples, recipe.early)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), CLIPPED)
    state.optimiser.step()
    kept = min(recipe.averaged, (1 + state.step) / (10 + state.step))
    for name, value in state.network.state_dict().items():
        state.average[name].lerp_(value.to(state.average[name].dtype), 1 - kept)
    return float(loss.detach())


def validation(state: State, recipe: Recipe, device: str) -> float:
    """Mean gain in dB of the averaged weights over the network's first iterate, on samples never trained on."""
    from microdeconv.learnt.network import IRDNet

    network = IRDNet(recipe.architecture).to(device)
    network.load_state_dict(state.average)
    return gain_of(network, validation_samples(recipe), device)


def validation_samples(recipe: Recipe) -> list[Sample]:
    """Samples of a training that it never trains on; one in four is a volume."""
    volume = [recipe.volume_every > 0 and place % 4 == 3 for place in range(recipe.validated)]
    return [
        _simulated(recipe, VALIDATION, place, recipe.volume if deep else recipe.plane)
        for place, deep in enumerate(volume)
    ]


def gain_of(network: IRDNet, samples: Sequence[Sample], device: str) -> float:
    """Mean gain in dB over Richardson-Lucy's iterate that the network begins with."""
    import torch

    gains = []
    network.eval()
    with torch.inference_mode():
        for sample in samples:
            views = seen([sample], network.architecture.scales, device)
            truth = torch.from_numpy(sample.truth).to(device) / views[-1][0].scale
            ours, plain = network(views)[-1][0], views[-1][0].begun
            gains.append(10 * math.log10(float((plain - truth).square().mean() / (ours - truth).square().mean())))
    return float(np.mean(gains))
