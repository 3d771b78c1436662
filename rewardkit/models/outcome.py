"""An outcome reward model: one score for a whole response, from a sequence-classification head on its last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardkit.errors import ConfigError
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
        if spec.separator_id is None:
            raise ConfigError("an outcome reward model needs the separator id that ends a response")

    @classmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            ids, mask = self._pad(batch, self.model.config.pad_token_id)
            logits = self.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return [logits[row : row + 1] for row in range(len(batch))]
