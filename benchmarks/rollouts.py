"""How many continuations does a step label cost: Math-Shepherd, OmegaPRM and the adaptive test, on a known policy?

    python benchmarks/rollouts.py [--quick] [--seed 0]

The policy is a seeded Markov chain whose step values are computed exactly. A problem has 4 to 12 steps, each of which
goes wrong with a chance of its own (half of the problems are harder than the other half) and can be written in several
ways, some of which make the next error likelier. Each side labels the same sampled traces, right and wrong ones as
they come. A label is right where it says whether an error has been made so far, which is whether the value is above 0
(`final`: errors are never mended), or above 0.01 (`lucky`: a wrong solution ends right in 1% of the cases). In
`healing` an error is mended at a later step in 10% of the cases: every value is above 0, and a label is held against
"an error stands". Every side is told the trace's own outcome, which is the label of its last step and costs nothing.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from rewardkit.labelers.estimators import Estimate, Outcome, Plan, Steps, adaptive, estimate, math_shepherd
from rewardkit.labelers.omegaprm import omegaprm

TOKENS = 20  # of a step
WAYS = 4  # to write a step

Method = Callable[[Steps, bool], Plan]
METHODS: dict[str, Method] = {
    "Math-Shepherd, hard, N=16": lambda steps, outcome: math_shepherd(steps, n=16, outcome=outcome),
    "Math-Shepherd, soft > 1/8, N=16": lambda steps, outcome: math_shepherd(steps, n=16, soft=True, outcome=outcome),
    "Math-Shepherd, hard, N=8": lambda steps, outcome: math_shepherd(steps, n=8, outcome=outcome),
    "OmegaPRM, k=16, one search": lambda steps, outcome: omegaprm(steps, searches=1, outcome=outcome, soft=False),
    "adaptive": lambda steps, outcome: adaptive(steps, outcome=outcome),
    "adaptive, own": lambda steps, outcome: adaptive(steps, outcome=outcome, own=True),
    "adaptive, low=0.02 high=0.2": lambda steps, outcome: adaptive(steps, outcome=outcome, low=0.02, high=0.2),
    "adaptive, heals": lambda steps, outcome: adaptive(steps, outcome=outcome, heals=True),
    "adaptive, heals, low=0.15 high=0.4": lambda steps, outcome: adaptive(
        steps, outcome=outcome, heals=True, low=0.15, high=0.4
    ),
}


@dataclass
class Policy:
    """One problem: from each step in each way of writing it, the chance that the next is wrong."""

    errors: list[list[float]]
    luck: float
    heals: float
    draw: random.Random
    tokens: int = 0
    completions: int = 0

    def step(self, at: int, before: str) -> str:
        """The step at 0-based place `at`, behind the step before ("" at the start)."""
        way = int(before[-1]) if before else 0
        stands = before.startswith("wrong")
        wrong = self.draw.random() >= self.heals if stands else self.draw.random() < self.errors[at][way]
        return f"{'wrong' if wrong else 'right'} {at} {self.draw.randrange(WAYS)}"

    def run(self, prefix: Steps) -> Outcome:
        steps = list(prefix)
        while len(steps) < len(self.errors):
            steps.append(self.step(len(steps), steps[-1] if steps else ""))
        wrong = steps[-1].startswith("wrong")
        new = tuple(steps[len(prefix) :])
        return Outcome(self.draw.random() < self.luck if wrong else True, new, TOKENS * len(new))

    def continue_from(self, prefix: Steps, n: int) -> list[Outcome]:
        outcomes = [self.run(prefix) for _ in range(n)]
        self.completions += n
        self.tokens += sum(outcome.tokens for outcome in outcomes)
        return outcomes

    def values(self, steps: Steps) -> list[float]:
        """The exact value of each prefix, by recursion from the end."""
        wrong = self.luck
        right = [1.0] * WAYS
        table = [(right, wrong)]
        for at in range(len(self.errors) - 1, 0, -1):
            mean = sum(right) / WAYS
            right = [e * wrong + (1 - e) * mean for e in self.errors[at]]
            wrong = (1 - self.heals) * wrong + self.heals * mean
            table.append((right, wrong))
        table.reverse()
        return [table[i][1] if s.startswith("wrong") else table[i][0][int(s[-1])] for i, s in enumerate(steps)]


@dataclass
class Score:
    """What a side spent and how right it was."""

    completions: int = 0
    tokens: int = 0
    steps: int = 0
    right: int = 0
    abstained: int = 0
    missed: int = 0
    accused: int = 0
    seconds: float = 0.0

    def add(self, made: list[Estimate], truth: list[bool], soft: bool) -> None:
        for one, wrong in zip(made, truth, strict=True):
            self.steps += 1
            if one.value is None:
                self.abstained += 1
                continue
            said_wrong = one.value <= (1 / 8 if soft else 0)
            self.right += said_wrong is wrong
            self.missed += wrong and not said_wrong
            self.accused += said_wrong and not wrong


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    traces = 600 if args.quick else 10_000
    scores = {}
    for world, luck, heals in (("final", 0.0, 0.0), ("lucky", 0.01, 0.0), ("healing", 0.0, 0.1)):
        scores[world] = compare(world, traces, luck, heals, args.seed)
    base, ours = (scores["final"][name] for name in ("Math-Shepherd, hard, N=16", "adaptive"))
    accuracy = [score.right / score.steps for score in (base, ours)]
    print(f"label accuracy, adaptive: {accuracy[1]:.4f} (target >= {accuracy[0]:.4f}, Math-Shepherd's)")
    print(f"completions, Math-Shepherd N=16 over adaptive: {base.completions / ours.completions:.2f} (target >= 5)")
    print(f"tokens, Math-Shepherd N=16 over adaptive: {base.tokens / ours.tokens:.2f}")


def compare(world: str, traces: int, luck: float, heals: float, seed: int) -> dict[str, Score]:
    scores = {name: Score() for name in METHODS}
    errors = wrong_traces = 0
    for number in range(traces):
        draw = random.Random(f"{seed} {number}")
        policy = problem(draw, luck, heals)
        trace = policy.run(())
        truth = [step.startswith("wrong") for step in trace.steps]
        values = policy.values(trace.steps)
        assert heals or all((value <= luck + 1e-12) is wrong for value, wrong in zip(values, truth, strict=True))
        errors, wrong_traces = errors + sum(truth), wrong_traces + (not trace.correct)
        for name, method in METHODS.items():
            policy.completions = policy.tokens = 0
            policy.draw = random.Random(f"{seed} {number} {name}")
            began = time.process_time()
            made = estimate(method(trace.steps, bool(trace.correct)), policy.continue_from)
            scores[name].seconds += time.process_time() - began
            scores[name].add(made, truth, "soft" in name)
            scores[name].completions += policy.completions
            scores[name].tokens += policy.tokens
    steps = scores["adaptive"].steps
    print(
        f"\n{world}: {traces:,} traces, {wrong_traces / traces:.0%} wrong; {steps:,} steps, {errors / steps:.0%} wrong"
    )
    print(
        "| | completions a step | tokens a step | ratio | accuracy | abstained | missed | accused |\n|---|" + "---|" * 7
    )
    base = scores["Math-Shepherd, hard, N=16"].completions
    for name, s in scores.items():
        figures = [s.completions / s.steps, s.tokens / s.steps, base / max(1, s.completions)]
        shares = [s.right / s.steps, s.abstained / s.steps, s.missed / s.steps, s.accused / s.steps]
        print(f"| {name} | " + " | ".join([f"{x:.2f}" for x in figures] + [f"{x:.2%}" for x in shares]) + " |")
    return scores


def problem(draw: random.Random, luck: float, heals: float) -> Policy:
    """A problem of 4 to 12 steps."""
    hard = draw.choice((0.05, 0.2))
    chances = [[min(0.6, hard * draw.uniform(0.2, 1.8)) for _ in range(WAYS)] for _ in range(draw.randint(4, 12))]
    return Policy(chances, luck, heals, draw)


if __name__ == "__main__":
    main()
