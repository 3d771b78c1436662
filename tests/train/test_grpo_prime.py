"""The online implicit model in GRPO's loop: who is credited, who is left out, and that a checkpoint goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tinylm import build_tiny_lm

from rewardkit.errors import ConfigError
from rewardkit.rewards.base import Group, GroupResult
from rewardkit.train.grpo import GRPO, GRPOConfig
from rewardkit.train.grpo_prime import PrimeCredit

PROMPTS = [[5, 6, 7]] * 4
COMPLETIONS = [[8, 9, 10], [11, 12], [8, 9, 10, 13], [14]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return build_tiny_lm(tmp_path / "lm")


def credit(base: Path, **values) -> PrimeCredit:
    given = {"problems": {"source": "x"}, "output": "x", "model": str(base), "device": "cpu", "dtype": "float32"}
    return PrimeCredit(GRPO(GRPOConfig.model_validate({**given, "credit": "prime", **values})), str(base), "cpu")


def seen(*rewards: tuple[float | None, ...]) -> list[tuple[Group, GroupResult]]:
    return [(Group.create(str(i), ["?"] * len(group)), GroupResult(group)) for i, group in enumerate(rewards)]


def test_right_rollouts_are_credited_over_wrong_ones_and_nothing_behind_their_end(base):
    """The implicit model equals its reference at first, so that only outcomes speak."""
    made = credit(base).advantages(PROMPTS, COMPLETIONS, seen((1.0, 0.0), (0.0, 1.0)), 5)
    assert made.shape == (4, 5)
    assert [int((row != 0).sum()) for row in made] == [3, 2, 4, 1]
    assert (made[[0, 3], 0] > 0).all()
    assert (made[[1, 2], 0] < 0).all()


def test_prompts_that_are_too_easy_teach_nobody(base):
    one = credit(base)
    made = one.advantages(PROMPTS, COMPLETIONS, seen((1.0, 1.0), (0.0, 1.0)), 4)
    assert not made[:2].any()
    assert made[2:].any()
    assert one.figures["kept"] == 0.5
    none = one.advantages(PROMPTS, COMPLETIONS, seen((None, None), (1.0, 1.0)), 4)
    assert not none.any()
    assert "prm_loss" not in one.figures


def test_an_unknown_outcome_is_no_wrong_one(base):
    """Of the right, the wrong and the unknown rollout of a prompt the last is left out, and the others are even."""
    made = credit(base).advantages(PROMPTS[:3], [[8], [9], [10]], seen((1.0, 0.0, None)), 1)
    assert made[2, 0] == 0
    assert made[0, 0] == pytest.approx(-made[1, 0])


def test_a_rollout_that_the_policy_does_not_learn_from_gets_no_advantage(base):
    trained = [True, True, True, False]
    made = credit(base).advantages(PROMPTS, COMPLETIONS, seen((1.0, 0.0), (0.0, 1.0)), 4, trained)
    assert not made[3].any()
    assert made[:3].any(axis=1).all()


def test_it_learns_from_outcomes_and_goes_on_from_a_checkpoint(base, tmp_path):
    values = {"prime": {"learning_rate": 0.05}}
    first, second = credit(base, **values), credit(base, **values)
    batch = (PROMPTS, COMPLETIONS, seen((1.0, 0.0), (0.0, 1.0)), 4)
    losses = []
    for _ in range(3):
        first.advantages(*batch)
        losses.append(first.figures["prm_loss"])
    assert losses[0] == pytest.approx(np.log(2))
    assert losses[-1] < losses[0]
    first.save(tmp_path)
    second.load(tmp_path)
    assert second.advantages(*batch) == pytest.approx(first.advantages(*batch))
    assert second.figures == pytest.approx(first.figures)


def test_it_needs_adapters(base):
    with pytest.raises(ConfigError, match="needs adapters"):
        credit(base, lora=None)
