"""What does each policy of `rewardkit select` buy? Accuracy of a reward model against verifier calls spent.

    python benchmarks/label_select.py [--quick]

The shipped SmolLM2 answers whose steps a verifier decided stand as unlabelled; a call shows the labels of one trace.
Every run begins with 20 traces drawn at random; then a head on frozen features (see `frozen_steps.py`) is trained, its
scores go into a dataset, `rewardkit select` (`pick_traces`, with its defaults: a fifth at random) chooses as many
again, and so on, until 320. Each head is judged on clean labels of the 30% of problems that its seed holds out. For
`disagree` and `llkd`, which compare sources, two more are fitted on what is verified so far: a logistic regression on
the words, which is also the teacher of `llkd`, and a vote of the 15 nearest steps. Intervals: a bootstrap over
problems, all seeds together.
Only steps with a verdict are there: what calls cost that come to nothing is not measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from frozen_steps import formal_steps, problems_apart, trained_head
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.evaluate.robustness.data import Steps, reduced, split, truths
from rewardkit.evaluate.steps import step_auroc
from rewardkit.labels.audit import text_features
from rewardkit.labels.pick import pick_traces
from rewardkit.labels.select import POLICIES
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import StepLabel

CALLS = (20, 40, 80, 160, 320)
JUDGES = {"disagree": ("head", "words", "neighbours"), "llkd": ("words",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one seed, two policies, 40 calls, 120 traces with arithmetic labels"
    )
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    policies = ("random", "rad") if options.quick else POLICIES
    calls, seeds = (CALLS[:2], 1) if options.quick else (CALLS, options.seeds)
    for source in ("arithmetic",) if options.quick else ("arithmetic", "logic"):
        measure(source, policies, calls, seeds, options.quick)


def measure(source: str, policies: Any, calls: Any, seeds: int, quick: bool) -> None:
    began = time.process_time()
    rows, steps = formal_steps(source, quick)
    size = f"{len(steps):,} steps of {len(rows)} traces of {len(set(steps.problems.tolist()))} problems"
    print(f"\nSmolLM2, {source} labels: {size}; accuracy of the head, {seeds} seeds\n")
    pools = [Pool(source, rows, steps, seed) for seed in range(seeds)]
    made = {policy: [pool.run(policy, calls) for pool in pools] for policy in policies}
    truth, groups = (np.concatenate([pool.test[key] for pool in pools]) for key in ("truth", "problems"))
    print("| policy | " + " | ".join(f"{n} calls" for n in calls) + " | mean from the second on, less `random` |")
    print("|---|" + "---|" * (len(calls) + 1))
    pooled = {policy: np.stack([np.concatenate(column) for column in zip(*runs, strict=True)], axis=1)
              for policy, runs in made.items()}  # fmt: skip
    hits = {policy: (p >= 0.5) == (truth[:, None] == 1) for policy, p in pooled.items()}
    for policy, hit in hits.items():
        cells = [interval(hit[:, i], groups) for i in range(len(calls))]
        print(f"| `{policy}` | {' | '.join(cells)} | {gain(hit, hits['random'], groups)} |", flush=True)
    everything = np.concatenate([pool.ceiling() for pool in pools])
    area = {policy: [step_auroc(p[:, i], truth) for i in range(len(calls))] for policy, p in pooled.items()}
    print(f"all {len(rows)} traces less the held-out ones: {interval((everything >= 0.5) == (truth == 1), groups)}")
    for policy, values in area.items():
        print(f"AUROC, `{policy}`: {', '.join(f'{value:.3f}' for value in values)}")
    print(f"CPU seconds: {time.process_time() - began:.0f}")


def interval(hit: Any, groups: Any) -> str:
    found = bootstrap(lambda x: float(x.mean()), [hit.astype(float)], groups, n=500)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def gain(hit: Any, other: Any, groups: Any) -> str:
    first, second = (x[:, 1:].mean(axis=1) for x in (hit, other))
    found = paired_difference(
        lambda a, b: float(a.mean()), lambda a, b: float(b.mean()), [first, second], groups, n=500
    )
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


class Pool:
    """Traces to choose from and steps to judge on, apart by problem.

    Args:
        source: the verifier.
        rows: traces, numbered as in `steps`.
        steps: those with a verdict.
        seed: of the held-out problems, the first traces, the draws and the heads.
    """

    def __init__(self, source: str, rows: list[LabelledTrace], steps: Steps, seed: int) -> None:
        apart = problems_apart(steps.problems, 0.3, seed)
        self.rows = [rows[i] for i in np.unique(steps.trace[~apart])]
        self.train, held = reduced(split(steps, ~apart), split(steps, apart), 64)
        self.test = {"truth": held.truth, "problems": held.problems}
        self.held, self.seed = held.plain, seed
        self.step = np.array([step for row in self.rows for step in sorted(truths(row, (source,)))])
        texts = [self.rows[t].trace.steps[s].text for t, s in zip(self.train.trace, self.step, strict=True)]
        self.words = text_features(texts, self.step / 10)
        self.number = {row.trace.id: i for i, row in enumerate(self.rows)}

    def run(self, policy: str, calls: Any) -> list[Any]:
        """The held-out scores of the head after each number of calls."""
        order = np.random.default_rng([self.seed, 5]).permutation(len(self.rows))
        chosen, found = order[: calls[0]].tolist(), []
        for count, following in zip(calls, (*calls[1:], None), strict=True):
            assert len(set(chosen)) == count
            known = np.isin(self.train.trace, chosen)
            head = self._head(known)
            found.append(head.score(self.held))
            if following:
                chosen += self._chosen(policy, known, head.score(self.train.plain), following - count)
        return found

    def ceiling(self) -> Any:
        """The held-out scores of a head that has seen every label."""
        return self._head(np.ones(len(self.train), dtype=bool)).score(self.held)

    def _head(self, known: Any) -> Any:
        return trained_head(self.train.plain[known], self.train.truth[known], self.train.trace[known], self.seed)

    def _chosen(self, policy: str, known: Any, scores: Any, count: int) -> list[int]:
        """What `rewardkit select` takes next."""
        believed = {"head": scores}
        if policy in JUDGES:
            right = self.train.truth[known]
            words = LogisticRegression(C=1.0, max_iter=1000).fit(self.words[known], right)
            near = KNeighborsClassifier(15).fit(self.train.plain[known], right)
            believed["words"] = words.predict_proba(self.words)[:, 1]
            believed["neighbours"] = near.predict_proba(self.train.plain)[:, 1]
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(Path(folder) / "set", self._labelled(believed, known), {})
            pick_traces(
                Path(folder) / "set", Path(folder) / "next.jsonl", count, policy, source="head",
                judges=JUDGES.get(policy, ()), verified="verified", seed=self.seed,
            )  # fmt: skip
            lines = (Path(folder) / "next.jsonl").read_text(encoding="utf-8").splitlines()
        return [self.number[json.loads(line)["trace_id"]] for line in lines]

    def _labelled(self, believed: dict[str, Any], known: Any) -> list[LabelledTrace]:
        labels: list[list[StepLabel]] = [[] for _ in self.rows]
        for i, (trace, step) in enumerate(zip(self.train.trace.tolist(), self.step.tolist(), strict=True)):
            about = self.rows[trace].trace.id
            labels[trace] += [StepLabel(about, step, float(p[i]), name, "local") for name, p in believed.items()]
            if known[i]:
                labels[trace].append(StepLabel(about, step, float(self.train.truth[i]), "verified", "local"))
        return [LabelledTrace(row.trace, tuple(own)) for row, own in zip(self.rows, labels, strict=True)]


if __name__ == "__main__":
    main()
