from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import DataError
from rewardkit.evaluate.processbench import best_threshold, first_error_accuracies, first_error_f1, first_errors
from rewardkit.samples import sample_path


@st.composite
def scored_traces(draw):
    """Traces with scores on a coarse grid (so that ties are common), at least one with and one without an error."""
    count = draw(st.integers(2, 8))
    scores = [[x / 8 for x in draw(st.lists(st.integers(0, 8), min_size=1, max_size=5))] for _ in range(count)]
    truth = [draw(st.integers(-1, len(trace) - 1)) for trace in scores]
    truth[0], truth[1] = len(scores[0]) - 1, -1
    return scores, truth


@given(scored_traces())
def test_the_best_threshold_beats_every_other(case):
    scores, truth = case
    grid = np.linspace(0, 1, 161)
    best = max(first_error_f1(first_errors(scores, t), truth) for t in grid)
    chosen = best_threshold(scores, truth)
    assert 0 <= chosen <= 1
    assert first_error_f1(first_errors(scores, chosen), truth) >= best - 1e-12


@given(scored_traces(), st.floats(0, 1))
def test_f1_is_the_harmonic_mean_of_the_two_accuracies(case, threshold):
    scores, truth = case
    guesses = [next((i for i, s in enumerate(trace) if s < threshold), -1) for trace in scores]
    assert first_errors(scores, threshold).tolist() == guesses
    on_wrong = np.mean([g == t for g, t in zip(guesses, truth, strict=True) if t >= 0])
    on_right = np.mean([g == t for g, t in zip(guesses, truth, strict=True) if t < 0])
    expected = 0.0 if on_wrong + on_right == 0 else 2 / (1 / on_wrong + 1 / on_right) if on_wrong * on_right else 0.0
    assert first_error_accuracies(guesses, truth) == pytest.approx((expected, on_wrong, on_right))


def test_perfect_scores_on_the_shipped_sample_reach_one():
    with gzip.open(sample_path("processbench-gsm8k"), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    truth = [row["label"] for row in rows]
    scores = [[0.1 if i == row["label"] else 0.9 for i in range(len(row["steps"]))] for row in rows]
    assert first_error_accuracies(first_errors(scores, best_threshold(scores, truth)), truth) == (1.0, 1.0, 1.0)
    assert first_error_accuracies([-1] * len(rows), truth) == (0.0, 0.0, 1.0)


def test_a_score_at_the_threshold_counts_as_right():
    assert first_errors([[0.5, 0.4999]], 0.5).tolist() == [1]


def test_f1_is_not_defined_without_both_kinds_of_trace():
    assert first_error_accuracies([0, 1], [0, 2]) == (None, 0.5, None)


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([[0.5]], [-1], "with an error and traces without"),
        ([[0.5], [0.5]], [-1], "2 traces of scores but 1"),
        ([[0.5], [0.5]], [3, -1], "step 3, but its trace has 1"),
    ],
)
def test_choosing_a_threshold_needs_sound_data(scores, truth, message):
    with pytest.raises(DataError, match=message):
        best_threshold(scores, truth)
