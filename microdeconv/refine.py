"""A volume by a method that has a companion: both results, judged by unused counts and blended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microdeconv.camera import Camera, thin
from microdeconv.engine import Cut, deconvolve_volume
from microdeconv.learnt.guard import (
    ALARM,
    ALARM_UNASKED,
    ASKED,
    CAUTION,
    KEPT,
    LIKELIER,
    SEED,
    UNASKED,
    Verdict,
    chi_square,
    flux_ratio,
    outside_support,
    steadied,
    trust_map,
    wider_is_likelier,
)  # fmt: skip
from microdeconv.machine import Machine
from microdeconv.problem import Method
from microdeconv.psf.from_counts import split_for
from microdeconv.settle import DELTA, Listen, Settings, ignore
from microdeconv.stack import Psf, PsfSet

UNUSUAL = 15.0  # of `Usual.distance`: nine of ten pictures of the training's kinds are below
NO_PSF = "without a PSF the network guesses: nothing in the image can check it, measure nothing on it"


HELD = 28  # bytes a voxel beside what any method holds: both results, both models, shared-out counts, the guard's own


class Refined(NamedTuple):
    """A result (counts above the background, (z, y, x)), notes, and what the guard found, for the record."""

    image: NDArray[Any]
    notes: tuple[str, ...]
    told: dict[str, Any]


def deconvolve(
    volume: NDArray[Any], psf: Psf | PsfSet, method: Method, settings: Settings, machine: Machine, cut: Cut,
    listen: Listen = ignore,
) -> Refined:  # fmt: skip
    """Deconvolve a volume by any method; one with a companion is held against it.

    The photo-electrons are shared out binomially, four fifths to both methods and the rest to judge
    (`learnt.guard.trust_map`); what they say of the results of four fifths is taken for the results of all. Where the
    results' models do not fit the image, or a wider PSF would foretell unused counts better (asked where there is one
    PSF, once for all volumes that it is for), nothing is taken of the network, and less of it where there are several
    PSFs; never so much that the light would differ.

    Parameters
    ----------
    volume, psf, method, settings, machine, cut, listen
        See `deconvolve_volume`.

    References
    ----------
    J. Batson, L. Royer, ICML 2019, for judging by independent noise.
    """
    companion = method.companion
    if companion is None or psf is DELTA:
        image, notes = deconvolve_volume(volume, psf, method, settings, machine, cut, listen)
        guess = ((NO_PSF,), {"trust": "none possible"}) if companion else ((), {})
        return Refined(image, (*notes, *guess[0]), guess[1])
    trust = settings.parameters.trust
    plain = replace(settings, parameters=companion.parameters())
    eye = settings.camera
    light = np.clip((volume.astype(np.float32) - np.float32(eye.offset)) / np.float32(eye.gain), 0, None)
    predicted = np.empty(volume.shape, np.float32)
    classical, notes = deconvolve_volume(volume, psf, companion, plain, machine, cut, listen, predicted)
    chi = chi_square(light, predicted)
    image, more = deconvolve_volume(volume, psf, method, settings, machine, cut, listen, predicted)
    chi = min(chi, chi_square(light, predicted))
    del predicted
    flux, outside = flux_ratio(classical, image), outside_support(image - classical, psf)
    verdict = Verdict(chi, flux=flux, outside=outside, wider=settings.wider)
    alone = isinstance(psf, Psf)  # a wider one can be asked for
    blank = bool(light.min() == light.max())
    reason, noted = _doubt(chi, ALARM if alone else ALARM_UNASKED, settings, blank=blank), list[str]()
    if trust == "off":
        verdict = replace(verdict, trust=1.0)
        noted.append("the network's result is taken unchecked (--trust off)")
    elif trust != "auto":
        verdict = replace(verdict, trust=float(trust))
        noted += [reason] if reason else []
    elif reason:
        noted.append(f"{reason}: the classical result is kept")
    else:
        share = _trust(light, psf, method, settings, machine, cut, listen)
        counted = float(light.sum(dtype=np.float64)) * eye.gain**2
        verdict = replace(verdict, trust=steadied(share, classical, image, counted))
        if isinstance(psf, Psf) and verdict.wider is None and share.any():
            verdict = replace(verdict, wider=_odds_of_wider(volume, psf, settings, machine))
            if too_narrow := _narrow(verdict.wider):
                verdict = replace(verdict, trust=0.0)
                noted.append(f"{too_narrow}: the classical result is kept")
    image -= classical
    image *= verdict.trust
    image += classical
    told, unusual = _told(verdict, settings)
    return Refined(image, (*notes, *more, *noted, *unusual), told)


def _doubt(chi: float, most: float, settings: Settings, *, blank: bool) -> str:
    """Why nothing of the network should be taken, if so."""
    if blank:
        return "the image is blank"
    if "unsure" in settings.sources.get("gain", ""):
        return "the gain is unsure, so that counts cannot judge (give --gain, or --trust)"
    if chi > most:
        return f"PSF or noise model do not fit (chi-square {chi:.3g}, at most {most:g})"
    return _narrow(settings.wider)


def _odds_of_wider(volume: NDArray[Any], psf: Psf, settings: Settings, machine: Machine) -> float:
    return wider_is_likelier(split_for(volume, settings.camera, settings.background, str(machine.device), ASKED), psf)


def _narrow(odds: float | None) -> str:
    """That unused counts speak for a wider PSF, if they do."""
    if odds is None or odds <= LIKELIER:
        return ""
    return f"unused counts speak for a wider PSF (log-odds {odds:.1f}, see psf check)"


def _told(verdict: Verdict, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Figures for the record, and a warning where the image is unlike the training's."""
    told, unlike = verdict.told(), settings.parameters.unlike
    if unlike is None:
        return told, []
    told["unlike_training"] = round(unlike, 1)
    said = f"the image is unlike those that the network was trained on ({unlike:.1f}, mostly below {UNUSUAL:g})"
    return told, [said] if unlike > UNUSUAL else []


def _trust(
    light: NDArray[np.float32], psf: Psf | PsfSet, method: Method, settings: Settings, machine: Machine, cut: Cut,
    listen: Listen,
) -> NDArray[np.float32]:  # fmt: skip
    """Deconvolve four fifths of the counts by both methods; the rest judge."""
    import torch

    random = torch.Generator().manual_seed(SEED)
    kept, held = (part.numpy() for part in thin(torch.from_numpy(light), KEPT, random))
    part = of_share(settings, KEPT)
    foretold = []
    companion = method.companion
    assert companion is not None
    for one in (companion, method):
        chosen = part if one is method else replace(part, parameters=companion.parameters())
        predicted = np.empty(light.shape, np.float32)
        deconvolve_volume(kept, psf, one, chosen, machine, cut, listen, predicted)
        predicted *= np.float32((1 - KEPT) / KEPT)
        foretold.append(predicted)
    del kept
    return trust_map(held, foretold[0], foretold[1], CAUTION if isinstance(psf, Psf) else UNASKED)


def of_share(settings: Settings, share: float) -> Settings:
    """Settings for photo-electrons, offset taken off, of which a share is left."""
    eye = settings.camera
    dark = max((settings.background - eye.offset) / eye.gain, 0.0) * share
    parameters = settings.parameters
    if hasattr(parameters, "scale"):
        parameters = replace(parameters, scale=parameters.scale * share)
    return replace(settings, camera=Camera(), background=dark, level=settings.level * share, parameters=parameters)
