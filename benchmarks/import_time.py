"""How long does `rewardkit --help` take to start, beyond Python itself?

    python benchmarks/import_time.py [--quick]

Starts `python -m rewardkit --help` and `python -c pass` in turn, each in a fresh process, and reports the difference of
the medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HELP = [sys.executable, "-m", "rewardkit", "--help"]
BARE = [sys.executable, "-c", "pass"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 repeats instead of 21")
    repeats = 5 if parser.parse_args().quick else 21
    seconds(HELP)  # writes the byte code and fills the page cache
    pairs = [(seconds(BARE), seconds(HELP)) for _ in range(repeats)]
    bare, full = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"python -c pass: {bare:.3f} s, rewardkit --help: {full:.3f} s (medians of {repeats})")
    print(f"rewardkit --help import time: {full - bare:.2f} s (target < 0.30)")


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
