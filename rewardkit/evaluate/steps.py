"""How well step scores tell right steps from wrong ones, over the steps that have a verdict.

Positive class: the *wrong* step, because errors are what a process reward model is asked to find. Its score is one
minus the step's score. AUROC is the same whichever class is positive; average precision is not, and for wrong steps
its value at chance is their share, which is worth printing beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.evaluate.arrays import Bools, Floats, binary, finite, same_shape

Points = list[tuple[float, float]]


def one_class(correct: ArrayLike) -> str:
    """Why a ranking metric is not defined on these labels; empty where it is.

    >>> one_class([1, 1]), one_class([1, 0])
    ('all labelled steps are right', '')
    """
    labels = binary(correct, "correct")
    if labels.all():
        return "all labelled steps are right"
    return "" if labels.any() else "all labelled steps are wrong"


def step_auroc(scores: ArrayLike, correct: ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a right step scores above a wrong one, a tie counting half.

    Formula: ``P(s_right > s_wrong) + P(s_right = s_wrong) / 2``; Fawcett 2006. From the ranks of the scores (Mann and
    Whitney 1947), as a bootstrap calls it a thousand times; scikit-learn's ``roc_auc_score`` gives the same.

    Args:
        scores: (steps,) higher means more likely right; any monotone scale.
        correct: (steps,) 1 for a right step, 0 for a wrong one; abstentions left out.

    Returns:
        A value in [0, 1], 0.5 at chance; None where only one class is present (`one_class` says which).

    Raises:
        DataError: shapes differ, or a value is missing or not binary.

    >>> step_auroc([0.9, 0.6, 0.6, 0.1], [1, 1, 0, 0])
    0.875
    """
    wrongness, wrong = _wrong(scores, correct)
    if _single(wrong):
        return None
    _, where, counts = np.unique(wrongness, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]  # equal scores share the middle of their ranks
    size = int(wrong.sum())
    above = float(ranks[wrong].sum()) - size * (size + 1) / 2
    return above / (size * (len(wrong) - size))


def step_average_precision(scores: ArrayLike, correct: ArrayLike) -> float | None:
    """Average precision of finding the *wrong* steps by their low scores.

    Formula: ``AP = sum_n (R_n - R_{n-1}) P_n`` over the distinct scores, without interpolation; scikit-learn's
    ``average_precision_score``. At chance it is the share of wrong steps.

    Args:
        scores: (steps,) higher means more likely right.
        correct: (steps,) 1 for a right step, 0 for a wrong one.

    Returns:
        A value in [0, 1]; None where only one class is present.

    Raises:
        DataError: shapes differ, or a value is missing or not binary.

    >>> round(step_average_precision([0.9, 0.2, 0.6, 0.1], [1, 1, 0, 0]), 4)
    0.8333
    """
    from sklearn.metrics import average_precision_score

    wrongness, wrong = _wrong(scores, correct)
    return None if _single(wrong) else float(average_precision_score(wrong, wrongness))


def roc_points(scores: ArrayLike, correct: ArrayLike, limit: int = 200) -> Points:
    """The ROC curve of finding wrong steps as ``(false positive rate, true positive rate)``, at most `limit` points.

    Empty where only one class is present.

    >>> roc_points([0.9, 0.1], [1, 0])
    [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    from sklearn.metrics import roc_curve

    wrongness, wrong = _wrong(scores, correct)
    if _single(wrong):
        return []
    false_rate, true_rate, _ = roc_curve(wrong, wrongness)
    return _thin(false_rate, true_rate, limit)


def precision_recall_points(scores: ArrayLike, correct: ArrayLike, limit: int = 200) -> Points:
    """The curve of finding wrong steps as ``(recall, precision)``, recall rising, at most `limit` points.

    Empty where only one class is present.

    >>> precision_recall_points([0.9, 0.1], [1, 0])
    [(0.0, 1.0), (1.0, 1.0), (1.0, 0.5)]
    """
    from sklearn.metrics import precision_recall_curve

    wrongness, wrong = _wrong(scores, correct)
    if _single(wrong):
        return []
    precision, recall, _ = precision_recall_curve(wrong, wrongness)
    return _thin(recall[::-1], precision[::-1], limit)


def _wrong(scores: ArrayLike, correct: ArrayLike) -> tuple[Floats, Bools]:
    values = finite(scores, "scores")
    labels = binary(correct, "correct")
    same_shape(scores=values, correct=labels)
    return -values, ~labels


def _single(wrong: Bools) -> bool:
    return bool(wrong.all() or not wrong.any())


def _thin(x: Floats, y: Floats, limit: int) -> Points:
    kept = np.unique(np.linspace(0, len(x) - 1, min(limit, len(x))).round().astype(int))
    return [(float(a), float(b)) for a, b in zip(x[kept], y[kept], strict=True)]
