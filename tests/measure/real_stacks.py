"""Every real stack of a folder through the program: identity bit for bit, then a method, put on one contact sheet.

usage: python tests/measure/real_stacks.py OUT [--shared FOLDER] [--method rl] [--against rl] [further options of run]
Prints for each stack background, gain, steps and warnings; OUT/sheet.png has the maximum projections before and after.
Against another method: only the processors' time, over the other's (whole processes).
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

CONFOCAL = "--na 1.4 --emission 520 --ri-immersion 1.515 --modality confocal"
STACKS = (
    ("actin-dapi-2d-gt/Actin3_blurred.tif", "--psf actin-dapi-2d-gt/PSF.tif"),
    ("actin-dapi-2d-gt/DAPI_blurred.tif", "--psf actin-dapi-2d-gt/PSF.tif --negative clip"),
    ("actin-dapi-2d-gt/nucleus.tif", CONFOCAL),
    ("asymmetric-psf-3d/raw.tif", "--psf asymmetric-psf-3d/psf.tif"),
    ("bars-3d-gt/raw.tif", "--psf bars-3d-gt/psf.tif"),
    ("bead-widefield-3d/raw.tif", "--psf bead-widefield-3d/psf.tif"),
    ("celegans-2d/raw.tif", CONFOCAL),
    ("confocal-beads-grid/beads.tif", CONFOCAL),
    ("confocal-beads-grid/grid.tif", CONFOCAL),
    ("hyperstack-tzcyx/multichannel_timelapse.tif", CONFOCAL + " --voxel 0.3 0.145 0.145"),
    ("neuron-3d/object.tif", CONFOCAL + " --voxel 0.3 0.1 0.1"),
    ("redcells-lattice/raw.tif", "--psf redcells-lattice/psf.tif"),
    ("spots/hybiss_2d.tif", "--na 0.8 --emission 580 --ri-immersion 1 --voxel 0.3 0.2 0.2"),
    ("spots/synthetic_3d.tif", "--na 1.2 --emission 520 --ri-immersion 1.33 --voxel 0.3 0.15 0.15"),
    ("yeast-mito/raw_t0-2.ome.tif", "--na 1.4 --emission 525 --ri-immersion 1.515 --modality spinning-disk"),
)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("out", type=Path)
    words.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    words.add_argument("--method", default="rl")
    words.add_argument("--against")
    given, further = words.parse_known_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.against:
        return ratios(given, further)
    pictures = []
    for name, options in STACKS:
        raw, stem = given.shared / name, name.replace("/", "_").split(".")[0]
        same = given.out / f"{stem}_same{'.ome' if '.ome.' in name else ''}.tif"
        run(given.shared, raw, same, "--method", "identity")
        result = given.out / f"{stem}{'.ome' if '.ome.' in name else ''}.tif"
        words_of_run = (*options.split(), "--method", given.method, "--preview", "--record", *further)
        failed = run(given.shared, raw, result, *words_of_run)
        if failed:
            print(f"{name}: {failed}", flush=True)
            continue
        record = json.loads((given.out / f"{stem}.json").read_text(encoding="utf-8"))
        for one in record["channels"]:
            sure = one["sources"].get("background", "blank")
            print(
                f"{name} c{one['channel']}: identity {is_same(raw, same)}, background {one['background']:.5g} ({sure}), "
                f"gain {one['gain']:.3g} ({one['sources'].get('gain', '')}), {one['iterations']} steps, {record['seconds']} s"
            )
        for number, blends in record.get("guard", {}).items():
            told = ", ".join(f"{key} {value:g}" for key, value in blends[0].items() if not isinstance(value, str))
            print(f"    channel {number}, guard: {told}", flush=True)
        for warning in record["warnings"]:
            print(f"    {warning}", flush=True)
        pictures.append((name, given.out / f"{stem}.png"))
    sheet(given.out / "sheet.png", pictures)


def ratios(given, further):
    """Print what a method takes of the processors' time, over another."""
    for name, options in STACKS:
        result = given.out / f"ratio{'.ome' if '.ome.' in name else ''}.tif"
        taken = []
        for method in (given.method, given.against):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run(given.shared, given.shared / name, result, *options.split(), "--method", method, *further)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        print(f"{name}: {taken[0]:.1f} s over {taken[1]:.1f} s, {taken[0] / taken[1]:.1f}", flush=True)


def run(folder, raw, out, *options):
    call = [sys.executable, "-m", "microdeconv", "run", raw, "-o", out, "--overwrite", "-q", *options]
    done = subprocess.run(list(map(str, call)), cwd=folder, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def is_same(raw, copy):
    """Whether pixels, type, axes and sizes are those of the input."""
    with tifffile.TiffFile(raw) as a, tifffile.TiffFile(copy) as b:
        one, other = a.series[0].asarray(), b.series[0].asarray()
        alike = np.array_equal(one.squeeze(), other.squeeze()) and one.dtype == other.dtype
        voxel = [p.pages[0].tags.get("XResolution") for p in (a, b)]
        return alike and all(v is not None or voxel[0] is None for v in voxel)


def sheet(path, pictures):
    from PIL import Image, ImageDraw

    tiles = []
    for name, picture in pictures:
        image = Image.open(picture).convert("RGB")
        image.thumbnail((620, 460))
        tile = Image.new("RGB", (640, 490), "white")
        tile.paste(image, (10, 24))
        ImageDraw.Draw(tile).text((10, 6), name, fill="black")
        tiles.append(tile)
    columns = 3
    whole = Image.new("RGB", (640 * columns, 490 * -(-len(tiles) // columns)), "white")
    for number, tile in enumerate(tiles):
        whole.paste(tile, (640 * (number % columns), 490 * (number // columns)))
    whole.save(path)


if __name__ == "__main__":
    main()
