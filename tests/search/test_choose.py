"""Choosing among scored candidates: the rules, bad input, and openr's own outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.reduce import REDUCERS
from rewardkit.search import METHODS, Candidate, best_of_n, choose, majority, make_candidates, weighted_vote
from rewardkit.search.choose import openr_choice

VECTORS = Path(__file__).parents[1] / "rewards" / "vectors.json"
OPENR = json.loads(VECTORS.read_text(encoding="utf-8"))["sets"]["openr_votes"]["vectors"]
NAN, INF = float("nan"), float("inf")


def candidates(*pairs):
    return [Candidate(f"text {i}", answer, score) for i, (answer, score) in enumerate(pairs)]


@pytest.mark.parametrize("vector", OPENR, ids=[v["name"] for v in OPENR])
def test_openrs_choice_is_reproduced(vector):
    given = vector["input"]
    assert openr_choice(vector["name"], given["answers"], given["step_scores"]) == vector["output"]


def test_openr_has_no_other_method():
    with pytest.raises(ConfigError, match="prm_last_vote"):
        openr_choice("prm_mean_max", ["1"], [[0.5]])


def test_the_three_methods_may_choose_differently():
    given = candidates(("1", 0.95), ("2", 0.5), ("2.0", 0.3), ("3", 0.6), ("3", 0.6), ("2", 0.1))
    assert best_of_n(given).answer == "1"
    assert majority(given).answer == "2"
    assert weighted_vote(given).answer == "3"


@pytest.mark.parametrize("method", METHODS)
def test_every_candidate_is_kept_in_order_with_its_reason(method):
    given = candidates(("1", 0.5), ("1", NAN), (None, 0.4), ("2", None), ("1", INF))
    choice = choose(method, given)
    assert [c.text for c in choice.candidates] == [c.text for c in given]
    assert [c.reason for c in choice.candidates] == ["", "score is nan", "", "has no score", "score is inf"]


def test_an_infinite_score_never_wins():
    assert best_of_n(candidates(("1", 0.1), ("2", INF))).answer == "1"
    assert weighted_vote(candidates(("1", 0.1), ("2", INF))).answer == "1"


@pytest.mark.parametrize("score", [NAN, INF, -INF, None])
def test_without_a_usable_score_there_is_a_named_way_out(score):
    given = candidates(("1", score), ("2", score), ("2", score))
    first, voted = best_of_n(given), weighted_vote(given)
    assert (first.chosen, first.note) == (0, "no candidate has a usable score: took the first")
    assert (voted.answer, voted.note) == ("2", "no candidate has a usable score: took the majority")


@pytest.mark.parametrize("method", ["majority", "weighted_vote"])
def test_all_answers_missing_takes_the_best_scored(method):
    choice = choose(method, candidates((None, 0.2), ("", 0.9), (" ", 0.1)))
    assert (choice.chosen, choice.method) == (1, method)
    assert choice.note == "no candidate has an answer: took the best scored"


@pytest.mark.parametrize("method", METHODS)
def test_one_candidate_is_chosen(method):
    assert choose(method, candidates((None, NAN))).chosen == 0


@pytest.mark.parametrize("method", METHODS)
def test_no_candidate_is_an_error_of_one_line(method):
    with pytest.raises(DataError, match="no candidate to choose from"):
        choose(method, [])


def test_ties_go_to_the_first_and_say_so():
    assert majority(candidates(("2", 0.1), ("1", 0.9))).note == "tie between 2 answers: took the first"
    assert majority(candidates(("2", 0.1), ("1", 0.9))).answer == "2"
    assert best_of_n(candidates(("1", 0.5), ("2", 0.5))).note.startswith("2 candidates have the highest score")


def test_sums_that_differ_by_rounding_tie():
    choice = weighted_vote(candidates(("1", 0.3), ("2", 0.1), ("2", 0.2)))
    assert choice.tie
    assert choice.answer == "1"


def test_the_class_is_shown_by_its_best_scored_member():
    assert majority(candidates(("1", 0.2), ("1", 0.8), ("1", NAN), ("2", 0.9))).chosen == 1


def test_a_usable_score_shows_a_class_before_one_that_is_none():
    assert majority(candidates(("1", NAN), ("1", -2.0), ("1", None))).chosen == 1


def test_support_and_classes_tell_the_vote():
    choice = weighted_vote(candidates(("1", 0.2), ("2", 0.9), ("1", 0.3)))
    assert choice.classes == ((1,), (0, 2))
    assert choice.support == pytest.approx((0.9, 0.5))


def test_negative_weights_are_refused():
    with pytest.raises(DataError, match="must not be negative"):
        weighted_vote(candidates(("1", -0.1), ("2", 0.5)))
    assert best_of_n(candidates(("1", -0.1), ("2", -0.5))).answer == "1"


@pytest.mark.parametrize("reducer", REDUCERS)
def test_the_reducer_named_is_the_one_used(reducer):
    (made,) = make_candidates(["x"], [[0.5, 0.9, 0.7]], reducer=reducer)
    assert made.score == pytest.approx({"min": 0.5, "prod": 0.315, "last": 0.7, "mean": 0.7, "sum": 2.1}[reducer])


def test_lengths_that_differ_are_refused():
    with pytest.raises(DataError, match="2 responses but step scores of 1"):
        make_candidates(["a", "b"], [[0.5]])
