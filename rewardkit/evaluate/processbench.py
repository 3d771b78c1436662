"""First-error F1 as ProcessBench defines it.

A trace's truth is the index of its first wrong step, or -1 where every step is right. A process reward model predicts
the first step whose score is below a threshold, or -1. F1 is the harmonic mean of two *accuracies*: exact hits among
the traces with an error, and -1 among those without. Source: Zheng et al., "ProcessBench" (ACL 2025, arXiv 2412.06559)
and QwenLM/ProcessBench, ``code/run_eval_prm_rlhflow.py``; theirs in percent, ours in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import Floats, Ints, finite, same_shape


class FirstErrorAccuracies(NamedTuple):
    """The two accuracies and their harmonic mean; None where there is no trace of that kind."""

    f1: float | None
    error_accuracy: float | None
    correct_accuracy: float | None


def first_errors(scores: Sequence[ArrayLike], threshold: float) -> Ints:
    """The predicted first error of each trace: the first step whose score is below `threshold`, else -1.

    Args:
        scores: for each trace, one score a step (at least one).
        threshold: a score equal to it counts as right.

    Raises:
        DataError: a trace has no score, or a score is NaN.

    >>> first_errors([[0.9, 0.2, 0.1], [0.9, 0.5]], 0.5).tolist()
    [1, -1]
    """
    found = []
    for trace in scores:
        below = finite(trace, "scores of a trace") < threshold
        found.append(int(below.argmax()) if below.any() else -1)
    return np.asarray(found, dtype=np.int64)


def first_error_accuracies(predicted: ArrayLike, truth: ArrayLike) -> FirstErrorAccuracies:
    """Accuracy on traces with an error (exact index), on traces without, and their harmonic mean.

    Formula: ``F1 = 2 a_err a_ok / (a_err + a_ok)``, 0 where both are 0.

    Args:
        predicted: (traces,) predicted index of the first wrong step, -1 for none.
        truth: (traces,) the true index, -1 for none.

    Raises:
        DataError: shapes differ or there is no trace.

    >>> first_error_accuracies([1, 0, -1, -1], [1, 2, -1, -1])
    FirstErrorAccuracies(f1=0.6666666666666666, error_accuracy=0.5, correct_accuracy=1.0)
    >>> first_error_accuracies([-1], [-1]).f1 is None
    True
    """
    guess, true = finite(predicted, "predicted"), finite(truth, "truth")
    same_shape(predicted=guess, truth=true)
    hit, wrong = guess == true, true >= 0
    on_wrong = float(hit[wrong].mean()) if wrong.any() else None
    on_right = float(hit[~wrong].mean()) if not wrong.all() else None
    if on_wrong is None or on_right is None:
        return FirstErrorAccuracies(None, on_wrong, on_right)
    return FirstErrorAccuracies(_harmonic(on_wrong, on_right), on_wrong, on_right)


def first_error_f1(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """ProcessBench's F1 alone, as `bootstrap` wants it; None where one kind of trace is missing.

    >>> first_error_f1([0, -1], [0, -1])
    1.0
    """
    return first_error_accuracies(predicted, truth).f1


def best_threshold(scores: Sequence[ArrayLike], truth: ArrayLike) -> float:
    """The threshold with the highest first-error F1 on a *development* set; never choose it on the set you report.

    Exact, without a grid. A trace with its error at ``e`` is hit for ``s_e < t <= min(s_0 .. s_{e-1})``, one without
    for ``t <= min(s)``; F1 is constant between the ends of these intervals, and the middle of the best stretch is
    taken, of the widest one where several are as good.

    Args:
        scores: for each trace, one score a step, in [0, 1].
        truth: (traces,) index of the first wrong step, -1 for none.

    Raises:
        DataError: lengths differ, an index lies outside its trace, or one kind of trace is missing.

    >>> best_threshold([[0.9, 0.2], [0.8, 0.6]], [1, -1])
    0.4
    """
    true = finite(truth, "truth").astype(np.int64)
    traces = [finite(trace, "scores of a trace") for trace in scores]
    if len(traces) != len(true):
        raise DataError(f"{len(traces)} traces of scores but {len(true)} first errors")
    low, high = _hit_intervals([t for t, e in zip(traces, true, strict=True) if e >= 0], true[true >= 0])
    clean = np.sort([t.min() for t, e in zip(traces, true, strict=True) if e < 0])
    if not len(clean) or len(clean) == len(true):
        raise DataError("choosing a threshold needs traces with an error and traces without one")
    ends = np.unique(np.concatenate([[0.0], low, high[np.isfinite(high)], clean, [1.0]]))
    middles = (ends[:-1] + ends[1:]) / 2 if len(ends) > 1 else ends
    possible = low < high
    low, high = np.sort(low[possible]), np.sort(high[possible])
    on_wrong = (np.searchsorted(low, middles) - np.searchsorted(high, middles)) / (len(true) - len(clean))
    on_right = 1 - np.searchsorted(clean, middles) / len(clean)
    total = on_wrong + on_right
    f1 = np.divide(2 * on_wrong * on_right, total, out=np.zeros_like(total), where=total > 0)
    widths = np.diff(ends) if len(ends) > 1 else np.ones(1)
    best = np.flatnonzero(np.isclose(f1, f1.max(), rtol=0, atol=1e-12))
    return float(middles[best[np.argmax(widths[best])]])


def _hit_intervals(traces: Sequence[Floats], errors: Ints) -> tuple[Floats, Floats]:
    """For each trace with an error, the thresholds ``low < t <= high`` at which exactly that step is found."""
    low, high = [], []
    for trace, error in zip(traces, errors, strict=True):
        if error >= len(trace):
            raise DataError(f"a first error is step {error}, but its trace has {len(trace)} scores")
        low.append(trace[error])
        high.append(trace[:error].min() if error else np.inf)
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
