"""Choosing one of n sampled answers: by a reward model, by votes, by luck, and by an oracle.

All arrays are (problems, n): n sampled solutions of each problem. Ties are resolved by their *expected* accuracy, never
by position: scores in bf16 tie often, and taking the first then favours whoever sampled first.
An answer's class is an integer from a comparison of the answers (`rewardkit.text`): equal classes are equal answers,
and a negative class is no answer at all, which never wins a vote while there is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import Bools, Floats, Ints, finite, same_shape, unit

TOLERANCE = 1e-9
"""Vote weights this close tie: a sum of floats depends on the order of its terms."""


def best_of_n_accuracy(scores: ArrayLike, correct: ArrayLike) -> float:
    """Accuracy of the answer with the highest score; Cobbe et al. 2021. Equal scores share.

    Args:
        scores: (problems, n) response scores, any scale.
        correct: (problems, n) 1 where the answer is right.

    Raises:
        DataError: shapes differ or a value is missing.

    >>> best_of_n_accuracy([[0.9, 0.1], [0.5, 0.5]], [[1, 0], [1, 0]])
    0.75
    """
    values, right = finite(scores, "scores", dimensions=2), _right(correct)
    same_shape(scores=values, correct=right)
    return _expected(values == values.max(axis=1, keepdims=True), right)


def first_sample_accuracy(correct: ArrayLike) -> float:
    """Accuracy of the first sample: what one call of the policy gives.

    >>> first_sample_accuracy([[1, 0], [0, 1]])
    0.5
    """
    return float(_right(correct)[:, 0].mean())


def mean_sample_accuracy(correct: ArrayLike) -> float:
    """Accuracy of a sample drawn at random: `first_sample_accuracy` with less noise where samples are alike.

    >>> mean_sample_accuracy([[1, 0], [1, 1]])
    0.75
    """
    return float(_right(correct).mean())


def mean_distinct_accuracy(responses: ArrayLike, correct: ArrayLike) -> float:
    """Accuracy of a response drawn among the different ones of each problem.

    That is what best-of-n comes to with a score that reads the text and knows nothing: equal responses have equal
    scores, so it draws among the different ones, and how often the policy says each of them is lost.

    Args:
        responses: (problems, n) integers, equal where responses are.
        correct: (problems, n) 1 where the answer is right.

    >>> mean_distinct_accuracy([[0, 0, 0, 1]], [[1, 1, 1, 0]])
    0.5
    """
    texts, right = np.asarray(responses), _right(correct)
    alike = (texts[:, :, None] == texts[:, None, :]).sum(axis=2)
    return _expected(1 / alike, right)


def within_problem_auroc(scores: ArrayLike, correct: ArrayLike) -> float | None:
    """The chance that a right answer scores above a wrong one to the same problem: the mean over problems with both.

    An AUROC over all answers also rewards knowing which problems are easy, which helps no choice among answers to one.
    Ties count half. None where no problem has both.

    Args:
        scores: (problems, n) response scores, any scale.
        correct: (problems, n) 1 where the answer is right.

    >>> within_problem_auroc([[0.9, 0.8], [0.1, 0.2], [0.5, 0.5]], [[1, 1], [1, 0], [1, 0]])
    0.25
    """
    values, right = finite(scores, "scores", dimensions=2), _right(correct)
    same_shape(scores=values, correct=right)
    pairs = right[:, :, None] * (1 - right)[:, None, :]
    wins = np.sign(values[:, :, None] - values[:, None, :]) / 2 + 0.5
    count = pairs.sum(axis=(1, 2))
    both = count > 0
    return float(((pairs * wins).sum(axis=(1, 2))[both] / count[both]).mean()) if both.any() else None


def oracle_accuracy(correct: ArrayLike) -> float:
    """Share of problems with at least one right sample (pass@n): the ceiling of any choice.

    >>> oracle_accuracy([[1, 0], [0, 0]])
    0.5
    """
    return float(_right(correct).max(axis=1).mean())


def majority_accuracy(answers: ArrayLike, correct: ArrayLike) -> float:
    """Accuracy of the most frequent answer (self-consistency, Wang et al. 2023).

    Classes with equally many votes share: the value is their expected accuracy. Where no sample has an answer, it is
    that of a random sample.

    Args:
        answers: (problems, n) equivalence class of each answer, negative for none.
        correct: (problems, n) 1 where the answer is right.

    >>> majority_accuracy([[0, 0, 1], [0, 1, -1]], [[1, 1, 0], [1, 0, 0]])
    0.75
    """
    return weighted_vote_accuracy(np.ones(np.shape(correct)), answers, correct)


def weighted_vote_accuracy(scores: ArrayLike, answers: ArrayLike, correct: ArrayLike) -> float:
    """Accuracy of the answer whose samples have the highest sum of scores (weighted best-of-N, Li et al. 2023).

    Args:
        scores: (problems, n) weights, none negative: probabilities, not log-ratios.
        answers: (problems, n) equivalence class of each answer, negative for none.
        correct: (problems, n) 1 where the answer is right.

    Raises:
        DataError: shapes differ, or a weight is negative or missing.

    >>> weighted_vote_accuracy([[0.9, 0.3, 0.3]], [[0, 1, 1]], [[1, 0, 0]])
    1.0
    """
    weights, right = finite(scores, "scores", dimensions=2), _right(correct)
    classes = finite(answers, "answers", dimensions=2).astype(np.int64)
    same_shape(scores=weights, answers=classes, correct=right)
    if weights.min() < 0:
        raise DataError("weights of a vote must not be negative; calibrate or squash the scores first")
    return _expected(_winners(weights, classes), right)


Strategy = Callable[[Floats, Ints, Floats], float]

STRATEGIES: Mapping[str, Strategy] = {
    "oracle": lambda scores, answers, correct: oracle_accuracy(correct),
    "weighted vote": weighted_vote_accuracy,
    "reward model": lambda scores, answers, correct: best_of_n_accuracy(scores, correct),
    "majority": lambda scores, answers, correct: majority_accuracy(answers, correct),
    "random sample": lambda scores, answers, correct: mean_sample_accuracy(correct),
    "first sample": lambda scores, answers, correct: first_sample_accuracy(correct),
}
"""Every way to choose, by the name that reports and plots use."""


def best_of_n_curves(
    scores: ArrayLike, answers: ArrayLike, correct: ArrayLike, *, subsets: int = 200, seed: int = 0
) -> tuple[list[int], dict[str, list[float]]]:
    """Accuracy of every strategy at n = 1, 2, 4, ... and all samples.

    At each n it is the mean over all subsets of n samples, or over `subsets` random ones where there are more. Only
    "first sample" is the same throughout.

    Returns:
        The values of n, and for each name of `STRATEGIES` one accuracy for each n.

    >>> best_of_n_curves([[0.9, 0.1]], [[0, 1]], [[1, 0]])[1]["reward model"]
    [0.5, 1.0]
    """
    values, right = unit(scores, "scores", dimensions=2), _right(correct)
    classes = finite(answers, "answers", dimensions=2).astype(np.int64)
    same_shape(scores=values, answers=classes, correct=right)
    total = right.shape[1]
    sizes = _sizes(total)
    curves: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    for size in sizes:
        chosen = _subsets(total, size, subsets, np.random.default_rng(seed))
        for name, strategy in STRATEGIES.items():
            drawn = [strategy(values[:, columns], classes[:, columns], right[:, columns]) for columns in chosen]
            curves[name].append(float(np.mean(drawn)))
    curves["first sample"] = [first_sample_accuracy(right)] * len(sizes)
    return sizes, curves


def curve_rows(
    scores: ArrayLike, answers: ArrayLike, correct: ArrayLike, *, subsets: int = 200, seed: int = 0
) -> tuple[list[int], dict[str, Floats]]:
    """`best_of_n_curves` problem by problem, for intervals: the expected accuracy of each problem at each n.

    Returns:
        The values of n, and for ``oracle`` (at n it is pass@n), ``weighted vote``, ``reward model`` and ``majority``
        an array (values of n, problems).

    >>> sizes, rows = curve_rows([[0.9, 0.1], [0.2, 0.6]], [[0, 1], [0, 0]], [[1, 0], [1, 1]])
    >>> rows["reward model"].tolist(), rows["oracle"].tolist()
    ([[0.5, 1.0], [1.0, 1.0]], [[0.5, 1.0], [1.0, 1.0]])
    """
    values, right = unit(scores, "scores", dimensions=2), _right(correct)
    classes = finite(answers, "answers", dimensions=2).astype(np.int64)
    same_shape(scores=values, answers=classes, correct=right)
    sizes = _sizes(right.shape[1])
    made: dict[str, list[Floats]] = {name: [] for name in ("oracle", "weighted vote", "reward model", "majority")}
    for size in sizes:
        chosen = _subsets(right.shape[1], size, subsets, np.random.default_rng(seed))
        drawn: dict[str, list[Floats]] = {name: [] for name in made}
        for columns in chosen:
            v, c, r = values[:, columns], classes[:, columns], right[:, columns]
            drawn["oracle"].append(r.max(axis=1))
            drawn["weighted vote"].append(_each(_winners(v, c), r))
            drawn["reward model"].append(_each(v == v.max(axis=1, keepdims=True), r))
            drawn["majority"].append(_each(_winners(np.ones_like(v), c), r))
        for name, rows in drawn.items():
            made[name].append(np.mean(rows, axis=0))
    return sizes, {name: np.array(rows) for name, rows in made.items()}


def answer_classes(keys: list[list[str | None]]) -> Ints:
    """Integer classes from normalised answers, problem by problem: equal strings share one, None becomes -1.

    Args:
        keys: (problems, n) one canonical string an answer; comparing them is the caller's part.

    >>> answer_classes([["72", "72", None], ["a", "b", "a"]]).tolist()
    [[0, 0, -1], [0, 1, 0]]
    """
    made = []
    for row in keys:
        seen: dict[str, int] = {}
        made.append([-1 if key is None else seen.setdefault(key, len(seen)) for key in row])
    return np.asarray(made, dtype=np.int64)


def _right(correct: ArrayLike) -> Floats:
    return unit(correct, "correct", dimensions=2)


def _winners(weights: Floats, classes: Ints) -> Floats:
    """(problems, n) the share of each sample in the choice: 1 over its class's size where its class wins, else 0."""
    same = (classes[:, :, None] == classes[:, None, :]) & (classes >= 0)[:, None, :]
    support = np.where(classes >= 0, (same * weights[:, None, :]).sum(axis=2), -1.0)
    best = support.max(axis=1, keepdims=True)
    ties: Bools = support >= best - TOLERANCE * np.maximum(1.0, np.abs(best))
    sizes: Floats = np.maximum(same.sum(axis=2), 1).astype(np.float64)
    return np.asarray(ties / sizes, dtype=np.float64)


def _expected(share: Floats | Bools, right: Floats) -> float:
    return float(_each(share, right).mean())


def _each(share: Floats | Bools, right: Floats) -> Floats:
    return np.asarray((share * right).sum(axis=1) / share.sum(axis=1), dtype=np.float64)


def _sizes(total: int) -> list[int]:
    return sorted({2**k for k in range(total.bit_length()) if 2**k <= total} | {total})


def _subsets(total: int, size: int, limit: int, random: np.random.Generator) -> list[Ints]:
    if comb(total, size) <= limit:
        return [np.asarray(columns, dtype=np.int64) for columns in combinations(range(total), size)]
    return [random.permutation(total)[:size] for _ in range(limit)]
