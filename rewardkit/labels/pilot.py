"""`rewardkit labels plan`: the planner's grid, measured with small heads on a dataset that has labels of both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import DataError
from rewardkit.evaluate.steps import step_auroc
from rewardkit.labels.aggregate import check_gold, gold_verdicts
from rewardkit.labels.audit import directions, text_features
from rewardkit.labels.planner import Plan, plan
from rewardkit.labels.suspects import step_texts
from rewardkit.labels.votes import Votes, choose_sources, meanings, read_votes
from rewardkit.store import iter_dataset

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
Ints = NDArray[np.int64]

HELD_OUT = 0.3
"""The share of problems that a trial is judged on."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a pilot says.

    Attributes:
        plan: of those numbers that could be tried.
        gold, weak: labels that a trial may train on: no larger number could be tried.
        luck: by how much (standard error) the seeds move the quality of a point; None with one seed.
    """

    plan: Plan
    gold: int
    weak: int
    luck: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan_dataset(
    folder: str | Path,
    weak: str,
    gold: Sequence[str],
    *,
    weak_price: float,
    gold_price: float = 1.0,
    budget: float,
    gold_counts: Sequence[int] = (0, 50, 200, 800),
    weak_counts: Sequence[int] = (0, 1000, 4000, 16000),
    features: str = "text",
    seeds: int = 3,
) -> Pilot:
    """Try a grid of purchases on the labels of a dataset and say what to buy.

    For each point a small head is trained on so many weak labels, then on so many gold ones (the two stages of
    arXiv 2410.13215 with a fresh optimizer each, without its early stopping), and judged by its AUROC on the gold
    labels of problems that its seed holds out; the mean over the seeds. A head on features says which labels pay, not
    how good a trained language model will be.

    Args:
        folder: a pilot: a dataset with labels of both kinds.
        weak: the cheap source.
        gold: the dear ones, which count as the truth.
        weak_price: of one label.
        gold_price: of one label.
        budget: in the same unit.
        gold_counts: numbers to try; those that the pilot does not hold are left out.
        weak_counts: the same of weak labels.
        features: ``text`` (words, blind to arithmetic), or a causal language model whose frozen states are read.
        seeds: of held-out problems, labels drawn and heads.

    Raises:
        ConfigError: there is no such source or model, or meanings differ.
        DataError: gold has one class only (also among the held-out problems), or the budget buys nothing.
    """
    meaning, _ = choose_sources(meanings(folder), [weak], gold)
    votes = read_votes(folder, [weak], meaning)
    truth, _ = gold_verdicts(read_votes(folder, gold, meaning))
    check_gold(truth)
    table = step_features(folder, features, votes)
    trials = [Trial(table, votes, truth, seed) for seed in range(seeds)]

    spreads: list[float] = []

    def quality(n_gold: int, n_weak: int) -> float:
        found = [trial.quality(n_gold, n_weak) for trial in trials]
        if seeds > 1:
            spreads.append(float(np.std(found, ddof=1) / np.sqrt(seeds)))
        return float(np.mean(found))

    most = min(len(trial.gold) for trial in trials), min(len(trial.weak) for trial in trials)
    found = plan(
        quality,
        [n for n in gold_counts if n <= most[0]],
        [n for n in weak_counts if n <= most[1]],
        verified_price=gold_price,
        weak_price=weak_price,
        budget=budget,
    )
    return Pilot(found, *most, float(np.mean(spreads)) if spreads else None)


def step_features(folder: str | Path, features: str, votes: Votes) -> Features:
    """(steps, 64 at most) of every step: main directions of its words, or of a language model's frozen states."""
    if features == "text":
        return directions(text_features(step_texts(folder, np.arange(len(votes))), votes.place), seed=0)
    from rewardkit.evaluate.features import FeatureReader

    reader = FeatureReader(features)
    read = np.concatenate(reader.read([row.trace for row in iter_dataset(folder)]))
    return directions((read - read.mean(axis=0)) / (read.std(axis=0) + 1e-6), seed=0)


class Trial:
    """One cut of the problems, with the order in which labels are bought.

    Args:
        features: (steps, width).
        votes: of the weak source alone.
        truth: (steps,) gold verdicts, NaN where there is none.
        seed: of the cut, the orders and the heads.

    Raises:
        DataError: the held-out problems have gold of one class only.
    """

    def __init__(self, features: Features, votes: Votes, truth: Floats, seed: int) -> None:
        draw = np.random.default_rng(seed)
        names = np.unique(votes.groups[~np.isnan(truth)])
        held = np.isin(votes.groups, draw.permutation(names)[: max(1, round(HELD_OUT * len(names)))])
        self.features, self.trace, self.seed = features, votes.trace, seed
        self.labels, self.truth = votes.p[:, 0], truth
        self.gold: Ints = draw.permutation(np.flatnonzero(~held & ~np.isnan(truth)))
        self.weak: Ints = draw.permutation(np.flatnonzero(~held & ~np.isnan(self.labels)))
        self.test = np.flatnonzero(held & ~np.isnan(truth))
        if len(np.unique(truth[self.test])) < 2:
            raise DataError(f"the gold labels of {len(names)} problems are too few or one-sided to hold some out")

    def quality(self, n_gold: int, n_weak: int) -> float:
        """The AUROC of a head that was trained on the first so many labels of each kind."""
        from rewardkit.evaluate.robustness.heads import Given, HeadOptions, Learner
        from rewardkit.train.losses import LossOptions

        none: Any = np.zeros(0, dtype=np.int64)
        head = Learner(Given(self.features, self.labels, self.trace, none, np.zeros(0)), HeadOptions(), self.seed)
        for steps, labels in ((self.weak[:n_weak], self.labels), (self.gold[:n_gold], self.truth)):
            if len(steps):
                head.fit(LossOptions().build(), on=steps, labels=labels[steps])
        found = step_auroc(head.score(self.features[self.test]), self.truth[self.test])
        assert found is not None  # both classes are there
        return found
