"""`microdeconv explain`: why the network gives what it gives in a region of a stack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.camera import CameraOptions
from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import Config, LogFormat, Overwrite
from microdeconv.errors import MemoryShortError, UsageError
from microdeconv.io.selection import Selection
from microdeconv.learnt.method import WITH_PSF, WITHOUT_PSF, Learnt
from microdeconv.machine import MachineOptions
from microdeconv.methods import METHODS
from microdeconv.optics import DepthOptions, Model, Optics
from microdeconv.options import AUTO, Option, build, layered, option, options_of
from microdeconv.psf.named import files_of, is_estimate, is_none
from microdeconv.psf.recipes import with_recipe
from microdeconv.request import PsfOptions, refuse_idle

if TYPE_CHECKING:
    from microdeconv.cli.one_channel import OneChannel
    from microdeconv.learnt.explain import Box, Explanation
    from microdeconv.stack import Psf, PsfSet

PANEL = "Explanation"
WORDS = ("brightest", "centre")


def read_region(raw: Any) -> str | tuple[int, ...]:
    """Read `brightest`, `centre`, or whole numbers: the middle z y x, then nothing, one edge, or the sizes z y x.

    Raises
    ------
    ValueError
        For anything else.
    """
    parts = [str(part) for part in raw] if isinstance(raw, list | tuple) else str(raw).replace(",", " ").split()
    if len(parts) == 1 and parts[0] in WORDS:
        return parts[0]
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError("neither brightest, centre nor whole numbers") from None
    if len(numbers) not in (3, 4, 6):
        raise ValueError(f"{len(numbers)} numbers; three are a middle (z y x), a fourth an edge, or three more sizes")
    if any(size < 1 for size in numbers[3:]):
        raise ValueError("a size below 1")
    return numbers


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What is explained."""

    region: str | tuple[int, ...] = option(
        "brightest",
        "The region: its middle voxel Z Y X, then its edge in y and x or its sizes Z Y X; or brightest, or centre.",
        panel=PANEL,
        metavar="Z Y X [SIZE...]",
        parse=read_region,
    )
    stage: int | None = option(
        None, "Whose filters are looked at: 0, the integration; 1 and on, the refinements; the last if not given.",
        panel=PANEL, metavar="N", low=0,
    )  # fmt: skip
    filters: int = option(4, "Filters of each size that are projected.", panel=PANEL, low=1, high=48)
    patches: int | None = option(
        None, "Patches of the occlusion map along y and x; 9 if not given, 5 for large volumes.",
        panel=PANEL, metavar="N", low=3, high=64,
    )  # fmt: skip


GROUPS = (ExplainOptions, PsfOptions, Optics, Model, DepthOptions, Selection, CameraOptions, MachineOptions)
UNUSED = ("memory", "tile")  # of these groups: the region and its surroundings are computed as a whole


def _options() -> dict[str, Option]:
    own = [o for group in GROUPS for o in options_of(group) if o.key not in UNUSED]
    return {o.key: o for o in (*own, *(o for o in options_of(Learnt) if o.key == "model"))}


def explain(
    path: Annotated[Path, typer.Argument(metavar="STACK", help="A TIFF stack.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="PAGE.html",
            help="The page; its figures are written beside it (JSON).",
            rich_help_panel="Output",
            show_default=False,
        ),
    ],
    overwrite: Overwrite = False,
    log_format: LogFormat = "auto",
    config: Config = None,
    *,
    given: dict[str, Any],
) -> int:
    """Explain the learnt method's result in a region: filters, surroundings, channels, and what data can confirm."""
    from microdeconv.io.atomic import check_output

    options = _options()
    above = layers(options.values(), given, config)
    values = layered(options.values(), with_recipe(above))
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {output}: the page is an HTML file", "end the name in .html")
    psfs = [one.path for one in files_of(values["psf"].value)]
    for wanted in (output, output.with_suffix(".json")):
        check_output(wanted, [path, *psfs], overwrite=overwrite, parents=False)
    if is_estimate(values["psf"].value):
        raise UsageError("--psf estimate: explain finds no PSF", "write one with psf estimate, then give that file")
    refuse_idle(values, METHODS["learnt"], raw_psf=bool(psfs))
    with Terminal(log_format) as terminal:
        _explained(path, output, values, above, terminal, overwrite=overwrite)
        terminal.event("exit", code=0)
    return 0


def _explained(path: Path, output: Path, values: Any, above: Any, terminal: Terminal, *, overwrite: bool) -> None:
    """Load the network, read one channel and its PSF, explain, write page and figures."""
    from microdeconv.cli.one_channel import read_channel
    from microdeconv.learnt.explain import region_of, surroundings
    from microdeconv.learnt.weights import load_model
    from microdeconv.machine import machine_for
    from microdeconv.planning import psf_for
    from microdeconv.settle import DELTA

    none, name = is_none(values["psf"].value), values["model"].value
    device = machine_for(build(MachineOptions, values)).device
    model = load_model((WITHOUT_PSF if none else WITH_PSF) if name == "auto" else name, device)
    one = read_channel(path, values, above)
    region = region_of(values["region"].value, one.volume)
    psf = DELTA if none else psf_for(path, values, one.optics, one.header, one.number)
    field = surroundings(region, psf, one.header.volume_shape)
    found = _found(one, psf, region, field, model.network, build(ExplainOptions, values), terminal)
    facts = {
        "Stack": f"{path}: {one.header.describe()}, channel {one.number}", "Region": _told(region),
        "Field": f"{_told(field)}; all that acts on the region is computed, nothing else is",
        "Model": f"{name if name != 'auto' else model.card.get('name', 'shipped')} ({model.source})", "PSF": psf.source,
        "Camera": f"background {one.settings.background:.5g}, gain {one.settings.camera.gain:.4g} counts",
        "Voxel": one.header.describe_voxel(),
    }  # fmt: skip
    notes = [*one.notes, *(f"PSF: {note}" for note in psf.notes)]
    told = {
        "stack": str(path), "model": model.source, "psf": psf.source, "notes": notes,
        "region_of_stack": _as_table(region), "field_of_stack": _as_table(field), **found.figures,
    }  # fmt: skip
    _write(output, facts, told, found, notes, overwrite=overwrite)
    for note in notes:
        terminal.say(note, "warning")
    terminal.say(found.figures["bands"]["meaning"])
    terminal.say(f"{output}: region {_told(region)}", output=str(output))


def _found(
    one: OneChannel, psf: Psf | PsfSet, region: Box, field: Box, network: Any, wish: ExplainOptions, terminal: Terminal
) -> Explanation:  # fmt: skip
    """Explain a region of a channel from its field."""
    from dataclasses import replace

    from microdeconv.engine import plan_cut
    from microdeconv.learnt.explain import explain as explained
    from microdeconv.learnt.method import prepare
    from microdeconv.psf.from_counts import telling_box
    from microdeconv.settle import JUDGED, problem_for

    method = METHODS["learnt"]
    if plan_cut(field.size, psf, method, one.machine, AUTO, one.volume.nbytes).tiles > 1:
        sizes = " x ".join(map(str, field.size))
        raise MemoryShortError(f"memory does not suffice for {sizes} voxels at once", "give a smaller region or PSF")
    box = telling_box(one.volume, one.settings.background, JUDGED)
    start = (box[0].start, box[1].start, box[2].start)
    telling = problem_for(one.volume[box], psf, method, one.settings, one.machine, start)
    ready = prepare(telling, Learnt(), one.header.voxel_um)
    problem = problem_for(one.volume[field.slices], psf, method, one.settings, one.machine, field.start)
    inner = region.within(field)
    found = explained(
        network, problem, inner, ready.scale, voxel_um=ready.voxel_um, stage=wish.stage, top=wish.filters,
        patches=wish.patches, listen=terminal.listen,
    )  # fmt: skip
    return replace(found, figures={"region": _as_table(inner), **found.figures})


def _write(
    output: Path, facts: dict[str, str], told: dict[str, Any], found: Explanation, notes: list[str], *, overwrite: bool
) -> None:
    from microdeconv.io.atomic import atomic_output
    from microdeconv.io.explain_page import write_explanation

    write_explanation(output, facts, told, found.pictures, notes, overwrite=overwrite)
    with atomic_output(output.with_suffix(".json"), overwrite=overwrite) as partial:
        partial.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _as_table(box: Box) -> dict[str, list[int]]:
    return {"start": list(box.start), "size": list(box.size)}


def _told(box: Box) -> str:
    ends = ((s, s + n - 1) for s, n in zip(box.start, box.size, strict=True))
    return ", ".join(f"{axis} {a} to {b}" for axis, (a, b) in zip("zyx", ends, strict=True))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(with_options(explain, _options().values()))
