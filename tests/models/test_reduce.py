"""Step scores to one response score."""

import pytest

from rewardkit.errors import ConfigError
from rewardkit.models.reduce import reduce_scores


@pytest.mark.parametrize(
    ("reducer", "expected"), [("min", 0.25), ("prod", 0.1), ("last", 0.8), ("mean", 0.5166667), ("sum", 1.55)]
)
def test_each_reducer(reducer, expected):
    assert reduce_scores((0.5, 0.25, 0.8), reducer) == pytest.approx(expected)


def test_an_unknown_reducer_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="'max'.*min, prod, last, mean, sum"):
        reduce_scores([0.5], "max")


def test_no_scores_have_no_score():
    with pytest.raises(ValueError, match="no score"):
        reduce_scores([], "min")
