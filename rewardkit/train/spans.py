"""Steps that are read over all their tokens: the mean of a step's logits where the loss looks for them.

The losses, metrics and counts of labels look at one position a step, that of its separator. A model whose steps are
read as means keeps to that: behind the model the logits at that position become the mean over the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def read_means(model: Any) -> None:
    """Let a model give means at the ends of steps, of batches that have ``ends``.

    Args:
        model: a Hugging Face token classifier, under adapters or not; what it saves is not changed.
    """
    waiting: list[Any] = []  # the ends of the batch that is in the model

    def before(module: Any, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ends = options.pop("ends", None)
        waiting[:] = [] if ends is None else [ends]
        return args, options

    def after(module: Any, args: Any, outputs: Any) -> Any:
        if waiting:
            outputs.logits = means_at(outputs.logits, waiting.pop())
        return outputs

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.register_forward_hook(after)


def means_at(logits: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The mean of the logits of all tokens that end at a position, in float32.

    Args:
        logits: shape (rows, tokens, labels).
        ends: shape (rows, tokens), whole numbers: for each token the position at which it is read.

    Returns:
        Shape (rows, tokens, labels); 0 where no token ends.

    >>> import torch
    >>> means_at(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[0, 2, 2]])).ravel().tolist()
    [1.0, 0.0, 4.0]
    """
    import torch

    values = logits.float()
    sums = torch.zeros_like(values).scatter_add(1, ends[..., None].expand_as(values), values)
    counts = torch.zeros_like(values[..., 0]).scatter_add(1, ends, torch.ones_like(values[..., 0]))
    return sums / counts.clamp(min=1)[..., None]
