"""What is compared: a stack, and results of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microdeconv.stack import Zyx

if TYPE_CHECKING:
    from microdeconv.camera import Camera
    from microdeconv.stack import Psf, PsfSet


@dataclass(frozen=True, slots=True)
class Entry:
    """One result.

    Attributes
    ----------
    name
        As people call it: "rl", "rl, 20 iterations", "Huygens".
    image
        float32 (z, y, x), counts above the background, not scaled.
    psf
        With which it was made; None for a result made elsewhere without one.
    halves
        Results of two halves of the photo-electrons, brought to the scale of the whole, float32 (z, y, x); None where
        the method cannot be run again. What both agree on is no noise.
    seconds, memory
        Taken by the method itself, and peak bytes; None where not known.
    settings
        What was given or chosen, in words, by name.
    trace
        (step, value) curves by name, for the convergence plot: "risk", "objective".
    stopped
        The step at which it stopped, if it has steps.
    notes
        Warnings for a person.
    """

    name: str
    image: NDArray[np.float32]
    psf: Psf | PsfSet | None = None
    halves: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    seconds: float | None = None
    memory: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    trace: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    stopped: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A stack (one channel, one time point) and its results.

    Attributes
    ----------
    name
        Of the stack.
    raw
        Counts (z, y, x), any real dtype.
    background
        Counts.
    camera
        Offset and gain.
    entries
        The results, in the order asked for.
    truth
        float32 (z, y, x), where it is known; any scale.
    voxel_um
        (z, y, x), where it is known.
    psf
        By which results are blurred again, to be held against the image.
    warnings
        What a person should read first.
    shared_out
        Both halves of the light, as `halves_of_counts` gives them; None: shared out where needed, which takes a while.
    provenance
        (heading, value) lines: versions, command, input and its hash, PSF and its hash, machine.
    """

    name: str
    raw: NDArray[Any]
    background: float
    camera: Camera
    entries: tuple[Entry, ...]
    truth: NDArray[np.float32] | None = None
    voxel_um: Zyx | None = None
    psf: Psf | PsfSet | None = None
    warnings: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    shared_out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about a result.

    Attributes
    ----------
    key, label, meaning
        For programs, for a table's heading, and what it means in one line.
    better
        "higher", "lower", "near one", or "" where neither is better.
    unit
        Of the values, may be empty.
    values
        By entry name; entries that lack it are absent.
    noise
        Standard error of the difference between the best two entries, from two thinnings or from parts of the image;
        None where it cannot be told.
    between
        That of the difference of any two entries, by the name of the one and then of the other; empty likewise.
    """

    key: str
    label: str
    meaning: str
    better: str
    unit: str
    values: Mapping[str, float]
    noise: float | None = None
    between: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said in words.

    Attributes
    ----------
    winner
        Name of the entry that is better by more than the noise; None where nothing is decided.
    sentences
        For a person: who wins by what and by how much more than the noise, and what is not decided.
    warnings
        First of all: a PSF that does not fit, saturation, undersampling, too many steps.
    contenders
        Names of those of which any may be the best: the winner alone, or all that are not certainly behind.
    """

    winner: str | None
    sentences: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    contenders: tuple[str, ...] = ()
