"""What `compare` costs beyond its methods, and how large its page is: python tests/measure/page_cost.py [SEED].

A stack of 64 x 512 x 512 with its truth, four entries: Richardson-Lucy (two steps), Wiener, and two results made
elsewhere (the image smoothed). Methods count with what they take on the whole; the halves of the light, on which they run
once more for the figures, count for the page.

Seed 1, one thread on two shared cores, twice: 13.2 and 13.4 s beyond the methods by the clock and of processor, 7.9 MB. An
earlier run, before halves were shared out once, took 31.5 s by the clock while others kept the cores busy.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from microdeconv.cli.app import main
from microdeconv.compare import page, rerun, results, told
from microdeconv.simulate import Exposure, gaussian_psf, simulate

SHAPE = (64, 512, 512)
PSF = gaussian_psf((1.5, 1.6, 1.6))
WORDS = ("--methods", "rl,wiener", "-n", "2", "--threads", "1", "--device", "cpu")


def save(path: Path, pixels: np.ndarray) -> None:
    """ImageJ TIFF, voxels of 0.2 x 0.1 x 0.1 um."""
    details: dict[str, Any] = {"metadata": {"axes": "ZYX", "spacing": 0.2, "unit": "um"}}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(10.0, 10.0), **details)


def now() -> np.ndarray:
    """Seconds by the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def timed(spent: dict[str, np.ndarray], module: Any, name: str) -> None:
    """Sum up what a function takes: by the clock and of the processor, which others may keep busy."""
    right: Callable[..., Any] = getattr(module, name)

    def call(*words: Any, **more: Any) -> Any:
        started = now()
        try:
            return right(*words, **more)
        finally:
            spent[name] = spent.get(name, np.zeros(2)) + now() - started

    setattr(module, name, call)


def measure(seed: int) -> None:
    """Compare, and print where the time went."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = simulate("mixed", SHAPE, PSF, Exposure(200, 20, 100), seed)
        light = scene.counts.astype(np.float32) - np.float32(120)
        save(folder / "cells.tif", scene.counts)
        save(folder / "truth.tif", scene.truth.astype(np.float32))
        save(folder / "psf.tif", PSF)
        for k, sigma in enumerate((0.5, 1.0), 1):
            save(folder / f"smooth{k}.tif", gaussian_filter(light, sigma))
        del scene, light
        spent: dict[str, np.ndarray] = {}
        for module, function in (
            (results, "_run"), (results, "_from_elsewhere"), (results, "refuse_other"), (rerun.Halves, "deconvolved"),
            (told, "write_case_page"), (page, "gallery_of"), (page, "_frequency"), (page, "_residuals"),
        ):  # fmt: skip
            timed(spent, module, function)
        started = now()
        code = main([
            "compare", str(folder / "cells.tif"), "--truth", str(folder / "truth.tif"), "--psf", str(folder / "psf.tif"),
            *WORDS, "--result", f"A={folder / 'smooth1.tif'}", "--result", f"B={folder / 'smooth2.tif'}",
            "-o", str(folder / "report"),
        ])  # fmt: skip
        whole = now() - started
        path = folder / "report" / "index.html"
        methods = spent["_run"] - spent["deconvolved"]
        print(f"exit {code}, seed {seed}: {path.stat().st_size / 1e6:.1f} MB")
        spent = {"all": whole, "methods": methods, "beyond the methods": whole - methods, **spent}
        for word, (wall, cpu) in spent.items():
            print(f"{word}: {wall:.1f} s, {cpu:.1f} s of processor")
        notes = re.search(r'<ul class="small notes-of-images">(.*?)</ul>', path.read_text(encoding="utf-8"))
        print(re.sub(r"<.*?>", " ", notes[1] if notes else ""))


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
