"""Killed at system calls: the result is absent or whole, and a rerun completes (rows E16, F1)."""

import os
import shutil

import pytest
import sweeps
from batch_files import journal, leftovers, make_stacks
from huge_files import drive_for, make_stack, plan_of, scheme_for

from microdeconv.errors import NoInputError
from microdeconv.huge.scheme import load
from microdeconv.io.stacks import digest

pytest.importorskip("zarr", reason="needs the extra zarr")
pytestmark = pytest.mark.skipif(bool(sweeps.why_not()), reason=sweeps.why_not() or "strace works here")
FEW = int(os.environ.get("SWEEP_POINTS", "3"))  # of each task, spread over all of its calls


@pytest.fixture(scope="module")
def sweep():
    one = sweeps.Sweep()
    yield one
    one.close()


@pytest.fixture
def begin(tmp_path):
    """Make the folder in which a task begins, as often as one likes."""

    def make(task, name):
        folder = tmp_path / name
        folder.mkdir()
        if task.startswith("batch"):
            make_stacks(folder, 1)
            return folder
        if not (tmp_path / "s.tif").exists():
            make_stack(tmp_path)
            scheme = scheme_for(tmp_path)
            if task == "finish":
                assert drive_for(scheme).run() == 0
        shutil.copytree(plan_of(tmp_path), plan_of(folder))
        return folder

    return make


def result(task, folder):
    """What is to be equal, None while the result is absent; what is half there is an error."""
    if task == "tile":
        return digest(plan_of(folder) / "image") if 1 in drive_for(load(plan_of(folder))).state.done else None
    name = {"finish": "out.ome.zarr", "batch": "out/s00_decon.tif", "batch_zarr": "out/s00_decon.ome.zarr"}[task]
    return digest(folder / name) if (folder / name).exists() else None


def few(points, count=FEW):
    """Spread over all of them, the last one too."""
    return list(dict.fromkeys(points[round((n + 1) * (len(points) - 1) / count)] for n in range(count)))


@pytest.mark.parametrize("task", ["tile", "finish", "batch", "batch_zarr"])
def test_f1_killed_at_writes_syncs_and_renames(task, sweep, begin):
    calm = begin(task, "calm")
    assert sweep.run(task, calm) == 0
    wanted = result(task, calm)
    assert wanted
    for call, number in few(sweep.points(calm)):
        name = f"{call}-{number}"
        folder = begin(task, name)
        assert sweep.run(task, folder, (call, number)) == -9, name
        assert result(task, folder) in (None, wanted), name
        if task == "finish" and not plan_of(folder).exists():
            with pytest.raises(NoInputError, match="it stands already"):  # it was killed after its last deed
                sweeps.finish(folder)
            assert sorted(p.name for p in folder.iterdir()) == ["out.ome.zarr"], name
            continue
        assert getattr(sweeps, task)(folder) == 0, name
        assert result(task, folder) == wanted, name
        if task.startswith("batch"):
            assert (len(journal(folder / "out")), leftovers(folder / "out")) == (1, []), name
        elif task == "finish":
            assert sorted(p.name for p in folder.iterdir()) == ["out.ome.zarr"], name
