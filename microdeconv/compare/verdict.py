"""What can be said of results in words, and what cannot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
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


class _Said(NamedTuple):
    """A verdict without its warnings."""

    winner: str | None
    contenders: list[str]
    sentences: list[str]


class _Lead(NamedTuple):
    """How far one result is before another."""

    apart: float
    noise: float | None
    needed: float

    @property
    def decided(self) -> bool:
        return self.noise is not None and self.apart > self.needed


def verdict_of(case: Case, figures: Sequence[Figure]) -> Verdict:
    """Say which result to believe, and by how much more than the noise it is better; else which are not behind.

    With a truth the PSNR decides: a result is behind where another's is better by more than two standard errors and by
    0.1 dB. Without one the estimated error decides likewise (2.3 % are 0.1 dB), among
    those that are not ruled out: results that do not fit the image (chi-square), change its light by more than 5 %, or
    are noise for the most part. What lies beyond the OTF no data can judge: a result is behind only where it is so
    both with all the noise there counted as error and with none. The winner is the one that nobody is ahead of, if all
    others are behind. Nobody is named where PSF or noise do not fit. Held-out deviance and the halves' FRC do not
    decide; where the FRC differs it is said. `tests/measure/verdicts.py` holds all of them against known truths.

    Parameters
    ----------
    case
        See `Case`.
    figures
        Of `figures_of`.
    """
    known = {figure.key: figure for figure in figures}
    names = [e.name for e in case.entries]
    warnings = [*case.warnings, *_warnings(known)]
    if "psnr" in known:
        winner, contenders, sentences = _by_truth(known)
        return Verdict(winner, tuple(sentences), tuple(warnings), tuple(contenders))
    out = _ruled_out(known)
    winner, contenders, sentences = _by_counts(known, out, names)
    warnings += [f"{name} {why}" for name, why in out.items()]
    return Verdict(winner, tuple(sentences), tuple(warnings), tuple(contenders))


def _by_truth(known: Mapping[str, Figure]) -> _Said:
    psnr = known["psnr"]
    order = ranked(psnr.values, psnr.better)
    if len(order) == 1:
        return _Said(None, order, [f"{order[0]} is the only result: nothing to choose from."])
    lead = _lead([psnr], DECIBELS, *order[:2])
    close = _ahead([psnr], order, DECIBELS)
    if len(close) > 1:
        first, second = (f"{name} ({psnr.values[name]:.2f} dB)" for name in order[:2])
        apart = f"{first} and {second} lie {lead.apart:.2g} dB apart, {_noise(lead, ' dB')}"
        return _Said(None, close, [f"Not decided: {apart}.", *_behind(order, close)])
    said = [
        f"{order[0]} is nearest to the truth: its PSNR of {psnr.values[order[0]]:.2f} dB is {lead.apart:.2g} dB "
        f"above that of {order[1]}, {_times(lead)}."
    ]
    said += [_second(known[key], order[0]) for key in ("ssim", "frc_truth") if key in known]
    return _Said(order[0], close, said)


def _by_counts(known: Mapping[str, Figure], out: Mapping[str, str], names: list[str]) -> _Said:
    error, beyond = known.get("error"), known.get("noise_beyond")
    unjudged = [name for name in names if error is None or name not in error.values]
    said = [f"Not judged, as it cannot be made of halves of the counts: {', '.join(unjudged)}."] if unjudged else []
    if error is None or beyond is None:
        nothing = "Not decided: without a truth, a PSF and results of halves nothing can judge."
        return _Said(None, names, [nothing, *said])
    left = [name for name in error.values if name not in out]
    if not left:
        return _Said(None, names, ["Not decided: no result fits the image among those that can be judged.", *said])
    reason = _doubt(known, error, left)
    if reason:
        return _Said(None, names, [f"Not decided: {reason}.", *said])
    if len(left) == 1:
        alone = f"{left[0]} is left alone: all others that can be judged are ruled out (see the warnings)."
        return _Said(left[0], left, [alone, *said]) if out else _Said(None, names, [f"Not decided: {alone}", *said])
    ends = [error, replace(error, values={name: v + beyond.values[name] for name, v in error.values.items()})]
    close = _ahead(ends, left, SHARE)
    if len(close) == 1:
        return _Said(close[0], close, [*_won(known, ends, close[0], left), *said])
    first, second = sorted(close, key=error.values.__getitem__)[:2]
    lead = _lead(ends, SHARE, first, second)
    errors = f"the estimated error of {first} is {_errors(ends, first)}, that of {second} {_errors(ends, second)}"
    return _Said(None, close + unjudged, [f"Not decided: {errors}{_apart(lead)}.", *_behind(left, close), *said])


def _apart(lead: _Lead) -> str:
    """Why estimated errors decide nothing."""
    if lead.apart < 0:
        return "; noise beyond the OTF, which the image cannot judge, turns their order round"
    return f"; they differ by {_percent(lead.apart)}, {_noise(lead, ' %', 100)}"


def _won(known: Mapping[str, Figure], ends: Sequence[Figure], winner: str, left: Sequence[str]) -> list[str]:
    """What the winner wins by, and what speaks for it or against."""
    second = min((name for name in left if name != winner), key=lambda name: sum(end.values[name] for end in ends))
    lead = _lead(ends, SHARE, winner, second)
    said = [
        f"{winner} has the least estimated error, {_errors(ends, winner)} of the object's energy, before {second} "
        f"with {_errors(ends, second)}: {_times(lead)}."
    ]
    return said + [_second(known[key], winner) for key in ("frc_halves",) if key in known]


def _errors(ends: Sequence[Figure], name: str) -> str:
    """A result's estimated error, and what it is with all the noise that the image cannot judge."""
    least, most = (_percent(end.values[name]) for end in ends)
    return least if least == most else f"{least} ({most} with its noise beyond the OTF)"


def _lead(ends: Sequence[Figure], margin: float, first: str, second: str) -> _Lead:
    """By how much one result is better than another by the figure that says least, and what it must be.

    A margin without a unit is a share of the value of the one behind.
    """
    leads = []
    for figure in ends:
        one, other = figure.values[first], figure.values[second]
        noise = figure.between.get(first, {}).get(second)
        needed = max(ERRORS * (noise or 0.0), margin if figure.unit else margin * abs(other))
        leads.append(_Lead(other - one if figure.better == "lower" else one - other, noise, needed))
    return min(leads, key=lambda lead: lead.apart - lead.needed)


def _ahead(ends: Sequence[Figure], names: Sequence[str], margin: float) -> list[str]:
    """Those that no other is certainly better than."""
    return [
        name for name in names if not any(_lead(ends, margin, other, name).decided for other in names if other != name)
    ]


def _noise(lead: _Lead, unit: str, scale: float = 1.0) -> str:
    """Why a lead decides nothing."""
    if lead.noise is None:
        return "and the image is too small to tell the noise of that"
    if lead.apart == 0:
        return "which is nothing"
    if lead.apart > ERRORS * lead.noise:
        return "which is too little to matter"
    return f"with a noise of {scale * lead.noise:.2g}{unit}"


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


def _behind(judged: Iterable[str], close: Collection[str]) -> list[str]:
    """Those that are certainly not the best, and those that may be."""
    rest = [name for name in judged if name not in close]
    return [f"Behind: {', '.join(rest)}. The best may be any of {', '.join(close)}."] if rest else []


def _doubt(known: Mapping[str, Figure], error: Figure, judged: Sequence[str]) -> str:
    """Why the estimated errors are not to be believed; nothing if they are."""
    chi = known.get("chi_square")
    if chi is not None and min((chi.values[name] for name in judged if name in chi.values), default=0.0) > UNFIT:
        return "PSF, background or gain do not fit the image, which all of this rests on"
    least = min(error.values[name] for name in judged)
    if least < ASTRAY:
        return (
            f"an estimated error of {_percent(least)} is far below zero: light from outside the image, or its "
            "background, is not known well enough"
        )
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
