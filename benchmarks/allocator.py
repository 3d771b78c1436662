"""What does it bring to score on a CPU with an allocator that keeps what is freed, as `rewardkit`'s commands do?

    python benchmarks/allocator.py [--quick]

SmolLM2-135M with a random token head scores responses of GSM8K's shipped solutions through transformers, in two
processes that stay, in turn: one with glibc as it is, one after `keep_freed_memory`. Both have all cores.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from serve import build_model, responses

from rewardkit.models import RewardModel, load_reward_model
from rewardkit.models.cpu import keep_freed_memory

model: RewardModel
"""Of this process."""


def load(kept: bool, folder: Path) -> None:
    """The first thing that a process does."""
    global model
    if kept and not keep_freed_memory():
        raise SystemExit("glibc's allocator is not there, or MALLOC_... or GLIBC_TUNABLES is set")
    model = load_reward_model(folder)
    model.score(responses(2, "warm"))


def score(count: int, label: str) -> tuple[float, float, float]:
    """The seconds of so many responses, those in the kernel (over all threads), and the peak of memory in MiB."""
    traces = responses(count, label)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    model.score(traces)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - start, after.ru_stime - before.ru_stime, after.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    count, repeats = (16, 2) if parser.parse_args().quick else (32, 5)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = build_model(Path(name))
        sides = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), initializer=load, initargs=(kept, folder)))
            for kept in (False, True)
        ]
        rows = [[side.submit(score, count, f"r{i}").result() for side in sides] for i in range(repeats)]
    for title, figures in zip(("as it is", "kept"), zip(*rows, strict=True), strict=True):
        seconds, kernel, peak = zip(*figures, strict=True)
        times = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"  {title}: {times} s; {statistics.median(kernel):.2f} s in the kernel; at most {max(peak):.0f} MiB")
    ratio = statistics.median(plain[0] / kept[0] for plain, kept in rows)
    print(f"allocator_kept_over_as_it_is: {ratio:.2f} (no target)")


if __name__ == "__main__":
    main()
