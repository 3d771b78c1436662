"""Batches in which responses of one problem share their prompt: what stands between a plain batch and the model.

The collators, losses, metrics and counts of labels stay as they are: a batch keeps its plain layout, one row a
sequence, and gets ``shared``, the same sequences as trees (`rewardkit.models.prefixes`). The model is given the trees,
and its outputs are laid out plainly again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.prefixes import model_inputs, require_any_mask, share_prefixes

Collate = Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]


class SharingCollator:
    """A collator's batches, with ``shared`` beside every ``input_ids``.

    Args:
        inner: gives ``input_ids`` padded on the right, and ``attention_mask`` or ``lengths``.
        width: of the model's hidden states.
    """

    def __init__(self, inner: Collate, width: int) -> None:
        self.inner = inner
        self.width = width

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        for prefix in ("", "mismatched_"):
            if f"{prefix}input_ids" in batch:
                lengths = batch[f"{prefix}lengths"] if "lengths" in batch else batch["attention_mask"].sum(1)
                padded = batch[f"{prefix}input_ids"].tolist()
                sequences = [ids[:n] for ids, n in zip(padded, lengths.tolist(), strict=True)]
                batch[f"{prefix}shared"] = share_prefixes(sequences, self.width)
        return batch


def share_prompts(trainer: Any, *, last: bool = False) -> None:
    """Let a trainer's model read trees in training and give its logits as for plain batches; evaluation stays plain.

    Args:
        trainer: a `rewardkit.train.batches.grouped_trainer`, before its training.
        last: the logits are one row a sequence, at its last token (a sequence classifier), not one a token.

    Raises:
        ConfigError: the model's attention takes no mask of ours, or cannot be tried under DeepSpeed.
    """
    if trainer.is_deepspeed_enabled:  # its weights are shared out before any trial
        raise ConfigError("batching=problem is tried on whole weights first: take batching=length with DeepSpeed")
    model = trainer.model
    require_any_mask(model, max(len(row["input_ids"]) for row in trainer.train_dataset))
    trainer.shares_prompts = True
    waiting: list[Any] = []  # the places of the batch that is in the model
    heads: list[Any] = []

    def before(module: Any, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        shared = options.pop("shared", None)
        waiting[:] = [] if shared is None else [_places(shared, options["attention_mask"], last)]
        return args, options if shared is None else {**options, **model_inputs(shared)}

    def after(module: Any, args: Any, outputs: Any) -> Any:
        if waiting:
            logits = heads.pop() if last else outputs.logits
            outputs.logits = logits.flatten(0, 1)[waiting.pop()]
        return outputs

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.register_forward_hook(after, prepend=True)  # other hooks find logits laid out plainly
    if last:
        # A sequence classifier picks one token a row, where a tree has an end for each of its sequences.
        model.score.register_forward_hook(lambda module, args, logits: heads.__setitem__(slice(None), [logits]))


def _places(shared: Mapping[str, Any], mask: Any, last: bool) -> Any:
    return shared["places"].gather(1, mask.sum(1, keepdim=True) - 1)[:, 0] if last else shared["places"]
