"""Small networks with weights that do something, for tests of all that is done with networks."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import Any

import torch

from microdeconv.learnt.card import card_of
from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.recipe import Recipe

TINY = Architecture(widths=(4, 6, 8), stages=1)


def tiny(architecture: Architecture = TINY, seed: int = 3) -> IRDNet:
    """A network whose every weight acts, and whose decorrelations are far from the identity."""
    torch.manual_seed(seed)
    network = IRDNet(architecture).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    for one in network.decorrelations:
        one.mean.copy_(torch.randn_like(one.mean))
        one.matrix.copy_(one.matrix + 0.5 * torch.randn_like(one.matrix))
    return network


def card_for(architecture: Architecture = TINY, **more: Any) -> dict[str, Any]:
    """A card as `train` writes it."""
    told = {"about": "A toy.", "steps": 3, "hours": 0.01, "commit": "0000000", **more}
    recipe = Recipe(architecture, kernel=not architecture.voxel)
    return card_of("tiny", json.loads(json.dumps(asdict(recipe))), **told)


def parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors' bytes of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any], body: bytes) -> bytes:
    """A safetensors file of a header, true or false, and bytes."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
