"""A generative process reward model: its next token after each step is the verdict, `correct` or `incorrect`."""

from __future__ import annotations

from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.local import LocalRewardModel
from rewardkit.models.spec import RewardModelSpec


class GenerativeRewardModel(LocalRewardModel):
    """Scores each step by the two logits of its label tokens where the next token is the verdict.

    The score is softmax over the two alone, in float32 (FoVer, arXiv 2505.15960; Math-Shepherd, arXiv 2312.08935).
    The model is a plain causal language model; see `only_labels` for what is done to it.
    """

    kind = "generative"

    def __init__(self, model: Any, tokenizer: Any, spec: RewardModelSpec, *, batch_tokens: int = 8192) -> None:
        super().__init__(model, tokenizer, spec, batch_tokens=batch_tokens)
        assert spec.label_token_ids is not None
        only_labels(model, spec.label_token_ids)

    @classmethod
    def check_spec(cls, spec: RewardModelSpec) -> None:
        super().check_spec(spec)
        if None in (spec.label_token_ids, spec.layout, spec.template) or spec.positive_label != 1:
            raise ConfigError(
                "a generative reward model needs label_token_ids, layout, template and positive_label 1 "
                "in its reward_model.json (docs/models.md)"
            )

    @classmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def only_labels(model: Any, label_token_ids: tuple[int, int]) -> None:
    """Make a causal language model give the logits of its two label tokens alone, (incorrect, correct), in float32.

    Its vocabulary head then multiplies with two of its rows: logits of shape (batch, tokens, 2), never (batch, tokens,
    vocabulary). What the model itself does to logits behind its head (such as Gemma's soft cap) stays in force, and
    the weights, their names and what is saved stay as they were.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> head = torch.nn.Linear(2, 5, bias=False)
    >>> model = SimpleNamespace(get_output_embeddings=lambda: head)
    >>> whole = head(torch.ones(1, 3, 2))
    >>> only_labels(model, (4, 1))
    >>> bool(torch.allclose(head(torch.ones(1, 3, 2)), whole[..., [1, 4]]))
    True
    """
    import torch.nn.functional as F

    head = model.get_output_embeddings()
    right, wrong = label_token_ids
    rows = [wrong, right]

    def forward(hidden: Any) -> Any:
        bias = None if getattr(head, "bias", None) is None else head.bias[rows].float()
        return F.linear(hidden.float(), head.weight[rows].float(), bias)

    head.forward = forward
