"""Are rollouts and a judge together better than either alone, on a policy whose errors are known?

    python benchmarks/hybrid.py [--quick] [--seed 0]

The policy is that of rollouts.py (`lucky`: a wrong solution ends right in 5% of the cases); each step gets 16
continuations. The judge is simulated, and errs independently of the rollouts, which real judges may not: on a trace
with an error it names the first with a chance of 0.7, another step with 0.1, none with 0.2; on one without it names a
step with a chance of 0.1. Every side says of each step whether an error has been made so far; `stack` is fitted, across
problems, on the steps of one trace in five whose truth it is told, and measured on the others, as are all sides.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rollouts import problem

from rewardkit.labelers.estimators import estimate, math_shepherd
from rewardkit.labelers.hybrid import ABOVE, merge_parts, vl_prm
from rewardkit.labels.aggregate import gold_folds, stack_features, stacked
from rewardkit.types import StepLabel

LUCK = 0.05


@dataclass(frozen=True)
class Labelled:
    """One trace: whether each step is still right, the rollouts' values, and what three judges say."""

    truth: list[bool]
    values: list[float | None]
    marks: list[tuple[bool, ...]]


Side = Callable[[Labelled], Sequence[float | None]]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    traces = [sampled(f"{args.seed} {number}") for number in range(400 if args.quick else 4_000)]
    measured = [one for number, one in enumerate(traces) if number % 5]
    steps = sum(len(one.truth) for one in measured)
    wrong = sum(not right for one in measured for right in one.truth)
    print(f"{len(measured):,} traces, {steps:,} steps, {wrong / steps:.0%} wrong")
    print("| | labelled | accuracy of the labels | wrong called right | right called wrong |\n|---|---|---|---|---|")
    sides: dict[str, Side] = {
        "rollouts: any of 16 right": rollouts,
        "one judge": lambda one: judge(one, 1),
        "three judges, their majority": lambda one: judge(one, 3),
        "hybrid, vl_prm": lambda one: vl_prm(one.values, one.marks[:1])[0],
        "hybrid, labels: average, one judge": lambda one: average(one, 1),
        "hybrid, labels: average, three judges": lambda one: average(one, 3),
        "the same, above=0": lambda one: average(one, 3, 0.0),
    }
    found = {name: show(name, [side(one) for one in measured], measured) for name, side in sides.items()}
    merged = stack(traces, args.seed)
    best = show("parts merged by stack, three judges", [p for i, p in enumerate(merged) if i % 5], measured)
    alone = max(found["rollouts: any of 16 right"], found["three judges, their majority"])
    print(f"accuracy, VL-PRM's rule: {found['hybrid, vl_prm']:.4f} (target >= {alone:.4f}, the better part alone)")
    ours = found["hybrid, labels: average, three judges"]
    print(f"accuracy, labels: average: {ours:.4f} (target >= {alone:.4f})")
    print(f"accuracy, stack on one trace in five with gold: {best:.4f} (target >= {alone:.4f})")


def sampled(seed: str) -> Labelled:
    draw = random.Random(seed)
    policy = problem(draw, LUCK, 0.0)
    trace = policy.run(())
    truth = [not step.startswith("wrong") for step in trace.steps]
    values = [one.value for one in estimate(math_shepherd(trace.steps, n=16, soft=True), policy.continue_from)]
    first = truth.index(False) if False in truth else None
    return Labelled(truth, values, [marks(first, len(truth), draw) for _ in range(3)])


def marks(first: int | None, steps: int, draw: random.Random) -> tuple[bool, ...]:
    chance = draw.random()
    if first is None:
        said = draw.randrange(steps) if chance < 0.1 else None
    else:
        said = first if chance < 0.7 else draw.randrange(steps) if chance < 0.8 else None
    return tuple(said is None or step < said for step in range(steps))


def rollouts(one: Labelled) -> list[float | None]:
    return [None if value is None else float(value > 0) for value in one.values]


def share(one: Labelled, judges: int) -> list[float]:
    return [sum(said[step] for said in one.marks[:judges]) / judges for step in range(len(one.truth))]


def judge(one: Labelled, judges: int) -> list[float | None]:
    return [float(p >= 0.5) for p in share(one, judges)]


def average(one: Labelled, judges: int, above: float = ABOVE) -> list[float | None]:
    rolled = [StepLabel("t", i, p, "rollout", "value") for i, p in enumerate(one.values)]
    return merge_parts(
        rolled, [StepLabel("t", i, p, "judge", "prefix") for i, p in enumerate(share(one, judges))], "average", above
    )


def stack(traces: Sequence[Labelled], seed: int) -> list[list[float]]:
    """The label model that `rewardkit labels merge` fits where there is gold, on the raw parts."""
    lengths = [len(one.truth) for one in traces]
    votes = np.array([[v, p] for one in traces for v, p in zip(one.values, share(one, 3), strict=True)], dtype=float)
    place = np.concatenate([np.arange(n) / max(n - 1, 1) for n in lengths])
    group = np.repeat(np.arange(len(traces)), lengths)
    truth = np.array([right for one in traces for right in one.truth], dtype=float)
    gold = np.where(group % 5 == 0, truth, np.nan)
    scores = stacked(stack_features(votes, place), gold, gold_folds(gold, group, 5, seed))
    return [part.tolist() for part in np.split(scores, np.cumsum(lengths)[:-1])]


def show(name: str, labels: Sequence[Sequence[float | None]], traces: Sequence[Labelled]) -> float:
    """Print a line and give the accuracy of what is labelled."""
    pairs = [
        (p, right) for said, one in zip(labels, traces, strict=True) for p, right in zip(said, one.truth, strict=True)
    ]
    told = [(p >= 0.5, right) for p, right in pairs if p is not None]
    accuracy = sum(said is right for said, right in told) / len(told)
    missed = sum(said and not right for said, right in told) / len(told)
    accused = sum(right and not said for said, right in told) / len(told)
    print(f"| {name} | {len(told) / len(pairs):.1%} | {accuracy:.2%} | {missed:.2%} | {accused:.2%} |")
    return accuracy


if __name__ == "__main__":
    main()
