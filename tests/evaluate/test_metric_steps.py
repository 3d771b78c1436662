from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import DataError
from rewardkit.evaluate.steps import (
    one_class,
    precision_recall_points,
    roc_points,
    step_auroc,
    step_average_precision,
)

steps = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: len({right for _, right in rows}) == 2
)


def split(rows):
    return [score / 6 for score, _ in rows], [int(right) for _, right in rows]


@given(steps)
def test_auroc_is_the_share_of_ordered_pairs(rows):
    scores, correct = split(rows)
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, right_a in zip(scores, correct, strict=True)
        for b, right_b in zip(scores, correct, strict=True)
        if right_a and not right_b
    ]
    assert step_auroc(scores, correct) == pytest.approx(np.mean(pairs))


@given(steps)
def test_average_precision_sums_precision_over_recall_gained(rows):
    scores, correct = split(rows)
    wrong = 1 - np.array(correct)
    total, area, before = wrong.sum(), 0.0, 0.0
    for cut in sorted(set(scores)):
        found = np.array(scores) <= cut
        recall = wrong[found].sum() / total
        area += (recall - before) * wrong[found].mean()
        before = recall
    assert step_average_precision(scores, correct) == pytest.approx(area)


@given(steps, st.randoms(use_true_random=False))
def test_the_order_of_steps_does_not_matter(rows, random):
    mixed = list(rows)
    random.shuffle(mixed)
    assert step_auroc(*split(rows)) == pytest.approx(step_auroc(*split(mixed)))
    assert step_average_precision(*split(rows)) == pytest.approx(step_average_precision(*split(mixed)))


def test_wrong_steps_are_the_positive_class():
    scores, correct = [0.1, 0.9, 0.8, 0.7], [0, 1, 1, 1]
    assert step_average_precision(scores, correct) == 1.0
    assert step_average_precision([1 - s for s in scores], correct) == 0.25


@pytest.mark.parametrize(("correct", "reason"), [([1, 1], "all labelled steps are right"), ([0, 0], "are wrong")])
def test_one_class_gives_none_and_a_reason(correct, reason):
    assert step_auroc([0.1, 0.2], correct) is None
    assert step_average_precision([0.1, 0.2], correct) is None
    assert roc_points([0.1, 0.2], correct) == precision_recall_points([0.1, 0.2], correct) == []
    assert reason in one_class(correct)


@pytest.mark.parametrize(
    ("scores", "correct", "message"),
    [
        ([0.5, float("nan")], [1, 0], "NaN"),
        ([0.5], [1, 0], "shapes differ"),
        ([0.5, 0.4], [1, 0.5], "0 and 1 only"),
        ([], [], "at least one"),
    ],
)
def test_bad_arrays_are_named(scores, correct, message):
    with pytest.raises(DataError, match=message):
        step_auroc(scores, correct)


def test_curves_are_thinned_but_keep_their_ends():
    random = np.random.default_rng(0)
    scores, correct = random.random(5000), random.random(5000) < 0.8
    roc, pr = roc_points(scores, correct, limit=50), precision_recall_points(scores, correct, limit=50)
    assert len(roc) <= 50 and roc[0] == (0, 0) and roc[-1] == (1, 1)
    assert len(pr) <= 50 and pr[-1] == (1.0, pytest.approx(1 - correct.mean()))
