"""Calibrated scores mean what they say, and no verdict leaks between folds."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.calibration import ece, nll
from rewardkit.labels.calibrate import METHODS, cross_calibrated, fit_calibrator, problem_folds

DRAW = np.random.default_rng(0)
CHANCE = DRAW.beta(2, 1, 4000)
RIGHT = (DRAW.random(4000) < CHANCE).astype(float)
SURE = 1 / (1 + np.exp(-3 * np.log(CHANCE / (1 - CHANCE))))
"""Three times too sure."""


@pytest.mark.parametrize("method", METHODS)
def test_too_sure_scores_are_mended(method):
    fitted = fit_calibrator(SURE[:3000], RIGHT[:3000], method)
    made = fitted(SURE[3000:])
    assert ece(made, RIGHT[3000:]) < 0.06 < ece(SURE[3000:], RIGHT[3000:])
    assert nll(made, RIGHT[3000:]) < nll(SURE[3000:], RIGHT[3000:])


def test_temperature_is_found():
    assert fit_calibrator(SURE, RIGHT, "temperature").parameters[0] == pytest.approx(1 / 3, rel=0.08)


@pytest.mark.parametrize("method", METHODS)
def test_maps_rise_and_never_say_certain(method):
    made = fit_calibrator(SURE, RIGHT, method)(np.linspace(0, 1, 101))
    assert (np.diff(made) >= -1e-12).all()
    assert 0 < made.min() <= made.max() < 1


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
def test_scores_the_wrong_way_round_become_the_base_rate(method):
    made = fit_calibrator(1 - SURE, RIGHT, method)(1 - SURE)
    assert made == pytest.approx(RIGHT.mean(), abs=0.03)


def test_one_class_and_unknown_methods_are_refused():
    with pytest.raises(DataError, match="all 3 verdicts say right"):
        fit_calibrator([0.1, 0.5, 0.9], [1, 1, 1])
    with pytest.raises(ConfigError, match="no calibration 'magic'"):
        fit_calibrator([0.1, 0.5], [1, 0], "magic")


def test_a_problem_lies_in_one_fold_and_both_verdicts_remain_outside_each():
    groups = np.repeat(np.arange(40), 5)
    right = np.ones(200)
    right[[0, 7, 33]] = 0  # three problems have a wrong step
    fold = problem_folds(groups, right, 5)
    assert all(len(set(fold[groups == g])) == 1 for g in range(40))
    assert set(fold) == {0, 1, 2}
    assert all((right[fold != f] == 0).any() for f in set(fold))


def test_a_step_is_calibrated_without_its_own_verdict():
    fold = np.arange(200) % 2
    scores, right = SURE[:200], RIGHT[:200].copy()
    before = cross_calibrated(scores, right, fold)
    right[fold == 0] = 1 - right[fold == 0]
    after = cross_calibrated(scores, right, fold)
    assert (before[fold == 0] == after[fold == 0]).all()
    assert (before[fold == 1] != after[fold == 1]).any()
