"""How long do a million step labels from five sources take to be merged and audited, in how much memory?

    python benchmarks/labels.py [--quick]

A made dataset (a random truth, five voters of known accuracy, two of which copy each other's errors and all of which
abstain at times, gold on a third of the steps) of 1,000,000 labels, 200,000 steps, is written; then
`rewardkit.labels.merge.merge_dataset` reads, merges and writes it, and `audit_dataset` ranks one source. Beside it the
plain way: the same dataset read as objects, voted on in a loop. ``--quick`` takes a tenth. ``--steps`` sets the steps.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rewardkit.labels.merge import merge_dataset
from rewardkit.labels.suspects import audit_dataset
from rewardkit.store import LabelledTrace, iter_dataset, write_dataset
from rewardkit.types import Problem, StepLabel, Trace

ACCURACY = {"judge-a": 0.85, "judge-b": 0.85, "rollout": 0.75, "nli": 0.7, "vote": 0.65}
STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 labels, within a minute")
    parser.add_argument("--steps", type=int, default=200_000, help="steps; each has five labels and, on a third, gold")
    options = parser.parse_args()
    steps = 20_000 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wall, cpu = timed(lambda: write_dataset(root / "set", rows(steps), {}))
        print(f"made: {steps:,} steps in {wall:.0f} s")
        plain = timed(lambda: vote_in_a_loop(root / "set"))
        before = peak()
        merged = timed(lambda: merge_dataset(root / "set", root / "out", gold=["verifier"]))
        audited = timed(lambda: audit_dataset(root / "out", "judge-a", judges=list(ACCURACY)[1:], scores="votes"))
    print("| what | wall s | CPU s |")
    print("|---|---|---|")
    for name, (wall, cpu) in (("objects, a vote in a loop", plain), ("merge", merged), ("audit", audited)):
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    print(f"peak memory before merging (plain loop included): {before:.2f} GiB")
    print(f"labels_merged_and_audited_s: {merged[0] + audited[0]:.1f} (target <= {30 if options.quick else 120})")
    print(f"labels_cpu_s: {merged[1] + audited[1]:.1f}")
    print(f"labels_peak_gib: {peak():.2f} (target <= 4.00)")


def rows(steps: int) -> Iterator[LabelledTrace]:
    """Labelled traces of eight steps, four a problem; judge-b errs where judge-a does in half of its errors."""
    draw = np.random.default_rng(0)
    words = [f"word{i}" for i in range(500)]
    for number in range(steps // STEPS):
        texts = [" ".join(words[i] for i in draw.integers(0, 500, 12)) for _ in range(STEPS)]
        trace = Trace.create(Problem.create(f"problem {number // 4}"), texts, sample=number % 4)
        truth = draw.random(STEPS) < 0.85
        labels = []
        errs = {name: draw.random(STEPS) > accuracy for name, accuracy in ACCURACY.items()}
        errs["judge-b"] = np.where(draw.random(STEPS) < 0.5, errs["judge-a"], errs["judge-b"])
        silent = draw.random((len(ACCURACY), STEPS)) < 0.1
        for row, name in enumerate(ACCURACY):
            soft = draw.uniform(0.6, 1.0, STEPS)
            for i in range(STEPS):
                right = bool(truth[i]) != bool(errs[name][i])
                p = None if silent[row, i] else float(soft[i] if right else 1 - soft[i])
                labels.append(StepLabel(trace.id, i, p, name, "local"))
        labels += [StepLabel(trace.id, i, float(truth[i]), "verifier", "local") for i in range(number % 3, STEPS, 3)]
        yield LabelledTrace(trace, tuple(labels))


def vote_in_a_loop(folder: Path) -> int:
    """The plain way: objects, a mean a step; no calibration, no audit."""
    wrong = 0
    for row in iter_dataset(folder):
        for step in range(len(row.trace.steps)):
            said = [x.p_correct for x in row.labels if x.step == step and x.p_correct is not None]
            wrong += bool(said) and sum(said) / len(said) < 0.5
    return wrong


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
