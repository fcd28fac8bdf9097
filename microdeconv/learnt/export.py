"""A network as a bioimage.io package: description, weights, test tensors and documentation in one zip."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv import __version__
from microdeconv.errors import DataError, UnavailableError
from microdeconv.io.atomic import atomic_output, check_output
from microdeconv.simulate import Exposure, gaussian_psf, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.learnt.weights import Model

VOLUME, PLANE = (8, 48, 48), (1, 96, 96)  # of the test tensors
SIGMA, SEED = (1.5, 1.2, 1.2), 4
TOLERANCE = {
    "relative_tolerance": 1e-2,
    "absolute_tolerance": 0.05,
}  # of photo-electrons: transforms differ in their last digits
LEAST_PLANES, LEAST_SIDE = 2, 16  # of a volume
CITED = (
    ("L. Si-Yao et al., Iterative Residual Image Deconvolution", "https://arxiv.org/abs/1804.06042"),
    ("C. Ye et al., Network Deconvolution", "https://arxiv.org/abs/1905.11926"),
    ("H. Noh et al., Learning Deconvolution Network for Semantic Segmentation", "https://arxiv.org/abs/1505.04366"),
)  # fmt: skip


def export_model(path: Path, model: Model, *, planes: bool = False, overwrite: bool = False) -> None:
    """Write a network as a package of bioimage.io, which its own library has validated and run.

    Inputs are `raw`, photo-electrons, and `psf` where the network needs one. The background is estimated within; there
    is no guard and no memory budget, which only `run` has. microdeconv must be installed where the package is used.

    Parameters
    ----------
    path
        Of the zip.
    model
        See `load_model`.
    planes
        Whether the package is for single planes; else for volumes. The weights are the same.
    overwrite
        Whether a file that exists is replaced.

    Raises
    ------
    UnavailableError
        When bioimageio.core is not installed.
    DataError
        When the package does not pass its test.
    CannotCreateError, WriteError
        When the file cannot be written.

    References
    ----------
    bioimage.io model description 0.5.
    """
    try:
        from bioimageio.core import test_model
        from bioimageio.spec import ValidationContext, save_bioimageio_package
        from bioimageio.spec.model.v0_5 import ModelDescr
    except ImportError:
        raise UnavailableError(
            "the export needs bioimageio.core, which is not installed", "pip install 'microdeconv[bioimageio]'"
        ) from None

    check_output(path, [Path(model.source)], overwrite=overwrite, parents=False)
    with TemporaryDirectory() as name:
        folder = Path(name)
        tensors = _write_parts(folder, model, planes)
        with ValidationContext(root=folder):
            described = ModelDescr.model_validate(description(model, folder, tensors))
            result = test_model(described, "pytorch_state_dict", devices=["cpu"])
            if result.status != "passed":
                raise DataError("the package does not pass the test of bioimageio.core", _first_error(result))
            with atomic_output(path, overwrite=overwrite) as partial:
                save_bioimageio_package(described, output_path=partial)


def description(model: Model, folder: Path, tensors: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Give the description of a package whose files lie in a folder, as YAML would hold it."""
    import torch

    card = model.card
    inputs = [_tensor(folder, name, tensors[name]) for name in tensors if name != "deconvolved"]
    exported = {"callable": "Exported", "import_from": "microdeconv.learnt.exported"}
    weights = {
        **_file(folder, "weights.pt"),
        "architecture": exported | {"kwargs": {"architecture": card["architecture"]}},
        "pytorch_version": torch.__version__.split("+")[0],
        "dependencies": _file(folder, "environment.yaml"),
        "comment": f"microdeconv {__version__} must be installed.",
    }
    return {
        "type": "model", "format_version": "0.5.4",
        "name": f"microdeconv {card.get('name', Path(model.source).stem)}"[:128],
        "description": card.get("about") or "Deconvolution of fluorescence-microscopy stacks",
        "version": "0.1.0",
        "authors": [{"name": "the microdeconv developers"}],
        "license": card.get("licence", "BSD-3-Clause"),
        "cite": [{"text": text, "url": url} for text, url in CITED],
        "tags": ["deconvolution", "fluorescence-light-microscopy", "pytorch", f"{2 + (tensors['raw'].shape[2] > 1)}d"],
        "documentation": _file(folder, "README.md"),
        "covers": [_file(folder, "cover.png")],
        "inputs": inputs,
        "outputs": [_tensor(folder, "deconvolved", tensors["deconvolved"])],
        "weights": {"pytorch_state_dict": weights},
        "config": {"bioimageio": {"reproducibility_tolerance": [TOLERANCE]}, "microdeconv": {"card": json.dumps(card)}},
    }  # fmt: skip


def _write_parts(folder: Path, model: Model, planes: bool) -> dict[str, NDArray[np.float32]]:
    """Write the files of a package; give its test tensors by name, inputs first."""
    import torch

    from microdeconv.learnt.exported import Exported

    whole = Exported(model.card["architecture"])
    whole.network.load_state_dict(model.network.state_dict())
    whole.eval()
    torch.save({name: value.cpu().contiguous() for name, value in whole.state_dict().items()}, folder / "weights.pt")
    psf = gaussian_psf((0, *SIGMA[1:]) if planes else SIGMA)
    scene = simulate("mixed", PLANE if planes else VOLUME, psf, Exposure(200, 20, 0), SEED)
    tensors = {"raw": np.clip(scene.counts.astype(np.float32), 0, None)[None, None]}
    if not model.network.architecture.voxel:
        tensors["psf"] = psf.astype(np.float32)[None, None]
    with torch.inference_mode():
        tensors["deconvolved"] = whole(*map(torch.from_numpy, tensors.values())).numpy()
    for name, values in tensors.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "README.md").write_text(_readme(model), encoding="utf-8")
    (folder / "environment.yaml").write_text(_environment(), encoding="utf-8")
    _write_cover(folder / "cover.png", tensors["raw"][0, 0], tensors["deconvolved"][0, 0])
    return tensors


def _tensor(folder: Path, name: str, values: NDArray[np.float32]) -> dict[str, Any]:
    axes: list[dict[str, Any]] = [{"type": "batch", "size": 1}, {"type": "channel", "channel_names": [name]}]
    for axis in "zyx":
        given = values.shape["zyx".index(axis) + 2]
        size: Any = {"min": LEAST_PLANES if axis == "z" else LEAST_SIDE, "step": 1}
        if axis == "z" and given == 1:
            size = 1
        elif name == "psf":
            size = {"min": given, "step": 2}
        elif name != "raw":
            size = {"tensor_id": "raw", "axis_id": axis}
        axes.append({"type": "space", "id": axis, "size": size})
    told = {
        "raw": "Photo-electrons: counts less the camera's offset, over its gain.",
        "psf": "On the voxels of raw, odd sizes, any scale.",
        "deconvolved": "Photo-electrons above the background.",
    }
    data = {"type": "float32", "range": [0, None]}
    return {
        "id": name,
        "description": told[name],
        "axes": axes,
        "test_tensor": _file(folder, f"{name}.npy"),
        "data": data,
    }


def _file(folder: Path, name: str) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}


def _environment() -> str:
    import torch

    pip = f"      - microdeconv=={__version__}"
    version = torch.__version__.split("+")[0]
    lines = ["name: microdeconv", "channels:", "  - conda-forge", "dependencies:", "  - python>=3.11"]
    return "\n".join([*lines, f"  - pytorch=={version}", "  - pip", "  - pip:", pip, ""])


def _readme(model: Model) -> str:
    card = model.card
    needs = (
        "`raw` and `psf`" if not model.network.architecture.voxel else "`raw` alone; voxels are taken for 0.1 µm wide"
    )
    lines = [
        f"# microdeconv {card.get('name', '')}", "", str(card.get("about", "")), "",
        "## Use", "",
        f"The inputs are {needs}. `raw` is in photo-electrons: take the camera's offset off and divide by its",
        "gain. The background is estimated within. microdeconv must be installed. Give whole stacks, not blocks of",
        "them: brightness and background are those of what is given. The steps that make the network's object",
        "explain the image (the figures below are with them), the guard that compares the result with the data, and",
        "the memory budget are in `microdeconv run --method learnt` only.", "",
        str(card.get("intended_use", "")), "",
        "## Limits", "", *(f"- {one}" for one in card.get("failure_modes", [])), "",
        "## Validation", "",
        "Blur known scenes with your own PSF, add noise, deconvolve, and compare with Richardson-Lucy: error against",
        "the truth, Fourier ring correlation, false spots. On your own stacks, compare two halves of the counts.", "",
        "## Training and figures", "", "```json",
        json.dumps({key: card.get(key) for key in ("training", "held_out", "ablation")}, indent=1, ensure_ascii=False),
        "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _write_cover(path: Path, raw: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Write the brightest of all planes before and after, side by side."""
    from PIL import Image

    halves = []
    for volume in (raw, found):
        plane = volume.max(axis=0)
        low, high = float(np.quantile(plane, 0.01)), float(plane.max())
        shown = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) ** 0.7
        halves.append((255 * shown).astype(np.uint8))
    picture = Image.fromarray(np.hstack(halves))
    picture.resize((8 * picture.width, 8 * picture.height), Image.Resampling.NEAREST).save(path)


def _first_error(result: Any) -> str:
    for detail in result.details:
        for error in detail.errors:
            return " ".join(str(error.msg).split())[:300]
    return "see `bioimageio test` on it"
