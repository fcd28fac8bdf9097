"""Job scripts for Slurm: an array of which each task does a part of a batch, and is run again until all is done."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from microdeconv.errors import UnavailableError

NOTICE = 120  # seconds before the end at which Slurm says so
WORK_LEFT = 75
TIMES = r"(\d+-)?\d+(:\d{1,2}){0,2}"


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of Slurm for each task.

    Attributes
    ----------
    tasks
        Of the array.
    time
        As Slurm takes it.
    memory
        Megabytes.
    cpus, gpus
        Of each task.
    partition
        Where; empty for the site's own.
    requeue
        Who runs a task again that ended with 75: "site", where RequeueExit has it, or "script".
    """

    tasks: int
    time: str
    memory: int
    cpus: int = 1
    gpus: int = 0
    partition: str = ""
    requeue: Literal["site", "script"] = "site"


def read_time(text: str) -> str:
    """Check a time as Slurm takes it: minutes, MM:SS, HH:MM:SS, D-HH:MM.

    Raises
    ------
    ValueError
        For anything else.
    """
    if not re.fullmatch(TIMES, text.strip()):
        raise ValueError("not minutes, HH:MM:SS or D-HH:MM:SS")
    return text.strip()


def minutes_of(time: str) -> int:
    """Minutes of a time that `read_time` took, one at least."""
    days, _, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:  # then hours come first
        hours, minutes = (*parts, 0)[:2]
    else:
        hours, minutes = parts[:2] if len(parts) == 3 else (0, parts[0])
    return max((int(days or 0) * 24 + hours) * 60 + minutes, 1)


def as_time(minutes: int) -> str:
    """Minutes as Slurm takes them."""
    days, rest = divmod(minutes, 1440)
    hours, rest = divmod(rest, 60)
    return f"{days}-{hours:02}:{rest:02}:00" if days else f"{hours:02}:{rest:02}:00"


def script(words: Sequence[str], output: Path, folder: Path, job: Job) -> str:
    """Write the script.

    Parameters
    ----------
    words
        Of `microdeconv batch`, without the part.
    output
        Its output folder, where the logs go as well.
    folder
        Where the task runs, as names in `words` are taken from there.
    job
        What is asked for.
    """
    heads = [
        "--job-name=microdeconv", f"--array=1-{job.tasks}", f"--output={logs(output)}/%A_%a.log", "--open-mode=append",
        *_asked(job), f"--signal=B:USR1@{NOTICE}", "--requeue", *([f"--gres=gpu:{job.gpus}"] if job.gpus else []),
    ]  # fmt: skip
    call = f'{shlex.join([*program(), "batch", *words])} --shard "$SLURM_ARRAY_TASK_ID/{job.tasks}"'
    note = f"# Slurm does not make the folder of the logs: mkdir -p {shlex.quote(str(logs(output)))}"
    return _text(heads, [note, _into(folder), *(_by_site(call) if job.requeue == "site" else _by_script(call))])


def last_script(words: Sequence[str], log: Path, folder: Path, job: Job) -> str:
    """Write the script of the one job that comes after an array.

    Parameters
    ----------
    words
        Of `microdeconv`.
    log
        Its log.
    folder
        Where it runs.
    job
        What is asked for; neither tasks nor GPUs.
    """
    heads = ["--job-name=microdeconv", f"--output={log}", "--open-mode=append", *_asked(job)]
    return _text(heads, [_into(folder), f"exec {shlex.join([*program(), *words])}"])


def one_after_the_other(array: str, last: str) -> str:
    """Write a shell's script that submits an array, and a job that begins when all its tasks have ended with 0."""
    return f"""#!/bin/bash
# submits an array, and a job that begins when all its tasks have ended well
job=$(sbatch --parsable <<'ARRAY'
{array}ARRAY
) || exit
sbatch --parsable --dependency="afterok:${{job%%;*}}" --kill-on-invalid-dep=yes <<'LAST'
{last}LAST
"""


def _asked(job: Job) -> list[str]:
    heads = ["--ntasks=1", f"--cpus-per-task={job.cpus}", f"--mem={job.memory}M", f"--time={job.time}"]
    return [*heads, *([f"--partition={job.partition}"] if job.partition else [])]


def _into(folder: Path) -> str:
    return f"cd {shlex.quote(str(folder))} || exit 73"


def _text(heads: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {head}" for head in heads), "", *lines]) + "\n"


def _by_site(call: str) -> list[str]:
    return [
        f"# near the time limit it ends with {WORK_LEFT}; Slurm runs it again where RequeueExit={WORK_LEFT} is set",
        f"exec {call}",
    ]


def _by_script(call: str) -> list[str]:
    return [
        f"# near the time limit it ends with {WORK_LEFT}, and is run again from here",
        f"{call} &",
        "task=$!",
        "trap 'kill -USR1 $task' USR1",
        "trap 'kill -TERM $task' TERM",
        "wait $task; code=$?",
        "while kill -0 $task 2>/dev/null; do wait $task; code=$?; done",
        f"if [ $code = {WORK_LEFT} ]; then",
        '  exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
        "fi",
        "exit $code",
    ]


def logs(output: Path) -> Path:
    """Where the tasks' logs go: one for each."""
    return output / "logs"


def program() -> list[str]:
    """Give the words that call this very installation."""
    beside = Path(sys.executable).with_name("microdeconv")
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "microdeconv"]


def requeues() -> Literal["site", "script"]:
    """Who runs a task again that ended with 75, as far as this host can tell."""
    try:
        told = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "script"
    match = re.search(r"^RequeueExit\s*=\s*(.*)$", told, flags=re.MULTILINE)
    return "site" if match and str(WORK_LEFT) in re.findall(r"\d+", match[1]) else "script"


def submit(text: str, output: Path, tool: Sequence[str] = ("sbatch", "--parsable")) -> str:
    """Submit a script, by sbatch or by a shell where it does so itself; give the (last) job's number.

    Raises
    ------
    UnavailableError
        Where there is no Slurm, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UnavailableError("--submit: there is no sbatch here", "run it where jobs are submitted, or leave it out")
    logs(output).mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(list(tool), input=text, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise UnavailableError("sbatch does not answer", "try again later") from None
    if done.returncode:
        raise UnavailableError(f"sbatch: {done.stderr.strip() or done.returncode}", "mend the script and submit it")
    return done.stdout.strip().split(";")[0]
