"""A process reward model with a token-classification head, run through transformers."""

from __future__ import annotations

from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.heads import load_token_head
from rewardkit.models.local import LocalRewardModel
from rewardkit.models.spec import RewardModelSpec


class TokenRewardModel(LocalRewardModel):
    """Scores each step by a classification head over the position of the separator after it.

    Its model is a Hugging Face ``...ForTokenClassification`` or a ``Qwen2ForProcessRewardModel``.
    """

    kind = "token"

    @classmethod
    def check_spec(cls, spec: RewardModelSpec) -> None:
        super().check_spec(spec)
        if spec.separator_id is None:
            raise ConfigError("a token reward model needs a separator id")

    @classmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        return load_token_head(folder, dtype=dtype)
