"""Size and time of the page for a stack of 64 x 512 x 512: python tests/measure/page.py [RESULTS] [SEED]."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from microdeconv.camera import Camera
from microdeconv.compare.case import Case, Entry
from microdeconv.compare.page import write_page
from microdeconv.simulate import Exposure, gaussian_psf, simulate
from microdeconv.stack import Zyx

SHAPE = (64, 512, 512)


def measure(results: int, seed: int) -> None:
    """Write the page of the truth smoothed more and more, with noise, and say what it took."""
    scene = simulate("mixed", SHAPE, gaussian_psf((1.5, 1.6, 1.6)), Exposure(200, 20, 100), seed)
    rng = np.random.default_rng(seed)
    entries = []
    for k in range(results):
        noise = gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), 0.7)
        image = np.maximum(gaussian_filter(scene.truth, 0.6 + 0.3 * k) + 6 * noise, 0)
        entries.append(Entry(f"method {k + 1}", image))
    case = Case("mixed", scene.counts, 120.0, Camera(100, 1), tuple(entries), scene.truth, Zyx(0.2, 0.1, 0.1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.html"
        wall, cpu = time.perf_counter(), time.process_time()
        write_page(path, case, (), None, None, overwrite=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        notes = re.search(r'<ul class="small notes-of-images">(.*?)</ul>', path.read_text(encoding="utf-8"))
        print(f"{results} results, seed {seed}: {path.stat().st_size / 1e6:.1f} MB, {wall:.1f} s ({cpu:.1f} s of CPU)")
        print(re.sub(r"<.*?>", " ", notes[1] if notes else ""))


if __name__ == "__main__":
    measure(*(int(word) for word in (sys.argv[1:] + ["3", "1"][len(sys.argv) - 1 :])))
