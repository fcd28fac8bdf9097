"""What can be said of results in words, and what cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from microdeconv.compare.case import Case, Figure, Verdict
from microdeconv.compare.parts import ranked

ERRORS = 2.0  # standard errors of a difference: less is not told from nothing
DECIBELS = 0.1  # a smaller gain is of no use to anybody, and
SHARE = 0.023  # the same of a squared error
MISFIT = 1.1, 1.05  # chi-square from which a result does not fit, if it is so many times the best one's
UNFIT = 1.5  # chi-square of the best result from which the PSF is wrong, so that nothing that needs it can judge
FLUX = 0.05  # of the light, background as well: more is not moved but made, or lost
NOISY = 0.4  # agreement of halves below which a result is noise for the most part
ASTRAY = -0.05  # estimated error: so far below zero the model of the image is wrong


class _Lead(NamedTuple):
    """The best two by a figure."""

    first: str
    second: str
    apart: float
    noise: float | None
    needed: float

    @property
    def decided(self) -> bool:
        return self.noise is not None and self.apart > self.needed


def verdict_of(case: Case, figures: Sequence[Figure]) -> Verdict:
    """Say which result to believe, and by how much more than the noise it is better.

    With a truth the PSNR decides: the best is named where it leads by more than two standard errors and by 0.1 dB.
    Without one the estimated error decides likewise (two standard errors, 2.3 %, which are 0.1 dB), among results that
    are not ruled out: those that do not fit the image (chi-square), change its light by more than 5 %, or are noise
    for the most part. Nobody is named where the noise beyond the OTF would turn the order round, where PSF or noise do
    not fit, or with less than two results that can be judged. Held-out deviance and the halves' FRC do not
    decide; where the FRC differs it is said. `tests/measure/verdicts.py` holds all of them against known truths: the
    error alone picks the nearest result about as often as the deviance alone.

    Parameters
    ----------
    case
        See `Case`.
    figures
        Of `figures_of`.
    """
    known = {figure.key: figure for figure in figures}
    warnings = [*case.warnings, *_warnings(known)]
    if "psnr" in known:
        winner, sentences = _by_truth(known)
        return Verdict(winner, tuple(sentences), tuple(warnings))
    out = _ruled_out(known)
    winner, sentences = _by_counts(known, out, [e.name for e in case.entries])
    return Verdict(winner, tuple(sentences), (*warnings, *(f"{name} {why}" for name, why in out.items())))


def _by_truth(known: Mapping[str, Figure]) -> tuple[str | None, list[str]]:
    psnr = known["psnr"]
    lead = _lead(psnr, DECIBELS)
    if lead is None:
        return None, [f"{next(iter(psnr.values))} is the only result: nothing to choose from."]
    first, second = (f"{name} ({psnr.values[name]:.2f} dB)" for name in lead[:2])
    if not lead.decided:
        return None, [f"Not decided: {first} and {second} lie {lead.apart:.2g} dB apart, {_noise(lead, ' dB')}."]
    said = [
        f"{lead.first} is nearest to the truth: its PSNR of {psnr.values[lead.first]:.2f} dB is {lead.apart:.2g} dB "
        f"above that of {lead.second}, {_times(lead)}."
    ]
    said += [_second(known[key], lead.first) for key in ("ssim", "frc_truth") if key in known]
    return lead.first, said


def _by_counts(known: Mapping[str, Figure], out: Mapping[str, str], names: list[str]) -> tuple[str | None, list[str]]:
    error, beyond = known.get("error"), known.get("noise_beyond")
    unjudged = [name for name in names if error is None or name not in error.values]
    said = [f"Not judged, as it cannot be made of halves of the counts: {', '.join(unjudged)}."] if unjudged else []
    if error is None or beyond is None:
        return None, ["Not decided: without a truth, a PSF and results of halves nothing can judge.", *said]
    left = {name: value for name, value in error.values.items() if name not in out}
    lead = _lead(error, SHARE, left)
    if lead is None:
        alone = f"only {next(iter(left))} fits the image" if left else "no result fits the image"
        return None, [f"Not decided: {alone} among those that can be judged.", *said]
    a, b = lead.first, lead.second
    first, second = (f"{name} ({_percent(error.values[name])})" for name in (a, b))
    reason = _doubt(known, error.values[a], a, {n: v + beyond.values[n] for n, v in left.items()})
    if not lead.decided:
        close = (
            f"the estimated errors of {first} and {second} differ by {_percent(lead.apart)}, {_noise(lead, ' %', 100)}"
        )
        return None, [f"Not decided: {close}.", *_behind(error, left, lead), *said]
    if reason:
        return None, [f"Not decided: {first} has the least estimated error, before {second}, but {reason}.", *said]
    said.insert(0, f"{a} has the least estimated error, {_percent(error.values[a])} of the object's energy against "
                   f"{_percent(error.values[b])} of {b}: {_times(lead)}.")  # fmt: skip
    if "frc_halves" in known:
        said.insert(1, _second(known["frc_halves"], a))
    return a, said


def _lead(figure: Figure, margin: float, among: Mapping[str, float] | None = None) -> _Lead | None:
    """The best two and what the better one must lead by; a margin without a unit is a share of the second's value."""
    values = figure.values if among is None else among
    if len(values) < 2:
        return None
    first, second = ranked(values, figure.better)[:2]
    practical = margin if figure.unit else margin * abs(values[second])
    noise = figure.between.get(first, {}).get(second)
    needed = max(ERRORS * (noise or 0.0), practical)
    return _Lead(first, second, abs(values[first] - values[second]), noise, needed)


def _noise(lead: _Lead, unit: str, scale: float = 1.0) -> str:
    """Why a lead decides nothing."""
    if lead.noise is None:
        return "and the image is too small to tell the noise of that"
    if lead.apart == 0:
        return "which is nothing"
    if lead.apart <= ERRORS * lead.noise:
        return f"with a noise of {scale * lead.noise:.2g}{unit}"
    return "which is too little to matter"


def _times(lead: _Lead) -> str:
    if not lead.noise:
        return "a difference without noise"
    return f"{min(lead.apart / lead.noise, 999):.1f} times the noise of the difference"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) >= 0.01 else f"{100 * share:.2g} %"


def _second(figure: Figure, winner: str) -> str:
    """Whether another figure says the same."""
    order = ranked(figure.values, figure.better)
    unit = f" {figure.unit}" if figure.unit else ""
    if winner not in figure.values or len(order) < 2:
        return f"{figure.label} says nothing of it."
    value = figure.values[winner]
    best = figure.values[order[0]]
    if order[0] == winner:
        return f"{figure.label} says the same: {value:.3g}{unit} against {figure.values[order[1]]:.3g}{unit}."
    apart = abs(value - best)
    if apart <= ERRORS * figure.between.get(order[0], {}).get(winner, 0.0):
        return f"{figure.label} does not contradict: {value:.3g}{unit}, {best:.3g}{unit} at best."
    return f"{figure.label} prefers {order[0]}: {best:.3g}{unit} against {value:.3g}{unit}."


def _behind(error: Figure, left: Mapping[str, float], lead: _Lead) -> list[str]:
    """Those that are certainly not the best."""
    rest = []
    for name in left:
        noise = error.between.get(lead.first, {}).get(name)
        needed = None if noise is None else max(ERRORS * noise, SHARE * abs(left[name]))
        if name not in lead[:2] and needed is not None and left[name] - left[lead.first] > needed:
            rest.append(name)
    return [f"Behind the better of the two: {', '.join(rest)}."] if rest else []


def _doubt(known: Mapping[str, Figure], least: float, first: str, whole: Mapping[str, float]) -> str:
    """Why the least estimated error is not to be believed; nothing if it is."""
    chi = known.get("chi_square")
    if chi is not None and min((chi.values[name] for name in whole if name in chi.values), default=0.0) > UNFIT:
        return "PSF, background or gain do not fit the image, which all of this rests on"
    if least < ASTRAY:
        return "that is far below zero: light from outside the image, or its background, is not known well enough"
    if min(whole, key=lambda name: whole[name]) != first:
        return "its noise at frequencies that the PSF does not pass outweighs that"
    return ""


def _ruled_out(known: Mapping[str, Figure]) -> dict[str, str]:
    """Results that cannot win without a truth, and why."""
    out = dict[str, str]()
    chi = known.get("chi_square")
    if chi is not None:
        bound = max(MISFIT[0], MISFIT[1] * min(chi.values.values()))
        out |= {n: f"does not fit the image (chi-square {v:.3g})" for n, v in chi.values.items() if v > bound}
    balance = known.get("balance")
    if balance is not None:
        changed = {n: v - 1 for n, v in balance.values.items()}
        bound = FLUX + min(abs(c) for c in changed.values())
        out |= {n: f"changes the light by {_percent(c)}" for n, c in changed.items() if abs(c) > bound and n not in out}
    agreement = known.get("agreement")
    if agreement is not None and max(agreement.values.values()) >= NOISY:
        noisy = {n: v for n, v in agreement.values.items() if v < NOISY and n not in out}
        out |= {n: f"is noise for the most part (its halves agree by {v:.2g}): fewer steps" for n, v in noisy.items()}
    return out


def _warnings(known: Mapping[str, Figure]) -> list[str]:
    """What a person should read before any figure."""
    said = []
    chi = known.get("chi_square")
    if chi is not None and min(chi.values.values()) > MISFIT[0]:
        least = min(chi.values.values())
        said.append(f"no result fits the image (chi-square {least:.3g} at best): PSF, background or gain are wrong")
    shift = known.get("shift")
    for name, by in shift.values.items() if shift is not None else ():
        if by > 0:
            said.append(f"{name} was moved by {by:.2g} voxels to lie on the truth")
    return said
