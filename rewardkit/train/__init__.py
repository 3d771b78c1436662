"""Training: one file a kind of reward model, one shared loop, and the losses; and policies by GRPO.

result = train(load_config(TrainConfig, "train", "prm-gsm8k", ["output=runs/prm"]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardkit.registry import load
from rewardkit.train.config import LoraOptions, RunConfig, TrainConfig, TrainResult

if TYPE_CHECKING:
    from rewardkit.train.grpo import GRPO
    from rewardkit.train.kind import TrainingKind

__all__ = ["KINDS", "POLICIES", "LoraOptions", "RunConfig", "TrainConfig", "TrainResult", "load_kind", "train"]

KINDS = {
    "prm": "rewardkit.train.prm:TokenPRM",
    "generative": "rewardkit.train.generative:GenerativePRM",
    "outcome": "rewardkit.train.outcome:OutcomeReward",
    "implicit": "rewardkit.train.implicit:ImplicitPRM",
}
"""From a kind of reward model to the ``module:Class`` that trains it, a `rewardkit.train.kind.TrainingKind`."""

POLICIES = {"grpo": "rewardkit.train.grpo:GRPO"}
"""From a way to train a policy to its ``module:Class``."""


def load_kind(name: str) -> type[TrainingKind[Any]] | type[GRPO]:
    """The class of a kind, of reward models or of policies.

    Raises:
        ConfigError: there is no such kind; the nearest is named.

    >>> load_kind("prm").__name__
    'TokenPRM'
    """
    kind: type[TrainingKind[Any]] | type[GRPO] = load(name, {**KINDS, **POLICIES}, "kind of model to train")
    return kind


def train(config: RunConfig) -> TrainResult:
    """Train what the config names and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: the data or the model is missing, or ``output`` holds another run.
        DataError: nothing in the data can train this kind.
    """
    from rewardkit.train.run import run_training
    from rewardkit.train.stages import train_stages

    if not isinstance(config, TrainConfig):
        from rewardkit.train.grpo import GRPOConfig, train_policy

        return train_policy(GRPOConfig.model_validate(config, from_attributes=True))
    if config.stages:
        return train_stages(config)
    return run_training(load(config.kind, KINDS, "kind of reward model")(config))
