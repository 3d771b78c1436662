"""Logits to scores: one label, several labels, calibration, extreme values."""

import numpy as np
import pytest

from rewardkit.models.activation import step_probabilities
from rewardkit.models.spec import RewardModelSpec


def spec(**values) -> RewardModelSpec:
    return RewardModelSpec(kind="token", separator_id=5, **values)


def test_one_label_is_a_sigmoid():
    got = step_probabilities(np.array([[0.0], [1.5012546]]), spec())
    assert got.tolist() == pytest.approx([0.5, 0.8177615], abs=1e-6)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_several_labels_are_a_softmax(label):
    logits = np.random.default_rng(0).normal(0, 3, (50, 3))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(step_probabilities(logits, spec(positive_label=label)), softmax[:, label], atol=1e-12)


def test_calibration_is_applied_to_the_log_odds():
    got = step_probabilities(np.array([[0.0, 2.0]]), spec(positive_label=1, temperature=2.0, bias=1.0))
    assert got[0] == pytest.approx(1 / (1 + np.exp(-(2.0 + 1.0) / 2.0)))


@pytest.mark.filterwarnings("error")
def test_extreme_logits_stay_probabilities():
    got = step_probabilities(np.array([[-1e4, 1e4], [1e4, -1e4]]), spec(positive_label=1))
    assert got.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, 0)])
def test_a_missing_column_is_refused(shape):
    with pytest.raises(ValueError, match="no column"):
        step_probabilities(np.zeros(shape), spec(positive_label=1))
