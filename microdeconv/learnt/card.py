"""Networks that are shipped or a user's own: where they lie, and the card that says what one is and is not for."""

from __future__ import annotations

import errno
import json
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microdeconv.errors import DataError, NoInputError, UsageError
from microdeconv.options import nearest

FORMAT = "microdeconv IRDNet"
VERSION = 1
ENDING = ".safetensors"
LICENCE = "BSD-3-Clause"
FOLDER = Path(__file__).parent / "models"
MOST = 2**20  # bytes of a card
LIST = "microdeconv models list shows those that are shipped"
KINDS = {"name": str, "about": str, "licence": str, "training": dict, "held_out": dict, "failure_modes": list}
ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
INTENDED = (
    "Deconvolution of fluorescence-microscopy planes and stacks, after the counts were turned into photo-electrons; "
    "beside the classical result, under the guard that compares both with the data."
)
FAILURES = (
    "A PSF that is too wide does most harm; the guard's chi-square tells of many such cases, its question for a wider "
    "PSF of ones that are too narrow.",
    "What lies outside the OTF's support comes from the training's scenes, and no data can confirm it.",
    "Noise that neighbours share, or images that were denoised before, are not what it was trained on.",
    "A plane cut out of a thick sample: its haze is no blur within the plane.",
    "Saturated voxels are taken for true counts.",
)
WITHOUT_PSF = "It is given no PSF: what it shows is a guess from how structures mostly look."


def card_of(
    name: str, recipe: Mapping[str, Any], *, about: str, steps: int, hours: float, commit: str,
    voxel_um: tuple[float, float] | None = None, held_out: Sequence[Mapping[str, Any]] = (), suite: str = "",
    ablation: Mapping[str, str] | None = None, failures: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Give the card of a network that was trained; `save_model` adds what the file itself tells.

    Parameters
    ----------
    name
        What it is called.
    recipe
        Of the training, as `Recipe.table` gives it.
    about
        One sentence.
    steps, hours
        What the training took.
    commit
        Of the source it was trained with.
    voxel_um
        Least and largest lateral size of the training's voxels, where the network is told that size.
    held_out, suite
        Rows of a table of figures on samples never trained on, and where they were measured.
    ablation
        What each switch of the architecture was found to give.
    failures
        Known ones beyond those of every network here.
    """
    kernel = bool(recipe.get("kernel", True))
    return {
        "name": name,
        "about": about,
        "psf": "needed" if kernel else "none",
        "training": {
            "recipe": dict(recipe), "seed": recipe.get("seed"), "steps": steps, "hours": round(hours, 2),
            "commit": commit, "voxel_um": voxel_um,
        },
        "ablation": dict(ablation or {}),
        "held_out": {"suite": suite, "rows": [dict(row) for row in held_out]},
        "intended_use": INTENDED,
        "failure_modes": [*FAILURES, *([] if kernel else [WITHOUT_PSF]), *failures],
        "licence": LICENCE,
    }  # fmt: skip


def shipped() -> dict[str, Path]:
    """Give the networks that come with the program, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob(f"*{ENDING}"))}


def find(name: str | Path) -> Path:
    """Give the file of a shipped network's name, or of a path; nothing is ever fetched.

    Raises
    ------
    UsageError
        For an address on the network.
    NoInputError
        When there is no such network or regular file.
    """
    if ADDRESS.match(str(name)):
        raise UsageError(f"{name}: models are not fetched from the network", "download it yourself and give the file")
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    path = Path(name)
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path
    except (OSError, ValueError) as reason:
        words = {errno.EACCES: "no permission to read it", errno.ELOOP: "a link that leads to itself"}
        why = words.get(getattr(reason, "errno", 0) or 0, "no such model or file")
        close = nearest(str(name), known)
        raise NoInputError(f"{name}: {why}", f"did you mean {close}? {LIST}" if close else LIST) from None
    raise NoInputError(f"{name}: not a regular file", "give the safetensors file itself")


def card_path(weights: Path) -> Path:
    """Where the card of a file of weights lies."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> dict[str, Any]:
    """Read the card beside a file of weights; without one it is empty.

    Raises
    ------
    DataError
        When it is damaged or far too large.
    """
    path = card_path(weights)
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except FileNotFoundError:
        return {}
    except OSError as reason:
        raise NoInputError(f"{path}: the card cannot be read ({reason.strerror})", "check the file") from None
    try:
        card = json.loads(data) if len(data) <= MOST else None
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict) or not _fits(card):
        raise DataError(f"{path}: the card is damaged", "copy it again together with the weights")
    return card


def _fits(card: Mapping[str, Any]) -> bool:
    """Whether what the program itself reads of a card is of the right kind."""
    if any(not isinstance(card.get(key, kind()), kind) for key, kind in KINDS.items()):
        return False
    training = card.get("training", {})
    voxel = training.get("voxel_um") or (0, 0)
    pair = isinstance(voxel, list | tuple) and len(voxel) == 2 and all(isinstance(v, int | float) for v in voxel)
    return isinstance(training.get("recipe", {}), dict) and pair


def doubts(card: Mapping[str, Any], planes: int, voxel_um: Sequence[float] | None) -> list[str]:
    """Give warnings for data unlike those of the training.

    Parameters
    ----------
    card
        Of the network.
    planes
        Of the stack.
    voxel_um
        (z, y, x), if known.
    """
    found = []
    training = card.get("training") or {}
    if planes > 1 and (training.get("recipe") or {}).get("volume_every") == 0:
        found.append(f"the network {card.get('name', '')} was trained on single planes, this is a volume")
    known = training.get("voxel_um")
    if known and voxel_um is not None and not known[0] <= voxel_um[2] <= known[1]:
        found.append(
            f"the network {card.get('name', '')} was trained with voxels of {known[0]:g} to {known[1]:g} µm, "
            f"these are of {voxel_um[2]:g} µm"
        )
    if known and voxel_um is None:
        found.append(f"the network {card.get('name', '')} wants the size of the voxels, which is not known")
    return found
