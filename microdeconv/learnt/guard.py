"""How much of the network's change the data confirm: counts that neither result saw judge between them, and the PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microdeconv.psf.fit import scaled
from microdeconv.stack import Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microdeconv.psf.fit import Split
    from microdeconv.stack import Psf, PsfSet

KEPT = 0.8  # of the photo-electrons are deconvolved, the others judge
SEED = 21
NEAR = 16.0  # voxels (half as many along z): trust is found for surroundings of about that width
LENT = 0.05  # of the whole volume's evidence is lent to each place
DOUBT = 4.0  # evidence for no trust that is there before any count: counts that tell less change nothing
CAUTION = 1.0  # standard errors by which trust is taken lower, or, where a wider PSF is not asked for,
UNASKED = 2.5  # so many: a narrow one misleads by more than the noise
ALARM = 1.25  # chi-square of the better result, from which PSF or noise model do not fit: unused counts mislead then,
ALARM_UNASKED = 1.05  # sooner where a wider PSF is not asked for
FLUX = 0.02  # share of the light by which what is taken of the network may change it, or
SIGMAS = 4.0  # times the noise of the sum
ODDS = "log_odds_of_wider_psf"  # as the record calls them
WIDER = 1.18  # times as wide: the other PSF that is asked for, and
LIKELIER = 4.0  # its log-odds, from which the PSF is taken for too narrow
ASKED = 100_000  # voxels, at most, on which it is asked for
PASSED = 0.02  # of its maximum: the OTF's modulus within its support
LOOKED_AT = (48, 256, 256)  # voxels, at most, on which the change's spectrum is looked at


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard found.

    Attributes
    ----------
    chi_square
        Mean of (y − m)² / m, m the model of the classical or of the network's result, whichever fits better.
    trust
        float32 (z, y, x) from 0 to 1: the share of the network's change that is taken, or one number.
    flux
        Light of the network's result over the classical one's.
    outside
        Share of the network's change outside the OTF's support, where no data can confirm it; of its energy.
    wider
        Log-odds, by unused counts, of a PSF that is wider, see `wider_is_likelier`.
    """

    chi_square: float
    trust: NDArray[np.float32] | float = 0.0
    flux: float | None = None
    outside: float | None = None
    wider: float | None = None

    def told(self) -> dict[str, Any]:
        """As the record holds it."""
        low, mean, high = (float(f(self.trust)) for f in (np.min, np.mean, np.max))
        figures = {
            "trust": mean, "trust_least": low, "trust_most": high, "chi_square": self.chi_square,
            "flux_ratio": self.flux, "change_outside_otf": self.outside,
            ODDS: self.wider,
        }  # fmt: skip
        return {name: round(value, 4) for name, value in figures.items() if value is not None}


def trust_map(
    held: NDArray[np.float32],
    classical: NDArray[np.float32],
    network: NDArray[np.float32],
    caution: float = CAUTION,
) -> NDArray[np.float32]:
    """Find the blend that foretells the held-out counts best, place by place.

    With models m₀ (classical) and m₁ (network) of the held-out counts h and d = m₁ − m₀, the blend m₀ + a d is
    likeliest at a = Σ d (h − m₀) / m₀ / Σ d² / m₀ (one step of Fisher's scoring), with the standard error
    (Σ d² / m₀)^(−½). Sums are taken over the surroundings of each voxel by a Gaussian, so that a is smooth; where the
    surroundings know little the whole volume's a is lent to them. A prior about zero is added, `caution` standard
    errors are taken off, and a kept within 0 and 1: where counts cannot tell, the classical result stays.

    Parameters
    ----------
    held
        (z, y, x), photo-electrons that judge.
    classical, network
        What the two results foretell of them, background in it, > 0.
    caution
        Standard errors.

    Returns
    -------
    ndarray
        float32 (z, y, x).
    """
    from scipy.ndimage import gaussian_filter

    change = network - classical  # few arrays are held at once: fields may be large
    information = change / classical
    pull = held - classical
    pull *= information
    information *= change
    del change
    total, all_ = float(pull.sum(dtype=np.float64)), float(information.sum(dtype=np.float64))
    if all_ <= 0:
        return np.zeros_like(held)
    sigma = [0 if n == 1 else NEAR / (2 if axis == 0 else 1) for axis, n in enumerate(held.shape)]
    voxels = math.prod(min(math.sqrt(2 * math.pi) * s, n) if s else 1.0 for s, n in zip(sigma, held.shape, strict=True))
    for values in (pull, information):
        gaussian_filter(values, sigma, output=values, mode="reflect", truncate=3)
        values *= voxels
    lent = LENT * all_
    information += lent
    information += DOUBT
    pull += lent * (total / all_)
    pull /= information
    pull -= np.divide(caution, np.sqrt(information, out=information), out=information)
    return np.clip(pull, 0, 1, out=pull)


def wider_is_likelier(split: Split, psf: Psf) -> float:
    """Give the log-odds of a PSF that is wider by 18 %: what the shipped network makes of it and of the PSF foretells.

    A PSF that is too narrow fits the image with an object that is blurred, and no counts speak against that object;
    they speak for the wider PSF, though.

    Parameters
    ----------
    split
        Of a telling part of the image, from `split_for`.
    psf
        On the image's voxels.
    """
    from microdeconv.learnt.foretelling import foretold_by_network

    other = scaled(psf, Zyx(WIDER, WIDER, WIDER))
    return (foretold_by_network(split, psf).deviance - foretold_by_network(split, other).deviance) / 2


def chi_square(light: NDArray[np.float32], predicted: NDArray[np.float32]) -> float:
    """Mean of (y − m)² / m: about one, or a little less, where PSF, background and gain fit."""
    return float(np.mean((light - predicted) ** 2 / predicted, dtype=np.float64))


def flux_ratio(classical: NDArray[np.float32], network: NDArray[np.float32]) -> float:
    """Light of the network's result over the classical one's."""
    before, after = (float(v.sum(dtype=np.float64)) for v in (classical, network))
    return after / max(before, 1e-30)


def steadied(
    trust: NDArray[np.float32], classical: NDArray[np.float32], network: NDArray[np.float32], counted: float
) -> NDArray[np.float32]:
    """Lower the trust until the blend's light is within 2 % of the classical result's, or four times the noise.

    Parameters
    ----------
    trust
        (z, y, x), 0 to 1.
    classical, network
        The results, photo-electrons or counts.
    counted
        Variance of the sum of the image's counts, in the results' unit squared.
    """
    change = float((trust * (network - classical)).sum(dtype=np.float64))
    light = float(classical.sum(dtype=np.float64))
    allowed = max(FLUX * light, SIGMAS * math.sqrt(max(counted, 0.0)))
    return trust if abs(change) <= allowed else np.asarray(trust * np.float32(allowed / abs(change)), np.float32)


def outside_support(change: NDArray[np.float32], psf: Psf | PsfSet) -> float:
    """Share of a change's energy at frequencies that the OTF does not let pass; of the volume's middle part."""
    import torch

    from microdeconv.fft import good_size, power_spectrum

    middle = tuple(
        slice((n - min(n, m)) // 2, (n + min(n, m)) // 2) for n, m in zip(change.shape, LOOKED_AT, strict=True)
    )
    part = change[middle]
    window = np.einsum("z,y,x->zyx", *(np.hanning(n + 2)[1:-1] if n > 1 else np.ones(1) for n in part.shape))
    z, y, x = (
        good_size(max(n, k), even=axis == 2) for axis, (n, k) in enumerate(zip(part.shape, psf.shape, strict=True))
    )
    power = power_spectrum(torch.from_numpy((part * window).astype(np.float32)), (z, y, x))
    kernel = psf.parts[len(psf.parts) // 2].pixels
    passed = power_spectrum(torch.from_numpy(np.ascontiguousarray(kernel)), (z, y, x)) > PASSED**2
    total = float(power.sum(dtype=torch.float64))
    return float(power[~passed].sum(dtype=torch.float64)) / total if total else 0.0
