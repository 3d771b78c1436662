"""Token-classification heads: those that transformers knows, and Qwen's process reward models."""

from __future__ import annotations

import functools
from typing import Any

QWEN_PRM = "Qwen2ForProcessRewardModel"
"""The architecture of Qwen2.5-Math-PRM (Zhang et al. 2025, arXiv 2501.07301), which vLLM knows and transformers not."""


def load_token_head(name: str, *, config: Any = None, dtype: Any = None) -> Any:
    """A token-classification model.

    Args:
        name: a folder or Hub id.
        config: of transformers; None reads the one of `name`.
        dtype: as ``from_pretrained`` takes it.

    Raises:
        OSError, ValueError: transformers cannot load it.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    config = config or AutoConfig.from_pretrained(name)
    own = QWEN_PRM in (config.architectures or ())
    return (qwen_prm_class() if own else AutoModelForTokenClassification).from_pretrained(
        name, config=config, dtype=dtype
    )


@functools.cache
def qwen_prm_class() -> Any:
    """The class of Qwen2.5-Math-PRM: Qwen2 under two linear layers, which give two logits a token, (wrong, right).

    Written from the shapes of its checkpoints, so that no code of a model folder has to be run
    (``trust_remote_code``).
    """
    from torch import nn
    from transformers import Qwen2Model, Qwen2PreTrainedModel
    from transformers.modeling_outputs import TokenClassifierOutput

    class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[misc]  # untyped here
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.num_labels = config.num_labels
            self.model = Qwen2Model(config)
            width = config.hidden_size
            self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.num_labels))
            self.post_init()

        def forward(self, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
            known = {k: v for k, v in options.items() if v is not None and k not in ("labels", "return_dict")}
            hidden = self.model(input_ids, attention_mask=attention_mask, **known).last_hidden_state
            return TokenClassifierOutput(logits=self.score(hidden))

    return Qwen2ForProcessRewardModel
