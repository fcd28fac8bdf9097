"""How `batch --tiles` scales: measured here, and simulated for 10 TB on 100 and 1,000 workers.

    python tests/measure/scaling.py [--runs 3] [--only workers overhead million cluster] [--edge 128] [--planes 16]

workers: the same tiles by one process and by two, one thread each, both warm (medians). overhead: what a tile takes
beside its own seconds: claim, pipe, journal with fsync (one worker, tiles of no work). million: bytes and seconds of a
plan and journal of a million tiles. cluster: a discrete-event simulation with the seconds a voxel and step measured
here, the time a worker takes to start, the bytes of a tile, and 1 % of the nodes lost at random times.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from huge_files import asked_for, drive_for, make_stack  # noqa: E402

from microdeconv.batch.pool import shares  # noqa: E402
from microdeconv.huge.finish import finish  # noqa: E402
from microdeconv.huge.jobs import Job  # noqa: E402
from microdeconv.huge.local import Local  # noqa: E402
from microdeconv.huge.prepare import prepared  # noqa: E402
from microdeconv.huge.state import State, TileDone  # noqa: E402
from microdeconv.tiles import Tiling  # noqa: E402

STEPS = 10
MILLION = 1_000_000


def planned(folder, shape, **given):
    """Plan a stack; give the plan."""
    make_stack(folder, shape=shape)
    return prepared(asked_for(folder, **given), lambda *_: None)[0]


def timed(scheme, workers, units):
    """Seconds that warm workers take for so many units, and how long the first took to be warm."""
    engine = Local(scheme.folder, shares(workers, scheme.count, 0, workers, 10**9 * workers, "cpu"))
    started = time.perf_counter()
    list(engine.map(Job("tile", n) for n in range(2 * workers)))
    start = time.perf_counter() - started
    began = time.perf_counter()
    each = [o.told["seconds"] for o in engine.map(Job("tile", n) for n in range(units)) if o is not None]
    seconds = time.perf_counter() - began
    engine.close()
    return seconds, start, statistics.median(each)


def workers(folder, edge, planes, runs):
    """One process against two; give seconds a read voxel and step, and seconds to start."""
    scheme = planned(folder, (planes, 4 * edge, 2 * edge), tile=edge, iterations=STEPS)
    found = {1: [], 2: []}
    for _ in range(runs):
        for count in found:
            found[count].append(timed(scheme, count, scheme.count))
    one, two = (statistics.median(seconds for seconds, _, _ in found[n]) for n in (1, 2))
    each, start = statistics.median(e for _, _, e in found[1]), statistics.median(s for _, s, _ in found[1])
    print(
        f"{scheme.count} tiles of {edge} x {edge} x {planes}, {STEPS} steps, {runs} runs, load {os.getloadavg()[0]:.1f}"
    )
    print(f"one worker {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast; a tile {each:.2f} s")
    read = scheme.tiling[0].read
    voxels = planes * math.prod(span.stop - span.start for span in read)
    return each / (voxels * STEPS), max(start - 2 * each, 0.0)


def finishing(folder, edge, planes):
    """Seconds a voxel that seams and levels take by one worker."""
    scheme = planned(folder, (planes, 4 * edge, 4 * edge), tile=edge, iterations=1)
    asked = drive_for(scheme, Local(scheme.folder, shares(1, 1, 0, 1, 10**9, "cpu")))
    assert asked.run() == 0
    engine = Local(scheme.folder, shares(1, 1, 0, 1, 10**9, "cpu"))
    list(engine.map([Job("frame", 0, 0, asked.state.done[0].digest)]))  # warm
    began = time.perf_counter()
    finish(scheme, folder / "out.ome.zarr", engine, lambda *_: None)
    seconds = time.perf_counter() - began
    voxels = math.prod(scheme.field)
    print(f"finish: {seconds:.2f} s for {voxels / 1e6:.1f} million voxels by one worker")
    return seconds / voxels


def overhead(folder, count=100):
    """Seconds of a tile beside its own."""
    scheme = planned(
        folder, (1, 16 * count, 16), tile=16, method="identity", psf=None, iterations=None, background=None
    )
    engine = Local(scheme.folder, shares(1, scheme.count, 0, 1, 10**9, "cpu"))
    list(engine.map([Job("tile", 0)]))
    own = []
    drive = drive_for(scheme, engine)
    drive.tell = lambda status, unit, told: own.append(told["seconds"])
    began = time.perf_counter()
    assert drive.run() == 0
    wall = time.perf_counter() - began
    beside = (wall - sum(own)) / count
    print(
        f"engine: {1000 * beside:.1f} ms a tile beside its own {1000 * statistics.median(own):.1f} ms (open, write, fsync)"
    )
    return beside


def million(folder):
    """A journal of a million tiles."""
    state = State(folder)
    lines = "".join(json.dumps(TileDone(n, 123.45, 0, "A" * 22), separators=(",", ":")) + "\n" for n in range(MILLION))
    (folder / "done-0.jsonl").write_text(lines)
    began = time.process_time()  # what else the machine does is not its own
    state.refresh()
    seconds = time.process_time() - began
    began = time.process_time()
    tiling = Tiling.of((100, 16_000, 16_000), 16, (24, 24), exact=True)
    needed = [n for n in range(len(tiling)) if n not in state.done]
    more = time.process_time() - began
    assert len(tiling) == MILLION
    assert not needed
    print(
        f"a million tiles: journal {len(lines) / 1e6:.0f} MB, read in {seconds:.1f} s; tiles laid out in {more:.1f} s"
    )
    return seconds + more


def sizes(folder):
    """Bytes of a plan, which does not grow with its tiles."""
    scheme = planned(folder, (2, 256, 256), tile=16)
    print(f"plan.json of {scheme.count} tiles: {(scheme.folder / 'plan.json').stat().st_size:,} bytes, none for a tile")


@dataclass
class Cluster:
    """What the simulation takes for given.

    Attributes
    ----------
    units, seconds, spread
        How many, what each takes, and the relative spread of that.
    workers, lost
        Nodes of one worker each, and the share that is lost at a random time.
    start, noticed
        Seconds that a worker takes to begin, and until a lost node is noticed and its work given anew.
    bytes_each, bandwidth
        Of input and output of a unit, and of the shared file system for all, bytes a second.
    dispatch
        Seconds of the one scheduler for a unit; 0: parts of an array, dealt out before.
    """

    units: int
    seconds: float
    workers: int
    start: float
    dispatch: float
    bytes_each: float
    spread: float = 0.05
    lost: float = 0.01
    noticed: float = 30.0
    bandwidth: float = 10e9

    def run(self, seed):
        """Simulate; give seconds in all, and seconds of work that was lost."""
        random = np.random.default_rng(seed)
        ideal = self.units * self.seconds / self.workers
        gone = {int(w): float(random.uniform(0, ideal)) for w in
                random.choice(self.workers, round(self.lost * self.workers), replace=False)}  # fmt: skip
        waiting = [len(range(w, self.units, self.workers)) for w in range(self.workers)]  # parts, dealt out in turn
        shared = self.units
        events = [(self.start, w) for w in range(self.workers)]
        heapq.heapify(events)
        disk = scheduler = last = wasted = 0.0
        while events:
            now, w = heapq.heappop(events)
            if (shared if self.dispatch else waiting[w]) == 0:
                continue
            begin = now
            if self.dispatch:
                scheduler = begin = max(now, scheduler) + self.dispatch
            disk = max(begin, disk) + self.bytes_each / self.bandwidth
            end = max(begin + self.seconds * random.lognormal(0, self.spread), disk)
            if w in gone and begin <= gone[w] < end:
                wasted += gone[w] - begin
                heapq.heappush(events, (gone.pop(w) + self.noticed + self.start, w))
                continue
            shared, waiting[w], last = shared - 1, waiting[w] - 1, max(last, end)
            heapq.heappush(events, (end, w))
        return last, wasted


def cluster(rate, start, beside, opening, ending):
    """10 TB by 100 and 1,000 workers."""
    voxels, planes, halo, iterations = 10e12 / 2, 200, 32, 40
    heads = "| engine | tile | units | unit s | workers | hours | efficiency | waits at the end | start | lost | disk busy |"
    print(f"{heads}\n|---|---|---|---|---|---|---|---|---|---|---|")
    for edge in (1024, 512, 256):
        read = planes * (edge + 2 * halo) ** 2
        units, seconds = round(voxels / (planes * edge**2)), rate * read * iterations + beside
        for count in (100, 1000):
            for name, dispatch in (("array", 0.0), ("dask", 0.003)):
                traffic = 2.0 * read + 2.0 * planes * edge**2
                one = Cluster(units, seconds, count, start + opening * units / MILLION, dispatch, traffic)
                runs = [one.run(seed) for seed in range(3)]
                total, wasted = (statistics.median(r[i] for r in runs) for i in (0, 1))
                ideal = units * seconds / count
                idle = max(total - ideal - one.start - wasted / count, 0) / total
                print(f"| {name} | {edge} | {units:,} | {seconds:,.0f} | {count:,} | {total / 3600:,.1f} |"
                      f" {100 * ideal / total:.1f} % | {100 * idle:.1f} % | {100 * one.start / total:.2f} % |"
                      f" {100 * wasted / count / total:.2f} % | {100 * units * traffic / one.bandwidth / total:.1f} % |")  # fmt: skip
    hours = ", ".join(f"{ending * voxels / count / 3600:,.1f} h by {count:,}" for count in (32, 100, 1000))
    print(f"finish, beside that: {hours} workers (--engine dask beyond one machine)")
    print("efficiency: against as many workers that never wait; halos cost besides "
          + ", ".join(f"{100 * ((e + 2 * halo) ** 2 / e**2 - 1):.0f} % at {e}" for e in (1024, 512, 256)))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = ("workers", "overhead", "million", "cluster")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--planes", type=int, default=16)
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    folder = Path(tempfile.mkdtemp(prefix="scaling-"))
    for name in (*names, "sizes", "finishing"):
        (folder / name).mkdir()
    rate, start, beside, opening, ending = 1e-7, 5.0, 0.01, 3.0, 1e-7  # where they are not measured in this call
    try:
        if "workers" in asked.only:
            rate, start = workers(folder / "workers", asked.edge, asked.planes, asked.runs)
            ending = finishing(folder / "finishing", asked.edge, asked.planes)
        if "overhead" in asked.only:
            beside = overhead(folder / "overhead")
        if "million" in asked.only:
            opening = million(folder / "million")
            sizes(folder / "sizes")
        if "cluster" in asked.only:
            print(f"with {rate:.3g} s a voxel and step, {start:.1f} s to start, {1000 * beside:.1f} ms beside, "
                  f"{opening:.1f} s to open a million, {ending:.2g} s a voxel to finish")  # fmt: skip
            cluster(rate, start, beside, opening, ending)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
