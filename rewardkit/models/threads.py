"""How many threads torch should use on a CPU: measured, because beside other work two can be eight times slower."""

from __future__ import annotations

import os
import time


def use_best_threads() -> int:
    """Set torch's threads to all cores or to one, whichever multiplies small matrices faster just now.

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
