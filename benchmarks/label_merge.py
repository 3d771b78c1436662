"""On steps that people labelled: are merged labels better than each source alone, and than the constant prior?

    python benchmarks/label_merge.py [--quick] [--math FILE] [--prmbench FOLDER]

Four real sources, none of which has seen the human labels: the arithmetic labeler; the algebra labeler (Z3); the model
judge, SmolLM2-135M-Instruct asked for "correct" or "incorrect" after each step; and a head on frozen features of that
model, trained on arithmetic labels of its own answers to other problems (GSM8K's training questions; ProcessBench has
test questions). Truth: ProcessBench's human labels up to the first error, PRMBench's marks. Every figure is held out
by problem in five folds: each source alone (a logistic regression on what it says, or that it is silent), the average
and the stack (`rewardkit.labels`), calibrated as `rewardkit labels merge` does. Intervals: a bootstrap over problems.
The scores of the judge are kept on disk.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from formal_transfer import Test, asked, draw, kept, up_to_first_error
from frozen_steps import LAYER, MODEL, formal_steps, standardised, trained_head

from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.evaluate.calibration import ece, nll
from rewardkit.evaluate.features import FeatureReader
from rewardkit.evaluate.robustness.data import read_steps
from rewardkit.evaluate.steps import step_auroc
from rewardkit.evaluate.suites import suite_config
from rewardkit.labelers.algebra import AlgebraLabeler
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.labels.aggregate import gold_folds, stack_features, stacked, unsupervised
from rewardkit.labels.calibrate import cross_calibrated
from rewardkit.labels.quality import errors_together, prior, qualities, scored
from rewardkit.labels.votes import Votes
from rewardkit.models.embedded import cache_folder
from rewardkit.store import LabelledTrace, load_traces

SOURCES = ("arithmetic", "algebra", "judge", "head")
PRMBENCH_ROWS = 40
"""Of each of its files, as `formal_transfer.py --frozen` takes them."""


def main() -> None:
    args = options()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    said = {
        "arithmetic": lambda t: checked(t, ArithmeticLabeler()),
        "algebra": lambda t: checked(t, AlgebraLabeler()),
        "judge": lambda t: judge(t, args),
        "head": lambda t: head(t, args),
    }
    for name, rows, truth, lengths in parts(args):
        test = Test(rows, truth)
        votes = Votes(
            sources=args.sources,
            meaning="local",
            p=np.column_stack([said[source](test) for source in args.sources]),
            trace=np.array([i for i, *_ in test.places]),
            step=np.array([step for _, step, _ in test.places]),
            trace_ids=tuple(r.trace.id for r in rows),
            problem=np.unique([r.trace.problem.id for r in rows], return_inverse=True)[1].astype(np.int64),
            scores=np.full(len(test.places), np.nan),
            contradictions=(0,) * len(args.sources),
        )
        place = np.array([step / max(lengths[rows[i].trace.id] - 1, 1) for i, step, _ in test.places])
        report(name, votes, place, test.truth, args.resamples)
    print(f"CPU seconds: {time.process_time():.0f}")


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="12 traces, one seed; a head of 120 traces")
    made.add_argument("--math", help="ProcessBench's MATH part; left out without")
    made.add_argument("--prmbench", help="a folder of PRMBench's files; left out without")
    made.add_argument("--traces", type=int, default=205, help="of the GSM8K part; 0 leaves it out")
    made.add_argument("--others", type=int, default=60, help="traces of each other set")
    made.add_argument("--max-length", type=int, default=1024, help="longer traces are left out, in tokens")
    made.add_argument("--seeds", type=int, default=5, help="heads, whose mean score counts")
    made.add_argument("--resamples", type=int, default=500)
    made.add_argument("--folder", type=Path, default=cache_folder() / "formal-transfer", help="for the judge's scores")
    made.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="the judge costs most")
    args = made.parse_args()
    args.sources = tuple(args.sources)
    if args.quick:
        args.traces, args.others, args.seeds, args.resamples, args.max_length = 12, 12, 1, 100, 220
    return args


def parts(args: argparse.Namespace) -> list[tuple[str, list[LabelledTrace], tuple[str, ...], dict[str, int]]]:
    """Name, traces and truth of each set, and how many steps each whole response had.

    ProcessBench's responses are cut behind the first error. A step's place must not tell that: it is that in the whole.
    """
    reader = FeatureReader(MODEL, max_length=args.max_length)
    values = {"model": "none", "output": "none", "data": args.prmbench, "max_rows": PRMBENCH_ROWS}
    files = {
        "ProcessBench, GSM8K": ("sample:processbench-gsm8k", args.traces),
        "ProcessBench, MATH": (args.math, args.others),
    }
    found: list[tuple[str, list[LabelledTrace], tuple[str, ...], dict[str, int]]] = []
    for name, (file, most) in files.items():
        if file and most:
            whole = list(load_traces(file).rows)
            rows = draw([r for r in map(up_to_first_error, whole) if reader.fits(r.trace)], most)
            found.append((name, rows, ("human",), {r.trace.id: len(r.trace.steps) for r in whole}))
    if args.prmbench:
        whole = [r for part in suite_config("prmbench", values).parts() for r in part.load().rows]
        rows = draw([r for r in whole if reader.fits(r.trace)], args.others)
        found.append(("PRMBench", rows, (rows[0].labels[0].source,), {r.trace.id: len(r.trace.steps) for r in whole}))
    return found


def checked(test: Test, labeler: ArithmeticLabeler | AlgebraLabeler) -> np.ndarray:
    """What a verifier says of the labelled steps, NaN where it abstains."""
    said: list[list[float]] = []
    for row in test.rows:
        values = [np.nan] * len(row.trace.steps)
        for label in labeler.label(row.trace):
            values[label.step] = np.nan if label.p_correct is None else label.p_correct
        said.append(values)
    return test.pick(said)


def judge(test: Test, args: argparse.Namespace) -> np.ndarray:
    """The model's own chance of its word for a correct step; see `formal_transfer.asked`."""
    tests = {"test": test}
    return kept(args, ("base",), tests, lambda: asked(tests))["test"]


def head(test: Test, args: argparse.Namespace) -> np.ndarray:
    """The mean score of heads that were trained on arithmetic labels of other problems."""
    _, train = formal_steps("arithmetic", args.quick)
    read = read_steps(test.rows, test.sources, FeatureReader(MODEL, layer=LAYER), None)
    assert not set(read.problems) & set(train.problems)
    features, others = standardised(train.plain, read.plain)
    runs = [trained_head(features, train.truth, train.trace, seed).score(others) for seed in range(args.seeds)]
    return np.asarray(np.mean(runs, axis=0))


def merged(votes: Votes, place: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Held-out probabilities of each source alone and of all together."""
    fold = gold_folds(truth, votes.groups)
    views = {name: stack_features(votes.p[:, [i]], np.zeros(len(truth))) for i, name in enumerate(votes.sources)}
    views["place alone"] = place[:, None]
    found = {name: cross_calibrated(stacked(view, truth, fold), truth, fold) for name, view in views.items()}
    mean = unsupervised(votes.p, "average")
    found["all, average"] = cross_calibrated(mean, truth, fold)
    found["all, stack"] = cross_calibrated(stacked(stack_features(votes.p, place), truth, fold), truth, fold)
    return found


def error_f1(p: np.ndarray, truth: np.ndarray) -> float:
    return scored("", p, truth).error_f1


def report(name: str, votes: Votes, place: np.ndarray, truth: np.ndarray, resamples: int) -> None:
    groups = votes.groups
    print(f"\n{name}: {len(truth):,} steps of {len(set(groups.tolist()))} problems, {1 - truth.mean():.1%} wrong\n")
    print("| labels | has an opinion | NLL | ECE | AUROC | F1 of wrong steps |")
    print("|---|---|---|---|---|---|")
    base = prior(truth)
    print(f"| constant prior | 100% | {base.nll:.3f} | {base.ece:.3f} | {base.auroc:.3f} | {base.error_f1:.3f} |")
    covered = {q.source: q.coverage for q in qualities(votes, truth)}
    made = merged(votes, place, truth)
    for row, p in made.items():
        cells = [cell(metric, p, truth, groups, resamples) for metric in (nll, ece, step_auroc, error_f1)]
        print(f"| {row} | {covered.get(row, 1.0):.0%} | {' | '.join(cells)} |", flush=True)
    for q in qualities(votes, truth):
        if q.catches is not None and q.false_alarms is not None:
            print(f"{q.source}: of the wrong steps that it judged it calls {q.catches:.1%} wrong, of the right ones "
                  f"{q.false_alarms:.1%}")  # fmt: skip
    for first, second, phi, n in errors_together(votes, truth):
        print(f"errors of {first} and {second}: phi {phi:+.2f} on {n} steps")
    stack, best = made["all, stack"], min(votes.sources, key=lambda s: nll(made[s], truth))
    flat = np.full(len(truth), truth.mean())
    for other, p in ((best, made[best]), ("the prior", flat)):
        cost = paired_difference(
            lambda t, a, b: nll(a, t), lambda t, a, b: nll(b, t), [truth, p, stack], groups, n=resamples
        )
        print(f"{name}, NLL of {other} less the stack's: {cost.value:+.4f} [{cost.low:+.4f}, {cost.high:+.4f}] "
              "(target > 0)")  # fmt: skip


def cell(metric: Any, p: np.ndarray, truth: np.ndarray, groups: np.ndarray, resamples: int) -> str:
    found = bootstrap(metric, [p, truth], groups, n=resamples)
    if found.value is None:
        return "none"
    return f"{found.value:.3f}" + ("" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]")


if __name__ == "__main__":
    main()
