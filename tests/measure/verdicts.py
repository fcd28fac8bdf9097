"""How often the verdict without a truth agrees with the truth: the result that it names, and those that it puts behind.

usage: python tests/measure/verdicts.py [--seed 100] [--cases 20] [--methods rl:3,rl,rl:150,wiener,rl-tv]
Scenes of several kinds and lights, half of them 2-D, through computed PSFs of the folder psfs. A name counts as right
when it is the nearest to the truth by PSNR, and as near when it is less than 0.2 dB from that. A verdict agrees when
one of those that it says may be the best is that near; it says nothing when all may be. Figures that alone pick the
result, without any doubt, are held against one another as well. Seeds 1 to 4, 200 and 201 were used to tune the rule;
other ones are fresh.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

from microdeconv.camera import Camera, CameraOptions
from microdeconv.compare.case import Case, Entry
from microdeconv.compare.figures import figures_of
from microdeconv.compare.halves import halves_of_counts
from microdeconv.compare.parts import ranked
from microdeconv.compare.verdict import verdict_of
from microdeconv.machine import Machine
from microdeconv.methods import METHODS
from microdeconv.settle import Settings, problem_for, settle
from microdeconv.simulate import Exposure, simulate
from microdeconv.solve import Stopping, solve
from microdeconv.stack import Psf

ROOT = Path(__file__).resolve().parents[2]
CPU = Machine("cpu", 4 * 10**9, "given", None, 1)
KINDS = ("filaments", "spots", "nuclei", "shells", "tissue", "mixed", "bars")
PHOTONS = (15.0, 60.0, 300.0, 1500.0)
LENSES = ("63x-1.4-oil-confocal", "20x-0.8-air-widefield", "60x-1.2-water-widefield")
EXPOSURE = Exposure(background=10, offset=100, gain=2.0, read_noise=1.0)
EYE = Camera(offset=98.0, gain=2.0)  # read noise is a part of the offset: 100 less 2 · 1²
BACKGROUND = EXPOSURE.offset + EXPOSURE.gain * EXPOSURE.background
NEAR = 0.2  # dB


def psf_of(lens: str, flat: bool) -> Psf:
    """The middle of a computed PSF, or its plane in focus."""
    pixels = tifffile.imread(ROOT / "psfs" / f"{lens}-520nm.tif").astype(np.float32)
    middle = [n // 2 for n in pixels.shape]
    reach = (0, 15, 15) if flat else (7, 11, 11)
    part = pixels[tuple(slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))]
    return Psf(part / part.sum(), None, None, "computed")


def entry(spec: str, counts: np.ndarray, psf: Psf) -> Entry:
    """A result and those of both halves, by "method" or "method:steps"."""
    name, _, steps = spec.partition(":")
    method = METHODS[name]
    camera = CameraOptions(background=BACKGROUND, offset=EYE.offset, gain=EYE.gain)
    stopping = Stopping(iterations=int(steps) if steps else "auto")
    settings = settle(counts, psf, 0, method, method.parameters(), camera, stopping, CPU)

    def result(pixels: np.ndarray, how: Settings) -> np.ndarray:
        return solve(problem_for(pixels, psf, method, how, CPU), method, how.parameters, how.iterations).image

    dark = (settings.background - settings.camera.offset) / settings.camera.gain / 2
    half = replace(settings, camera=Camera(), background=dark, level=settings.level / 2)
    gain = settings.camera.gain
    one, other = (2 * gain * result(part, half) for part in halves_of_counts(counts, settings.camera))
    return Entry(spec, gain * result(counts, settings), psf, (one, other), stopped=settings.iterations)


def make(seed: int, number: int, methods: list[str]) -> Case:
    """One of a series of cases: kinds, lights and lenses are drawn by its seed."""
    rng = np.random.default_rng([seed, number])
    flat = number % 2 == 0
    kind, photons = list(product(KINDS, PHOTONS))[rng.integers(len(KINDS) * len(PHOTONS))]
    psf = psf_of(str(rng.choice(LENSES)), flat)
    shape = (1, 192, 192) if flat else (12, 72, 72)
    scene = simulate(kind, shape, psf.pixels, EXPOSURE._replace(photons=photons), int(rng.integers(2**31)))
    entries = tuple(entry(spec, scene.counts, psf) for spec in methods)
    name = f"{kind}, {photons:g} photons, {'2-D' if flat else '3-D'}"
    return Case(name, scene.counts, BACKGROUND, EYE, entries, scene.truth, None, psf)


def main() -> None:
    """Print each case and the sums."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seed", type=int, default=100)
    words.add_argument("--cases", type=int, default=20)
    words.add_argument("--methods", default="rl:3,rl,rl:150,wiener,rl-tv")
    given = words.parse_args()
    lost, told, alone = [], [], {key: [] for key in ("error", "heldout_deviance", "frc_halves", "chi_square", "rsp")}
    for number in range(given.cases):
        case = make(given.seed, number, given.methods.split(","))
        psnr = next(f for f in figures_of(case) if f.key == "psnr").values
        best = max(psnr.values())
        blind = replace(case, truth=None)
        figures = figures_of(blind)
        verdict = verdict_of(blind, figures)
        for figure in figures:
            if figure.key in alone:
                alone[figure.key].append(best - psnr[ranked(figure.values, figure.better)[0]])
        close, behind = verdict.contenders, [name for name in psnr if name not in verdict.contenders]
        nearest = max(psnr[name] for name in close)
        told.append((best - nearest, len(close), sum(psnr[name] < nearest for name in behind), len(behind)))
        if verdict.winner:
            lost.append(best - psnr[verdict.winner])
        order = ", ".join(f"{name} {psnr[name]:.2f}" for name in ranked(psnr, "higher"))
        print(
            f"{number:3d} {case.name:32} {order}\n    {verdict.winner or ' or '.join(close)}: {verdict.sentences[0]}",
            flush=True,
        )
    named = len(lost)
    print(
        f"seed {given.seed}: a winner named in {named} of {given.cases}; the nearest in {lost.count(0.0)}, "
        f"within {NEAR} dB in {sum(x < NEAR for x in lost)}; largest loss {max(lost, default=0):.2f} dB"
    )
    loss, close, true, behind = map(np.array, zip(*told, strict=True))
    said = behind > 0
    print(
        f"agrees (one that may be the best is within {NEAR} dB of the nearest) in {np.count_nonzero(loss < NEAR)} of "
        f"{given.cases}, in {np.count_nonzero(loss[said] < NEAR)} of the {np.count_nonzero(said)} that put any behind; "
        f"{close.mean():.1f} may be the best on average; of {behind.sum()} put behind, {true.sum()} are"
    )
    for key, losses in alone.items():
        print(f"  by {key:17} alone: the nearest in {losses.count(0.0)} of {len(losses)}, within {NEAR} dB in "
              f"{sum(x < NEAR for x in losses)}, loss {np.mean(losses):.2f} dB on average")  # fmt: skip


if __name__ == "__main__":
    main()
