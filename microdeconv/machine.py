"""The machine: devices, memory and threads, what `auto` takes of them, and what to do when memory runs out."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microdeconv.errors import UnavailableError
from microdeconv.options import Auto, option

if TYPE_CHECKING:
    import torch

PANEL = "Machine"
USABLE = 0.8  # of the memory that is there
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def read_size(raw: Any) -> int | str:
    """Read `8GB`, `500 MiB`, a number of bytes, or `auto`.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = str(raw).strip().lower()
    if text == "auto":
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text)
    if not match:
        raise ValueError("not a size such as 8GB")
    size = int(float(match[1]) * UNITS[match[2] or ""])
    if size < 50 * 10**6:
        raise ValueError("less than 50MB, too little for anything")
    return size


def read_device(raw: Any) -> str:
    """Read `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = str(raw).strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise ValueError("no such device")
    return text


def read_tile(raw: Any) -> int | str:
    """Read `auto`, `off` or a number of voxels.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = str(raw).strip().lower()
    if text in ("auto", "off"):
        return text
    if not text.isdigit() or int(text) < 16:
        raise ValueError("neither auto, off nor a whole number of at least 16")
    return int(text)


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What may be used of the machine."""

    device: str = option(
        "auto",
        "Where to compute; auto: the GPU with most free memory, else the CPU.",
        panel=PANEL,
        metavar="auto|cpu|cuda|cuda:N|mps",
        parse=read_device,
    )
    memory: int | Auto = option(
        "auto",
        "Most memory to use (8GB); auto: 80 % of what cgroup, Slurm, RLIMIT and the machine allow.",
        panel=PANEL,
        metavar="auto|SIZE",
        parse=read_size,
    )
    tile: int | Literal["auto", "off"] = option(
        "auto",
        "Edge of the tiles in y and x, voxels, from the first on; auto: as large as the memory allows; off: none.",
        panel=PANEL,
        metavar="auto|off|N",
        parse=read_tile,
    )
    threads: int | Auto = option(
        "auto",
        "Threads on the CPU; auto: SLURM_CPUS_PER_TASK, SLURM_CPUS_ON_NODE or the processors granted.",
        panel=PANEL,
        metavar="auto|N",
        low=1,
        high=1024,
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What one run uses.

    Attributes
    ----------
    device
        A torch device's name.
    memory
        Bytes on the host that the process may take in all.
    memory_source
        What set that limit.
    device_memory
        Bytes free on the GPU, or None on the CPU.
    threads
        Threads on the CPU.
    """

    device: str
    memory: int
    memory_source: str
    device_memory: int | None
    threads: int


def machine_for(options: MachineOptions) -> Machine:
    """Settle what a run uses; asks torch for devices only when the CPU was not named.

    Raises
    ------
    UnavailableError
        When a device was named that is not there; it lists what there is.
    """
    device, device_memory = _settle_device(options.device)
    if options.memory == "auto":
        limit, source = memory_limit()
        memory, source = int(limit * USABLE), f"80 % of {source}"
    else:
        memory, source = int(options.memory), "--memory"
    threads = thread_count() if options.threads == "auto" else int(options.threads)
    return Machine(device, memory, source, device_memory, threads)


def _settle_device(wanted: str) -> tuple[str, int | None]:
    if wanted == "cpu":
        return "cpu", None
    found = devices()
    if wanted == "auto":
        usable = [d for d in found if d.name != "cpu"]
        best = max(usable, key=lambda d: d.free, default=None)
        return (best.name, best.free) if best else ("cpu", None)
    name = "cuda:0" if wanted == "cuda" else wanted
    for one in found:
        if one.name == name:
            return one.name, one.free
    there = ", ".join(d.name for d in found)
    raise UnavailableError(
        f"--device {wanted}: this machine has no such device", f"it has {there}; auto takes the best"
    )


@dataclass(frozen=True, slots=True)
class Device:
    """A device of this machine: torch's name, the maker's, and free bytes."""

    name: str
    model: str
    free: int


def devices() -> list[Device]:
    """Every device that torch can use here, the CPU first."""
    import torch

    found = [Device("cpu", processor(), available_memory())]
    for index in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(index)
        found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), int(free)))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", available_memory()))
    return found


def processor() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "CPU"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def thread_count(environment: Mapping[str, str] = os.environ) -> int:
    """Threads granted: Slurm's word, else the processors that this process may run on."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        value = environment.get(name, "")
        if value.isdigit() and int(value) > 0:
            return min(int(value), granted)
    return granted


def available_memory() -> int:
    """Bytes of memory free for new work on this host."""
    import psutil

    return int(psutil.virtual_memory().available)


def memory_limit(environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """Bytes this process may take, and who says so: the least of machine, cgroup, Slurm and RLIMIT_AS."""
    limits = [(available_memory(), "the free memory")]
    limits += [(size, "the cgroup's limit") for size in map(_number_in, CGROUPS) if size]
    limits += [(size, "Slurm's grant") for size in _slurm_memory(environment)]
    limits += [(size, "RLIMIT_AS") for size in _address_space()]
    return min(limits)


def _number_in(path: str) -> int | None:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _slurm_memory(environment: Mapping[str, str]) -> list[int]:
    per_node, per_cpu = environment.get("SLURM_MEM_PER_NODE", ""), environment.get("SLURM_MEM_PER_CPU", "")
    if per_node.isdigit() and int(per_node) > 0:
        return [int(per_node) * 2**20]
    if per_cpu.isdigit() and int(per_cpu) > 0:
        return [int(per_cpu) * 2**20 * thread_count(environment)]
    return []


def _address_space() -> list[int]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if soft == resource.RLIM_INFINITY else [soft]


def prepare(machine: Machine) -> None:
    """Set threads, and let the C library keep freed memory: large buffers are then not paged in anew at each step.

    What is there already is taken for what stays: the search for objects that refer to one another leaves it out.

    For a process of our own (the command line), not for a library inside somebody else's.
    """
    import gc

    import torch

    gc.collect()
    gc.freeze()  # the libraries' million objects are looked through no more: 0.1 s a volume
    torch.set_num_threads(machine.threads)
    if sys.platform == "linux" and machine.device == "cpu":
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)


@contextmanager
def threads_set(threads: int | Auto) -> Iterator[None]:
    """Compute with so many threads, and afterwards with as many as before; "auto" leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    if threads != "auto":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on the host or on a GPU (cuFFT says it in its own words)."""
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "ArrayMemoryError"):
        return True
    words = ("can't allocate memory", "out of memory", "CUFFT_ALLOC_FAILED", "CUFFT_INTERNAL_ERROR")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def release(device: str) -> None:
    """Give back to the machine what earlier work left: freed memory, which `prepare` has the C library keep."""
    import gc

    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def peak_memory() -> int:
    """Largest resident memory of this process so far, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # the other call's begins with that of the process which started this one
        told = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        if told:
            return int(told[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Watched:
    """The most memory that was taken while work was done, bytes, beyond what was held before."""

    taken = 0


@contextmanager
def memory_watched(device: str) -> Iterator[Watched]:
    """Watch resident memory (and a CUDA device's, added to it) every 20 ms while the block runs.

    What the system gives again without growing (freed memory that was kept for reuse) is not seen.
    """
    import threading

    import psutil

    process, ended, watched = psutil.Process(), threading.Event(), Watched()
    before = peak = process.memory_info().rss
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield watched
    finally:
        ended.set()
        watcher.join()
        watched.taken = max(peak, process.memory_info().rss) - before
        if device.startswith("cuda"):
            watched.taken += torch.cuda.max_memory_allocated(device) - held


def as_tensor(array: Any, device: str) -> torch.Tensor:
    """Bring an array to a device, without a copy where none is needed."""
    import torch

    return torch.as_tensor(array, device=device)
