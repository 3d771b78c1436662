"""What scores a policy's completions in training: the reward of the recipe, step rewards of a PRM, and what is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModel, load_reward_model
from rewardkit.rewards import load_reward
from rewardkit.rewards.base import Group, GroupResult, Reward
from rewardkit.rewards.outcome import outcome
from rewardkit.rewards.process import process
from rewardkit.rewards.self_vote import ttrl
from rewardkit.rewards.trl import score_steps
from rewardkit.types import Problem

if TYPE_CHECKING:
    from rewardkit.train.grpo import GRPOConfig

_OTHER_INPUTS = {"co_rewarding_ii": "a teacher's completions", "reasonrank": "lists of documents"}
"""Rewards that want more than problems; a script can give it, through `rewardkit.rewards.trl.TRLReward`."""


class RecordingReward:
    """A reward that keeps what it said, and that in evaluation looks at nothing but whether answers are right.

    Args:
        reward: of training.
        problems: by id, as the groups name them: a reward model reads the problem itself, not the policy's prompt.
        model: scores steps first.
        step_rewards: keep one reward a step, for step-level credit.
        differences: step rewards are differences of scores; see `rewardkit.rewards.process.process`.

    Attributes:
        training: tells whether the policy is in training; set by the trainer.
        seen: groups with their results since `take` was last called, in order.
    """

    def __init__(
        self,
        reward: Reward,
        problems: Mapping[str, Problem],
        *,
        model: RewardModel | None = None,
        step_rewards: bool = False,
        differences: bool = False,
    ) -> None:
        self._reward, self._problems, self._model = reward, problems, model
        self._step_rewards, self._differences = step_rewards, differences
        self.training: Callable[[], bool] = lambda: True
        self.seen: list[tuple[Group, GroupResult]] = []

    def __call__(self, group: Group) -> GroupResult:
        """The reward of a group; its stats say how it voted and, with a reference, how many were right."""
        result = self._trained(group) if self.training() else _votes(group)
        self.seen.append((group, result))
        return result

    def take(self) -> list[tuple[Group, GroupResult]]:
        """What was seen since the last call."""
        seen, self.seen = self.seen, []
        return seen

    def _trained(self, group: Group) -> GroupResult:
        if self._model is not None:
            scores = score_steps(self._model, self._problems[group.id].prompt, group.completions)
            group = replace(group, step_scores=tuple(scores))
        result = self._reward(group)
        if self._step_rewards:
            result = replace(result, step_rewards=process(group, differences=self._differences).step_rewards)
        if "majority_share" not in result.stats:
            result = replace(result, stats={**_votes(group).stats, **result.stats})
        return result


def _votes(group: Group) -> GroupResult:
    return outcome(group) if group.reference is not None else ttrl(group)


def build_reward(config: GRPOConfig, problems: Mapping[str, Problem]) -> RecordingReward:
    """The reward that a recipe names.

    Args:
        config: of the run.
        problems: all of them, by id.

    Raises:
        ConfigError: there is no such reward, it has no such option, it wants more than problems, or a reward model is
            missing.
    """
    if config.reward in _OTHER_INPUTS:
        raise ConfigError(
            f"reward={config.reward} needs {_OTHER_INPUTS[config.reward]}, which a recipe cannot give; use "
            "rewardkit.rewards.trl.TRLReward in a script of your own"
        )
    if (config.reward == "co_reward") != (config.rephrased is not None):
        raise ConfigError("reward=co_reward and rephrased=FILE (the same problems in other words) go together")
    if config.rephrased is not None and config.batch_size * config.accumulation % (2 * config.num_generations):
        raise ConfigError("with rephrased=FILE, batch_size * accumulation must be a multiple of 2 * num_generations")
    wanted = config.reward == "process" or config.credit == "step"
    if wanted != (config.reward_model is not None):
        raise ConfigError("reward=process and credit=step need reward_model=FOLDER or an address; no others take it")
    if config.credit != "response" and config.rephrased is not None:
        raise ConfigError(f"credit={config.credit} does not go with reward=co_reward")
    if config.credit == "prime" and config.reward in ("evol_rl", "process"):
        raise ConfigError("credit=prime learns from outcomes of 0 and 1: reward=outcome, ttrl, mm_upt")
    options: dict[str, Any] = dict(config.reward_options)
    model = load_reward_model(config.reward_model) if config.reward_model else None
    if model is not None and not model.spec.scores_steps:
        raise ConfigError(f"reward_model={config.reward_model} scores whole responses, not steps")
    if config.reward == "process" and model is not None:
        options.setdefault("reducer", model.spec.reducer)
    if config.reward == "evol_rl":
        options.setdefault("embed", _embedder(config))
    return RecordingReward(
        load_reward(config.reward, **options),
        problems,
        model=model,
        step_rewards=config.credit == "step",
        differences=config.differences,
    )


def _embedder(config: GRPOConfig) -> Callable[[list[str]], list[list[float]]]:
    from rewardkit.rewards.embed import endpoint_embedder, hashed_ngrams

    if config.embed == "ngrams":
        return hashed_ngrams
    return endpoint_embedder(config.embed, model=config.embed_model)
