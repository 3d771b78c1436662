"""AUROC and accuracy on many weighted resamples at once: a table of thousands of cells in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewardkit.evaluate.bootstrap import resample_counts

Floats = NDArray[np.float64]


def problem_weights(problems: NDArray[np.str_], n: int, seed: int) -> Floats:
    """(n + 1, steps): how often each step counts; first once each, then by resamples of whole problems.

    >>> problem_weights(np.array(["a", "a", "b"]), 1, seed=0)[0].tolist()
    [1.0, 1.0, 1.0]
    """
    names, of = np.unique(problems, return_inverse=True)
    drawn = resample_counts(len(names), n, seed)[:, of.reshape(-1)]
    return np.concatenate([np.ones((1, len(problems))), drawn])


def weighted_auroc(scores: Floats, truth: Floats, weights: Floats) -> Floats:
    """AUROC of the scores under each row of weights, ties counting half.

    Args:
        scores: (steps,) higher means more likely right.
        truth: (steps,) 1 or 0.
        weights: (rows, steps), not negative.

    Returns:
        (rows,); NaN where one class has no weight.

    >>> weighted_auroc(np.array([0.9, 0.6, 0.6, 0.1]), np.array([1.0, 1, 0, 0]), np.ones((1, 4))).tolist()
    [0.875]
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    right = np.add.reduceat((weights * truth)[:, order], starts, axis=1)
    wrong = np.add.reduceat((weights * (1 - truth))[:, order], starts, axis=1)
    below = wrong.cumsum(axis=1) - wrong / 2
    pairs = right.sum(axis=1) * wrong.sum(axis=1)
    made: Floats = np.divide((right * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return made


def weighted_accuracy(scores: Floats, truth: Floats, weights: Floats) -> Floats:
    """The share of steps on the right side of 0.5 under each row of weights, (rows,).

    >>> weighted_accuracy(np.array([0.9, 0.2, 0.6]), np.array([1.0, 1, 1]), np.array([[1.0, 2, 1]])).tolist()
    [0.5]
    """
    hits = ((scores >= 0.5) == (truth == 1)).astype(np.float64)
    made: Floats = (weights @ hits) / weights.sum(axis=1)
    return made


def summary(values: Floats, level: float = 0.95) -> tuple[float, float, float]:
    """Value and interval of a metric: the first row is that of all steps, the others are resamples.

    >>> summary(np.array([0.5, 0.4, 0.5, 0.6]), level=0.5)
    (0.5, 0.45, 0.55)
    """
    low, high = np.nanpercentile(values[1:], [50 * (1 - level), 50 * (1 + level)])
    return float(values[0]), float(low), float(high)
