"""Losses of reward models, each with its formula and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORE = -100.0
"""The target of a position that carries no label, as a float: soft labels keep the label tensor a float one."""


def step_bce_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Binary cross-entropy at the labelled step positions alone, for hard and soft targets.

    ``-y log σ(z) - (1 - y) log(1 - σ(z))``, summed over labelled steps and divided by their number in the whole
    accumulated batch, on all processes: so gradient accumulation and more processes change nothing but rounding.
    (Math-Shepherd, arXiv 2312.08935, eq. 2, with y the soft label.) The signature is that of the Trainer's
    ``compute_loss_func``.

    Args:
        outputs: of the model; ``outputs.logits`` of shape (batch, tokens, 1).
        labels: shape (batch, tokens), floats in [0, 1], `IGNORE` where there is no label.
        num_items_in_batch: the number of labelled steps to divide by; None means those of this call.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.zeros(1, 3, 1))
    >>> round(step_bce_loss(out, torch.tensor([[IGNORE, 1.0, 0.3]])).item(), 4)
    0.6931
    """
    import torch.nn.functional as F

    logits = outputs.logits.squeeze(-1)
    labelled = labels != IGNORE
    count = labelled.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
    total = F.binary_cross_entropy_with_logits(logits[labelled].float(), labels[labelled].float(), reduction="sum")
    return total / count
