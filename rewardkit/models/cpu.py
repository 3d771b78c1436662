"""What makes torch fast on this CPU: how many threads, and in which precision."""

from __future__ import annotations

import os
import time
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names of instructions that multiply bfloat16, on x86 and on Arm."""


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
