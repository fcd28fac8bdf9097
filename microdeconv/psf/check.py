"""Whether a PSF can be right: by itself, against its optics, and against the image that it is to sharpen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from microdeconv.optics import Optics, cutoff_per_um, missing, nyquist_um
from microdeconv.options import options_of
from microdeconv.psf.evidence import check_fit
from microdeconv.psf.finding import Finding
from microdeconv.psf.widths import fwhm, lopsided
from microdeconv.stack import Psf, Zyx

if TYPE_CHECKING:
    from microdeconv.psf.fit import Split

WIDTHS = (0.85, 1.2)  # FWHM over theory's: within are noise, aberrations and what optics leave open
ROUND = 0.8  # least FWHM over most, in the plane: below, it is no round spot
FLATTEST = 0.9  # axial over lateral FWHM: no microscope resolves z better than xy by more than this
OFF, FAR_OFF = 1.5, 2.5  # voxels off the middle: for a sharp PSF, and for one that is so wide that its peak is unsure
BORDER = 0.1  # of the energy in the outermost voxels: the PSF is cut off
BEYOND = 0.02  # of the spectrum's power where the optics let nothing through
COARSE = Zyx(1.5, 1.3, 1.3)  # voxels over Nyquist's
DIFFERENT = 0.05  # between optics, beyond which it is said
THEORY = (31, 31, 31)  # voxels, at most, of the computed PSF that widths are compared with


def check_psf(psf: Psf, optics: Optics | None, voxel_um: Zyx | None, split: Split | None = None) -> tuple[Finding, ...]:
    """Look for what is wrong with a PSF.

    By itself: is its peak in the middle, is it round, does it end before its array does? With the optics: is it as wide
    as theory says, does it hold what they cannot let through, are the voxels small enough? With the image: see
    `check_fit`. A constant shift shows in no image, and width hardly in one of smooth structure.

    Parameters
    ----------
    psf
        On the stack's voxels; `psf.off` tells where it was found.
    optics
        The stack's, as far as known.
    voxel_um
        The stack's, as far as known.
    split
        Photo-electrons of a telling part of the image, from `fit.split_counts`; without it the check is quick.

    Returns
    -------
    tuple
        Of findings; those with a `warning` are for a person.
    """
    optics = optics or Optics()
    voxel_um = voxel_um or psf.voxel_um
    found = [_shift(psf), _roundness(psf, voxel_um), _border(psf)]
    known = voxel_um is not None and not missing(optics) and all(np.isfinite(_used(psf, voxel_um)))
    if voxel_um is not None and known:
        found += [*_width(psf, optics, voxel_um), _spectrum(psf, optics, voxel_um), _sampling(psf, optics, voxel_um)]
    found += _same_optics(psf, optics)
    if split is None:
        return tuple(found)
    like_theory = known and not any(one.warning for one in found)
    seen = check_fit(psf, split, like_theory)
    if seen.clears and found[1].warning:
        found[1] = replace(found[1], text=f"{found[1].text}; the image agrees", warning="")
    return (*found, *seen.findings)


def _used(psf: Psf, voxel_um: Zyx) -> tuple[float, ...]:
    return tuple(voxel_um) if psf.pixels.shape[0] > 1 else tuple(voxel_um[1:])


def _numbers(values: tuple[float, ...], form: str = ".2f") -> str:
    return " x ".join(format(v, form) for v in values if not math.isnan(v))


def _shift(psf: Psf) -> Finding:
    """Find where the peak lay, in the file or else in the array at hand."""
    off = psf.off
    if off is None:
        peak = np.unravel_index(int(np.argmax(psf.pixels)), psf.pixels.shape)
        off = Zyx(*(float(p - n // 2) for p, n in zip(peak, psf.pixels.shape, strict=True)))
    allowed = [min(max(OFF, 0.2 * width), FAR_OFF) if math.isfinite(width) else FAR_OFF for width in fwhm(psf.pixels)]
    far = any(abs(o) > most for o, most in zip(off, allowed, strict=True))
    told = ", ".join(f"{o:+.1f}" for o in off)
    worst = max(off, key=abs)
    warning = f"the PSF is probably shifted: its centre is ({told}) voxels (z y x) off the middle of its array"
    return Finding("shift", worst, f"centre ({told}) voxels (z y x) off the middle", warning if far else "")


def _roundness(psf: Psf, voxel_um: Zyx | None) -> Finding:
    """Find whether it is round in the plane and no shorter along z; swapped axes are neither."""
    size = voxel_um or Zyx(math.nan, 1.0, 1.0)
    z, y, x = (w * s for w, s in zip(fwhm(psf.pixels), size, strict=True))
    even = lopsided(psf.pixels)
    lateral = y / x if math.isfinite(y) and math.isfinite(x) else 1.0
    text = f"{lateral:.2f} as wide along y as along x"
    if not math.isnan(even.axial):
        text += f", {100 * abs(even.axial):.0f} % more light {'above' if even.axial > 0 else 'below'} the focus"
    warning = ""
    if min(lateral, 1 / lateral) < ROUND:
        warning = (
            f"its axes are probably swapped, or it is not the PSF of a point: {lateral:.2f} as wide along y as along x"
        )
    elif z < FLATTEST * min(y, x):
        warning = f"its axes are probably swapped: {z:.2f} µm wide along z and {min(y, x):.2f} µm in the plane"
    return Finding("roundness", lateral, text, warning)


def _border(psf: Psf) -> Finding:
    """Find how much light lies in the outermost voxels: there will be more beyond."""
    inner = tuple(slice(1, -1) if n > 4 else slice(None) for n in psf.pixels.shape)
    share = max(1 - float(psf.pixels[inner].sum(dtype=np.float64) / psf.pixels.sum(dtype=np.float64)), 0.0)
    warning = f"{100 * share:.0f} % of the PSF's energy lies at its border: it is cut off" if share > BORDER else ""
    return Finding("border", share, f"{100 * share:.2g} % of its energy in the outermost voxels", warning)


def _width(psf: Psf, optics: Optics, voxel_um: Zyx) -> list[Finding]:
    """Compare the widths with those of a PSF computed from the optics, on the same voxels."""
    from microdeconv.psf.compute import compute_psf

    shape = tuple(min(n, most) for n, most in zip(psf.pixels.shape, THEORY, strict=True))
    theory = fwhm(compute_psf(optics, voxel_um, (shape[0], shape[1], shape[2])).pixels)
    own = fwhm(psf.pixels)
    ratios = tuple(a / b for a, b in zip(own, theory, strict=True))
    sizes = _numbers(tuple(w * v for w, v in zip(own, voxel_um, strict=True)), ".3f")
    wanted = _numbers(tuple(w * v for w, v in zip(theory, voxel_um, strict=True)), ".3f")
    seen = [r for r in ratios if math.isfinite(r)]
    worst = max(seen, key=lambda r: abs(math.log(r)), default=math.nan)
    text = f"{sizes} µm (z y x) where theory says {wanted}: {_numbers(ratios)} of it"
    return [Finding("width", worst, text, _misfit(ratios, voxel_um))]


def _misfit(ratios: tuple[float, ...], voxel_um: Zyx) -> str:
    """Say what ratios of widths to theory mean."""
    known = {axis: r for axis, r in zip("zyx", ratios, strict=True) if not math.isnan(r)}
    wide = [axis for axis, r in known.items() if r > WIDTHS[1]]
    narrow = [axis for axis, r in known.items() if r < WIDTHS[0]]
    if wide and narrow:
        return f"the PSF's axes are probably swapped: {_numbers(ratios)} (z y x) of theory's widths"
    if not wide and not narrow:
        return ""
    axes = wide or narrow
    typical = float(np.median([known[axis] for axis in axes]))
    place = "" if len(axes) == len(known) else f" along {' and '.join(axes)}"
    size = _numbers(tuple(v / typical if a in axes else v for a, v in zip("zyx", voxel_um, strict=True)), ".3g")
    reason = f", or its voxel size is wrong ({size} µm would fit)" if math.isfinite(typical) else ""
    return f"the PSF is probably too {'wide' if wide else 'narrow'}{place}: {typical:.2f} of theory's FWHM{reason}"


def _spectrum(psf: Psf, optics: Optics, voxel_um: Zyx) -> Finding:
    """Find how much of the PSF's power lies at lateral frequencies that the optics do not let through."""
    import torch

    from microdeconv.fft import half_frequencies, power_spectrum

    shape = (psf.pixels.shape[0], psf.pixels.shape[1], psf.pixels.shape[2])
    power = power_spectrum(torch.as_tensor(psf.pixels))
    power[..., 1 : (shape[2] + 1) // 2] *= 2  # the half that is left out
    _, y, x = half_frequencies(shape)
    margin = 1 / (voxel_um.x * shape[2])  # what a finite array blurs frequencies by
    outside = torch.hypot(y / voxel_um.y, x / voxel_um.x) > cutoff_per_um(optics)[1] + margin
    beyond = float((power * outside).sum() / power.sum())
    warning = (
        f"{100 * beyond:.2g} % of the PSF's power lies beyond what its optics let through: too narrow, or noise"
        if beyond > BEYOND
        else ""
    )
    return Finding("spectrum", beyond, f"{100 * beyond:.2g} % of its power beyond the optics' cut-off", warning)


def _sampling(psf: Psf, optics: Optics, voxel_um: Zyx) -> Finding:
    """Compare the stack's voxels with Nyquist's."""
    axial, lateral = nyquist_um(optics)
    ratios = [size / wanted for size, wanted in zip(voxel_um, (axial, lateral, lateral), strict=True)]
    first = 0 if psf.pixels.shape[0] > 1 else 1
    coarse = any(r > most for r, most in zip(ratios[first:], COARSE[first:], strict=True))
    wanted = _numbers((axial, lateral, lateral)[first:], ".3f")
    size = _numbers(tuple(voxel_um)[first:], ".3g")
    warning = f"voxels of {size} µm are coarse for these optics: Nyquist asks for {wanted} µm or less" if coarse else ""
    return Finding("sampling", max(ratios[first:]), f"voxels of {size} µm, Nyquist asks for {wanted} or less", warning)


def _same_optics(psf: Psf, optics: Optics) -> list[Finding]:
    """Find optics that the PSF was made for and the channel does not have."""
    found = []
    for one in options_of(Optics) if psf.optics else ():
        own, wanted = getattr(psf.optics, one.field), getattr(optics, one.field)
        if isinstance(own, int | float) and isinstance(wanted, int | float):
            other = abs(own - wanted) > DIFFERENT * wanted
            warning = f"the PSF was made for --{one.flag} {own:g}, the channel has {wanted:g}" if other else ""
            found.append(Finding(one.flag, own, f"PSF {own:g}, channel {wanted:g}", warning))
    return found
