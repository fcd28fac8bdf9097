"""How a network is trained, from presets and TOML files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from microdeconv.errors import ConfigError
from microdeconv.learnt.network import Architecture
from microdeconv.options import nearest

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training from scratch on simulated scenes, or from given weights on a user's own stacks.

    Attributes
    ----------
    architecture
        See `Architecture`.
    steps
        Batches.
    seed
        Of the first weights and of all samples.
    plane, batch
        Sizes (z, y, x) and number of the samples of a 2-D batch.
    volume, volumes
        The same of a 3-D batch.
    volume_every
        Every which batch is one of volumes; 0 for none.
    rate
        Highest learning rate; it falls to a hundredth along half a cosine.
    warm
        Steps over which it rises.
    kernel
        Whether PSFs are known; false trains the network for users without any.
    averaged
        Of the running mean of weights that is kept and shipped.
    validated
        Samples, never trained on, that tell how good it is.
    early
        Weight of the loss of all but the last object.
    """

    architecture: Architecture = field(default_factory=Architecture)
    steps: int = 3600
    seed: int = 1
    plane: Shape = (1, 128, 128)
    batch: int = 4
    volume: Shape = (12, 64, 64)
    volumes: int = 1
    volume_every: int = 5
    rate: float = 2e-3
    warm: int = 50
    kernel: bool = True
    averaged: float = 0.998
    validated: int = 24
    early: float = 0.3

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warm:
            return self.rate * (step + 1) / self.warm
        part = (step - self.warm) / max(self.steps - self.warm, 1)
        return self.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(part, 1.0))) / 2)

    def table(self) -> dict[str, Any]:
        """As a TOML table holds it."""
        return asdict(self)


PRESETS = {
    "quick": Recipe(Architecture(stages=1), steps=600, plane=(1, 96, 96), volume=(8, 48, 48), validated=12),
    "small": Recipe(),
    "free": Recipe(
        Architecture(stages=0, decorrelate="off", voxel=True), steps=1800, rate=1e-3, kernel=False
    ),  # without a PSF all iterates are alike: nothing to decorrelate
    "base": Recipe(Architecture(widths=(24, 48, 72), scales=3), steps=40_000, batch=8, volumes=2, volume=(16, 96, 96)),
}


def refining(architecture: Architecture) -> Recipe:
    """Give the recipe by which a network that is trained already goes on with a user's own stacks: short, gentle."""
    return Recipe(architecture, steps=600, plane=(1, 96, 96), rate=2e-4, warm=30, averaged=0.99)


def recipe_of(table: dict[str, Any], start: Recipe) -> Recipe:
    """Change a recipe as a TOML table says.

    Raises
    ------
    ConfigError
        For a key that is not known or a value of the wrong kind; it names it.
    """
    architecture = _changed(start.architecture, table.get("architecture", {}), "architecture.")
    rest = {key: value for key, value in table.items() if key != "architecture"}
    changed: Recipe = replace(_changed(start, rest, ""), architecture=architecture)
    at_least_one = {"steps": changed.steps, "batch": changed.batch, "validated": changed.validated}
    at_least_one |= {"volumes": changed.volumes, "architecture.scales": changed.architecture.scales}
    for name, value in at_least_one.items():
        if value < 1:
            raise ConfigError(f"{name} = {value} cannot be", "give 1 or more")
    if not changed.averaged < 1:
        raise ConfigError(f"averaged = {changed.averaged} cannot be", "give less than 1")
    return changed


def _changed(start: Any, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{where.rstrip('.')} is no table", "write [architecture] and its keys below")
    known = {f.name: getattr(start, f.name) for f in dataclasses.fields(start)}
    kinds = get_type_hints(type(start))
    given = {}
    for key, value in table.items():
        if key not in known:
            close = nearest(key, known)
            raise ConfigError(
                f"no key {where}{key} in a training's recipe",
                f"did you mean {close}?" if close else f"known are {', '.join(known)}",
            )
        given[key] = _like(known[key], value, f"{where}{key}")
        words = get_args(kinds[key]) if get_origin(kinds[key]) is Literal else ()
        if words and value not in words:
            raise ConfigError(f"{where}{key} = {value!r} cannot be", f"give {' or '.join(words)}")
    return replace(start, **given)


def _like(sample: Any, value: Any, name: str) -> Any:
    """A value of the sample's kind, a number above zero (or not below, for a flag's 0)."""
    if isinstance(sample, bool) or isinstance(value, bool):
        good = isinstance(value, type(sample))
    elif isinstance(sample, tuple):
        good = isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, int) and v > 0 for v in value)
        value = tuple(value) if good else value
    elif isinstance(sample, float):
        good = isinstance(value, int | float) and math.isfinite(value) and value >= 0
        value = float(value) if good else value
    elif isinstance(sample, int):
        good = isinstance(value, int) and value >= 0
    else:
        good = isinstance(value, str)
    if not good:
        raise ConfigError(f"{name} = {value!r} cannot be", f"give a value like {sample!r}")
    return value
