"""An outcome reward model: one score for a whole response, from a sequence-classification head on its last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.models.heads import load_sequence_head
from rewardkit.models.local import LocalRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import EncodedSteps


class OutcomeRewardModel(LocalRewardModel):
    """Scores a whole response by one logit on the separator behind it (Cobbe et al. 2021, arXiv 2110.14168).

    `score` gives `StepScores` with *one* score, whatever the number of steps: the sigmoid of that logit, which is
    ``raw``. Trained on pairs (Bradley-Terry) only differences of ``raw`` mean something; the sigmoid keeps the order.
    """

    kind = "outcome"

    @classmethod
    def check_spec(cls, spec: RewardModelSpec) -> None:
        super().check_spec(spec)
        if spec.separator_id is None and spec.format != "turn":
            raise ConfigError("an outcome reward model needs the separator id that ends a response, or format turn")

    @classmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        model = load_sequence_head(folder, dtype=dtype)
        if not hasattr(model, "score"):
            raise ValueError(f"{type(model).__name__} has no head 'score' that is read at the last token")
        return model

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        import torch

        # Not the model's own forward: it looks for the last token that is no padding, and some models have no such id.
        with torch.inference_mode():
            ids, mask = self._pad(batch)
            hidden = self.model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            rows = torch.arange(len(batch), device=hidden.device)
            ends = torch.tensor([len(item) - 1 for item in batch], device=hidden.device)
            logits = self.model.score(hidden[rows, ends]).float().cpu().numpy()
        return list(logits[:, None])
