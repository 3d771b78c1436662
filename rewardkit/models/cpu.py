"""What makes torch fast on this CPU: how many threads, in which precision, and where its memory comes from."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names of instructions that multiply bfloat16, on x86 and on Arm."""

_MALLOC_OPTIONS = {-3: 32 << 20, -1: 2**31 - 1, -2: 64 << 20}
"""glibc's M_MMAP_THRESHOLD (at most 32 MiB), M_TRIM_THRESHOLD and M_TOP_PAD, in bytes; see mallopt(3)."""


def use_best_threads() -> int:
    """Set torch's threads to all cores or to one, whichever multiplies small matrices faster: measured just now.

    Threads wait for each other after every layer. Where something else runs on one of the cores, each wait lasts until
    the system's scheduler comes round, and a decoding step of 200 such waits takes a second. ``OMP_NUM_THREADS``, where
    it is set, is left as it is.

    Returns:
        The number of threads that is in force.

    >>> use_best_threads() >= 1
    True
    """
    import torch

    most = os.cpu_count() or 1
    if "OMP_NUM_THREADS" in os.environ or most == 1 or torch.cuda.is_available():
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else most
    times = {n: sum(_seconds(n) for _ in range(3)) for n in (1, cores)}
    torch.set_num_threads(min(times, key=lambda n: times[n]))
    return torch.get_num_threads()


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, so that the next layer need not ask the system for it.

    glibc maps the activations of a layer anew each time, and the kernel fills all of their pages with zeros first: a
    twentieth of the time of scoring on a CPU (``benchmarks/allocator.py``). ``MALLOC_...`` and ``GLIBC_TUNABLES``,
    where they are set, are left as they are; so is an allocator that is not glibc's.

    Returns:
        Whether it was set.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = None if chosen or os.name != "posix" else getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _MALLOC_OPTIONS.items())


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions for bfloat16; without them it is emulated, and slower than float32.

    >>> multiplies_bfloat16(Path("no/such/file"))
    False
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return bool(_BFLOAT16_FLAGS & set(flags.partition(":")[2].split()))


def _seconds(threads: int) -> float:
    """Of a chain of products as wide as a small model's layers, with so many threads."""
    import torch

    torch.set_num_threads(threads)
    rows, weights = torch.ones(8, 576), torch.full((576, 576), 1 / 576)
    rows = rows @ weights
    started = time.perf_counter()
    for _ in range(100):
        rows = rows @ weights
    return time.perf_counter() - started
