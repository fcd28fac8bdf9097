"""What each idea of the network gives: one switch changed at a time, at equal steps and on the same samples.

usage: python tests/measure/ablation.py FOLDER [--steps 400] [--seeds 1] [--only NAME …]
Trains a small recipe for each variant and seed (checkpoints in FOLDER, taken up again), then prints the mean gain in dB
over the iterate that the network begins with, for planes of seen and of unseen structures and PSFs, and what is lost or
won against the full network: the paired mean with its standard error over images and seeds.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from microdeconv.learnt.network import Architecture, IRDNet
from microdeconv.learnt.recipe import Recipe
from microdeconv.learnt.samples import make_sample
from microdeconv.learnt.training import seen, train

FULL = Architecture(widths=(12, 20, 28), stages=1)
VARIANTS = {
    "full": {},
    "no iterates concatenated (one iterate)": {"bank": "one"},
    "no residual units": {"unit": "plain"},
    "no integration of stages": {"concatenated": False},
    "no data step": {"stages": 0},
    "two data steps": {"stages": 2},
    "two data steps, own weights": {"stages": 2, "shared": False},
    "two scales": {"scales": 2},
    "three scales": {"scales": 3},
    "no decorrelation": {"decorrelate": "off"},
    "decorrelation with neighbours": {"decorrelate": "pixels"},
    "no transposed convolution": {"transposed": False},
    "no unpooling by switches": {"switches": False},
}


def recipe_for(changes, steps, seed):
    """A small recipe of planes only, so that many fit into an hour."""
    architecture = replace(FULL, **changes)
    return Recipe(architecture, steps=steps, seed=seed, plane=(1, 96, 96), volume_every=0, validated=4)


def fresh_samples(number):
    """Planes that no training has: seen and unseen structures and PSFs."""
    cells = [("seen", "seen"), ("unseen", "seen"), ("seen", "unseen"), ("unseen", "unseen")]
    for place in range(number):
        for structures, lenses in cells:
            rng = np.random.default_rng((4711, place))
            photons = float(np.exp(rng.uniform(math.log(15), math.log(5000))))
            yield make_sample(rng, (1, 128, 128), structures, lenses, photons)


def gains(network, samples):
    """dB of each sample over the iterate that the network begins with."""
    found = []
    with torch.inference_mode():
        for sample in samples:
            views = seen([sample], network.architecture.scales, "cpu")
            truth = torch.from_numpy(sample.truth) / views[-1][0].scale
            ours, plain = network(views)[-1][0], views[-1][0].begun
            found.append(10 * math.log10(float((plain - truth).square().mean() / (ours - truth).square().mean())))
    return np.array(found)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folder", type=Path)
    words.add_argument("--steps", type=int, default=400)
    words.add_argument("--seeds", type=int, nargs="+", default=[1])
    words.add_argument("--only", nargs="+", default=list(VARIANTS))
    given = words.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    samples = list(fresh_samples(24))
    scores = {}
    for name in ["full", *(n for n in VARIANTS if n in given.only and n != "full")]:
        rows, seconds = [], 0.0
        for seed in given.seeds:
            recipe = recipe_for(VARIANTS[name], given.steps, seed)
            path = given.folder / f"{name.replace(' ', '_')}_{given.steps}_{seed}.safetensors"
            state = train(recipe, path)
            network = IRDNet(recipe.architecture).eval()
            network.load_state_dict(state.average)
            rows.append(gains(network, samples))
            seconds += state.seconds
        scores[name] = np.array(rows)
        off = (scores[name] - scores["full"]).ravel()
        print(
            f"{name:40} {scores[name].mean():+6.2f} dB, against full {off.mean():+5.2f} ± {off.std() / len(off) ** 0.5:.2f}"
            f"  ({1000 * seconds / given.steps / len(given.seeds):.0f} ms a step)",
            flush=True,
        )


if __name__ == "__main__":
    main()
