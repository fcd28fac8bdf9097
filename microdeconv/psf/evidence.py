"""What an image says of its PSF: whether another one would foretell its counts better, and what no object explains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from microdeconv.psf.finding import Finding
from microdeconv.psf.fit import Fit, Split, better, folds, foretold, gain, held_out_deviance, scaled, turned
from microdeconv.psf.widths import lopsided
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURNED = 2.0  # standard errors, by which a PSF with axes swapped must be better to be believed
CLEAR = 2.0  # by which every such PSF must be worse: the image speaks for the given one
FOLDS = 4  # ways of sharing out the counts, for a single plane: there it is quick
LIKE_THEORY = 15.0  # standard errors more, where the optics say that the width is right
TELLS = 2.0  # by which some PSF must be worse or better: else the image tells little, and as good is not enough
UNFIT = 1.5  # residual chi-square from which the model is said not to fit
PASSED = 0.003  # modulus of the OTF below which it lets nothing through
EXCESS = 2.0  # power beyond the OTF over the noise's
ROUND = 0.92  # FWHM over FWHM in the plane
MODES = 200  # frequencies, at least, to tell that by
SMOOTH = 2.0  # voxels: the residual map is averaged over a Gaussian of this standard deviation


Judge = Callable[[Split, Psf], Fit]


class Scale(NamedTuple):
    """A narrower and a wider PSF, and what makes them believed; calibrated by `tests/measure/psf_check.py`.

    Attributes
    ----------
    along
        The axis, for a person.
    narrower, wider
        Factors of width.
    if_narrower, if_wider
        Standard errors by which they must be better.
    lean
        Share of what the wider one loses in deviance, that the narrower must gain: where it gains less, the best width
        lies nearer to the given one.
    """

    along: str
    narrower: Zyx
    if_narrower: float
    wider: Zyx
    if_wider: float
    lean: float


FLAT = (Scale("", Zyx(0.75, 0.75, 0.75), 1.0, Zyx(1.33, 1.33, 1.33), 2.0, 0.07),)
SCALES = (  # in 3-D right PSFs are far better than wider ones, and two judges must agree
    Scale("", Zyx(0.75, 0.75, 0.75), 3.0, Zyx(1.33, 1.33, 1.33), -0.5, 0.0),
    Scale(" along z", Zyx(0.67, 1.0, 1.0), 6.0, Zyx(1.5, 1.0, 1.0), 1.0, 0.0),
)


class Rival(NamedTuple):
    """Another PSF.

    Attributes
    ----------
    fault
        What is wrong with the given one if this one fits better.
    told
        What it is.
    better
        Standard errors by which it foretells the counts better, by the judge who says less.
    enough
        How many it must be, to be believed.
    """

    fault: str
    told: str
    better: float
    enough: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A PSF's fits, beside which those of others are laid.

    Attributes
    ----------
    ways
        Of sharing out the counts.
    judges
        Each fits a PSF to one way.
    own
        The PSF's fits by each judge, for each way.
    """

    ways: list[Split]
    judges: tuple[Judge, ...]
    own: list[list[Fit]]

    @classmethod
    def of(cls, psf: Psf, split: Split) -> Trial:
        """Fit a PSF.

        In a single plane counts are shared out in several ways. In 3-D, where much light comes from beyond the field,
        smooth objects speak for narrow PSFs with total variation and for wide ones without: there both judge.
        """
        flat = psf.pixels.shape[0] == 1
        ways = folds(split, FOLDS if flat else 1)
        judges: tuple[Judge, ...] = (foretold,) if flat else (foretold, held_out_deviance)
        return cls(ways, judges, [[judge(way, psf) for way in ways] for judge in judges])

    def rival(self, psf: Psf) -> list[list[Fit]]:
        """Fit another PSF likewise."""
        return [[judge(way, psf) for way in self.ways] for judge in self.judges]

    def better(self, fits: list[list[Fit]]) -> list[float]:
        """Standard errors by which other fits are better, by each judge."""
        return [better(self.ways, own, other) for own, other in zip(self.own, fits, strict=True)]


class Evidence(NamedTuple):
    """What the image says: findings, and whether it speaks for a PSF that looks turned on its side."""

    findings: tuple[Finding, ...]
    clears: bool


def check_fit(psf: Psf, split: Split, like_theory: bool = False) -> Evidence:
    """Compare a PSF with wider, narrower and turned ones, and look for what it cannot explain.

    Each PSF foretells counts that its deconvolution did not see (`fit.foretold`). Where another one does so better, the
    given one is wrong in that way; where none does, it is right or the image cannot tell. In 3-D it must do so with the
    object as smooth as suits it, and with one that is only stopped early (`Trial`). Where the noise is not Poisson's,
    differences count for as much less as the best fit is worse than noise.

    Parameters
    ----------
    psf
        On the image's voxels.
    split
        From `fit.split_counts`, in photo-electrons.
    like_theory
        Whether the PSF is as wide as its optics say: then the image must speak clearly against it.
    """
    trial = Trial.of(psf, split)
    rivals, most = [], []
    for axes, other in turned(psf) if _is_oval(psf) else ():
        told = trial.better(trial.rival(other))
        most.append(max(told))
        rivals.append(Rival("turned, its axes swapped", f"one with {axes} swapped", min(told), TURNED))
    cleared = bool(most) and max(most) < -CLEAR
    for scale in FLAT if psf.pixels.shape[0] == 1 else SCALES:
        rivals += _scaled_rivals(psf, trial, scale)
    doubt = LIKE_THEORY if like_theory else 0.0
    return Evidence((_fit(rivals, doubt), _residual(split, trial.own[0][0]), _beyond(psf, split)), cleared)


def _scaled_rivals(psf: Psf, trial: Trial, scale: Scale) -> Iterator[Rival]:
    """A narrower and a wider PSF; the narrower is not believed if it gains too little beside what the wider loses."""
    told = f"one {{:g}} times as wide{scale.along}"
    less, more = (trial.rival(scaled(psf, factors)) for factors in (scale.narrower, scale.wider))
    first = trial.own[0]
    enough = scale.if_narrower if gain(first, less[0]) > -scale.lean * gain(first, more[0]) else math.inf
    yield Rival(f"too wide{scale.along}", told.format(scale.narrower.z), min(trial.better(less)), enough)
    yield Rival(f"too narrow{scale.along}", told.format(scale.wider.z), min(trial.better(more)), scale.if_wider)


def _is_oval(psf: Psf) -> bool:
    """Whether it is not quite round in the plane: only then may it lie on its side."""
    lateral = lopsided(psf.pixels).lateral
    return not ROUND <= lateral <= 1 / ROUND


def _fit(rivals: list[Rival], doubt: float) -> Finding:
    tells = max(abs(rival.better) for rival in rivals) > TELLS

    def margin(rival: Rival) -> float:
        return rival.better - doubt - (rival.enough if tells else max(rival.enough, 0.5))

    best = max(rivals, key=margin)
    if margin(best) <= 0:
        return Finding("fit", best.better, "no wider, narrower or turned PSF foretells unused counts better")
    text = f"{best.told} foretells unused counts better, by {best.better:.1f} standard errors"
    if best.better < 0:
        text = f"{best.told} foretells unused counts as well, to {-best.better:.1f} standard errors; it should not"
    return Finding("fit", best.better, text, f"the PSF is probably {best.fault}: {text}")


def _residual(split: Split, fit: Fit) -> Finding:
    """Compare what was foretold with the held-out counts: their squares should be the noise's."""
    squares = (split.held - fit.predicted).square_().div_(fit.predicted)
    chi = float(squares.mean())
    text = f"residual chi-square {chi:.2f} per voxel (noise alone: 1), {fit.steps} steps"
    warning = f"PSF or noise model do not fit the image: residual chi-square {chi:.2f} per voxel, should be 1"
    return Finding("residual", chi, text, warning if chi > UNFIT else "")


def residual_map(split: Split, fit: Fit) -> NDArray[np.float32]:
    """Local residual chi-square of held-out counts, float32 (z, y, x), averaged over a few voxels; 1 is noise."""
    from scipy.ndimage import gaussian_filter

    squares = (split.held - fit.predicted).square().div(fit.predicted).cpu().numpy()
    widths = [SMOOTH if n > 1 else 0 for n in squares.shape]
    return np.asarray(gaussian_filter(squares, widths), np.float32)


def _beyond(psf: Psf, split: Split) -> Finding:
    """Compare the image's power where the PSF lets nothing through with that of the noise, which is white.

    A PSF that is too wide lets too little through: what the image holds beyond cannot come from the object.
    """
    import torch

    from microdeconv.fft import power_spectrum

    image = split.kept + split.held
    shape = tuple(image.shape)
    window = image.new_ones(())
    for axis, n in enumerate(shape):
        if n > 1:
            along = torch.hann_window(n, periodic=False, device=image.device)
            window = window * along.reshape([-1 if a == axis else 1 for a in range(3)])
    floor = float((window.square() * image).sum())
    power = power_spectrum((image - image.mean()) * window)
    half = [min(k, n - 1 + n % 2) // 2 for k, n in zip(psf.pixels.shape, shape, strict=True)]
    core = psf.pixels[tuple(slice(k // 2 - h, k // 2 + h + 1) for k, h in zip(psf.pixels.shape, half, strict=True))]
    beyond = power_spectrum(torch.as_tensor(core, device=image.device), (shape[0], shape[1], shape[2])) < PASSED**2
    modes = int(beyond.sum())
    if modes < MODES:
        return Finding("detail", float("nan"), "the PSF lets all frequencies through: nothing to tell by")
    excess = float(power[beyond].mean()) / max(floor, 1e-30)
    text = f"{excess:.2f} of the noise's power in the image where the PSF lets nothing through"
    warning = f"the image holds detail that this PSF lets not through: {text}" if excess > EXCESS else ""
    return Finding("detail", excess, text, warning)
