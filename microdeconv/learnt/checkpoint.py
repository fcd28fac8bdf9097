"""The state of a training on disk: safetensors, written at once or not at all, read without running anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.errors import DataError
from microdeconv.io.atomic import atomic_output

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class State:
    """Everything that a training goes on from.

    Attributes
    ----------
    network, average
        The weights, and their running mean.
    optimiser
        Adam with its moments.
    step
        Batches done.
    seconds
        Spent so far, over all goes.
    history
        (step, mean loss since the last entry, validation or None) now and then.
    recent
        Losses since the last entry; not kept.
    """

    network: nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    history: list[tuple[int, float, float | None]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)


def save(path: Path, state: State, recipe: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until this one is whole."""
    from safetensors.torch import save as packed

    tensors = {f"weights.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    moments = state.optimiser.state
    updates = {}  # of each: what mixes planes has no gradient in batches of single ones, and is passed over
    for name, parameter in state.network.named_parameters():
        if parameter in moments:
            updates[name] = float(moments[parameter]["step"])
            tensors |= {f"{moment}.{name}": moments[parameter][moment] for moment in MOMENTS}
    told = {
        "step": state.step,
        "seconds": state.seconds,
        "history": state.history,
        "recipe": recipe,
        "updates": updates,
    }
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_output(path, overwrite=True) as partial:
        partial.write_bytes(packed(plain, {"state": json.dumps(told)}))


def restore(path: Path, state: State, recipe: dict[str, Any]) -> None:
    """Take a training up where a checkpoint left it.

    Raises
    ------
    DataError
        When it is damaged or of another recipe.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as reason:
        raise DataError(f"{path}: the checkpoint is damaged ({reason})", "remove it to begin anew") from None
    if told.get("recipe") != json.loads(json.dumps(recipe)):
        raise DataError(
            f"{path}: the checkpoint is of another recipe or of other data", "give the same, or another folder"
        )
    device = next(state.network.parameters()).device

    def part(kind: str) -> dict[str, Tensor]:
        return {n.removeprefix(f"{kind}."): v.to(device) for n, v in tensors.items() if n.startswith(f"{kind}.")}

    state.network.load_state_dict(part("weights"))
    state.average.clear()
    state.average.update(part("average"))
    moments = {moment: part(moment) for moment in MOMENTS}
    for name, parameter in state.network.named_parameters():
        if name in moments[MOMENTS[0]]:
            mine = {moment: moments[moment][name].clone(memory_format=torch.preserve_format) for moment in MOMENTS}
            state.optimiser.state[parameter] = {
                "step": torch.tensor(float(told.get("updates", {}).get(name, told["step"]))),
                **mine,
            }
    state.step, state.seconds = told["step"], told["seconds"]
    state.history[:] = [(s, loss, value) for s, loss, value in told["history"]]
