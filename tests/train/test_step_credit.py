"""Each token is credited by the return of its step, and steps end where the sampled tokens say."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import build_tiny_tokenizer

from rewardkit.errors import DataError
from rewardkit.text.split import split_steps
from rewardkit.train.step_credit import step_advantages, step_ends

TEXT = "48 / 2 = 24 clips in May.\n\n48 + 24 = 72 clips.\n\n#### 72"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tiny_tokenizer()


def test_a_tokens_advantage_is_the_sum_over_the_steps_that_end_behind_it():
    rewards, ends = [[1.0, 0.0, 0.5], [0.5]], [[2, 3, 5], [4]]
    every = np.array([1.0, 0.0, 0.5, 0.5])
    a, b, c, d = (every - every.mean()) / (every.std(ddof=1) + 1e-4)
    expected = [[a + b + c, a + b + c, b + c, c, c, 0], [d, d, d, d, 0, 0]]
    assert step_advantages(rewards, ends, 6) == pytest.approx(np.array(expected))


def test_a_response_without_step_rewards_gets_nothing():
    made = step_advantages([[0.2, 0.8], []], [[1, 2], [1, 3]], 3)
    assert made[0].any()
    assert not made[1].any()
    assert not step_advantages([[], []], [[1], [1]], 2).any()


def test_equal_rewards_give_zeros_and_no_nan():
    assert step_advantages([[0.5, 0.5], [0.5]], [[1, 2], [2]], 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_steps_that_end_in_one_token_share_it():
    made = step_advantages([[1.0, 1.0], [0.0, 0.0]], [[2, 2], [1, 2]], 2, scale=False)
    assert made.tolist() == [[1.0, 1.0], [-1.0, -0.5]]


def test_other_numbers_of_rewards_and_steps_are_refused():
    with pytest.raises(DataError, match="2 step rewards but 1 steps"):
        step_advantages([[1.0, 2.0]], [[3]], 3)


def test_steps_end_where_their_text_ends(tokenizer):
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    ends = step_ends(tokenizer, [*ids, tokenizer.eos_token_id], TEXT)
    assert len(ends) == len(split_steps(TEXT)) == 3
    assert ends[-1] == len(ids) + 1  # the end of sequence belongs to the last step
    for step, end in zip(split_steps(TEXT)[:-1], ends, strict=False):
        assert len(tokenizer.decode(ids[: end - 1])) < step.end <= len(tokenizer.decode(ids[:end]))


def test_steps_are_found_whatever_tokens_were_sampled(tokenizer):
    """One token a character: other ids than the tokenizer would give for the same text."""
    ids = [i for character in TEXT for i in tokenizer.encode(character, add_special_tokens=False)]
    assert step_ends(tokenizer, ids, TEXT) == [step.end for step in split_steps(TEXT)]


def test_a_text_that_was_stripped_is_found_in_what_was_sampled(tokenizer):
    ids = [i for c in "\n" + TEXT for i in tokenizer.encode(c, add_special_tokens=False)]
    assert step_ends(tokenizer, ids, TEXT) == [step.end + 1 for step in split_steps(TEXT)]


def test_no_text_has_no_steps(tokenizer):
    assert step_ends(tokenizer, [tokenizer.eos_token_id], "") == []
