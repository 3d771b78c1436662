"""A learned reducer: a small logistic regression from a response's step scores to the chance that it is right.

    fitted = fit_reducer(step_scores, correct, groups=problem_ids)
    fitted.save("reducer.json")
    rewardkit search my.yaml reducer=learned:reducer.json

Fitted on responses whose correctness is known, of other problems than those that it is used on. Its name holds its
weights (``learned:bias=-1.2,min=3.1,...``), so that it works wherever a reducer is named: in search, in the score of a
batch, in evaluation, in ``reward_model.json`` and as ``aggregate`` of a request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewardkit.errors import DataError
from rewardkit.models.reduce import FEATURES, LEARNED

FOLDS = 5
LARGEST = 1e5
"""Of a weight; such a reducer is a hard threshold."""


@dataclass(frozen=True, slots=True)
class LearnedReducer:
    """A fitted reducer.

    Attributes:
        reducer: its name, which holds the weights.
        responses: how many it was fitted on.
        right: how many of them are right.
        loss: log loss over held-out folds of whole groups; None where there are too few.
        prior_loss: that of always saying the share of right responses.
    """

    reducer: str
    responses: int
    right: int
    loss: float | None
    prior_loss: float

    def save(self, path: str | Path) -> None:
        """Write it as JSON; ``learned:PATH`` names it from then on."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def fit_reducer(
    step_scores: Sequence[Sequence[float]],
    correct: Sequence[bool],
    *,
    groups: Sequence[Hashable] | None = None,
    features: Sequence[str] = ("min", "second", "mean", "last", "log_prod", "log_steps"),
    strength: float = 1.0,
) -> LearnedReducer:
    """Fit a reducer by L2-regularised logistic regression over standardised features.

    Args:
        step_scores: of each response, one score a step in [0, 1], at least one.
        correct: whether the response is right.
        groups: the problem of each response, so that the held-out loss is of other problems; None takes each response
            for itself.
        features: of `rewardkit.models.reduce.FEATURES`.
        strength: the inverse weight of the penalty (scikit-learn's ``C``).

    Raises:
        DataError: lengths differ, a score is missing or not finite, or all responses are right, or all wrong.

    >>> scores, right = [[0.9, 0.8], [0.9, 0.1], [0.8, 0.9], [0.2, 0.9]], [True, False, True, False]
    >>> fitted = fit_reducer(scores, right, features=["min"])
    >>> from rewardkit.models.reduce import reduce_scores
    >>> reduce_scores([0.9, 0.9], fitted.reducer) > 0.5 > reduce_scores([0.9, 0.1], fitted.reducer)
    True
    """
    x, y = _table(step_scores, correct, features)
    names = list(groups) if groups is not None else list(range(len(y)))
    if len(names) != len(y):
        raise DataError(f"{len(y)} responses but {len(names)} groups")
    scale = np.where(x.std(axis=0) > 1e-9, x.std(axis=0), 1.0)
    model = _fit((x - x.mean(axis=0)) / scale, y, strength)
    weights = np.clip(model.coef_[0] / scale, -LARGEST, LARGEST)
    bias = float(np.clip(model.intercept_[0] - weights @ x.mean(axis=0), -LARGEST, LARGEST))
    pairs = [("bias", bias), *zip(features, weights.tolist(), strict=True)]
    name = LEARNED + ",".join(f"{feature}={weight:.6f}" for feature, weight in pairs)
    share = float(y.mean())
    prior = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    return LearnedReducer(name, len(y), int(y.sum()), _held_out(x, y, names, strength), prior)


def _table(
    step_scores: Sequence[Sequence[float]], correct: Sequence[bool], features: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    unknown = [name for name in features if name not in FEATURES or name == "bias"]
    if unknown or not features:
        known = ", ".join(name for name in FEATURES if name != "bias")
        raise DataError(f"features must be of {known}; got {', '.join(map(repr, unknown)) or 'none'}")
    if len(step_scores) != len(correct):
        raise DataError(f"{len(step_scores)} responses but {len(correct)} marks of right and wrong")
    bad = next((i for i, row in enumerate(step_scores) if not len(row) or not np.isfinite(row).all()), None)
    if bad is not None:
        raise DataError(f"response {bad} has no step scores, or one that is not finite; leave it out")
    y = np.array([bool(mark) for mark in correct])
    if not len(y) or y.all() or not y.any():
        raise DataError("a reducer is learned from right and wrong responses, and there is only one kind here")
    return np.array([[FEATURES[name](list(row)) for name in features] for row in step_scores], dtype=np.float64), y


def _fit(x: np.ndarray, y: np.ndarray, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000).fit(x, y)


def _held_out(x: np.ndarray, y: np.ndarray, groups: Sequence[Hashable], strength: float) -> float | None:
    """Log loss of each response under the fit on the folds without its group."""
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import StandardScaler

    places = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    if len(places) < FOLDS:
        return None
    chances = np.zeros(len(y))
    for train, test in GroupKFold(FOLDS).split(x, y, [places[group] for group in groups]):
        if y[train].all() or not y[train].any():
            return None
        scaler = StandardScaler().fit(x[train])
        model = _fit(scaler.transform(x[train]), y[train], strength)
        chances[test] = model.predict_proba(scaler.transform(x[test]))[:, 1]
    chances = np.clip(chances, 1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(y, np.log(chances), np.log(1 - chances))))
