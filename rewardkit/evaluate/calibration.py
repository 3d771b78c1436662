"""Do the scores mean what they say? Calibration error, Brier score, log loss, and the bins of a reliability plot.

Every log loss stands beside that of the constant prior: a model that does not beat it knows nothing about single
steps, however good its ranking looks. Targets may be soft (a rollout's share of right continuations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.evaluate.arrays import Floats, Ints, same_shape, unit
from rewardkit.evaluate.bootstrap import resample_counts

CLIP = 1e-6
"""Log loss clips probabilities to [CLIP, 1 - CLIP]: one sure and wrong step costs 13.8 nats, not infinity."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability plot.

    Attributes:
        low, high: its edges; scores in ``(low, high]``, the first bin also holds `low`.
        mean_score: of the steps inside, on the plot's x axis.
        accuracy: share of right steps inside, on its y axis.
        count: how many steps lie inside.
        interval: of the accuracy, at 95%.
    """

    low: float
    high: float
    mean_score: float
    accuracy: float
    count: int
    interval: tuple[float, float]


def ece(scores: ArrayLike, correct: ArrayLike, bins: int = 15, *, equal_mass: bool = False) -> float:
    """Expected calibration error: the mean gap between score and accuracy, weighted by how many steps a bin holds.

    Formula: ``sum_b n_b / n * |accuracy_b - mean_score_b|``; Guo et al. 2017 (equal width), Nixon et al. 2019
    (equal mass). It depends on the bins and is biased upwards on few steps: compare only equal settings and sizes.

    Args:
        scores: (steps,) probabilities that the step is right.
        correct: (steps,) 1 or 0, or soft targets between.
        bins: how many; 10 and 15 are usual.
        equal_mass: edges at the quantiles of the scores instead of equal widths; equal scores share a bin.

    Raises:
        DataError: shapes differ, or a value is missing or outside [0, 1].

    >>> round(ece([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]), 4)
    0.25
    """
    values, targets = _pair(scores, correct)
    where = _bin_of(values, _edges(values, bins, equal_mass))
    gaps = np.bincount(where, weights=targets - values, minlength=bins)
    return float(np.abs(gaps).sum() / len(values))


def brier(scores: ArrayLike, correct: ArrayLike) -> float:
    """Brier score: the mean squared difference, ``mean((p - y)^2)``; Brier 1950. Lower is better.

    >>> brier([1.0, 0.5], [1, 0])
    0.125
    """
    values, targets = _pair(scores, correct)
    return float(np.mean((values - targets) ** 2))


def nll(scores: ArrayLike, correct: ArrayLike) -> float:
    """Mean negative log likelihood in nats: ``-mean(y ln p + (1 - y) ln(1 - p))``, with p clipped by `CLIP`.

    >>> round(nll([0.5, 0.5], [1, 0]), 4)
    0.6931
    """
    values, targets = _pair(scores, correct)
    clipped = np.clip(values, CLIP, 1 - CLIP)
    return float(-np.mean(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped)))


def prior_nll(correct: ArrayLike, prior: float | None = None) -> float:
    """The log loss of always answering one probability: the reference that `nll` must beat.

    Args:
        correct: (steps,) targets.
        prior: the constant, from the training set; None takes the best one for these targets, their own mean, which
            makes the reference the hardest to beat.

    >>> round(prior_nll([1, 1, 1, 0]), 4)
    0.5623
    """
    targets = unit(correct, "correct")
    constant = float(targets.mean()) if prior is None else prior
    return nll(np.full(len(targets), constant), targets)


def prior_brier(correct: ArrayLike, prior: float | None = None) -> float:
    """The Brier score of always answering one probability, as `prior_nll`.

    >>> prior_brier([1, 1, 1, 0])
    0.1875
    """
    targets = unit(correct, "correct")
    return brier(np.full(len(targets), targets.mean() if prior is None else prior), targets)


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share; Wilson 1927. Never leaves [0, 1] and stays honest at 0 and n.

    >>> tuple(round(x, 3) for x in wilson(10, 10))
    (0.722, 1.0)
    """
    if n <= 0:
        return 0.0, 1.0
    share, square = successes / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z * np.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def reliability_bins(
    scores: ArrayLike,
    correct: ArrayLike,
    bins: int = 10,
    *,
    equal_mass: bool = False,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> list[ReliabilityBin]:
    """The bins of a reliability plot that hold at least one step, from low to high scores.

    The interval is Wilson's, as if steps were independent. With `groups` (a problem's id for each step) it is widened
    to also cover a percentile bootstrap over problems, because steps of one problem are right or wrong together.

    Raises:
        DataError: shapes differ, or a value is missing or outside [0, 1].

    >>> [(b.count, b.accuracy) for b in reliability_bins([0.95, 0.92, 0.05], [1, 0, 0])]
    [(1, 0.0), (2, 0.5)]
    """
    values, targets = _pair(scores, correct)
    edges = _edges(values, bins, equal_mass)
    where = _bin_of(values, edges)
    counts = np.bincount(where, minlength=bins)
    sums, right = (np.bincount(where, weights=w, minlength=bins) for w in (values, targets))
    intervals = [wilson(float(r), int(c)) for r, c in zip(right, counts, strict=True)]
    if groups is not None:
        intervals = _widen(intervals, _clustered(where, targets, np.asarray(groups), bins, seed))
    return [
        ReliabilityBin(low, high, float(sums[b] / n), float(right[b] / n), n, intervals[b])
        for b, (low, high, n) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True))
        if n
    ]


def _pair(scores: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    values, targets = unit(scores, "scores"), unit(correct, "correct")
    same_shape(scores=values, correct=targets)
    return values, targets


def _edges(values: Floats, bins: int, equal_mass: bool) -> Floats:
    if equal_mass:
        return np.asarray(np.quantile(values, np.linspace(0, 1, bins + 1)), dtype=np.float64)
    return np.linspace(0, 1, bins + 1)


def _bin_of(values: Floats, edges: Floats) -> Ints:
    """The bin of each value, ``(low, high]``; by value alone, so that the order of the steps cannot matter."""
    return np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2).astype(np.int64)


def _clustered(
    where: Ints, targets: Floats, groups: NDArray[np.generic], bins: int, seed: int
) -> list[tuple[float, float]]:
    """Percentile interval of each bin's accuracy when whole groups are drawn with replacement."""
    _, group = np.unique(groups, return_inverse=True)
    size = int(group.max()) + 1
    counts, right = np.zeros((size, bins)), np.zeros((size, bins))
    np.add.at(counts, (group, where), 1)
    np.add.at(right, (group, where), targets)
    drawn = resample_counts(size, 1000, seed)
    total, hits = drawn @ counts, drawn @ right
    share = np.divide(hits, total, out=np.full_like(hits, np.nan), where=total > 0)
    filled = np.where(np.isnan(share).all(axis=0), 0.5, share)
    low, high = np.nanpercentile(filled, [2.5, 97.5], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _widen(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(min(x[0], y[0]), max(x[1], y[1])) for x, y in zip(a, b, strict=True)]
