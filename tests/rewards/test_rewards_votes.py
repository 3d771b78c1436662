"""The safe votes and self-voted rewards, and where `compat` differs."""

from __future__ import annotations

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.rewards import REWARDS, Group, GroupResult, load_reward
from rewardkit.rewards.co_reward import co_reward, co_rewarding_ii
from rewardkit.rewards.outcome import outcome
from rewardkit.rewards.self_vote import authors_token_rewards, mm_upt, ttrl
from rewardkit.rewards.vote import entropy, majority


def boxed(*answers):
    return [f"so \\boxed{{{a}}}" if a else "no answer" for a in answers]


def test_equivalent_answers_vote_together():
    vote = majority(["0.5", "3", "1/2", "3", "50%"])
    assert (vote.label, vote.members, vote.sizes, vote.tie) == ("0.5", {0, 2, 4}, (3, 2), False)


def test_the_label_is_the_spelling_used_most():
    assert majority(["1/2", "0.5", "0.5"]).label == "0.5"


def test_empty_answers_never_vote_or_win():
    result = ttrl(Group.create("p", boxed("", "", "", "7")))
    assert (result.rewards, result.label) == ((0.0, 0.0, 0.0, 1.0), "7")
    assert ttrl(Group.create("p", boxed("", "", "", "7")), compat="ttrl").rewards == (1.0, 1.0, 1.0, 0.0)


def test_all_answers_missing_abstains_and_says_so():
    for reward in (ttrl, mm_upt):
        result = reward(Group.create("p", ["a", "b"]))
        assert result.rewards == (None, None)
        assert result.notes == ("no completion has an answer",)
        assert result.stats["answered"] == 0


def test_a_tie_abstains_or_takes_the_first_by_name():
    group = Group.create("p", boxed("5", "4", "4", "5"))
    abstained, first = ttrl(group), ttrl(group, tie="first")
    assert abstained.rewards == (None,) * 4
    assert abstained.stats["tie"] == 1.0
    assert abstained.notes == ("tie between 2 answers: abstained",)
    assert first.rewards == (1.0, 0.0, 0.0, 1.0)
    assert first.notes == ("tie between 2 answers: took the first",)


def test_one_completion_is_its_own_majority_unless_a_share_of_more_is_asked():
    assert ttrl(Group.create("p", boxed("4"))).rewards == (1.0,)
    low = ttrl(Group.create("p", boxed("4", "", "", "")), min_share=0.5)
    assert low.rewards == (None,) * 4
    assert "below min_share" in low.notes[0]


def test_statistics_of_a_wrong_majority():
    stats = ttrl(Group.create("p", boxed("5", "5", "4"), reference="4")).stats
    assert (stats["label_accuracy"], stats["reward_accuracy"], stats["pass"]) == (0.0, 0.0, 1.0)
    assert stats["reference_share"] == pytest.approx(1 / 3)


def test_a_fraction_label_is_right_by_default_and_wrong_in_the_authors_metric():
    group = Group.create("p", boxed("\\frac{1}{2}", "\\frac{1}{2}"), reference="\\frac{1}{2}")
    assert ttrl(group).stats["label_accuracy"] == 1.0
    assert ttrl(group, compat="ttrl").stats["label_accuracy"] == 0.0


def test_co_reward_crosses_the_views():
    group = Group.create("p", boxed("1/2", "1/2", "3"), others=boxed("3", "3.0", "0.5"))
    result = co_reward(group)
    assert (result.rewards, result.label) == ((0.0, 0.0, 1.0), "3")
    assert (result.other.rewards, result.other.label) == ((0.0, 0.0, 1.0), "1/2")


def test_one_view_without_answers_leaves_the_other_without_a_reward():
    result = co_reward(Group.create("p", boxed("4", "4"), others=["?", "?"]))
    assert result.rewards == (None, None)
    assert result.other.rewards == (0.0, 0.0)


def test_the_views_are_wanted():
    for reward in (co_reward, co_rewarding_ii):
        with pytest.raises(DataError, match="others"):
            reward(Group.create("p", ["x"]))


def test_a_silent_teacher_abstains_by_default():
    assert co_rewarding_ii(Group.create("p", boxed("4", "5"), others=["x", "y"])).rewards == (None, None)


def test_an_uneven_pair_of_views_fails_as_the_authors_does():
    with pytest.raises(AssertionError):
        co_reward(Group.create("p", ["a"], others=["a", "b"]), compat="co_reward")


def test_outcome_abstains_on_what_cannot_be_compared_and_takes_a_verifier():
    group = Group.create("p", boxed("north", "18", "") + ["#### 18.0"], reference="18")
    assert outcome(group).rewards == (None, 1.0, 0.0, 1.0)
    assert outcome(group).stats["undecided"] == 1.0
    assert outcome(group, missing=None).rewards[2] is None
    assert outcome(group, check=lambda answer, reference: answer == "north").rewards == (1.0, 0.0, 0.0, 0.0)


def test_outcome_wants_a_reference():
    with pytest.raises(DataError, match="no reference"):
        outcome(Group.create("p", ["x"]))


def test_a_vote_of_unlike_answers_has_the_entropy_of_a_uniform_draw():
    assert entropy([1] * 8) == pytest.approx(2.0794415)


def test_token_positions_want_whole_groups():
    with pytest.raises(DataError, match="whole groups of 2"):
        authors_token_rewards([1.0], [3], n_votes=2, n_samples=1)


@pytest.mark.parametrize("name", REWARDS)
def test_every_registered_reward_loads(name):
    assert callable(load_reward(name))


def test_unknown_rewards_and_options_are_named():
    with pytest.raises(ConfigError, match="did you mean 'ttrl'"):
        load_reward("ttlr")
    with pytest.raises(ConfigError, match="no option 'ties'"):
        load_reward("ttrl", ties="first")
    with pytest.raises(ConfigError, match="use one of abstain, first"):
        load_reward("ttrl", tie="random")(Group.create("p", ["x"]))
    with pytest.raises(ConfigError, match="compat is 'evol_rl'"):
        ttrl(Group.create("p", ["x"]), compat="evol_rl")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"completions": []}, "holds no completion"),
        ({"completions": [None]}, "not text"),
        ({"completions": ["a", "b"], "step_scores": [[1.0]]}, "2 completions but 1 step_scores"),
        ({"completions": ["a", "b"], "embeddings": [[1.0]]}, "2 completions but 1 embeddings"),
    ],
)
def test_a_bad_group_is_refused_in_one_line(kwargs, message):
    with pytest.raises(DataError, match=message):
        Group.create("p", **kwargs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_result_holds_a_number_that_is_none(value):
    with pytest.raises(DataError, match="must be finite"):
        GroupResult((1.0, value))
