"""Math-Shepherd, OmegaPRM and the adaptive test over scripted and random continuations."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rewardkit.errors import ConfigError
from rewardkit.labelers.estimators import Outcome, SequentialTest, Tally, adaptive, estimate, math_shepherd, run_plans
from rewardkit.labelers.omegaprm import Selection, omegaprm

VECTORS = json.loads((Path(__file__).parent / "rollout_vectors.json").read_text(encoding="utf-8"))


class Scripted:
    """A stand-in policy: a prefix ends right with a chance that depends on its length; counts what it was asked."""

    def __init__(self, chances, seed=0):
        self.chances, self.draw, self.asked = chances, random.Random(seed), []

    def __call__(self, prefix, n):
        self.asked += [len(prefix)] * n
        return [Outcome(self.draw.random() < self.chances[len(prefix)]) for _ in range(n)]


def values(plan, policy):
    return [one.value for one in estimate(plan, policy)]


@pytest.mark.parametrize("vector", VECTORS["omegaprm_openr"][:2], ids=lambda v: v["name"])
def test_omegaprm_probes_as_the_authors_do(vector):
    given, expected = vector["input"], vector["output"]
    steps, bad = given["incorrect_rollout_steps"], given["first_bad_step"]

    def scripted(prefix, n):
        if not prefix:
            return [Outcome(True, ("fine. so it is 42.",)), Outcome(False, tuple(steps))]
        right = 0 if steps[bad - 1] in prefix else n // 2
        return [Outcome(i < right, ("so it is 42." if i < right else "so it is 7.",)) for i in range(n)]

    states, probed = [], []
    plan = omegaprm(steps, k=given["k"], searches=given["N"], outcome=None, states=states)
    estimate(plan, lambda prefix, n: probed.append(prefix) or scripted(prefix, n))
    assert [" | ".join(("Q", *prefix)) for prefix in probed] == expected["probed_prefixes_in_order"]
    assert [{"prefix": " | ".join(("Q", *s.prefix)), "mc": s.value} for s in states] == expected["nodes"]
    assert len(probed) * given["k"] == expected["total_rollouts"]


@pytest.mark.parametrize("vector", VECTORS["omegaprm_openr"][2:], ids=lambda v: v["name"])
def test_omegaprm_selects_as_the_authors_do(vector):
    given, expected = vector["input"], vector["output"]
    rule = Selection(given["alpha"], given["beta"], given["L"], given["c_puct"])
    q, u = rule.q(given["MC"], given["word_count"]), rule.u(given["N_state"], given["N_total"])
    assert (q, u, q + u) == pytest.approx((expected["Q"], expected["U"], expected["score"]), abs=1e-9)


def test_the_soft_share_is_vl_prms():
    [vector] = VECTORS["vlprm_mc"]
    given = vector["input"]

    def answered(prefix, n):
        answers = given["mc_responses_answers"][len(prefix) - 1]
        return [Outcome(answer == given["gt"]) for answer in answers]

    made = estimate(math_shepherd(given["steps"], n=given["num_mc_sequences"], soft=True), answered)
    assert [one.value for one in made] == [step["score"] for step in vector["output"]]
    assert [(one.right, one.tried) for one in made] == [
        (step["num_mc_correct"], step["num_mc_total"]) for step in vector["output"]
    ]


def test_math_shepherd_takes_the_last_label_from_the_trace():
    policy = Scripted([1.0] * 4)
    assert values(math_shepherd("abc", n=2, outcome=False), policy) == [1.0, 1.0, 0.0]
    assert policy.asked == [1, 1, 2, 2]


def test_what_cannot_be_judged_is_no_failure():
    def broken(prefix, n):
        return [Outcome(None)] * n

    assert values(math_shepherd("ab", n=3), broken) == [None, None]
    assert values(adaptive("ab", limit=5), broken) == [None, None]
    assert values(omegaprm("ab", k=2), broken) == [None, None]


def test_a_trace_that_ends_right_costs_nothing():
    policy = Scripted([0.0] * 5)
    assert values(adaptive("abcd", outcome=True), policy) == [1.0] * 4
    assert policy.asked == []


def test_only_the_first_wrong_prefix_costs_many():
    policy = Scripted([1.0] * 7 + [0.0] * 2)
    made = estimate(adaptive("abcdefgh", outcome=False), policy)
    assert [one.value for one in made] == [1.0] * 6 + [0.0] * 2
    assert [policy.asked.count(length) for length in range(1, 7)] == [1] * 6
    assert policy.asked.count(7) == SequentialTest(0.001, 0.15, 0.05, 0.01).failures and 8 not in policy.asked


def test_continuations_that_pass_through_later_prefixes_are_not_asked_again():
    asked = []

    def as_the_trace(prefix, n):
        asked.append(prefix)
        return [Outcome(True, tuple("abcd")[len(prefix) :])] * n

    assert values(adaptive("abcd"), as_the_trace) == [1.0] * 4
    assert len(asked) == 1


def test_a_tally_stops_where_a_continuation_leaves_the_trace():
    tally = Tally("abcd")
    tally.add(1, Outcome(False, ("b", "x", "d")))
    assert tally.tried == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(("value", "wanted", "rate"), [(0.15, True, 0.02), (0.002, False, 0.05)])
def test_the_error_rates_of_the_test_hold(value, wanted, rate):
    test, draw = SequentialTest(0.002, 0.15, 0.05, 0.02), random.Random(1)
    errors = 0
    for _ in range(1000):
        right = tried = 0
        while (verdict := test.verdict(right, tried)) is None:
            right, tried = right + (draw.random() < value), tried + 1
        errors += verdict is not wanted
    assert errors / 1000 <= rate + 0.01


def test_the_search_finds_the_first_error_wherever_it_is():
    for size in (1, 2, 5, 9, 150):
        for first in {0, 1, size // 2, size - 1, size}:
            policy = Scripted([1.0] * (first + 1) + [0.0] * (size - first))
            steps = [str(i) for i in range(size)]
            assert values(adaptive(steps), policy) == [1.0] * first + [0.0] * (size - first)


def test_with_heals_each_step_stands_for_itself():
    policy = Scripted([1.0, 1.0, 0.0, 1.0])
    assert values(adaptive("abc", heals=True), policy) == [1.0, 0.0, 1.0]


def test_a_value_between_the_two_is_left_open():
    policy = Scripted([0.12] * 4)
    made = estimate(adaptive("abc", low=0.1, high=0.15, limit=10), policy)
    assert any(one.value is None and one.note == "not decided" for one in made)
    assert len(policy.asked) == 10


def test_omegaprm_hard_labels_leave_open_what_lies_between():
    policy = Scripted([0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0], seed=3)
    made = values(omegaprm("abcdef", k=16, searches=1, soft=False, outcome=False), policy)
    assert made == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_plans_side_by_side_are_one_batch_a_round():
    rounds = []

    def answer(asks):
        rounds.append([(number, len(ask.prefix)) for number, ask in asks])
        return [[Outcome(True)] * ask.n for _, ask in asks]

    made = run_plans([math_shepherd("ab", n=1), adaptive("ab"), math_shepherd((), n=1)], answer)
    assert [len(one) for one in made] == [2, 2, 0]
    assert rounds[0][:2] == [(0, 1), (0, 2)] and len(rounds) <= 3


@pytest.mark.parametrize("bad", [{"low": 0.3, "high": 0.2}, {"alpha": 0.0}, {"beta": 0.7}, {"batch": 0}, {"high": 1.0}])
def test_rates_that_are_no_use_are_refused(bad):
    with pytest.raises(ConfigError):
        adaptive("ab", **bad)


def test_a_success_deep_in_the_trace_settles_all_before_it():
    def straight(prefix, n):
        return [Outcome(True, ("b", "c", "x"))] * n

    made = estimate(adaptive("abcd", outcome=False), straight)
    assert [(one.value, one.tried) for one in made] == [(1.0, 1), (1.0, 1), (1.0, 1), (0.0, 0)]
