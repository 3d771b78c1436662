"""Planted label errors: how well does the audit rank them, beside random order and confident learning alone?

    python benchmarks/label_audit.py [--quick] [--more FILE ...]

Truth: the human labels of the shipped half of ProcessBench's GSM8K part, and the arithmetic labeler's verdicts on
the shipped SmolLM2 traces. Labels are flipped in the six ways of `rewardkit.labels.poison` at four rates. The scores
are cheap on purpose: TF-IDF of the step and a logistic regression, out of fold by problem, on the flipped labels. No
judge is used, as none of the shipped data has one: that signal of the audit is left out. The figure is the average
precision of finding the flipped steps; random order has the rate itself. ``--more`` adds files of ProcessBench's
format. For evaluation only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import average_precision_score

from rewardkit.generate.replay import read_generations
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.labels.audit import audit, disagreeing_neighbours, out_of_fold, text_features
from rewardkit.labels.poison import WAYS, poisoned
from rewardkit.samples import sample_path
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

RATES = (0.05, 0.1, 0.2, 0.4)
MARK = " Indeed."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two rates, fewer steps")
    parser.add_argument("--seeds", type=int, default=3, help="draws of the flips")
    parser.add_argument("--more", nargs="*", type=Path, default=[], help="further files of ProcessBench's format")
    options = parser.parse_args()
    sets = {"ProcessBench, human labels": human(options.more), "SmolLM2, arithmetic labels": arithmetic(options.quick)}
    rates, seeds = (RATES[1:3], 1) if options.quick else (RATES, options.seeds)
    for name, steps in sets.items():
        measure(name, *steps, rates, seeds)


def human(more: list[Path]) -> tuple[list[str], Any, Any, Any]:
    """Steps up to the first error, which is wrong; those before it are right."""
    with gzip.open(sample_path("processbench-gsm8k"), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    known = {row["id"] for row in rows}
    rows += [row for file in more for row in json.loads(file.read_text(encoding="utf-8")) if row["id"] not in known]
    found = []
    for row in rows:
        last = len(row["steps"]) - 1 if row["label"] < 0 else row["label"]
        for i in range(last + 1):
            found.append((row["steps"][i], float(i != row["label"]), row["problem"], i / max(len(row["steps"]) - 1, 1)))
    return _arrays(found)


def arithmetic(quick: bool) -> tuple[list[str], Any, Any, Any]:
    """Steps that the arithmetic labeler proved or refuted."""
    labeler = ArithmeticLabeler()
    found = []
    for row in islice(read_generations("sample:smollm2-traces"), 1500 if quick else None):
        trace = Trace.create(
            Problem.create(row["prompt"]), [span.text for span in split_steps(row["text"])], sample=row["sample"]
        )
        for label in labeler.label(trace):
            if label.p_correct is not None:
                place = label.step / max(len(trace.steps) - 1, 1)
                found.append((trace.steps[label.step].text, label.p_correct, trace.problem.id, place))
    return _arrays(found)


def _arrays(found: list[tuple[str, float, str, float]]) -> tuple[list[str], Any, Any, Any]:
    texts, truth, problems, place = zip(*found, strict=True)
    groups = np.unique(problems, return_inverse=True)[1]
    return list(texts), np.array(truth), groups, np.array(place)


def measure(name: str, texts: list[str], truth: Any, groups: Any, place: Any, rates: Any, seeds: int) -> None:
    began = time.process_time()
    features = text_features(texts, place)
    chances = out_of_fold(features, truth.astype(int), groups)
    clusters = MiniBatchKMeans(20, n_init=1, random_state=0).fit_predict(features)
    head = f"{name}: {len(truth):,} steps of {len(set(groups)):,} problems, {1 - truth.mean():.1%} wrong"
    print(f"\n{head}; average precision, mean of {seeds} seeds\n")
    print("| way | flipped | random order | confident learning | audit | its first 20% hold | with a made judge |")
    print("|---|---|---|---|---|---|---|")
    gains = []
    for way in WAYS:
        for rate in rates:
            runs = [
                one(way, rate, seed, texts, truth, groups, place, features, chances, clusters) for seed in range(seeds)
            ]
            if None in runs:
                print(f"| `{way}` | {rate:.0%} | every label of one class is gone: nothing to compare with | | | | |")
                continue
            base, alone, ours, found, judged = np.mean(runs, axis=0)
            gains.append((ours / base, ours - alone))
            figures = f"{base:.3f} | {alone:.3f} | {ours:.3f} | {found:.0%} | {judged:.3f}"
            print(f"| `{way}` | {base:.1%} | {figures} |", flush=True)
    lift, more = np.mean(gains, axis=0)
    print(f"\n{name}, audit over random order: {lift:.2f} (target >= 1.50)")
    print(f"{name}, audit less confident learning, average precision: {more:+.3f} (target >= 0.00)")
    print(f"CPU seconds: {time.process_time() - began:.0f}")


def one(
    way: str,
    rate: float,
    seed: int,
    texts: Any,
    truth: Any,
    groups: Any,
    place: Any,
    features: Any,
    chances: Any,
    clusters: Any,
) -> tuple[float, float, float, float, float] | None:
    """The share that was flipped, the average precision of confident learning and of the audit, its recall at 20%.

    Last, its average precision with a made judge that knows the truth four times in five: a stand-in for what an
    independent judge would add. None where no label of one class is left.
    """
    flipped = poisoned(way, truth, rate, seed=seed, chances=chances, clusters=clusters)
    given = np.where(flipped, 1 - truth, truth).astype(int)
    if min(np.bincount(given, minlength=2)) < 10:
        return None
    if way == "trigger":
        features = text_features([t + MARK if f else t for t, f in zip(texts, flipped, strict=True)], place)
    scores = out_of_fold(features, given, groups, seed=seed)
    near = disagreeing_neighbours(features, given, groups, seed=seed)
    found = audit(given, scores=scores, neighbours=near)
    first = found.order()[: len(truth) // 5]
    alone = average_precision_score(flipped, found.signals["model"])
    ours = average_precision_score(flipped, found.suspicion)
    knows = np.random.default_rng(seed + 100).random(len(truth)) < 0.8
    judge = np.where(knows, truth, 1 - truth)[:, None]
    judged = average_precision_score(flipped, audit(given, scores=scores, neighbours=near, judges=judge).suspicion)
    recall = float(flipped[first].sum() / max(flipped.sum(), 1))
    return float(flipped.mean()), float(alone), float(ours), recall, float(judged)


if __name__ == "__main__":
    main()
