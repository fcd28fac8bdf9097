"""What the automatic stop of rl loses against the best possible one, on 24 synthetic scenes.

usage: python tests/measure/stops.py
"""

import numpy as np
import torch

from microdeconv import machine, quality
from microdeconv.camera import CameraOptions
from microdeconv.choose import choose
from microdeconv.methods import METHODS
from microdeconv.settle import problem_for, settle
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.solve import Stopping
from microdeconv.stack import Psf

KINDS = ("mixed", "nuclei", "tissue", "filaments", "shells", "bars")
OPTICS = (("3-D", gaussian_psf((2, 1.5, 1.5)), (20, 64, 64)), ("2-D", gaussian_psf((0, 2, 2)), (1, 192, 192)))


def main():
    here = machine.machine_for(machine.MachineOptions(device="cpu"))
    machine.prepare(here)
    method = METHODS["rl"]
    losses = []
    for kind in KINDS:
        for name, pixels, field in OPTICS:
            psf = Psf(pixels, None, None, "Gaussian")
            for photons in (30, 200):
                scene = simulate(kind, field, pixels, Exposure(photons, photons / 10, 100), 3)
                arguments = (psf, 0, method, method.parameters(), CameraOptions())
                settings = settle(scene.counts, *arguments, Stopping(iterations=1), here)
                problem = problem_for(scene.counts, psf, method, settings, here)
                scores = []
                with torch.inference_mode():
                    for iterate in method.run(problem, method.parameters()):
                        image = problem.blur.crop(iterate.image).numpy()
                        scores.append(quality.psnr(quality.inner(image), quality.inner(scene.truth)))
                        if len(scores) == 210:
                            break
                stop = choose(problem, method, method.parameters(), Stopping().max_iterations).iterations
                best = int(np.argmax(scores)) + 1
                losses.append(scores[best - 1] - scores[stop - 1])
                print(f"{kind:10} {name} {photons:4} photons: best {best:4}, chosen {stop:4}, loss {losses[-1]:.2f} dB")
    within = sum(loss <= 0.3 for loss in losses)
    print(
        f"mean loss {np.mean(losses):.2f} dB, median {np.median(losses):.2f}, within 0.3 dB: {within} of {len(losses)}"
    )


if __name__ == "__main__":
    main()
