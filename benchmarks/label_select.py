"""What does each policy of `rewardkit select` buy? Accuracy of a reward model against verifier calls spent.

    python benchmarks/label_select.py [--quick] [--settings NAME ...]

Traces of SmolLM2 stand as unlabelled; a call shows what the verifier says of the steps of one trace, be it nothing.
Every run begins with some traces drawn at random; then a head on frozen features (see `frozen_steps.py`) is trained,
its scores of *every* step go into a dataset, `rewardkit select` (`pick_traces`, with its defaults: a fifth at random)
chooses more, and so on. Each head is judged on true labels of the 30% of problems that its seed holds out. For
`disagree` and `llkd`, which compare sources, two more are fitted on what was shown so far: a logistic regression on
the words, which is also the teacher of `llkd`, and a vote of the 15 nearest steps. Intervals: a bootstrap over
problems, all seeds together.

    arithmetic, logic   the shipped `formal-traces` that have a verdict, 20 to 320 calls
    abstaining          2,400 answers to GSM8K's training questions, many of them without any verdict, 20 to 1,280 calls
    noisy               the same, and the verifier is wrong on a fifth of the steps, at random
    skewed              the same without most traces with a wrong step, so that a tenth of the verdicts are "wrong"
    teacher             the same, and a call shows what a head guesses that was trained on a quarter of the problems,
                        which nothing else uses: wrong where it is unsure, as a judge is. `llkd` knows its chances
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from frozen_steps import answer_traces, every_step, formal_traces, problems_apart, trained_head
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.evaluate.robustness.data import Steps, reduced, split
from rewardkit.evaluate.steps import step_auroc
from rewardkit.labels.audit import text_features
from rewardkit.labels.pick import pick_traces
from rewardkit.labels.select import POLICIES
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import StepLabel

FEW, MANY = (20, 40, 80, 160, 320), (20, 80, 320, 1280)
SETTINGS = {
    "arithmetic": FEW,
    "logic": FEW,
    "abstaining": MANY,
    "noisy": MANY,
    "skewed": (20, 80, 320),
    "teacher": (20, 80, 320, 640),
}
"""From a setting to its numbers of calls."""
ANSWERS = 2400
NOISE = 0.2
SKEW = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one seed, two policies, 40 calls, 120 traces with arithmetic labels"
    )
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for setting in ("arithmetic",) if options.quick else options.settings:
        calls = FEW[:2] if options.quick else SETTINGS[setting]
        policies = ("random", "rad") if options.quick else POLICIES
        measure(setting, policies, calls, 1 if options.quick else options.seeds, options.quick)


def measure(setting: str, policies: Any, calls: Any, seeds: int, quick: bool) -> None:
    began = time.process_time()
    formal = setting in ("arithmetic", "logic")
    reader, parts = formal_traces(setting, quick) if formal else answer_traces(ANSWERS)
    steps = every_step(reader, parts, setting if formal else "arithmetic")
    rows = [row for part in parts for row in part]
    pools = [Pool(setting, rows, steps, seed) for seed in range(seeds)]
    print(f"\n{setting}: {pools[0].about()}; accuracy of the head, {seeds} seeds\n")
    made = {policy: [pool.run(policy, calls) for pool in pools] for policy in policies}
    truth, groups = (np.concatenate([pool.test[key] for pool in pools]) for key in ("truth", "problems"))
    pooled = {policy: np.stack([np.concatenate(column) for column in zip(*runs, strict=True)], axis=1)
              for policy, runs in made.items()}  # fmt: skip
    columns = [*(f"{n} calls" for n in calls), "from the second on, less `random`", "AUROC likewise"]
    print(f"| policy | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for policy, p in pooled.items():
        cells = [interval(p[:, i], truth, groups) for i in range(len(calls))]
        gains = [gain(metric, p, pooled["random"], truth, groups) for metric in (accuracy, step_auroc)]
        print(f"| `{policy}` | {' | '.join([*cells, *gains])} |", flush=True)
    everything = np.concatenate([pool.ceiling() for pool in pools])
    print(f"after every call: {interval(everything, truth, groups)}, AUROC {step_auroc(everything, truth):.3f}")
    for policy, p in pooled.items():
        area = ", ".join(f"{step_auroc(p[:, i], truth):.3f}" for i in range(len(calls)))
        bought = np.mean([pool.bought[policy] for pool in pools], axis=0)
        print(f"AUROC, `{policy}`: {area}; verdicts shown: {', '.join(f'{n:,.0f}' for n in bought)}")
    print(f"CPU seconds: {time.process_time() - began:.0f}", flush=True)


def accuracy(p: Any, truth: Any) -> float:
    return float(((p >= 0.5) == (truth == 1)).mean())


def interval(p: Any, truth: Any, groups: Any) -> str:
    found = bootstrap(accuracy, [p, truth], groups, n=500)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def gain(metric: Any, p: Any, other: Any, truth: Any, groups: Any) -> str:
    """By how much the mean of a metric over all but the first number of calls is above that of another policy."""

    def mean(scores: Any, right: Any) -> float | None:
        values = [metric(column, right) for column in scores.T[1:]]
        return None if None in values else float(np.mean(values))

    def first(scores: Any, _: Any, right: Any) -> float | None:
        return mean(scores, right)

    def second(_: Any, scores: Any, right: Any) -> float | None:
        return mean(scores, right)

    found = paired_difference(first, second, [p, other, truth], groups, n=500)
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


@dataclass
class Shown:
    """What calls show of the steps of a pool.

    Attributes:
        label: (steps,) 0 or 1, NaN where a call shows nothing.
        chance: (steps,) how sure who says so is, where that is known.
    """

    label: Any
    chance: Any = None


class Pool:
    """Traces to choose from and steps to judge on, apart by problem.

    Args:
        setting: of `SETTINGS`.
        rows: traces, numbered as in `steps`.
        steps: all of their steps.
        seed: of the held-out problems, the first traces, the draws, the noise and the heads.
    """

    def __init__(self, setting: str, rows: list[LabelledTrace], steps: Steps, seed: int) -> None:
        self.seed = seed
        apart = problems_apart(steps.problems, 0.3, seed)
        taught = problems_apart(steps.problems, 0.25, seed + 100) & ~apart & (setting == "teacher")
        open_to = ~apart & ~taught
        if setting == "skewed":
            open_to &= ~np.isin(steps.trace, _too_many_wrong(steps, open_to, seed))
        self.rows = [rows[i] for i in np.unique(steps.trace[open_to])]
        decided = ~np.isnan(steps.truth)
        self.train, held = reduced(split(steps, open_to), split(steps, apart & decided), 64)
        self.held, self.test = held.plain, {"truth": held.truth, "problems": held.problems}
        self.step = np.array([step for row in self.rows for step in range(len(row.trace.steps))])
        self.shown = self._shown(setting, split(steps, taught & decided), split(steps, open_to))
        texts = [step.text for row in self.rows for step in row.trace.steps]
        self.words = text_features(texts, self.step / 10)
        self.number = {row.trace.id: i for i, row in enumerate(self.rows)}
        self.bought: dict[str, list[int]] = {}
        """By policy, the verdicts that its calls have shown."""

    def about(self) -> str:
        """How much there is, for the head of a table."""
        given = self.shown.label[~np.isnan(self.shown.label)]
        silent = 1 - len(np.unique(self.train.trace[~np.isnan(self.shown.label)])) / len(self.rows)
        right = (self.shown.label == self.train.truth)[~np.isnan(self.shown.label) & ~np.isnan(self.train.truth)]
        return (
            f"{len(self.train):,} steps of {len(self.rows):,} traces of {len(set(self.train.problems.tolist())):,} "
            f"problems to choose from, {silent:.0%} of the traces without a verdict, {1 - given.mean():.0%} of the "
            f"verdicts 'wrong', {right.mean():.0%} of them true; {len(self.held):,} steps to judge on"
        )

    def run(self, policy: str, calls: Any) -> list[Any]:
        """The held-out scores of the head after each number of calls."""
        order = np.random.default_rng([self.seed, 5]).permutation(len(self.rows))
        chosen, found = order[: calls[0]].tolist(), []
        for count, following in zip(calls, (*calls[1:], None), strict=True):
            assert len(set(chosen)) == count
            called = np.isin(self.train.trace, chosen)
            self.bought.setdefault(policy, []).append(int(self._known(called).sum()))
            head = self._head(called)
            found.append(head.score(self.held))
            if following:
                chosen += self._chosen(policy, called, head.score(self.train.plain), following - count)
        return found

    def ceiling(self) -> Any:
        """The held-out scores of a head that has seen what every call shows."""
        return self._head(np.ones(len(self.train), dtype=bool)).score(self.held)

    def _shown(self, setting: str, taught: Steps, pool: Steps) -> Shown:
        truth = self.train.truth
        if setting == "noisy":
            flipped = np.random.default_rng([self.seed, 9]).random(len(truth)) < NOISE
            return Shown(np.where(flipped, 1 - truth, truth))
        if setting == "teacher":
            lesson, pupils = reduced(taught, replace(pool, truth=np.nan_to_num(pool.truth)), 64)
            teacher = trained_head(lesson.plain, lesson.truth, lesson.trace, self.seed)
            chance = teacher.score(pupils.plain)
            return Shown((chance >= 0.5).astype(float), chance)
        return Shown(truth)

    def _known(self, called: Any) -> Any:
        return called & ~np.isnan(self.shown.label)

    def _head(self, called: Any) -> Any:
        known = self._known(called)
        trace = np.unique(self.train.trace[known], return_inverse=True)[1]
        return trained_head(self.train.plain[known], self.shown.label[known], trace, self.seed)

    def _chosen(self, policy: str, called: Any, scores: Any, count: int) -> list[int]:
        """What `rewardkit select` takes next."""
        believed = {"head": scores, **self._judges(policy, self._known(called))}
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(Path(folder) / "set", self._labelled(believed, called), {})
            pick_traces(
                Path(folder) / "set", Path(folder) / "next.jsonl", count, policy, source="head",
                judges=[*believed][policy == "llkd" :] if policy in ("disagree", "llkd") else (),
                verified="called", seed=self.seed,
            )  # fmt: skip
            lines = (Path(folder) / "next.jsonl").read_text(encoding="utf-8").splitlines()
        return [self.number[json.loads(line)["trace_id"]] for line in lines]

    def _judges(self, policy: str, known: Any) -> dict[str, Any]:
        if policy == "llkd" and self.shown.chance is not None:
            return {"teacher": self.shown.chance}
        if policy not in ("disagree", "llkd"):
            return {}
        right = self.shown.label[known]
        found = {"words": _chances(LogisticRegression(C=1.0, max_iter=1000), self.words, known, right)}
        if policy == "disagree":
            near = KNeighborsClassifier(min(15, len(right)))
            found["neighbours"] = _chances(near, self.train.plain, known, right)
        return found

    def _labelled(self, believed: dict[str, Any], called: Any) -> list[LabelledTrace]:
        """The pool as a dataset: what is believed of every step, and which traces were called for."""
        labels: list[list[StepLabel]] = [[] for _ in self.rows]
        for i, (trace, step) in enumerate(zip(self.train.trace.tolist(), self.step.tolist(), strict=True)):
            about = self.rows[trace].trace.id
            labels[trace] += [StepLabel(about, step, float(p[i]), name, "local") for name, p in believed.items()]
            if called[i]:
                said = float(self.shown.label[i])
                labels[trace].append(StepLabel(about, step, None if np.isnan(said) else said, "called", "local"))
        return [LabelledTrace(row.trace, tuple(own)) for row, own in zip(self.rows, labels, strict=True)]


def _chances(model: Any, features: Any, known: Any, right: Any) -> Any:
    """(steps,) chances of being right by a model fitted on the known steps; their mean where they all agree."""
    if len(np.unique(right)) < 2:
        return np.full(features.shape[0], right.mean())
    return model.fit(features[known], right).predict_proba(features)[:, 1]


def _too_many_wrong(steps: Steps, open_to: Any, seed: int) -> Any:
    """Traces with a wrong step that must go, drawn at random, for a tenth of the verdicts to be "wrong"."""
    wrong, right = (np.bincount(steps.trace[open_to & (steps.truth == value)], minlength=steps.trace.max() + 1)
                    for value in (0, 1))  # fmt: skip
    faulty = np.random.default_rng([seed, 3]).permutation(np.flatnonzero(wrong))
    sound = right.sum() - right[faulty].sum()
    share = np.cumsum(wrong[faulty]) / (sound + np.cumsum(wrong[faulty] + right[faulty]))
    return faulty[np.argmax(share > SKEW) :]


if __name__ == "__main__":
    main()
