from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.errors import DataError
from rewardkit.evaluate.prmbench import CLASSES, DIMENSIONS, prm_score, prm_scores

steps = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


def test_ten_steps_worked_out_by_hand():
    """Of seven right steps six are taken for right, of three wrong ones one is flagged."""
    right = [1] * 7 + [0] * 3
    judged = [1] * 6 + [0] + [1, 1, 0]
    # right: TP 6, FP 2, FN 1: 12 / 15; wrong: TP 1, FP 1, FN 2: 2 / 5
    assert prm_scores(judged, right) == pytest.approx((0.6, 0.8, 0.4))


@settings(deadline=None)
@given(steps)
def test_it_is_the_mean_of_the_two_f1_of_scikit_learn(rows):
    from sklearn.metrics import f1_score

    judged, right = ([int(row[k]) for row in rows] for k in (0, 1))
    wanted = [f1_score(right, judged, pos_label=label, zero_division=0) for label in (1, 0) if label in right]
    assert prm_score(judged, right) == pytest.approx(sum(wanted) / len(wanted))


def test_where_every_step_is_right_it_is_their_f1_alone():
    assert prm_scores([1, 1, 0, 0], [1, 1, 1, 1]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), None)


def test_flagging_right_steps_alone_is_no_negative_score():
    assert prm_scores([0, 1], [1, 0]) == (0.0, 0.0, 0.0)


def test_soft_verdicts_are_refused():
    with pytest.raises(DataError, match="0 and 1 only"):
        prm_score([0.7], [1])


def test_the_nine_classes_fall_into_three_dimensions():
    assert sorted(name for names in DIMENSIONS.values() for name in names) == sorted(CLASSES)
