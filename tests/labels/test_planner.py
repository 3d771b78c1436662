"""The planner keeps to the budget and names the regime; drift and leaks are seen."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.errors import DataError
from rewardkit.labels.drift import leaks, score_drift
from rewardkit.labels.planner import plan


def test_only_verified_labels_help_and_only_they_are_bought():
    found = plan(lambda v, w: 1 - 0.99**v, verified_price=1, weak_price=0.01, budget=900)
    assert (found.best.verified, found.best.weak) == (800, 0)
    assert found.regime == "quality"


def test_only_weak_labels_help():
    found = plan(lambda v, w: w / 16000, verified_price=1, weak_price=0.01, budget=1000)
    assert (found.best.verified, found.best.weak, found.regime) == (0, 16000, "quantity")


def test_the_frontier_rises_and_nothing_beyond_the_budget_is_measured():
    asked = []

    def measure(v: int, w: int) -> float:
        asked.append(v + 0.01 * w)
        return float(np.log1p(v) + 0.3 * np.log1p(w))

    found = plan(measure, verified_price=1, weak_price=0.01, budget=210)
    assert max(asked) <= 210
    prices, qualities = zip(*((p.price, p.quality) for p in found.frontier), strict=True)
    assert list(prices) == sorted(set(prices))
    assert list(qualities) == sorted(set(qualities))


def test_a_budget_that_buys_nothing_and_free_labels_are_refused():
    with pytest.raises(DataError, match="buys none"):
        plan(lambda v, w: 0.0, verified_price=1, weak_price=1, budget=10)
    with pytest.raises(DataError, match="above 0"):
        plan(lambda v, w: 0.0, verified_price=1, weak_price=0, budget=10)


def test_drift_is_scipys_statistic_and_is_not_seen_in_equal_scores():
    from scipy.stats import ks_2samp

    draw = np.random.default_rng(0)
    a, b, c = draw.beta(5, 2, 500), draw.beta(5, 2, 700), draw.beta(3, 2, 700)
    assert score_drift(a, c).distance == pytest.approx(ks_2samp(a, c).statistic)
    assert not score_drift(a, b).drifted
    assert score_drift(a, c).drifted


def test_nothing_leaks_from_nothing():
    assert leaks([], ["a problem"]) == (0.0, [])
