"""How much faster do two processes label than one?

    python benchmarks/label_workers.py [--quick] [--workers 2]

Both sides label the same traces with the same labelers through `LabelPool`, in turn, processes already started: with
`proof` (Coq, one prover a process) and with `arithmetic` and `answer`. Rows cross the boundary of processes both ways.
"""

from __future__ import annotations

import argparse
import statistics
import time

from rewardkit.labelers.pool import LabelPool
from rewardkit.store import LabelledTrace, load_traces


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--workers", type=int, default=2)
    args = options.parse_args()
    formal = [r for r in load_traces("sample:formal-traces").rows if any(x.source == "proof" for x in r.labels)]
    plain = load_traces("sample:gsm8k-solutions").rows
    few = 1 if args.quick else 4
    for names, rows in ((["proof"], formal[: 60 * few]), (["arithmetic", "answer"], plain[: 300 * few])):
        print(f"{'+'.join(names)} {args.workers} processes: {ratio(names, rows, args.workers):.2f} (target >= 1.7)")


def ratio(names: list[str], rows: list[LabelledTrace], workers: int) -> float:
    bare = [LabelledTrace(row.trace) for row in rows]
    with LabelPool(names) as alone, LabelPool(names, workers=workers) as several:
        assert alone.label(bare[:8]) == several.label(bare[:8])
        alone.label(bare), several.label(bare)  # every process has warmed up
        pairs = [(seconds(alone, bare), seconds(several, bare)) for _ in range(3)]
    for one, more in pairs:
        print(f"  {len(bare)} traces: {one:.2f} s in one process, {more:.2f} s in {workers}")
    return statistics.median(one / more for one, more in pairs)


def seconds(pool: LabelPool, rows: list[LabelledTrace]) -> float:
    began = time.perf_counter()
    pool.label(rows)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
