"""How near `psf measure` comes to the PSF that beads were made with: `python tests/measure/bead_psfs.py [BEAD_UM]`."""

import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "psf")]

from bead_fields import bead_field, likeness  # noqa: E402
from test_measure import CASES, SNR_20, truth  # noqa: E402

from microdeconv.psf.measure import measure_psf  # noqa: E402
from microdeconv.psf.widths import fwhm  # noqa: E402

if __name__ == "__main__":
    bead_um = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    for name, (optics, voxel, field, apart) in CASES.items():
        true = truth(optics, voxel, field)
        stack, places = bead_field(true, voxel, field, SNR_20, apart=apart, bead_um=bead_um)
        start = time.process_time()
        found = measure_psf({"beads": stack}, voxel, bead_um or None, optics)
        seconds = time.process_time() - start
        ratios = np.array(found.fwhm_um) / (np.array(fwhm(true)) * voxel)
        print(
            f"{name:22} {found.used} of {len(places)} beads, correlation {likeness(found.psf.pixels, true):.4f},"
            f" FWHM over the true one z {ratios[0]:.3f} y {ratios[1]:.3f} x {ratios[2]:.3f}, {seconds:.0f} s of CPU",
            flush=True,
        )
