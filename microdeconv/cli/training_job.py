"""What a training is given, settled before its first step, and what it leaves at its end."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import microdeconv
from microdeconv.errors import CannotCreateError, ConfigError, DataError, NoInputError, UsageError
from microdeconv.io.atomic import check_output
from microdeconv.learnt.card import ENDING, card_path

if TYPE_CHECKING:
    from microdeconv.learnt.checkpoint import State
    from microdeconv.learnt.own import Own
    from microdeconv.learnt.recipe import Recipe
    from microdeconv.learnt.training import Batch, Judge
    from microdeconv.learnt.weights import Model
    from microdeconv.options import Sourced
    from microdeconv.stack import Psf

CHECKPOINT, CURVE = "checkpoint.safetensors", "curve.svg"
START, START_WITHOUT_PSF = "small", "free"
FACTS = ("format", "version", "architecture", "parameters", "bytes", "sha256", "recipe_sha256")  # the file's own
GAIN, DEVIANCE = "gain in dB over the first iterate", "minus deviance of unused counts"


@dataclass(frozen=True, slots=True)
class Job:
    """A training, settled.

    Attributes
    ----------
    weights
        The file that will hold them.
    recipe, start, pictures
        What it is made of; no pictures: simulated scenes alone.
    batch, judge
        See `training.train`.
    about
        Digests of data and start: a checkpoint of others is not taken up.
    notes
        For a person.
    """

    weights: Path
    recipe: Recipe
    start: Model | None
    pictures: tuple[Own, ...]
    batch: Batch | None
    judge: Judge
    about: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The network's."""
        return self.weights.stem

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.weights.parent / CHECKPOINT

    @property
    def figure(self) -> str:
        """What the judge's figures are; the higher the better."""
        return DEVIANCE if self.pictures and not self.pictures[0].truth.size else GAIN

    def told(self) -> str:
        """The recipe as TOML, and the data as comments."""
        import tomli_w

        table = self.recipe.table()
        parts = ({k: v for k, v in table.items() if k != "architecture"}, {"architecture": table["architecture"]})
        lines = [f"# {self.weights}: start {self.start.source if self.start else 'from scratch'}"]
        lines += [f"# {own.name}: {' x '.join(map(str, own.light.shape))} voxels" for own in self.pictures]
        return "\n".join([*lines, *(tomli_w.dumps(part).rstrip() for part in parts), ""])

    def begin(self) -> None:
        """Make the folder.

        Raises
        ------
        CannotCreateError
            When it cannot be made or written to.
        """
        folder = self.weights.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # told now, not after hours
                pass
        except OSError as reason:
            raise CannotCreateError(
                f"{folder}: cannot be made or written to ({reason.strerror})", "give another with -o"
            ) from None

    def draw(self, state: State) -> None:
        """Draw the learning curve."""
        from microdeconv.io.curve import write_curve

        losses = [(float(step), loss) for step, loss, _ in state.history]
        found = [(float(step), value) for step, _, value in state.history if value is not None]
        title = f"{self.name}: step {state.step} of {self.recipe.steps}, {state.seconds / 3600:.2f} h"
        path = self.weights.parent / CURVE
        write_curve(path, title, [("loss", losses), (f"never trained on: {self.figure}", found)])

    def finish(self, state: State, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Write the weights if they are better than the start's, else the start's again; say so in lines."""
        from microdeconv.learnt.own import surely_better
        from microdeconv.learnt.training import averaged
        from microdeconv.learnt.weights import save_model

        network = averaged(state, self.recipe, device)
        after = self.judge(network, device)
        row: dict[str, Any] = {"figure": self.figure, "samples": len(after), "new": _mean(after)}
        kept: Model | None = None
        if self.start is not None:
            before = self.judge(self.start.network.to(device), device)
            row["start"] = _mean(before)
            kept = None if surely_better(before, after) else self.start
        told = ", ".join(f"{key} {value}" for key, value in row.items())
        usual = self.start.usual if self.start else None
        if kept is None:
            save_model(self.weights, network, self._card(state, row), usual=usual, overwrite=True)
            yield f"on samples never trained on: {told}", row
            yield f"{self.weights}: step {state.step}, {state.seconds / 3600:.2f} h", {"output": str(self.weights)}
            return
        card = {key: value for key, value in kept.card.items() if key not in FACTS}
        card["kept"] = f"a training of {state.step} more steps was not surely better: {told}"
        save_model(self.weights, kept.network, card, usual=usual, overwrite=True)
        yield f"not surely better on samples never trained on: {told}", row
        yield f"{self.weights}: the weights of {kept.source} again", {"kept": kept.source}

    def _card(self, state: State, row: Mapping[str, Any]) -> dict[str, Any]:
        from microdeconv.learnt.card import card_of
        from microdeconv.learnt.training import validation_samples

        material, voxel, failures = "simulated scenes", None, []
        if self.pictures:
            kind = "pairs with a truth" if self.pictures[0].truth.size else "stacks without a truth"
            material = f"{len(self.pictures)} own {kind} and simulated scenes"
            failures = ["Trained on for one user's pictures: on others it may be worse than its start."]
        begun = "from scratch"
        if self.start is not None:
            begun = f"on from {self.start.card.get('name') or Path(self.start.source).name}"
        if not self.recipe.kernel:
            sizes = [s.voxel_um[2] for s in validation_samples(self.recipe) if s.voxel_um]
            voxel = (round(min(sizes), 4), round(max(sizes), 4))
        return card_of(
            self.name, self.recipe.table(), about=f"Trained {begun} on {material}.",
            steps=state.step, hours=state.seconds / 3600, commit=f"microdeconv {microdeconv.__version__}",
            voxel_um=voxel, held_out=[row], failures=failures,
            suite="samples of the training's own kind, never trained on",
        )  # fmt: skip


def check_folder(folder: Path, name: str, *, overwrite: bool) -> Path:
    """Refuse what cannot be written, before anything is computed; give where the weights go.

    Raises
    ------
    UsageError
        For a name that is none.
    CannotCreateError
        When the folder cannot be written to, or holds weights of that name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name == Path(CHECKPOINT).stem:
        raise UsageError(f"--name {name}: no name for a network", "give letters, digits, . _ and -")
    weights = folder / f"{name}{ENDING}"
    for path in (weights, card_path(weights)):
        check_output(path, [], overwrite=overwrite, parents=True)
    if folder.exists() and not folder.is_dir():
        raise CannotCreateError(f"{folder}: is no folder", "give another with -o")
    return weights


def settle(
    weights: Path, preset: str | None, config: Path | None, start: str | None, pairs: Path | None,
    stacks: Sequence[Path], values: Mapping[str, Sourced], above: Any,
) -> Job:  # fmt: skip
    """Read recipe, start and pictures, and refuse what does not go together.

    Raises
    ------
    ConfigError
        For a recipe with unknown keys or values that cannot be.
    MicrodeconvError
        Of the kind that fits, for pictures and weights.
    """
    from microdeconv.learnt.own import batches, judge_of
    from microdeconv.learnt.recipe import PRESETS, recipe_of, refining
    from microdeconv.learnt.training import judge_for
    from microdeconv.learnt.weights import load_model

    table = _table(config)
    first = recipe_of(table, PRESETS[preset or "small"])  # a wrong key is told before anything is read
    pictured = bool(pairs or stacks)
    wanted = start or (START if pictured else None)
    model = load_model(wanted) if wanted is not None else None
    if model is not None and preset is None:
        plain = PRESETS[START_WITHOUT_PSF if _without_psf(model) else START]
        base = (
            refining(model.network.architecture)
            if pictured
            else replace(plain, architecture=model.network.architecture)
        )
        first = recipe_of(table, base)
    recipe = _fitted(first, model, table) if model is not None else first
    if pictured and model is not None and _without_psf(model):
        raise DataError(f"{model.source}: a network for no PSF learns from simulated scenes alone", "leave own out")
    found: list[Own] = []
    notes: list[str] = []
    if pairs is not None:
        from microdeconv.learnt.pairs import read_pairs

        found, notes = read_pairs(pairs)
    for path in stacks:
        own, told = _stack(path, values, above)
        found.append(own)
        notes += told
    about: dict[str, Any] = {"start": model.card.get("sha256", "")} if model is not None else {}
    if found:
        about["pictures"] = [own.digest() for own in found]
    batch = batches(found) if found else None
    judge = judge_of(found, recipe) if found else judge_for(recipe)
    return Job(weights, recipe, model, tuple(found), batch, judge, about, tuple(notes))


def _table(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as reason:
        raise NoInputError(f"{config}: {reason.strerror}", "check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise ConfigError(f"{config}: not TOML, {reason}", "mend that line") from None


def _without_psf(model: Model) -> bool:
    return model.network.architecture.voxel or model.card.get("psf") == "none"


def _fitted(recipe: Recipe, model: Model, table: Mapping[str, Any]) -> Recipe:
    """The recipe with the start's decorrelation, which is folded away in weights on disk; all else must agree."""
    architecture, own = recipe.architecture, model.network.architecture
    if "decorrelate" not in table.get("architecture", {}):
        architecture = replace(architecture, decorrelate=own.decorrelate)
    unlike = [key for key in architecture.__slots__ if getattr(architecture, key) != getattr(own, key)]
    if unlike:
        told = ", ".join(f"{key} {getattr(own, key)} for {getattr(architecture, key)}" for key in unlike)
        raise DataError(f"{model.source}: the start is of another architecture, {told}", "change the recipe or --start")
    return replace(recipe, architecture=architecture)


def _stack(path: Path, values: Mapping[str, Sourced], above: Any) -> tuple[Own, list[str]]:
    from microdeconv.cli.one_channel import read_channel
    from microdeconv.learnt.own import Own, no_truth
    from microdeconv.psf.from_counts import light_of_counts

    one = read_channel(path, values, above)
    eye = one.settings.camera
    background = max((one.settings.background - eye.offset) / eye.gain, 0.0)
    psf = _psf(path, one, values)
    own = Own(path.name, light_of_counts(one.volume, eye), no_truth(), psf, background)
    told = f"{path.name}: background {one.settings.background:.5g}, {eye.gain:.4g} counts for one photo-electron"
    return own, [*(f"{path.name}: {note}" for note in (*one.notes, *psf.notes)), f"{told}; PSF {psf.source}"]


def _psf(path: Path, one: Any, values: Mapping[str, Sourced]) -> Psf:
    from microdeconv.optics import Model as Theory
    from microdeconv.options import build
    from microdeconv.psf.compute import auto_shape, compute_psf
    from microdeconv.psf.named import files_of
    from microdeconv.psf.several import load_psfs
    from microdeconv.request import PsfOptions
    from microdeconv.stack import Psf

    options: PsfOptions = build(PsfOptions, values)
    files, header = files_of(options.psf), one.header
    if options.psf and len(files) != len(options.psf):
        raise UsageError("--psf estimate or none: nothing to train with", "write a PSF with psf estimate first")
    if not files:
        lacking = header.lacking(one.optics)
        if lacking or header.voxel_um is None:
            raise DataError(f"{path}: the PSF is not known", f"give --psf FILE, or {' '.join(lacking)}")
        shape = auto_shape(one.optics, header.voxel_um, header.volume_shape)
        return compute_psf(one.optics, header.voxel_um, shape, build(Theory, values).psf_model)
    found = load_psfs(
        files, header.voxel_um, header.volume_shape, channel=one.number, channels=header.size("C"),
        centre=options.psf_centre, background=options.psf_background == "subtract",
    )  # fmt: skip
    if not isinstance(found, Psf):
        raise UsageError("--psf with places: a training takes one PSF for the whole field", "give one file")
    return found


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 5)
