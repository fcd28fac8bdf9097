"""The end of a plan: every tile is there, seams are blended, levels made, and the image gets its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from microdeconv.batch.claims import Claims
from microdeconv.errors import CannotCreateError, DataError, MicrodeconvError, NoInputError, UsageError
from microdeconv.huge.drive import WORK_LEFT
from microdeconv.huge.jobs import Engine, Job
from microdeconv.huge.levels import parts_of
from microdeconv.huge.scheme import PLAN, Scheme, load, work_folder
from microdeconv.huge.state import State, TileDone
from microdeconv.io.atomic import discard, put_tree, sync, sync_tree
from microdeconv.io.names import named_zarr
from microdeconv.io.ngff import window_for
from microdeconv.io.stacks import identity
from microdeconv.io.zarr_write import write_group

LOCK = "finish"
Tell = Callable[[str, int, int], None]


class UnfinishedError(MicrodeconvError):
    """Tiles of a plan that are not done."""

    exit_code = WORK_LEFT


def scheme_of(output: Path) -> Scheme:
    """Give the plan of an output that is not finished.

    Raises
    ------
    NoInputError
        When there is none.
    UsageError
        When the output is something else.
    """
    folder = work_folder(output)
    if not folder.is_dir():
        discard(folder)  # whoever took it away may have been killed meanwhile
        if output.exists() and not named_zarr(output):
            raise UsageError(f"{output}: no result of tiles", "give the OME-Zarr that batch --tiles was told to write")
        known = "it stands already" if output.exists() else "begin it with batch --tiles"
        raise NoInputError(f"{folder}: there is no plan of tiles", known)
    return load(folder)


def all_done(scheme: Scheme) -> State:
    """Give the journal of a plan whose tiles are all done.

    Raises
    ------
    UnfinishedError
        When some are not.
    """
    state = State(scheme.folder)
    state.refresh()
    missing = [unit for unit in range(scheme.count) if unit not in state.done]
    if missing:
        first = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise UnfinishedError(
            f"{scheme.folder}: {len(missing):,} of {scheme.count:,} tiles are not done ({first})",
            "run batch --tiles again, with the same options",
        )
    return state


def finish(scheme: Scheme, output: Path, engine: Engine, tell: Tell) -> list[str]:
    """Make the image whole and put it in place.

    Parameters
    ----------
    scheme
        Its plan.
    output
        Its final name.
    engine
        Who does the work.
    tell
        Called with what is being done, how far it is, and how far it goes.

    Returns
    -------
    list
        Notes for a person.

    Raises
    ------
    UnfinishedError, DataError
        When tiles are not done, or damaged; those are done again by the next `batch --tiles`.
    CannotCreateError
        When the output stands already, or another process finishes it.
    """
    state = all_done(scheme)
    newer = _newer(scheme)
    if output.exists() and not scheme.image.exists():  # it was renamed, and then somebody was killed
        discard(scheme.folder)
        return []
    if output.exists() and not scheme.told["overwrite"]:
        raise CannotCreateError(f"{output}: exists already", "move it away, then finish again")
    claims = Claims(scheme.folder / "claims")
    if claims.take(LOCK) is None:
        raise CannotCreateError(f"{output}: another process finishes it now", "wait for it")
    try:
        limits = _join(scheme, state, engine, claims, tell)
        for level in range(1, len(scheme.told["levels"])):
            jobs = (Job("level", number, level) for number in range(parts_of(scheme, level)))
            _all(engine, jobs, claims, lambda n, most, level=level: tell(f"level {level}", n, most),  # type: ignore[misc]
                 parts_of(scheme, level))  # fmt: skip
        write_group(scheme.image, attributes_of(scheme, limits), scheme.told["ngff"])
        for left in scheme.image.rglob("*.partial"):  # zarr writes beside a chunk's place; killed writers leave that
            left.unlink()
        sync_tree(scheme.image)
        put_tree(scheme.image, output, overwrite=bool(scheme.told["overwrite"]))
        sync(output.parent)
    finally:
        engine.close()
        claims.release(LOCK)
        state.close()
    discard(scheme.folder)
    clipped = sum(line.clipped for line in state.done.values())
    told = f"{clipped:,} voxels beyond {scheme.dtype.name} were clipped: --dtype float32 keeps them"
    return [*newer, told] if clipped else newer


def _newer(scheme: Scheme) -> list[str]:
    """Tell whether an input's chunks are newer than the plan, which keeps the identity of its metadata alone."""
    source = Path(scheme.told["input"])
    try:
        if source.is_dir() and identity(source)[1] > (scheme.folder / PLAN).stat().st_mtime_ns:
            return [f"{source}: chunks are newer than the plan; if values changed, tiles are of both: --restart"]
    except OSError:  # it was moved away since
        pass
    return []


def attributes_of(scheme: Scheme, limits: list[tuple[float, float]]) -> dict[str, Any]:
    """Give the image's attributes, now that its smallest and largest values are known."""
    attributes: dict[str, Any] = scheme.told["attributes"]
    holder = attributes.get("ome", attributes)
    for one, ends in zip(holder["omero"]["channels"], limits, strict=True):
        one["window"] = window_for(scheme.dtype, ends)
    return attributes


def _join(scheme: Scheme, state: State, engine: Engine, claims: Claims, tell: Tell) -> list[tuple[float, float]]:
    """Compare what all tiles kept, then blend them; give the limits of each channel."""
    limits = [(math.inf, -math.inf)] * len(scheme.told["channels"])
    kept = (Job("frame", unit, 0, state.done[unit].digest) for unit in range(scheme.count))
    for _ in _sound(scheme, state, engine, claims, kept):
        pass
    joined = (Job("join", unit) for unit in range(scheme.count))
    for number, told in enumerate(_sound(scheme, state, engine, claims, joined), 1):
        low, high = limits[told["c"]]
        limits[told["c"]] = min(low, told["low"]), max(high, told["high"])
        tell("seams", number, scheme.count)
    return limits


def _sound(
    scheme: Scheme, state: State, engine: Engine, claims: Claims, jobs: Iterable[Job]
) -> Iterator[dict[str, Any]]:
    """Do a job of each tile; those that are damaged are noted, to be done again, when all others have been seen."""
    damaged: dict[int, str] = {}
    for outcome in engine.map(jobs):
        claims.touch()
        if outcome is None:
            continue
        if outcome.status == "done":
            yield outcome.told
        elif outcome.told["exit"] == DataError.exit_code:
            damaged[outcome.job.number] = outcome.told["message"]
        else:
            raise _error(outcome.told)
    for unit in damaged:
        state.append(TileDone(unit))
    if damaged:
        raise DataError(
            f"{scheme.folder}: {len(damaged)} of {scheme.count} tiles are damaged ({next(iter(damaged.values()))})",
            "run batch --tiles again: it does them anew",
        )


def _all(engine: Engine, jobs: Iterable[Job], claims: Claims, tell: Callable[[int, int], None], count: int) -> None:
    ended = 0
    for outcome in engine.map(jobs):
        claims.touch()
        if outcome is not None:
            if outcome.status == "failed":
                raise _error(outcome.told)
            ended += 1
            tell(ended, count)


def _error(told: dict[str, Any]) -> MicrodeconvError:
    error = MicrodeconvError(told["message"], told["remedy"])
    error.exit_code = told["exit"]
    return error
