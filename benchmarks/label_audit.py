"""Planted label errors: how well does the audit rank them, beside random order and confident learning alone?

    python benchmarks/label_audit.py [--quick] [--more FILE ...]

Truth: the human labels of the shipped half of ProcessBench's GSM8K part, and the arithmetic labeler's verdicts on
the shipped SmolLM2 traces. Labels are flipped in the six ways of `rewardkit.labels.poison` at four rates. The scores
are cheap on purpose: TF-IDF of the step and a logistic regression, out of fold by problem, on the flipped labels. No
judge is used, as none of the shipped data has one: that signal of the audit is left out. The figure is the average
precision of finding the flipped steps; random order has the rate itself. ``--more`` adds files of ProcessBench's
format. For evaluation only.

    python benchmarks/label_audit.py --retrain [--quick]

What is it good for? A reward model (a head on frozen features of SmolLM2; see `frozen_steps.py`) is trained on the
flipped labels after nothing, dropping, flipping or verifying the top 20% of the audit's suspects, and after verifying
20% drawn at random, and judged on clean labels of 30% of the problems, held out anew by each seed. The audit reads the
same features as the head.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from frozen_steps import formal_steps, problems_apart, trained_head
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import average_precision_score

from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.evaluate.robustness.data import Steps, clean_chances, reduced, split
from rewardkit.evaluate.steps import step_auroc
from rewardkit.generate.replay import read_generations
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.labels.audit import audit, disagreeing_neighbours, out_of_fold, text_features
from rewardkit.labels.poison import WAYS, poisoned
from rewardkit.samples import sample_path
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

RATES = (0.05, 0.1, 0.2, 0.4)
BUDGET = 0.2
"""The share of training labels that is dropped, flipped or verified."""
RETRAINED = ("random", "correct_to_wrong", "confident")
MARK = " Indeed."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two rates, fewer steps")
    parser.add_argument("--seeds", type=int, default=3, help="draws of the flips")
    parser.add_argument("--more", nargs="*", type=Path, default=[], help="further files of ProcessBench's format")
    parser.add_argument("--retrain", action="store_true", help="the retrained reward model instead of the ranking")
    options = parser.parse_args()
    if options.retrain:
        for source in ("arithmetic",) if options.quick else ("arithmetic", "logic"):
            retrain(source, options.quick, max(options.seeds, 5))
        return
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


def retrain(source: str, quick: bool, seeds: int) -> None:
    """The table of retrained heads; pooled over the seeds, intervals by problem."""
    began = time.process_time()
    _, steps = formal_steps(source, quick)
    rates, seeds = (RATES[2:3], 2) if quick else (RATES[1:], seeds)
    head = f"SmolLM2, {source} labels: {len(steps):,} steps of {len(set(steps.problems)):,} problems"
    print(f"\n{head}, {1 - steps.truth.mean():.1%} wrong; accuracy and AUROC, {seeds} seeds\n")
    print("| way | flipped | nothing | dropped | flipped | verified | verified at random | no errors |")
    print("|---|---|---|---|---|---|---|---|")
    gains = []
    for way in RETRAINED:
        for rate in rates:
            runs = [run for seed in range(seeds) if (run := retrained(steps, way, rate, seed))]
            if len(runs) < seeds:
                print(f"| `{way}` | {rate:.0%} | every label of one class is gone: nothing to train on | | | | | |")
                continue
            truth, groups = (np.concatenate([run[key] for run in runs]) for key in ("truth", "problems"))
            pooled = {name: np.concatenate([run[name] for run in runs]) for name in CURES}
            share = np.mean([run["share"] for run in runs])
            cells = [_cell(name, pooled, truth, groups) for name in CURES]
            print(f"| `{way}` | {share:.0%} | {' | '.join(cells)} |", flush=True)
            hits = {name: np.mean((p >= 0.5) == truth) for name, p in pooled.items()}
            gains.append(hits["verified"] - hits["verified at random"])
    print("+, -: better, worse than nothing; >, <: than verified at random; accuracy, paired interval over problems")
    print(f"{source}, accuracy of verifying suspects less random steps: {np.mean(gains):+.3f} (target > 0)")
    print(f"CPU seconds: {time.process_time() - began:.0f}")


def retrained(steps: Steps, way: str, rate: float, seed: int) -> dict[str, Any] | None:
    """The held-out scores of a head after each cure, with their truth and problems; None where one class is gone."""
    apart = problems_apart(steps.problems, 0.3, seed)
    train, test = reduced(split(steps, ~apart), split(steps, apart), 64)
    flipped = poisoned(way, train.truth, rate, seed=seed, chances=clean_chances(train))
    given = np.where(flipped, 1 - train.truth, train.truth).astype(int)
    if min(np.bincount(given, minlength=2)) < 10:
        return None
    groups = np.unique(train.problems, return_inverse=True)[1]
    scores = out_of_fold(train.plain, given, groups, seed=seed)
    near = disagreeing_neighbours(train.plain, given, groups, seed=seed)
    count = round(BUDGET * len(given))
    top = audit(given, scores=scores, neighbours=near).order()[:count]
    free = np.random.default_rng([seed, 3]).permutation(len(given))[:count]
    found: dict[str, Any] = {"truth": test.truth, "problems": test.problems, "share": flipped.mean()}
    for name, cure in CURES.items():
        labels, kept = cure(given, train.truth, top, free)
        found[name] = trained_head(train.plain[kept], labels[kept], train.trace[kept], seed).score(test.plain)
    return found


def _all(labels: Any) -> tuple[Any, Any]:
    return labels, np.ones(len(labels), dtype=bool)


def _changed(given: Any, where: Any, to: Any) -> tuple[Any, Any]:
    labels = given.copy()
    labels[where] = to[where]
    return _all(labels)


CURES: dict[str, Callable[[Any, Any, Any, Any], tuple[Any, Any]]] = {
    "nothing": lambda given, truth, top, free: _all(given),
    "dropped": lambda given, truth, top, free: (given, ~np.isin(np.arange(len(given)), top)),
    "flipped": lambda given, truth, top, free: _changed(given, top, 1 - given),
    "verified": lambda given, truth, top, free: _changed(given, top, truth),
    "verified at random": lambda given, truth, top, free: _changed(given, free, truth),
    "no errors": lambda given, truth, top, free: _all(truth),
}
"""From given labels, the truth, the suspects and as many random steps to the labels that are trained on, and where."""


def _cell(name: str, pooled: dict[str, Any], truth: Any, groups: Any) -> str:
    hit = {key: ((p >= 0.5) == truth).astype(float) for key, p in pooled.items()}
    found = bootstrap(np.mean, [hit[name]], groups, n=500)
    signs = _sign(hit[name], hit["nothing"], groups, "+", "-")
    if name == "verified":
        signs += _sign(hit[name], hit["verified at random"], groups, ">", "<")
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]{signs}, {step_auroc(pooled[name], truth):.3f}"


def _sign(first: Any, second: Any, groups: Any, better: str, worse: str) -> str:
    """A mark where one accuracy is above or below another beyond luck."""
    found = paired_difference(
        lambda a, b: float(a.mean()), lambda a, b: float(b.mean()), [first, second], groups, n=500
    )
    return better if (found.low or 0) > 0 else worse if (found.high or 0) < 0 else ""


if __name__ == "__main__":
    main()
