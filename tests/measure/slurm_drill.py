"""A batch on a real Slurm (started here, two pretended nodes): what happens to it, and whether its bytes are right.

    python tests/measure/slurm_drill.py [--only node time timeout preempt cancel memory controller] [--stacks 8]

Each drill submits what `microdeconv slurm-script` prints, does its harm, waits for the end and compares the results
with those of an undisturbed run on no Slurm:

node        kill -9 of a node; it comes back, the task is requeued
time        a notice before the limit, and a worker hangs: 75, requeued
timeout     it hangs until the limit ends it; a second submit goes on
preempt     an urgent job takes the node; requeued
cancel      scancel; a second submit goes on
memory      290 MB: refused by the plan; 100 MB, told of more: killed by Slurm; a third submit with enough does it
controller  kill -9 of slurmctld, which comes back: the task is unharmed
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psutil  # noqa: E402
from batch_files import OPTIONS, journal, leftovers, make_stacks, results  # noqa: E402
from slurm_fixture import Slurm, wait_for, why_not  # noqa: E402

SLOW = (*OPTIONS, "-n", "30")  # a stack takes a second or two: it is caught at work
STARTED = time.monotonic()
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


class Drill:
    """One output folder and its job."""

    def __init__(self, slurm: Slurm, folder: Path, name: str) -> None:
        self.slurm, self.folder, self.output = slurm, folder, folder / name
        self.environment = {**slurm.environment, "PYTHONPATH": str(ROOT)}

    def submit(self, *words: str, notice: int | None = None) -> str:
        """Submit the printed script; with another notice before the limit, and less grace, where a drill cannot wait."""
        call = [sys.executable, "-m", "microdeconv", "slurm-script", "s*.tif", "-o", str(self.output), *SLOW, *words]
        told = subprocess.run(call, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, (told.returncode, told.stderr)
        assert told.stdout, f"nothing is left to submit: {told.stderr}"
        text = told.stdout
        if notice is not None:
            text = text.replace("USR1@120", f"USR1@{notice}").replace(" --shard", " --grace 5 --shard")
        (self.output / "logs").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["sbatch", "--parsable"], input=text, cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        job = done.stdout.strip()
        say(f"submitted {job}: slurm-script {' '.join(words)}")
        return job

    def done(self) -> int:
        """Stacks that the journal has."""
        return len(journal(self.output))

    def hold(self) -> list[psutil.Process]:
        """Stop the workers, so that the batch cannot end by itself; what Slurm sends at its end continues them."""
        workers = self.slurm.pythons()
        for one in workers:
            one.suspend()
        say(f"{len(workers)} worker(s) stopped (SIGSTOP)")
        return workers

    def restarts(self, job: str) -> int:
        """How often a task was queued again."""
        found = re.findall(r"Restarts=(\d+)", self.slurm.ask("scontrol", "show", "job", job))
        return max(map(int, found), default=0)

    def until(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait, and say that it came."""
        wait_for(ready, seconds, what)
        say(what)

    def ended(self, job: str, seconds: float = 400) -> None:
        """Wait for the end of all tasks."""
        self.until(lambda: bool(self.slurm.state(job)) and self.slurm.state(job) <= ENDED, seconds, f"{job} has ended")
        say(
            self.slurm.ask("squeue", "-h", "-t", "all", "-r", "-j", job, "-o", "%i %T %N restarted %r").replace(
                "\n", "; "
            )
        )

    def logs(self) -> str:
        """What all tasks said."""
        return "".join(log.read_text(encoding="utf-8") for log in sorted((self.output / "logs").glob("*.log")))

    def check(self, wanted: dict[str, bytes]) -> None:
        """Compare with the undisturbed run."""
        assert results(self.output) == wanted, (sorted(results(self.output)), sorted(wanted))
        lines = [line[1] for line in journal(self.output)]
        assert len(lines) == len(set(lines)) == len(wanted), lines
        assert leftovers(self.output) == [], leftovers(self.output)
        for log in sorted((self.output / "logs").glob("*.log")):
            for line in log.read_text(encoding="utf-8").splitlines():
                say(f"  {log.name}: {line[:150]}")
        say(f"{self.output.name}: {len(wanted)} results, bitwise equal; no stack done twice; nothing left over")


def node(drill: Drill) -> None:
    """A node is killed while it works."""
    job = drill.submit("--array", "2", "--time-limit", "20", "--mem", "1500")
    drill.until(lambda: drill.done() >= 1, 120, "a stack is done")
    drill.slurm.kill_node("n1")
    say("node n1 killed -9")
    drill.until(lambda: "down" in drill.slurm.ask("sinfo", "-h", "-n", "n1", "-o", "%t"), 90, "Slurm sees n1 down")
    drill.slurm.start_node("n1")
    say("node n1 is back")
    drill.ended(job)


def limit(drill: Drill) -> None:
    """The time limit comes near, and a worker hangs."""
    job = drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500", notice=1190)
    drill.until(lambda: drill.done() >= 1, 120, "a stack is done")
    drill.hold()
    drill.until(lambda: drill.restarts(job) > 0, 180, "it has been told, and queued again")
    drill.ended(job)
    assert drill.slurm.state(job) == {"COMPLETED"}, drill.slurm.state(job)


def timeout(drill: Drill) -> None:
    """It hangs until Slurm's limit kills it, and is submitted again."""
    job = drill.submit("--array", "1", "--time-limit", "1", "--mem", "1500", notice=1)
    drill.until(lambda: drill.done() >= 1, 50, "a stack is done")
    drill.hold()
    drill.ended(job)
    assert drill.slurm.state(job) == {"TIMEOUT"}, drill.slurm.state(job)
    drill.ended(drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500"))


def controller(drill: Drill) -> None:
    """The controller is killed and comes back."""
    job = drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500")
    drill.until(lambda: drill.done() >= 1, 120, "a stack is done")
    workers = drill.hold()
    drill.slurm.saved(job)
    drill.slurm.restart_controller()
    say("slurmctld killed -9 and started again")
    for one in workers:
        one.resume()
    drill.ended(job)
    assert drill.slurm.state(job) == {"COMPLETED"}, drill.slurm.state(job)


def preempt(drill: Drill) -> None:
    """An urgent job takes the node."""
    job = drill.submit("--array", "1", "--time-limit", "20", "--mem", "3000")
    drill.until(lambda: drill.done() >= 1, 120, "a stack is done")
    drill.hold()
    words = ("sbatch", "--parsable", "-p", "urgent", "-w", _node_of(drill, job), "--mem=3000", "-o", "/dev/null",
             "--wrap", "sleep 5")  # fmt: skip
    say(f"urgent job {drill.slurm.ask(*words)}")
    drill.until(lambda: drill.restarts(job) > 0, 120, "it has been preempted and queued again")
    drill.ended(job)


def _node_of(drill: Drill, job: str) -> str:
    return drill.slurm.ask("squeue", "-h", "-r", "-j", job, "-o", "%N").split()[0]


def cancel(drill: Drill) -> None:
    """It is cancelled, and submitted again."""
    job = drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500")
    drill.until(lambda: drill.done() >= 1, 120, "a stack is done")
    drill.hold()
    drill.slurm.ask("scancel", job)
    drill.ended(job)
    assert drill.slurm.state(job) == {"CANCELLED"}, drill.slurm.state(job)
    assert not list(drill.output.glob(".*.partial")), "a partial file was left"
    drill.ended(drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500"))


def memory(drill: Drill) -> None:
    """Slurm kills it for its memory, and it is submitted with more."""
    small = ("--array", "1", "--time-limit", "20", "--mem")
    job = drill.submit(*small, "290")  # enough to start; the plan sees what Slurm grants, and refuses
    drill.ended(job)
    assert drill.slurm.state(job) == {"FAILED"}, drill.slurm.state(job)
    assert "does not fit into memory" in drill.logs()
    job = drill.submit(*small, "100", "--memory", "2GB")  # it is told of more than there is
    drill.ended(job)
    assert drill.slurm.state(job) <= {"FAILED", "OUT_OF_MEMORY"}, drill.slurm.state(job)
    assert "exceeded memory limit" in drill.logs(), drill.logs()
    drill.ended(drill.submit("--array", "1", "--time-limit", "20", "--mem", "1500"))


DRILLS: dict[str, Callable[[Drill], None]] = {
    "node": node, "time": limit, "timeout": timeout, "preempt": preempt, "cancel": cancel, "memory": memory,
    "controller": controller,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=DRILLS, default=list(DRILLS))
    parser.add_argument("--stacks", type=int, default=8)
    asked = parser.parse_args()
    if why_not():
        sys.exit(why_not())
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    make_stacks(folder / "raw", asked.stacks, edge=320)
    words = [
        sys.executable,
        "-m",
        "microdeconv",
        "batch",
        "s*.tif",
        *SLOW,
        "-q",
        "-o",
        "calm",
        "--workers",
        "1",
        "--threads",
        "1",
    ]  # as many as Slurm grants: another number rounds otherwise
    slurm = Slurm(folder / "slurm")
    subprocess.run(words, cwd=folder / "raw", env={**slurm.environment, "PYTHONPATH": str(ROOT)}, check=True)
    wanted = results(folder / "raw" / "calm")
    say(f"undisturbed: {len(wanted)} stacks")
    try:
        slurm.start()
        say("Slurm is up: two nodes")
        for name in asked.only:
            say(f"--- {name}: {DRILLS[name].__doc__}")
            drill = Drill(slurm, folder / "raw", name)
            DRILLS[name](drill)
            drill.check(wanted)
    finally:
        slurm.stop()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
