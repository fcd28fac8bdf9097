"""One tile from the input to the unfinished image."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.batch.journal import short_digest
from microdeconv.blur import Blur
from microdeconv.engine import blur_of_tile, deconvolve_tile
from microdeconv.huge.scheme import Place, Scheme
from microdeconv.huge.seams import frame_of
from microdeconv.io.atomic import atomic_output, sync
from microdeconv.io.pixels import check_pixels
from microdeconv.io.zarr_chunks import read_grid
from microdeconv.io.zarr_read import zarr_library
from microdeconv.io.zarr_write import store
from microdeconv.machine import Machine
from microdeconv.pipeline import as_type
from microdeconv.settle import Listen
from microdeconv.signals import undisturbed
from microdeconv.stack import PsfSet


class Solver:
    """Does units of one plan; it keeps the forward model that tiles of a channel share.

    Parameters
    ----------
    scheme
        The plan.
    machine
        What may be used here.
    """

    def __init__(self, scheme: Scheme, machine: Machine) -> None:
        self.scheme, self.machine = scheme, machine
        self._blur: tuple[int, Blur] | None = None

    def do(self, unit: int, listen: Listen) -> dict[str, Any]:
        """Deconvolve a tile, write its core and keep what lies near its seams; done again, it gives the same bytes.

        Raises
        ------
        MicrodeconvError
            Of the kind that fits.
        """
        started = time.perf_counter()
        scheme = self.scheme
        place = scheme.place(unit)
        tile = place.tile
        settings = scheme.settings(place.c)
        part = self._read(place)
        steps = settings.iterations
        blur = self._blur_of(place, part.shape)
        result = deconvolve_tile(
            place.tile, part, blur, scheme.method, settings, lambda step: listen("deconvolving", step, steps)
        ).image
        frame = frame_of(result, tile, scheme.field)
        self._keep(scheme.frame(unit), frame)
        (y, x), (top, left) = tile.core, (tile.read[0].start, tile.read[1].start)
        core = result[:, y.start - top : y.stop - top, x.start - left : x.stop - left]
        written, clipped = as_type(np.ascontiguousarray(core), scheme.dtype)
        write_part(scheme, 0, place.t, place.c, written, (0, y.start, x.start))
        digest = short_digest(hashlib.sha256(frame).hexdigest())
        return {"seconds": time.perf_counter() - started, "clipped": clipped, "digest": digest}

    def _read(self, place: Place) -> NDArray[Any]:
        told, (y, x) = self.scheme.told, place.tile.read
        channel = told["channels"][place.c]
        part = self.scheme.stack.part(
            told["times"][place.t], channel["number"], slice(y.start, y.stop), slice(x.start, x.stop)
        )
        selection, keeps = self.scheme.selection, self.scheme.method.keeps_counts
        given = bool(channel["offset_given"])
        part, _ = check_pixels(part, selection, Path(told["input"]), raw=keeps, offset_given=given)
        if selection.negative == "clip" and not (keeps or given) and part.dtype.kind != "u":
            part = np.clip(part, 0, None)  # in every tile alike, however deep its own values go
        return part

    def _blur_of(self, place: Place, shape: tuple[int, ...]) -> Blur:
        psf = self.scheme.psfs[place.c]
        varies = isinstance(psf, PsfSet) and psf.lateral
        if self._blur is None or varies or self._blur[0] != place.c:
            self._blur = None  # its memory is needed for the next
            self._blur = place.c, blur_of_tile(place.tile, shape, psf, self.scheme.method, self.machine)
        return self._blur[1]

    def _keep(self, path: Path, frame: bytes) -> None:
        if frame:
            with atomic_output(path, overwrite=True, parents=True) as partial:
                partial.write_bytes(frame)


def write_part(scheme: Scheme, level: int, t: int, c: int, values: NDArray[Any], corner: tuple[int, int, int]) -> None:
    """Write whole shards of a level of the unfinished image, to the disk."""
    folder = scheme.image / str(level)
    with undisturbed():
        array = zarr_library().open_array(store=str(folder), mode="r+", config={"write_empty_chunks": True})
    store(array, scheme.axes, t, c, values, corner)
    grid = read_grid(folder)
    folders = set()
    for place, _ in grid.blocks(ranges_of(scheme, t, c, corner, values.shape)):
        file = grid.file(place)
        sync(file)
        folders.add(file.parent)
    for one in folders:
        sync(one)


def ranges_of(scheme: Scheme, t: int, c: int, corner: tuple[int, ...], shape: tuple[int, ...]) -> list[range]:
    """Give a part of a volume as ranges along the axes of the result."""
    along = {"T": range(t, t + 1), "C": range(c, c + 1)}
    along |= {a: range(start, start + n) for a, start, n in zip("ZYX", corner, shape, strict=True)}
    return [along[a] for a in scheme.axes]
