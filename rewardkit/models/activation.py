"""From the head's logits to scores, for each kind of model: what offline scoring and both servers share."""

from __future__ import annotations

import numpy as np

from rewardkit.models.spec import RewardModelSpec


def step_probabilities(logits: np.ndarray, spec: RewardModelSpec) -> np.ndarray:
    """The calibrated probability of "correct" for each step.

    With one label the logit is taken as it is (sigmoid); with more, it is the log-odds of ``spec.positive_label``
    against all others, so that without calibration the result is the softmax.

    Args:
        logits: shape (steps, labels).
        spec: gives the positive label, the temperature and the bias: sigmoid((logit + bias) / temperature).

    Returns:
        Shape (steps,), float64, in [0, 1].

    Raises:
        ValueError: `logits` has not two dimensions, or no column for the positive label.

    >>> spec = RewardModelSpec(kind="token", separator_id=2, positive_label=1)
    >>> step_probabilities(np.array([[0.0, 0.0], [0.0, np.log(3)]]), spec).round(3).tolist()
    [0.5, 0.75]
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or not 0 <= spec.positive_label < max(values.shape[1], 1):
        raise ValueError(f"logits of shape {values.shape} have no column for the positive label {spec.positive_label}")
    log_odds = values[:, 0] if values.shape[1] == 1 else _log_odds(values, spec.positive_label)
    return _sigmoid((log_odds + spec.bias) / spec.temperature)


def scores_from_logits(logits: np.ndarray, spec: RewardModelSpec) -> list[float]:
    """The calibrated scores of one response: one a step, or the only one of an outcome model.

    Args:
        logits: shape (positions, labels); of an implicit model q_t, the scaled log-ratio up to the end of each step,
            with one label.
        spec: of the model; an implicit one's ``step_score`` says whether q_t counts or what step t added to it.
    """
    single = spec.kind == "implicit" and spec.step_score == "single"
    return [float(p) for p in step_probabilities(_added(logits) if single else logits, spec)]


def raw_values(logits: np.ndarray, spec: RewardModelSpec) -> list[float]:
    """What stands behind each score: the positive label's logit, or the reward that an implicit model gives a step.

    >>> raw_values(np.array([[1.0], [3.0]]), RewardModelSpec(kind="implicit"))
    [1.0, 2.0]
    """
    values = _added(logits) if spec.kind == "implicit" else logits
    return [float(v) for v in values[:, spec.positive_label]]


def _added(sums: np.ndarray) -> np.ndarray:
    return np.diff(sums, axis=0, prepend=0.0)


def _log_odds(values: np.ndarray, label: int) -> np.ndarray:
    """logit(softmax)[label] = z[label] - logsumexp(z[others]), without overflow."""
    others = np.delete(values, label, axis=1)
    highest = others.max(axis=1)
    result: np.ndarray = values[:, label] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return result


def _sigmoid(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 * (1.0 + np.tanh(0.5 * values))
    return result
