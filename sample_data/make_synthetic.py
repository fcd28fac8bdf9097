"""Make the synthetic stack of this folder: filaments, spots and nuclei under a wide-field PSF, with their truth.

usage: python sample_data/make_synthetic.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
import tifffile

from microdeconv.optics import Optics
from microdeconv.psf.compute import compute_psf
from microdeconv.simulate import Exposure, simulate
from microdeconv.stack import Zyx

FIELD = (24, 96, 96)
VOXEL = Zyx(0.3, 0.1, 0.1)
OPTICS = Optics(na=1.2, emission_nm=520, ri_immersion=1.333)


def main(folder: Path) -> None:
    """Write synthetic.tif and synthetic_truth.tif."""
    psf = compute_psf(OPTICS, VOXEL, (47, 65, 65), "scalar").pixels
    scene = simulate("mixed", FIELD, psf, Exposure(photons=200, background=20, offset=100), seed=7)
    metadata = {"axes": "ZYX", "spacing": VOXEL.z, "unit": "um"}
    for name, pixels in (("synthetic", scene.counts), ("synthetic_truth", scene.truth.astype(np.float32))):
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / VOXEL.x, 1 / VOXEL.y), metadata=metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
