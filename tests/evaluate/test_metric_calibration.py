from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from rewardkit.errors import DataError
from rewardkit.evaluate.calibration import brier, ece, nll, prior_brier, prior_nll, reliability_bins, wilson

pairs = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


def arrays(rows):
    return np.array([p for p, _ in rows]), np.array([float(y) for _, y in rows])


@given(pairs, st.sampled_from([10, 15]))
def test_equal_width_ece_is_the_weighted_gap_of_the_bins(rows, bins):
    scores, correct = arrays(rows)
    total = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for b in range(bins):
        inside = (scores > edges[b]) & (scores <= edges[b + 1]) | ((b == 0) & (scores == 0))
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - scores[inside].mean())
    assert ece(scores, correct, bins) == pytest.approx(total)


@given(pairs, st.booleans(), st.randoms(use_true_random=False))
def test_calibration_ignores_the_order_and_stays_in_bounds(rows, equal_mass, random):
    mixed = list(rows)
    random.shuffle(mixed)
    value = ece(*arrays(rows), equal_mass=equal_mass)
    assert 0 <= value <= 1
    assert value == pytest.approx(ece(*arrays(mixed), equal_mass=equal_mass))


@given(pairs, st.booleans())
def test_reliability_bins_account_for_every_step(rows, equal_mass):
    scores, correct = arrays(rows)
    bins = reliability_bins(scores, correct, equal_mass=equal_mass)
    assert sum(b.count for b in bins) == len(rows)
    assert sum(b.count * b.accuracy for b in bins) == pytest.approx(correct.sum())
    gap = sum(b.count * abs(b.accuracy - b.mean_score) for b in bins) / len(rows)
    assert gap == pytest.approx(ece(scores, correct, 10, equal_mass=equal_mass))
    assert all(b.interval[0] - 1e-9 <= b.accuracy <= b.interval[1] + 1e-9 for b in bins)


def test_a_score_on_an_edge_belongs_to_the_bin_below():
    bins = reliability_bins([0.0, 0.5, 0.51, 1.0], [1, 1, 1, 1])
    assert [(round(b.low, 1), round(b.high, 1), b.count) for b in bins] == [
        (0.0, 0.1, 1),
        (0.4, 0.5, 1),
        (0.5, 0.6, 1),
        (0.9, 1.0, 1),
    ]


def test_equal_mass_bins_hold_equal_shares():
    scores = np.random.default_rng(0).beta(8, 2, 1000)
    counts = [b.count for b in reliability_bins(scores, scores > 0.5, equal_mass=True)]
    assert counts == [100] * 10


def test_losses_agree_with_scikit_learn():
    random = np.random.default_rng(1)
    scores, correct = random.uniform(0.01, 0.99, 500), (random.random(500) < 0.8).astype(float)
    assert brier(scores, correct) == pytest.approx(brier_score_loss(correct, scores))
    assert nll(scores, correct) == pytest.approx(log_loss(correct, scores))


def test_a_sure_mistake_costs_much_but_not_infinity():
    assert nll([1.0], [0]) == pytest.approx(13.8155, abs=1e-3)


def test_the_prior_is_the_best_constant():
    correct = [1, 1, 1, 0, 1]
    constants = np.linspace(0.05, 0.95, 19)
    assert prior_nll(correct) <= min(prior_nll(correct, c) for c in constants)
    assert prior_brier(correct) <= min(prior_brier(correct, c) for c in constants)


def test_clustered_intervals_are_wider_where_problems_differ():
    groups = np.repeat(np.arange(20), 25)
    correct = np.repeat([1.0, 0.0], 10)[groups]
    scores = np.full(500, 0.55)
    alone = reliability_bins(scores, correct)[0].interval
    together = reliability_bins(scores, correct, groups=groups)[0].interval
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_wilson_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = random.binomial(50, 0.9, 2000)
    covered = np.mean([low <= 0.9 <= high for low, high in (wilson(k, 50) for k in draws)])
    assert 0.93 < covered < 0.98


def test_scores_outside_the_unit_interval_are_refused():
    with pytest.raises(DataError, match=r"scores must lie in \[0, 1\]"):
        ece([1.2], [1])
