"""The planner keeps to the budget and names the regime; drift and leaks are seen."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.errors import DataError
from rewardkit.labels.drift import compare_datasets, score_drift
from rewardkit.labels.pilot import Trial, plan_dataset, step_features
from rewardkit.labels.planner import plan
from rewardkit.labels.votes import read_votes
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


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


def dataset(folder, problems, scores):
    rows = []
    for problem, score in zip(problems, scores, strict=True):
        trace = Trace.create(Problem.create(problem), ["one step"])
        rows.append(LabelledTrace(trace, (StepLabel(trace.id, 0, float(score > 0.5), "z3", "local"),), (score,)))
    write_dataset(folder, rows, {})
    return folder


def test_two_datasets_are_compared_by_scores_labels_and_problems(tmp_path):
    draw = np.random.default_rng(0)
    texts = [f"What is {a} times {b}, less {c}?" for a, b, c in draw.integers(100, 10**6, (200, 3))]
    new = dataset(tmp_path / "new", ["Ann buys 5 apples at the market.", *texts[:99]], draw.beta(2, 5, 100))
    old = dataset(tmp_path / "old", ["ann buys 5 apples at the market!", *texts[100:]], draw.beta(5, 2, 101))
    found = compare_datasets(new, old)
    assert found.drifts["scores"].drifted and found.drifts["labels of z3"].drifted
    assert [leak.text for leak in found.leaks] == ["Ann buys 5 apples at the market."]
    assert (found.problems, found.leaked) == ((100, 101), 0.01)
    assert not compare_datasets(new, new).drifts["scores"].drifted


def pilot_set(folder, gold_from=0):
    """A hundred problems whose last word says the truth; the weak source is right four times in five."""
    draw, rows = np.random.default_rng(1), []
    for number in range(100):
        trace = Trace.create(Problem.create(f"problem {number}"), ["a sound step" if number % 3 else "a flawed step"])
        said = {"judge": 0.8 if (number % 3 > 0) == (draw.random() < 0.8) else 0.2}
        if number >= gold_from:
            said["z3"] = float(number % 3 > 0)
        rows.append(LabelledTrace(trace, tuple(StepLabel(trace.id, 0, p, s, "local") for s, p in said.items())))
    write_dataset(folder, rows, {})
    return folder


def test_a_pilot_says_what_pays_and_leaves_out_numbers_that_it_does_not_hold(tmp_path):
    prices = {"weak_price": 0.01, "budget": 100, "gold_counts": (0, 5, 50, 500), "weak_counts": (0, 50), "seeds": 2}
    pilot = plan_dataset(pilot_set(tmp_path / "set"), "judge", ["z3"], **prices)
    found = pilot.plan
    assert (pilot.gold, pilot.weak) == (70, 70)
    assert {(point.verified, point.weak) for point in found.points} == {(0, 50), (5, 0), (5, 50), (50, 0), (50, 50)}
    assert found.best.quality > 0.95
    assert found.best.price <= 50.5


def test_a_language_models_states_serve_as_features(tmp_path, monkeypatch, tiny_reward_model):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    folder = pilot_set(tmp_path / "set")
    votes = read_votes(folder, ["judge"], "local")
    table = step_features(folder, str(tiny_reward_model), votes)
    assert table.shape == (100, 64)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, rtol=1e-5)
    found = Trial(table, votes, (np.arange(100) % 3 > 0).astype(float), seed=0)
    assert found.quality(50, 0) > 0.9


def test_a_pilot_without_gold_to_hold_out_is_refused(tmp_path):
    with pytest.raises(DataError, match="too few or one-sided"):
        plan_dataset(pilot_set(tmp_path / "set", 98), "judge", ["z3"], weak_price=0.01, budget=10)
