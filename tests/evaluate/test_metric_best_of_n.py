from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import DataError
from rewardkit.evaluate.best_of_n import (
    answer_classes,
    best_of_n_accuracy,
    best_of_n_curves,
    first_sample_accuracy,
    majority_accuracy,
    mean_sample_accuracy,
    oracle_accuracy,
    weighted_vote_accuracy,
)


@st.composite
def samples(draw):
    """(scores, answers, correct) of a few problems; class 0 is the right answer, -1 none; ties are common."""
    n, problems = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    scores = [[draw(st.integers(0, 4)) / 4 for _ in range(n)] for _ in range(problems)]
    answers = [[draw(st.integers(-1, 3)) for _ in range(n)] for _ in range(problems)]
    return scores, answers, [[int(a == 0) for a in row] for row in answers]


def brute_vote(weights, answers, correct):
    """The same by dictionaries, one problem at a time."""
    found = []
    for w, a, c in zip(weights, answers, correct, strict=True):
        votes: dict[int, float] = {}
        for weight, answer in zip(w, a, strict=True):
            if answer >= 0:
                votes[answer] = votes.get(answer, 0.0) + weight
        best = [k for k, v in votes.items() if v == max(votes.values())]
        found.append(np.mean([k == 0 for k in best]) if best else np.mean(c))
    return np.mean(found)


@given(samples())
def test_votes_agree_with_counting_by_hand(case):
    scores, answers, correct = case
    ones = [[1.0] * len(row) for row in scores]
    assert majority_accuracy(answers, correct) == pytest.approx(brute_vote(ones, answers, correct))
    assert weighted_vote_accuracy(scores, answers, correct) == pytest.approx(brute_vote(scores, answers, correct))


@given(samples())
def test_the_best_score_wins_and_ties_share(case):
    scores, _, correct = case
    found = [
        np.mean([c for s, c in zip(row, right, strict=True) if s == max(row)])
        for row, right in zip(scores, correct, strict=True)
    ]
    assert best_of_n_accuracy(scores, correct) == pytest.approx(np.mean(found))


@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(case, random):
    scores, answers, correct = (np.array(part) for part in case)
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    for metric, parts in [
        (best_of_n_accuracy, (scores, correct)),
        (majority_accuracy, (answers, correct)),
        (weighted_vote_accuracy, (scores, answers, correct)),
    ]:
        assert metric(*parts) == pytest.approx(metric(*(part[:, order] for part in parts)))


@given(samples())
def test_no_choice_beats_the_oracle(case):
    scores, answers, correct = case
    ceiling = oracle_accuracy(correct)
    for value in (
        best_of_n_accuracy(scores, correct),
        majority_accuracy(answers, correct),
        weighted_vote_accuracy(scores, answers, correct),
        mean_sample_accuracy(correct),
        first_sample_accuracy(correct),
    ):
        assert -1e-12 <= value <= ceiling + 1e-12


def test_an_unparsed_answer_never_wins_a_vote():
    assert majority_accuracy([[-1, -1, 0]], [[0, 0, 1]]) == 1.0
    assert weighted_vote_accuracy([[9.0, 9.0, 0.0]], [[-1, -1, 0]], [[0, 0, 1]]) == 1.0


def test_without_any_answer_a_vote_is_a_random_sample():
    assert majority_accuracy([[-1, -1, -2]], [[0, 0, 1]]) == pytest.approx(1 / 3)


def test_curves_are_means_over_all_subsets():
    random = np.random.default_rng(0)
    correct = (random.random((6, 4)) < 0.5).astype(float)
    answers = np.where(correct > 0, 0, random.integers(1, 3, (6, 4)))
    scores = random.random((6, 4))
    sizes, curves = best_of_n_curves(scores, answers, correct)
    assert sizes == [1, 2, 4]
    pairs = [list(c) for c in combinations(range(4), 2)]
    expected = np.mean([best_of_n_accuracy(scores[:, c], correct[:, c]) for c in pairs])
    assert curves["reward model"] == pytest.approx([correct.mean(), expected, best_of_n_accuracy(scores, correct)])
    assert curves["oracle"] == sorted(curves["oracle"])


def test_curves_of_many_samples_draw_subsets_with_the_seed():
    random = np.random.default_rng(0)
    correct = (random.random((20, 16)) < 0.5).astype(float)
    parts = random.random((20, 16)), np.where(correct > 0, 0, 1), correct
    assert best_of_n_curves(*parts, subsets=20, seed=1) == best_of_n_curves(*parts, subsets=20, seed=1)
    assert best_of_n_curves(*parts, subsets=20, seed=1) != best_of_n_curves(*parts, subsets=20, seed=2)


def test_negative_weights_are_refused():
    with pytest.raises(DataError, match="must not be negative"):
        weighted_vote_accuracy([[-0.1, 1.0]], [[0, 1]], [[1, 0]])


def test_ragged_samples_are_refused():
    with pytest.raises(DataError, match="shapes differ"):
        best_of_n_accuracy([[0.1, 0.2]], [[1]])


def test_answer_classes_never_join_problems_or_missing_answers():
    assert answer_classes([[None, "1", "1"], ["2", None, "1"]]).tolist() == [[-1, 0, 0], [0, -1, 1]]
