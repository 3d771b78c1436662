"""Labels of which one side is trusted: a prover that proves steps right, and says nothing of those it cannot prove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardkit.train.losses.steps import IGNORE, items, step_logits

if TYPE_CHECKING:
    import torch


def nnpu_risk(z: torch.Tensor, y: torch.Tensor, prior: float) -> torch.Tensor:
    """Non-negative positive-unlabelled risk: ``π E_P[l(z)] + max(0, E[l(-z)] - π E_P[l(-z)])``, ``l = -log σ``.

    Kiryo et al. 2017, arXiv 1703.00593. P are the positive steps, E is over all steps: as one sample without labels, of
    which a share π is positive, whose part of the negative risk is taken off again; below zero it is overfitting, and
    is cut there. Where every positive step is labelled so, and π is their share, this is the mean cross-entropy.

    Args:
        z: (steps,) logits of the positive class.
        y: (steps,) 1 for positive, anything less for unlabelled.
        prior: π, the share of positives among all steps.

    Returns:
        The risk, a scalar in nats; a class that is not there counts 0.

    >>> import torch
    >>> round(nnpu_risk(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), prior=0.5).item(), 4)  # log 2, all told
    0.6931
    """
    import torch.nn.functional as F

    z = z.float()
    positive = z[y >= 1]
    known = max(len(positive), 1)
    as_positive, taken_off = F.softplus(-positive).sum() / known, F.softplus(positive).sum() / known
    as_negative = F.softplus(z).sum() / max(len(z), 1)
    return prior * as_positive + (as_negative - prior * taken_off).clamp(min=0)


def pu_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    prior: float,
    trusted_wrong: bool = False,
) -> torch.Tensor:
    """`nnpu_risk` over the labelled steps of a batch; a label of the side that is not trusted means "unlabelled".

    The risk is a ratio of means with a cut, as in the paper taken a batch at a time. With gradient accumulation it is
    the mean of the micro-batches' risks, weighted by their steps: not the risk of the whole batch. Take batches large
    enough to hold both sides.

    Args:
        outputs: of the model, ``outputs.logits`` of shape (batch, tokens, 1 or 2).
        labels: shape (batch, tokens), `IGNORE` where there is no step.
        num_items_in_batch: labelled steps of the accumulated batch.
        prior: the share of the trusted class among all steps.
        trusted_wrong: labels of 0 are the trusted ones, not those of 1.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.zeros(1, 2, 1))
    >>> round(pu_loss(out, torch.tensor([[1.0, 0.0]]), prior=0.5).item(), 4)
    0.6931
    """
    labelled = labels != IGNORE
    z, y = step_logits(outputs.logits[labelled]), labels[labelled].float()
    risk = nnpu_risk(-z, 1 - y, prior) if trusted_wrong else nnpu_risk(z, y, prior)
    return risk * (labelled.sum() / items(labelled, num_items_in_batch))
