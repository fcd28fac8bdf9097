"""A real Slurm on this machine, for tests: Debian's packages, loopback, two pretended nodes, a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

CONF = """
ClusterName=ours
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,NoShared
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
RequeueExit=75
KillWait=5
MinJobAge=3600
CompleteWait=0
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
MessageTimeout=10
TCPTimeout=2
SlurmdParameters=config_overrides
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str:
    """Say why no Slurm can be started here; nothing when one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install munge slurmctld slurmd slurm-client"
    return "" if os.geteuid() == 0 else "only root may start Slurm's daemons"


class Slurm:
    """Daemons of two pretended nodes, until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait for the nodes."""
        (self.folder / "state").mkdir(parents=True)
        ports = free_ports(3)
        host = socket.gethostname().split(".")[0]
        text = CONF.format(host=host, folder=self.folder, port=ports[0], first=ports[1], second=ports[2])
        (self.folder / "slurm.conf").write_text(text, encoding="ascii")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        told = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munged.pid",
                "seed-file": self.folder / "munged.seed", "log-file": self.folder / "munged.log"}  # fmt: skip
        self._spawn("munged", "munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in told.items()))
        wait_for(lambda: (self.folder / "munge.socket").exists(), 10, "munged")
        self._start_controller()
        for node in ("n1", "n2"):
            self.start_node(node)

    def start_node(self, node: str) -> None:
        """Start a node and wait for it."""
        self._spawn(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))
        wait_for(lambda: self.ask("sinfo", "-h", "-n", node, "-p", "main", "-o", "%t") in ("idle", "mix", "alloc"), 30,
                 node)  # fmt: skip

    def kill_node(self, node: str) -> None:
        """Kill -9 a node: its daemon, and every process of the jobs on it."""
        self._daemons.pop(node).kill()
        jobs = self._processes(node)
        keepers = []  # slurmstepd, which would still tell the controller that its job was killed
        for one in jobs:
            with suppress(psutil.Error):
                keepers += [parent for parent in one.parents() if parent.name().startswith("slurmstepd")]
        for one in [*keepers, *jobs]:
            with suppress(psutil.Error):
                one.kill()

    def restart_controller(self) -> None:
        """Kill -9 slurmctld and start it again."""
        daemon = self._daemons.pop("slurmctld")
        daemon.kill()
        daemon.wait()
        self._start_controller()

    def saved(self, job: str) -> None:
        """Wait until a kill of slurmctld cannot lose a job: what it knows of jobs is written some seconds later only."""
        mark = f"seen-{time.monotonic_ns()}"
        self.ask("scontrol", "update", f"JobId={job}", f"Comment={mark}")
        wait_for(lambda: mark.encode() in (self.folder / "state" / "job_state").read_bytes(), 30, f"{job} is saved")

    def _start_controller(self) -> None:
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        wait_for(lambda: "UP" in self.ask("scontrol", "ping"), 20, "slurmctld")

    def pythons(self) -> list[psutil.Process]:
        """Give the Python processes of all jobs."""
        return [one for node in ("n1", "n2") for one in self._processes(node) if one.name().startswith("python")]

    def _processes(self, node: str) -> list[psutil.Process]:
        """Processes of jobs on a node, by what Slurm put in their environment."""
        found = []
        conf = self.environment["SLURM_CONF"]
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                about = one.environ()
                if about.get("SLURM_CONF") == conf and about.get("SLURMD_NODENAME") == node:
                    found.append(one)
        return found

    def ask(self, *words: str) -> str:
        """Run one of Slurm's programs; give what it says."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()

    def state(self, job: str) -> set[str]:
        """States of a job's tasks."""
        told = self.ask("squeue", "-h", "-t", "all", "-r", "-j", job, "-o", "%T")
        return set(told.split())

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.ask("scancel", "--signal=KILL", "--full", "--user=root")
        self.ask("scancel", "--user=root")
        time.sleep(0.5)
        for name, daemon in reversed(self._daemons.items()):
            daemon.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
            daemon.wait()
            for one in self._processes(name):
                with suppress(psutil.Error):
                    one.kill()

    def _spawn(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as file:
            self._daemons[name] = subprocess.Popen(
                words, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self.environment,
            )  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is so.

    Raises
    ------
    TimeoutError
        When it does not come to be.
    """
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not so after {seconds} s")
        time.sleep(0.2)
