"""Turn scores into probabilities that mean what they say, by steps whose verdict is known.

    temperature  sigmoid(z / T)                 Guo et al. 2017, arXiv 1706.04599
    platt        sigmoid(a z + b)               Platt 1999
    beta         sigmoid(a ln p - b ln(1-p) + c), a and b >= 0    Kull et al. 2017
    isotonic     any rising staircase           Zadrozny and Elkan 2002

``z`` is the logit of the score. The more verdicts, the freer the map: that is what ``auto`` goes by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.arrays import binary, finite, same_shape, unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Literal["auto", "temperature", "platt", "beta", "isotonic"]

METHODS = ("auto", "temperature", "platt", "beta", "isotonic")
_EDGE = 1e-4
"""Scores are moved this far from 0 and 1 before a logarithm is taken: a hard vote is no certainty."""


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A fitted map from a score to a probability. Plain numbers, so that it can stand in a model's JSON.

    Attributes:
        method: of `METHODS`, but ``auto``.
        parameters: ``(1/T,)``, ``(a, b)``, ``(a, b, c)``; of an isotonic map the scores at which it bends.
        values: of an isotonic map, its values there.
        n: how many verdicts it was fitted on.
    """

    method: str
    parameters: tuple[float, ...]
    values: tuple[float, ...]
    n: int

    def __call__(self, scores: ArrayLike) -> Floats:
        """(steps,) probabilities from (steps,) scores in [0, 1].

        Raises:
            DataError: a score is missing or outside [0, 1].
        """
        p = unit(scores, "scores")
        if self.method == "isotonic":
            return np.asarray(np.interp(p, self.parameters, self.values), dtype=np.float64)
        parameters = np.asarray(self.parameters)
        intercept = 0.0 if self.method == "temperature" else parameters[-1]
        slopes = parameters if self.method == "temperature" else parameters[:-1]
        return np.asarray(1 / (1 + np.exp(-(_inputs(p, self.method) @ slopes + intercept))), dtype=np.float64)


def by_size(n: int) -> str:
    """The method for so many verdicts: a freer map needs more of them.

    >>> [by_size(n) for n in (50, 500, 3000, 50000)]
    ['temperature', 'platt', 'beta', 'isotonic']
    """
    return "temperature" if n < 100 else "platt" if n < 1000 else "beta" if n < 5000 else "isotonic"


def fit_calibrator(scores: ArrayLike, correct: ArrayLike, method: Method | str = "auto") -> Calibrator:
    """Fit a map from scores to the chance of being right.

    Fit on verdicts that the scores were not trained on: those of other problems (`cross_calibrated`).

    Args:
        scores: (steps,) in [0, 1].
        correct: (steps,) verdicts, 0 or 1.
        method: of `METHODS`; ``auto`` goes by their number, see `by_size`.

    Raises:
        ConfigError: no such method.
        DataError: shapes differ, or all verdicts are the same.

    >>> sharp = fit_calibrator([0.99] * 50 + [0.01] * 50, ([1] * 4 + [0]) * 10 + ([0] * 4 + [1]) * 10, "temperature")
    >>> [round(float(p), 1) for p in sharp([0.99, 0.01])]
    [0.8, 0.2]
    """
    p, right = unit(scores, "scores"), binary(correct, "correct")
    same_shape(scores=p, correct=right)
    if method not in METHODS:
        raise ConfigError(f"there is no calibration '{method}'; there are {', '.join(METHODS)}")
    _two_sided(right)
    method = by_size(len(p)) if method == "auto" else method
    if method == "isotonic":
        return _isotonic(p, right)
    return _logistic(p, right, method)


def temperature_and_bias(log_odds: ArrayLike, correct: ArrayLike, *, bias: bool = True) -> tuple[float, float]:
    """Platt's map as ``reward_model.json`` has it: the score is ``sigmoid((log-odds + bias) / temperature)``.

    Args:
        log_odds: (steps,) of any size: those of an implicit model are not bounded.
        correct: (steps,) targets from 0 to 1.
        bias: whether one is fitted; without it the bias is 0 and one half stays one half.

    Raises:
        DataError: shapes differ, the targets are all right or all wrong, or high log-odds go with wrong steps: no
            temperature mends a ranking.

    >>> temperature, bias = temperature_and_bias([2.0, 2, 2, 2, -2, -2, -2, -2], [1, 1, 1, 0, 0, 0, 0, 1])
    >>> round(temperature, 1), round(abs(bias), 1)
    (1.8, 0.0)
    """
    from sklearn.linear_model import LogisticRegression

    z, target = finite(log_odds, "log_odds"), unit(correct, "correct")
    same_shape(log_odds=z, correct=target)
    _two_sided(target >= 0.5)
    scale = float(np.sqrt(np.mean(z**2))) or 1.0
    # A soft target is a step that is there twice: right with its chance, and wrong with what is left.
    twice, right = np.concatenate([z, z])[:, None] / scale, np.repeat([1, 0], len(z))
    model = LogisticRegression(C=1e3, fit_intercept=bias, max_iter=1000, tol=1e-8)
    model.fit(twice, right, sample_weight=np.concatenate([target, 1 - target]))
    slope = float(model.coef_[0, 0]) / scale
    if slope <= 0:
        raise DataError(
            "high scores do not go with right steps here, and no temperature mends a ranking: look at the AUROC of "
            "`rewardkit eval calibration`, and at whether these labels mean what the model was trained for"
        )
    return 1 / slope, (float(model.intercept_[0]) / slope if bias else 0.0)


def problem_folds(groups: ArrayLike, correct: ArrayLike, folds: int = 5, seed: int = 0) -> Ints:
    """Cut steps into folds by problem, such that outside each fold both verdicts remain.

    Problems with a step of the rarer verdict are dealt out first, one to each fold in turn, then the others.

    Args:
        groups: (steps,) a problem for each step.
        correct: (steps,) verdicts, 0 or 1.
        folds: how many; fewer where there are fewer problems with the rarer verdict.
        seed: of the order in which problems are dealt.

    Returns:
        (steps,) the number of the step's fold.

    Raises:
        DataError: fewer than two problems have a step of each verdict.

    >>> sorted(set(problem_folds(list("aabbccdd"), [1, 0] * 4, folds=3).tolist()))
    [0, 1, 2]
    """
    right = binary(correct, "correct")
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    has = [np.bincount(group, weights=mask, minlength=len(names)) > 0 for mask in (~right, right)]
    rare = min(has, key=np.sum)
    if rare.sum() < 2:
        kind = "wrong" if rare is has[0] else "right"
        raise DataError(
            f"only {int(rare.sum())} of {len(names)} problems with gold labels has a {kind} step; "
            "folds by problem need two: label more problems, or use a method and a calibration that need no gold"
        )
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(names))
    order = np.concatenate([order[rare[order]], order[~rare[order]]])
    fold_of = np.empty(len(names), dtype=np.int64)
    fold_of[order] = np.arange(len(names)) % min(folds, int(rare.sum()))
    return np.asarray(fold_of[group], dtype=np.int64)


def cross_calibrated(scores: ArrayLike, correct: ArrayLike, folds: Ints, method: Method | str = "auto") -> Floats:
    """Each step's calibrated score by a map that was fitted on the other folds: what a held-out report measures."""
    p, right = np.asarray(scores, dtype=np.float64), np.asarray(correct)
    made = np.empty(len(p))
    for fold in np.unique(folds):
        inside = folds == fold
        made[inside] = fit_calibrator(p[~inside], right[~inside], method)(p[inside])
    return made


def _two_sided(right: NDArray[np.bool_]) -> None:
    if right.all() or not right.any():
        side = "right" if right.all() else "wrong"
        raise DataError(f"nothing to calibrate on: all {len(right)} verdicts say {side}; add steps that are not")


def _inputs(p: Floats, method: str) -> Floats:
    inner = np.clip(p, _EDGE, 1 - _EDGE)
    first, second = np.log(inner), -np.log1p(-inner)
    return np.column_stack([first, second]) if method == "beta" else (first + second)[:, None]


def _logistic(p: Floats, right: Any, method: str) -> Calibrator:
    """The three maps that are a logistic regression on logarithms of the score.

    A falling map would turn the ranking round: its slope is set to nothing, so that only the base rate is left.
    """
    from sklearn.linear_model import LogisticRegression

    inputs = _inputs(p, method)
    used = np.arange(inputs.shape[1])
    while True:
        model = LogisticRegression(C=10.0, fit_intercept=method != "temperature", max_iter=1000)
        model.fit(inputs[:, used], right)
        falling = model.coef_[0] < 0
        if not falling.any() or len(used) == 1:
            break
        used = np.delete(used, int(np.argmin(model.coef_[0])))
    slopes = np.zeros(inputs.shape[1])
    slopes[used] = np.maximum(model.coef_[0], 0.0)
    intercept = [] if method == "temperature" else [_base(right) if not slopes.any() else float(model.intercept_[0])]
    return Calibrator(method, (*(float(s) for s in slopes), *intercept), (), len(p))


def _base(right: Any) -> float:
    share = float(np.mean(right))
    return float(np.log(share / (1 - share)))


def _isotonic(p: Floats, right: Any) -> Calibrator:
    """Values are kept off 0 and 1: a step of the staircase that saw no error may still err."""
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (len(p) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(p, right.astype(np.float64))
    bends, values = model.X_thresholds_, model.y_thresholds_
    return Calibrator("isotonic", tuple(map(float, bends)), tuple(map(float, values)), len(p))
