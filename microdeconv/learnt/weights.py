"""Networks on disk: safetensors with a JSON card beside it; the decorrelation is folded into the first convolutions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdeconv.errors import ConfigError, DataError, RefusedError, UsageError
from microdeconv.io.atomic import atomic_output, check_output
from microdeconv.learnt.card import ENDING, FORMAT, VERSION, card_path, find, read_card
from microdeconv.learnt.untrusted import Safetensors, Shape, clean, opened, some

if TYPE_CHECKING:
    from torch import Tensor

    from microdeconv.learnt.network import Architecture, IRDNet

WIDEST, MOST_STAGES, MOST_SCALES = 1024, 16, 6
WORDS = {"unit": ("ird", "plain"), "decorrelate": ("off", "channels", "pixels"), "bank": ("full", "one")}
PART = 100_000  # voxels whose powers are summed at once, in double precision
FAINTEST = 1e-6  # power of a decorrelated channel, times what is usual
USUAL = ("usual.mean", "usual.matrix")
FIRST = "first.weight", "first.bias"


@dataclass(frozen=True, slots=True)
class Usual:
    """What the bank's channels were like in the training: decorrelated, other ones are not of unit covariance.

    Attributes
    ----------
    mean
        float32 (channels · k²), of the channels or of their k x k neighbourhoods.
    matrix
        float32 (channels, channels, k, k): D of y = D (x − m).
    """

    mean: Tensor
    matrix: Tensor

    def distance(self, bank: Tensor) -> float:
        """Give how unlike the training's a bank is: ½ Σ (e − 1 − log e), e the powers of its decorrelated channels.

        That is the Kullback-Leibler divergence of a normal distribution of these powers from one of unit covariance;
        it is never zero, since no picture holds all that the training's pictures held.

        Parameters
        ----------
        bank
            float32 (channels, z, y, x), as the network is given it.
        """
        import torch

        around = self.matrix.shape[-1] // 2
        planes = torch.nn.functional.pad(bank.transpose(0, 1), (around,) * 4, mode="replicate")
        shift = torch.nn.functional.conv2d(self.mean.reshape(1, *self.matrix.shape[1:]), self.matrix)
        channels = torch.nn.functional.conv2d(planes, self.matrix).sub_(shift).transpose(0, 1).flatten(1)
        total = sum(part @ part.T for part in (one.double() for one in torch.split(channels, PART, 1)))
        powers = torch.linalg.eigvalsh(total / channels.shape[1]).clamp_min(FAINTEST)
        return float((powers - 1 - powers.log()).sum() / 2)


@dataclass(frozen=True, slots=True)
class Model:
    """A network ready for use.

    Attributes
    ----------
    network
        Its weights are on the device asked for.
    card
        See `card_of` and `save_model`; of a file without a card only what the file tells.
    source
        The file it came from.
    usual
        Of the bank, where the network was trained with decorrelation.
    """

    network: IRDNet
    card: dict[str, Any]
    source: str
    usual: Usual | None = None


def load_model(name_or_path: str | Path, device: str = "cpu") -> Model:
    """Load a shipped network by its name, or one from a safetensors file; nothing is fetched, nothing unpickled.

    All sizes are checked against the architecture before any tensor is copied, and the file against its card.

    Parameters
    ----------
    name_or_path
        A name of `models list`, or a file.
    device
        A torch device.

    Raises
    ------
    UsageError
        For an address on the network.
    NoInputError
        When there is no such model or file.
    RefusedError
        For a file that can hold commands, and for one whose sha256 is not its card's.
    DataError
        When file or card are damaged, of another kind or of a newer version, or weights are not finite.
    """
    import torch

    from microdeconv.learnt.network import IRDNet

    path = find(name_or_path)
    file, card = opened(path), read_card(path)
    if "sha256" in card and card["sha256"] != file.sha256:
        raise RefusedError(
            f"{path}: the weights are not those of their card (sha256 {file.sha256[:12]}…)", "copy both again"
        )
    architecture = _architecture(file)
    table = _table(architecture)
    if card.get("architecture", table) != table:
        raise DataError(f"{card_path(path)}: the card is of another architecture", "copy it again with the weights")
    _check_shapes(file, architecture)
    tensors = file.tensors()
    usual = Usual(*(tensors.pop(name).to(device) for name in USUAL)) if USUAL[0] in tensors else None
    network = IRDNet(architecture)
    network.load_state_dict(tensors)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Model(network, card | _facts(file, architecture), str(path), usual or usual_of(network))


def save_model(
    path: Path, network: IRDNet, card: Mapping[str, Any], *, usual: Usual | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write a network and, beside it, its card with the file's own facts; give that card.

    A decorrelation of channels is folded into the convolutions that follow it; one of pixels stays as it is.

    Parameters
    ----------
    path
        Ends with .safetensors; the card has .json instead.
    network
        As trained.
    card
        See `card_of`.
    usual
        Of a network that was folded before, to be kept.
    overwrite
        Whether files that exist are replaced.

    Raises
    ------
    UsageError
        For a path with another ending.
    DataError
        When weights are not finite.
    CannotCreateError, WriteError
        When the files cannot be written.
    """
    from safetensors.torch import save

    if path.suffix != ENDING:
        raise UsageError(f"{path}: not the name of a file of weights", f"let it end with {ENDING}")
    plain, usual = folded(network), usual or usual_of(network)
    tensors = plain.state_dict()
    if usual is not None and plain.architecture.decorrelate == "off":
        tensors |= dict(zip(USUAL, (usual.mean, usual.matrix), strict=True))
    bad = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if bad:
        raise DataError(f"NaN or infinite weights in {some(bad)}: they are not kept", "train with a lower rate")
    recipe = (card.get("training") or {}).get("recipe", {})
    told = {
        "format": FORMAT, "version": str(VERSION), "architecture": json.dumps(_table(plain.architecture)),
        "recipe_sha256": hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
    }  # fmt: skip
    for one in (path, card_path(path)):
        check_output(one, [], overwrite=overwrite, parents=False)
    with atomic_output(path, overwrite=overwrite) as partial:
        plainly = {name: value.detach().cpu().float().contiguous() for name, value in tensors.items()}
        partial.write_bytes(save(plainly, told))  # save_file would let nobody else read it
        file = opened(partial)
    folding = {"folded": network.architecture.decorrelate} if plain is not network else {}
    whole = dict(card) | folding | _facts(file, plain.architecture)
    with atomic_output(card_path(path), overwrite=overwrite) as partial:
        partial.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return whole


def folded(network: IRDNet) -> IRDNet:
    """Give the same function without decorrelation: W' = W D and b' = b − W D m in the convolutions that follow it.

    That is exact, since these repeat the border's values. One of pixels is a convolution of its own, which would make
    them 5 x 5: such a network is given back as it is.

    References
    ----------
    C. Ye et al., Network deconvolution, ICLR 2020.
    """
    import torch

    from microdeconv.learnt.network import IRDNet

    if network.architecture.decorrelate != "channels":
        return network
    state = {n: v for n, v in network.state_dict().items() if not n.startswith("decorrelations.")}
    kinds = {"integrate": 0} | {f"refine.{place}": 1 for place in range(len(network.refine))}
    for name, kind in kinds.items():
        given = network.decorrelations[kind]
        weight, bias = (f"{name}.{one}" for one in FIRST)
        turned = torch.einsum("ocyx,ci->oiyx", state[weight].double(), given.matrix[:, :, 0, 0].double())  # type: ignore[index]
        state[bias] = (state[bias].double() - turned.sum((2, 3)) @ given.mean.double()).float()  # type: ignore[operator]
        state[weight] = turned.float()
    plain = IRDNet(replace(network.architecture, decorrelate="off"))
    plain.load_state_dict(state)
    return plain.to(state[weight].device).eval()


def usual_of(network: IRDNet) -> Usual | None:
    """What a network's own decorrelation of the bank holds; nothing without one."""
    if not len(network.decorrelations):
        return None
    first = network.decorrelations[0]
    return Usual(first.mean.clone(), first.matrix.clone())  # type: ignore[operator]


def _architecture(file: Safetensors) -> Architecture:
    from microdeconv.learnt.recipe import Recipe, recipe_of

    told, path = file.told, file.path
    if told.get("format") != FORMAT:
        raise DataError(f"{path}: the weights are of no network of this program", "give one that `train` wrote")
    version = told.get("version", "")
    if not version.isdecimal() or int(version) > VERSION:
        raise DataError(
            f"{path}: format version {clean(version, 20)}, this program reads {VERSION}", "update microdeconv"
        )
    try:
        table = json.loads(told.get("architecture", ""))
        found = recipe_of({"architecture": table}, Recipe()).architecture
    except ConfigError as reason:
        raise DataError(f"{path}: {clean(reason.message, 200)}", "update microdeconv, or give another file") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: its architecture cannot be read", "give another file") from None
    fits = {
        "widths": max(found.widths) <= WIDEST,
        "stages": found.stages <= MOST_STAGES,
        "scales": 1 <= found.scales <= MOST_SCALES,
    } | {key: getattr(found, key) in known for key, known in WORDS.items()}
    for key, fit in fits.items():
        if not fit:
            raise DataError(
                f"{path}: an architecture with {key} {clean(getattr(found, key))} cannot be", "give another file"
            )
    return found


def _check_shapes(file: Safetensors, architecture: Architecture) -> None:
    """Compare the shapes a file claims with those of its architecture, whose own tensors are not made for that."""
    import torch

    from microdeconv.learnt.network import IRDNet

    with torch.device("meta"):
        wanted: dict[str, Shape] = {n: tuple(v.shape) for n, v in IRDNet(architecture).state_dict().items()}
    if architecture.decorrelate == "off" and set(USUAL) & set(file.shapes):
        channels = wanted["integrate.first.weight"][1]
        wanted |= dict(zip(USUAL, ((channels,), (channels, channels, 1, 1)), strict=True))
    shaped = [n for n in wanted if n in file.shapes and file.shapes[n] != wanted[n]]
    wrong = {
        "lacking": [n for n in wanted if n not in file.shapes],
        "unknown": [n for n in file.shapes if n not in wanted],
        "misshapen": [f"{n} {_by(file.shapes[n])} for {_by(wanted[n])}" for n in shaped],
    }
    if any(wrong.values()):
        told = "; ".join(f"{kind}: {some(names)}" for kind, names in wrong.items() if names)
        raise DataError(f"{file.path}: the weights do not fit their architecture, {told}", "give another file")


def _by(shape: Shape) -> str:
    return clean(" x ".join(map(str, shape))) or "one number"


def _table(architecture: Architecture) -> dict[str, Any]:
    return asdict(architecture) | {"widths": list(architecture.widths)}


def _facts(file: Safetensors, architecture: Architecture) -> dict[str, Any]:
    sizes = (_size(shape) for name, shape in file.shapes.items() if name not in USUAL)
    return {
        "format": FORMAT, "version": VERSION, "architecture": _table(architecture), "parameters": sum(sizes),
        "bytes": len(file.data), "sha256": file.sha256, "recipe_sha256": file.told.get("recipe_sha256", ""),
    }  # fmt: skip


def _size(shape: Shape) -> int:
    number = 1
    for one in shape:
        number *= one
    return number
