"""`microdeconv compare`: results of one stack, or of many, held against one another."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microdeconv.cli.flags import layers, with_options
from microdeconv.cli.terminal import Terminal
from microdeconv.cli.words import OUTPUT, Config, LogFormat, Overwrite, Quiet
from microdeconv.compare.variants import USUAL, Layers, read_methods, read_psfs, read_result, read_vary, variants_of
from microdeconv.errors import MicrodeconvError, UsageError
from microdeconv.options import Option, build, layered
from microdeconv.request import Request, all_options

if TYPE_CHECKING:
    from microdeconv.compare.case import Case
    from microdeconv.compare.many import Listed, Told
    from microdeconv.compare.results import Asked
    from microdeconv.compare.told import Report
    from microdeconv.psf.named import PsfFile

ITEMS_FAILED = 3
COMPARED = "What is compared"
# said otherwise here, or of files that `compare` does not write
UNUSED = ("method", "psf", "dtype", "format", "preview", "record", "report", "overwrite", "parents")


def _options() -> dict[str, Option]:
    return {o.key: o for o in all_options() if o.key not in UNUSED}


Stack = Annotated[
    Path | None, typer.Argument(metavar="STACK", help="A TIFF stack; none with --manifest.", show_default=False)
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="FILE",
        help="The true object, where it is known (TIFF), of any scale.",
        rich_help_panel=COMPARED,
        show_default=False,
    ),
]
Methods = Annotated[str, typer.Option("--methods", metavar="NAME,…", help="Which methods.", rich_help_panel=COMPARED)]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="OPTION=VALUE,…",
        rich_help_panel=COMPARED,
        show_default=False,
        help="Values of a method's option that are compared: iterations=5,10,20. Repeat it for more options.",
    ),
]
Psf = Annotated[
    list[str] | None,
    typer.Option(
        "--psf",
        metavar="FILE[@PLACE]|estimate|optics|none",
        rich_help_panel=COMPARED,
        show_default=False,
        help="A PSF (TIFF); repeat it to compare several. estimate: found in the image; optics: computed, as "
        "without --psf; none: not known. Files with a place, as run takes them, are one PSF that changes.",
    ),
]
Result = Annotated[
    list[str] | None,
    typer.Option(
        "--result",
        metavar="NAME=FILE",
        rich_help_panel=COMPARED,
        show_default=False,
        help="A result made elsewhere (TIFF, on the stack's voxels). Repeat it for more.",
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        rich_help_panel=COMPARED,
        show_default=False,
        help="Many stacks: CSV with the columns stack, and as wanted name, truth, psf (several with ;), "
        "result:NAME and any option; file names from its folder on.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        rich_help_panel=OUTPUT,
        show_default=False,
        help="Folder of index.html, report.json and report.csv. [default: STACK_compare]",
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Keep each result there too (TIFF, float32).", rich_help_panel=OUTPUT)
]


def compare(
    stack: Stack = None,
    truth: Truth = None,
    methods: Methods = USUAL,
    vary: Vary = None,
    psf: Psf = None,
    result: Result = None,
    manifest: Manifest = None,
    output: Output = None,
    keep: Keep = False,
    overwrite: Overwrite = False,
    config: Config = None,
    quiet: Quiet = False,
    log_format: LogFormat = "auto",
    *,
    given: dict[str, Any],
) -> int:  # fmt: skip
    """Compare methods, parameters, PSFs and results made elsewhere on one stack: a page, figures and a verdict.

    Background, offset and gain are the same for all. Of several channels or time points one is compared.
    """
    above = layers(all_options(), given, config)
    names = read_methods(methods)
    words = _Words(
        names, read_vary(vary or (), names), tuple(psf or ()), truth, tuple(read_result(one) for one in result or ()),
        keep, overwrite, (config,) if config else (), above,
    )  # fmt: skip
    with Terminal(log_format, quiet=quiet) as terminal:
        if manifest is not None:
            if stack is not None or truth is not None or result:
                said = "a stack" if stack is not None else "--truth" if truth is not None else "--result"
                raise UsageError(
                    f"--manifest and {said}", "the manifest names the stacks, with their truths and results"
                )
            code = _many(manifest, words, output, terminal)
        elif stack is None:
            raise UsageError("no stack", "give a TIFF file, or --manifest")
        else:
            folder = output or stack.with_name(f"{stack.name.split('.')[0]}_compare")
            case, found = _one(words.asked(stack, folder), terminal, overwrite=overwrite)
            _print(case, found)
            terminal.say(f"{folder / 'index.html'}", output=str(folder / "index.html"))
            code = 0
        terminal.event("exit", code=code)
    return code


class _Words:
    """What was said, for every stack."""

    def __init__(
        self, methods: tuple[str, ...], vary: Mapping[str, tuple[Any, ...]], psf: tuple[str, ...], truth: Path | None,
        results: tuple[tuple[str, Path], ...], keep: bool, overwrite: bool, kept: tuple[Path, ...], above: Layers,
    ) -> None:  # fmt: skip
        self.methods, self.vary, self.psf, self.truth, self.results = methods, vary, psf, truth, results
        self.keep, self.overwrite, self.kept, self.above = keep, overwrite, kept, above

    def asked(self, stack: Path, folder: Path, listed: Listed | None = None) -> Asked:
        """The comparison of one stack; refuses what can be refused before a voxel is read."""
        above = self.above
        if listed is not None and listed.values:  # the line's word is stronger
            above = (*above[:-1], ("the manifest", listed.values), above[-1])
        psfs = read_psfs(self.psf or (listed.psf if listed else ()))
        truth = listed.truth if listed else self.truth
        results = listed.results if listed else self.results
        forced = _forced(self.overwrite)
        variants = variants_of(self.methods, self.vary, psfs, above, forced)
        _refuse_shared_names([v.name for v in variants], [name for name, _ in results])

        from microdeconv.compare.results import Asked, only_one
        from microdeconv.compare.told import check_report
        from microdeconv.io.selection import Selection
        from microdeconv.io.stacks import open_stack, read_header

        selection = build(Selection, layered(all_options(), above))
        header = open_stack(stack, selection).header
        for path in (truth, *(path for _, path in results)):
            if path is not None:
                read_header(path)
        number, time, notes = only_one(header, selection)
        picked = {**forced, "channel": (number,), "time": (time,)}
        files = [one.path for value in psfs.values() for one in _files(value)]
        kept = tuple(p for p in (*self.kept, truth, *(path for _, path in results), *files) if p is not None)
        check_report(folder, (stack, *kept), overwrite=self.overwrite)
        return Asked(
            stack, variants_of(self.methods, self.vary, psfs, above, picked), folder, truth, results, self.keep, kept,
            shlex.join(["microdeconv", *sys.argv[1:]]), tuple(notes),
        )  # fmt: skip


def _files(psf: tuple[PsfFile, ...] | None) -> tuple[PsfFile, ...]:
    from microdeconv.psf.named import files_of

    return files_of(psf)


def _forced(overwrite: bool) -> dict[str, Any]:
    """What a comparison says of outputs: float32 alone, in a folder that is made."""
    return {
        "dtype": "float32", "format": "same", "preview": False, "record": False, "report": False, "parents": True,
        "overwrite": overwrite,
    }  # fmt: skip


def _refuse_shared_names(ours: Sequence[str], theirs: Sequence[str]) -> None:
    for place, name in enumerate(theirs):
        if name in (*ours, *theirs[:place]):
            raise UsageError(f"--result {name}=…: there is a result of that name", "give it another name")


def _one(asked: Asked, terminal: Terminal, *, overwrite: bool) -> tuple[Case, Report]:
    """Run, measure and write one comparison; warnings go to the terminal."""
    from microdeconv.compare.results import case_of
    from microdeconv.compare.told import write_report
    from microdeconv.machine import MachineOptions, machine_for, prepare

    prepare(machine_for(build(MachineOptions, Request(asked.stack, layers=asked.variants[0].layers).values())))
    for note in asked.notes:
        terminal.say(note, "warning")
    case = case_of(asked, terminal.listen, terminal.say)
    terminal.say("measuring the results, drawing the page")
    found = write_report(asked.folder, case, overwrite=overwrite)
    for warning in dict.fromkeys([*case.warnings, *found.verdict.warnings]):
        if warning not in asked.notes:
            terminal.say(warning, "warning")
    for entry in case.entries:
        for note in entry.notes:
            terminal.say(f"{entry.name}: {note}", "warning")
    return case, found


def _many(manifest: Path, words: _Words, output: Path | None, terminal: Terminal) -> int:
    """A page for each stack of a list, and one over all; a stack that fails is told and passed over."""
    from microdeconv.compare.many import differences, read_manifest, spread, table
    from microdeconv.compare.overview import write_overview
    from microdeconv.compare.told import FILES, check_report, write_json
    from microdeconv.io.table import write_table

    listed = read_manifest(manifest, _options())
    folder = output or manifest.with_name(f"{manifest.stem}_compare")
    check_report(folder, (manifest, *words.kept), overwrite=words.overwrite)
    stacks: list[Told] = []
    failed: list[tuple[str, str]] = []
    for number, one in enumerate(listed, 1):
        terminal.say(f"{number} of {len(listed)}: {one.name}")
        try:
            stacks.append(_told(words.asked(one.stack, folder / one.name, one), one, terminal, words))
        except MicrodeconvError as error:
            failed.append((one.name, str(error)))
            terminal.say(f"{one.name}: {error}", "error", code=error.exit_code)
    if not stacks:
        terminal.say(f"{len(failed)} of {len(listed)} stacks failed", "error")
        return ITEMS_FAILED
    found, off = spread(stacks), differences(stacks)
    write_overview(folder / FILES[0], stacks, found, off, failed, overwrite=words.overwrite)
    summary = {
        "stacks": [{"name": s.name, "contenders": s.contenders, "warnings": s.warnings} for s in stacks],
        "distributions": found, "differences": off, "failed": [list(one) for one in failed],
    }  # fmt: skip
    write_json(folder / FILES[1], summary, overwrite=words.overwrite)
    write_table(folder / FILES[2], table(stacks), overwrite=words.overwrite)
    _print_lines(_difference_lines(off))
    terminal.say(f"{folder / FILES[0]}", output=str(folder / FILES[0]))
    if failed:
        terminal.say(f"{len(failed)} of {len(listed)} stacks failed", "error")
    return ITEMS_FAILED if failed else 0


def _told(asked: Asked, one: Listed, terminal: Terminal, words: _Words) -> Told:
    """Compare on one stack; keep what the overview needs, not the images."""
    from microdeconv.compare.many import Told
    from microdeconv.compare.told import rows

    case, found = _one(asked, terminal, overwrite=words.overwrite)
    warnings = tuple(dict.fromkeys([*case.warnings, *found.verdict.warnings]))
    return Told(
        one.name, tuple(e.name for e in case.entries), found.figures, found.verdict.contenders, warnings,
        tuple(rows(case, found.figures)),
    )  # fmt: skip


def _difference_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    heads = ("figure", "result", "against", "stacks", "better by", "±", "worst", "worse in", "worst case")
    return [heads] + [
        (
            f"{row['label']}, {row['unit']}" if row["unit"] else row["label"], row["result"], row["against"],
            str(row["n"]), f"{row['mean']:+.3g}",
            "-" if row["error"] is None else f"{row['error']:.2g}", f"{row['worst']:+.3g}",
            f"{100 * row['worse']:.0f} %", row["worst_stack"],
        )
        for row in rows
    ]  # fmt: skip


def _print(case: Case, found: Report) -> None:
    from microdeconv.compare.told import lines

    _print_lines(lines(case, found.figures))
    sys.stdout.writelines(f"{sentence}\n" for sentence in found.verdict.sentences)


def _print_lines(rows: Sequence[tuple[str, ...]]) -> None:
    """A table for a person, tab-separated lines for a program."""
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in rows)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, head in enumerate(rows[0]):
        table.add_column(head, justify="left" if place == 0 else "right")
    for row in rows[1:]:
        table.add_row(*(f"[bold]{cell[:-1]}[/]" if cell.endswith("*") else cell for cell in row))
    Console().print(table)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(with_options(compare, _options().values()))
