"""Views derived from local labels."""

import pytest

from rewardkit.labels.derive import first_error, prefix_labels, rests_on_error
from rewardkit.types import StepLabel


def local(*values):
    return [StepLabel("t", i, p, "logic", "local") for i, p in enumerate(values)]


def test_no_error_has_no_first_error():
    assert first_error(local(1.0, None, 1.0)) is None


def test_the_first_of_several_errors():
    assert first_error(local(None, 0.0, 1.0, 0.0)) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 1.0), [1.0, 1.0]),
        ((1.0, 0.0, 1.0), [1.0, 0.0, 0.0]),
        ((1.0, None, 1.0), [1.0, None, None]),
        ((None, 0.0, None), [None, 0.0, 0.0]),
    ],
)
def test_prefix_labels(values, expected):
    assert [label.p_correct for label in prefix_labels(local(*values))] == expected


def test_prefix_labels_say_what_they_are():
    (label,) = prefix_labels(local(1.0))
    assert (label.source, label.meaning) == ("logic/prefix", "prefix")


def test_a_neutral_step_keeps_the_prefix():
    assert [label.p_correct for label in prefix_labels(local(None, 1.0), neutral={0})] == [1.0, 1.0]


def test_dependence_is_transitive_and_leaves_the_step_itself_out():
    assert rests_on_error(local(0.0, 1.0, 1.0, 1.0), [(), (0,), (1,), ()]) == [False, True, True, False]


def test_dependence_on_an_abstention_is_not_known():
    assert rests_on_error(local(None, 1.0, 1.0, 0.0), [(), (0,), (1, 3), ()]) == [False, None, None, False]


def test_citations_that_point_forward_are_ignored():
    assert rests_on_error(local(1.0, 0.0), [(1,), ()]) == [False, False]
