"""Selection: RAD equals its linear program, a random share always goes along, draws repeat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.select import (
    POLICIES,
    disagreement,
    diverse,
    llkd,
    rad_weights,
    rank,
    silver,
    skill_weights,
    trace_values,
    with_random_share,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("r", [0, 1, 3])
def test_rad_is_the_linear_programs_solution(seed, r):
    """max over w in the simplex of the gain that remains when an adversary takes the r largest w_i g_i away."""
    p = np.random.default_rng(seed).random(8)
    gain = 1 - np.abs(2 * p - 1)
    weights = rad_weights(p, useless=r, batch=1)
    ours = np.sort(weights * gain)[: len(p) - r].sum()
    # The sum of the r largest of x is min over t of r t + sum max(x - t, 0): one linear program over w, t, u.
    n = len(p)
    cost = np.concatenate([-gain, [r], np.ones(n)])
    below = np.hstack([np.diag(gain), -np.ones((n, 1)), -np.eye(n)])
    total = np.concatenate([np.ones(n), [0], np.zeros(n)])[None, :]
    found = linprog(cost, below, np.zeros(n), total, [1], bounds=[(0, None)] * (2 * n + 1))
    assert ours == pytest.approx(-found.fun, abs=1e-7)


def test_rad_says_when_nothing_is_left():
    with pytest.raises(DataError, match="2 candidates have anything to gain, and 3"):
        rad_weights([0.5, 0.4, 1.0], useless=0.3, batch=10)


P = np.random.default_rng(0).random(50)
VOTES = np.column_stack([P, 1 - P])


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_ranks_without_repeats_and_the_same_way_twice(policy):
    order = rank(policy, P, VOTES, VOTES, 20, seed=3)
    assert len(set(order.tolist())) == len(order)
    assert (order == rank(policy, P, VOTES, VOTES, 20, seed=3)).all()
    assert len(with_random_share(order, 50, 20)) == 20


def test_a_random_share_is_drawn_from_all_and_nothing_comes_twice():
    wanted = np.arange(50)
    chosen = with_random_share(wanted, 1000, 50, share=0.2, seed=1)
    assert len(set(chosen.tolist())) == 50
    assert (chosen >= 50).sum() in (9, 10)
    assert (with_random_share(wanted, 1000, 50, share=0.0) == wanted).all()


def test_unknown_policy_and_too_many_are_refused():
    with pytest.raises(ConfigError, match="no policy 'magic'"):
        rank("magic", P, VOTES, VOTES, 3)
    with pytest.raises(DataError, match="9 of 5 candidates"):
        with_random_share([0], 5, 9)


def test_llkd_keeps_sure_teachers_of_unsure_students_in_each_class():
    kept, _ = llkd([0.99, 0.7, 0.01, 0.3], [0.5, 0.5, 0.5, 0.5])
    assert kept.tolist() == [True, False, True, False]


def test_silver_needs_neighbours_and_prediction_to_agree():
    features = np.array([[1.0, 0], [1, 0.1], [0, 1.0], [0.1, 1], [1, 0.05], [0.05, 1], [1, 0.05]])
    assert silver(features, [1, 1, 0, 0], [0.9, 0.2, 0.4], k=2).tolist() == [True, True, False]


def test_diverse_covers_far_groups():
    points = np.concatenate([np.random.default_rng(1).normal(m, 0.1, (20, 2)) for m in (0, 10, 20)])
    assert {i // 20 for i in diverse(points, 3).tolist()} == {0, 1, 2}


def test_skills_without_a_profile_are_refused():
    with pytest.raises(DataError, match="no profile"):
        skill_weights({"units": 2}, [{"fractions"}])


def test_disagreement_and_trace_values():
    assert disagreement(np.array([[0.9, 0.1, 0.8, np.nan]])) == pytest.approx([1 - 1 / 3])
    assert trace_values([1, 2, 3, 4, 5], np.array([0, 0, 0, 0, 1]), 2).tolist() == [3.0, 5.0]
