"""Heads of reward models: those that transformers knows, Qwen's two-layer ones, and TRL's value head.

No code of a model folder is ever run (``trust_remote_code``): what transformers does not know is written here from the
shapes of its checkpoints, or its weights are given the names of a class that it knows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

QWEN_PRM = "Qwen2ForProcessRewardModel"
"""The architecture of Qwen2.5-Math-PRM (Zhang et al. 2025, arXiv 2501.07301), which vLLM knows and transformers not."""
QWEN_RM = "Qwen2ForRewardModel"
"""The same head with one label (Qwen2.5-Math-RM), read at the last token; vLLM knows it too."""
HEADS = ("score", "classifier")
"""What transformers calls a classification head: the first, or in older architectures (GPT-2, GPT-NeoX) the second."""
VALUE_HEAD = "Qwen2ForPrmModel"
"""The architecture of Skywork-o1-Open-PRM: a causal language model with TRL's value head beside it."""
VALUE_WEIGHT = "v_head.summary.weight"
"""The name of a value head's weight, one row; its bias is beside it."""


def classification_head(model: Any) -> Any:
    """The head of a classifier, under adapters or not; None where there is none."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return next((getattr(inner, name) for name in HEADS if hasattr(inner, name)), None)


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
    if QWEN_PRM in (config.architectures or ()):
        return qwen_prm_class().from_pretrained(name, config=config, dtype=dtype)
    if has_value_head(name, config.architectures or ()):
        config.num_labels = 1
        renamed = {r"^v_head\.summary\.": "score."}
        return AutoModelForTokenClassification.from_pretrained(name, config=config, dtype=dtype, key_mapping=renamed)
    return AutoModelForTokenClassification.from_pretrained(name, config=config, dtype=dtype)


def load_sequence_head(name: str, *, dtype: Any = None) -> Any:
    """A sequence-classification model, or Qwen's reward model, whose ``score`` is read at the last token.

    Raises:
        OSError, ValueError: transformers cannot load it.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(name)
    if QWEN_RM in (config.architectures or ()):
        config.num_labels = 1
        return qwen_prm_class().from_pretrained(name, config=config, dtype=dtype)
    return AutoModelForSequenceClassification.from_pretrained(name, config=config, dtype=dtype)


def has_value_head(name: str | Path, architectures: Sequence[str]) -> bool:
    """Whether a checkpoint holds TRL's value head: by its architecture, or by the names in its safetensors files."""
    from safetensors import safe_open

    if VALUE_HEAD in architectures:
        return True
    for path in sorted(Path(name).glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            if VALUE_WEIGHT in file.keys():  # noqa: SIM118 - it is no mapping
                return True
    return False


@functools.cache
def qwen_prm_class() -> Any:
    """The class of Qwen2.5-Math-PRM: Qwen2 under two linear layers, which give two logits a token, (wrong, right)."""
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
