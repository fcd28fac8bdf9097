"""How much light results of rl have beside what the counts tell: Σ x Hᵀ1 against Σ y H x / (H x + b).

usage: python tests/measure/light.py [--steps 5 10 20 40] [--quick]
On samples of the frozen suite (the first of each cell, with --quick every fourth of these), after so many steps: mean and
largest difference as shares.
"""

import argparse
from itertools import islice

import numpy as np
import torch

from microdeconv.classical.richardson_lucy import RichardsonLucy, richardson_lucy
from microdeconv.learnt.suite import cases_of


def excess(problem, x):
    """Share of light too much."""
    blur = problem.blur
    told = problem.image * (1 - problem.background / problem.predict(x))
    return float((x * blur.normalisation).sum() / told.sum()) - 1


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 40])
    words.add_argument("--quick", action="store_true")
    given = words.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in cases_of([], quick=True) if "empty" not in case.key][:: 4 if given.quick else 1]
    found = []
    for case in cases:
        problem = case.sample().problem()
        with torch.inference_mode():
            iterates = enumerate(islice(richardson_lucy(problem, RichardsonLucy()), max(given.steps)), 1)
            found.append([excess(problem, one.image) for step, one in iterates if step in given.steps])
    for steps, mean, most in zip(sorted(given.steps), np.mean(found, 0), np.max(np.abs(found), 0), strict=True):
        print(f"{steps} steps, {len(cases)} samples: mean {mean:+.2%}, most {most:.1%}")


if __name__ == "__main__":
    main()
