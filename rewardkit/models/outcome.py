"""An outcome reward model: one score for a whole response, from a sequence-classification head on its last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.models.local import LocalRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import EncodedSteps, encode_steps
from rewardkit.types import Trace


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

    def encode(self, trace: Trace) -> EncodedSteps:
        """The token ids of a trace, with one position: the separator at its end."""
        assert self.spec.separator_id is not None
        return encode_outcome(self.tokenizer, trace, self.spec.separator_id, max_length=self.spec.max_length)

    def _forward(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            ids, mask = self._pad(batch, self.model.config.pad_token_id)
            logits = self.model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return [logits[row : row + 1] for row in range(len(batch))]


def encode_outcome(tokenizer: Any, trace: Trace, separator_id: int, *, max_length: int | None = None) -> EncodedSteps:
    """A prompt and its whole response with one separator id at the end, where the score is read.

    The separator is no padding token: transformers looks for the last token that is none, and of many models the
    token that ends a turn is also the one that pads.

    Raises:
        DataError: longer than `max_length`.
    """
    return encode_steps(tokenizer, trace.problem.prompt, [trace.response], separator_id, max_length=max_length)
