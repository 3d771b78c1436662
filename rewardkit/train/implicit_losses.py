"""Losses of implicit process reward models: of rewards ``r = beta * (log pi(y) - log pi_ref(y))``, one a response.

All are per item, without a mean, so that the caller divides by the number of items in the whole accumulated batch.
Yuan et al., "Free Process Rewards without Process Labels" (arXiv 2412.01981) compares the four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def ce_loss(rewards: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, ``-y log σ(r) - (1 - y) log σ(-r)``: responses by themselves, hard or soft labels.

    Args:
        rewards: shape (responses,).
        labels: shape (responses,), in [0, 1].

    >>> import torch
    >>> ce_loss(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.3]))
    tensor([0.6931, 0.6931])
    """
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(rewards, labels, reduction="none")


def dpo_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """``-log σ(r_c - r_r)`` (Rafailov et al., arXiv 2305.18290, eq. 7).

    Args:
        chosen: rewards of right responses, shape (pairs,).
        rejected: rewards of wrong responses to the same problems, shape (pairs,).

    >>> import torch
    >>> dpo_loss(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.6931])
    """
    import torch.nn.functional as F

    return -F.logsigmoid(chosen - rejected)


def nca_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """``-log σ(r_c) - log σ(-r_c) / 2 - log σ(-r_r) / 2`` (Chen et al., arXiv 2402.05369, for pairs), as TRL has it.

    Args:
        chosen: as in `dpo_loss`.
        rejected: as in `dpo_loss`.

    >>> import torch
    >>> nca_loss(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([1.3863])
    """
    import torch.nn.functional as F

    return -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)


def kto_loss(rewards: torch.Tensor, labels: torch.Tensor, kl: torch.Tensor | float) -> torch.Tensor:
    """``1 - σ(r - kl)`` for right responses, ``1 - σ(kl - r)`` for wrong ones (Ethayarajh et al., arXiv 2402.01306).

    Args:
        rewards: shape (responses,).
        labels: shape (responses,); right from 0.5 on.
        kl: beta times the estimate of KL(pi || pi_ref), at least 0: see `mismatched_kl`.

    >>> import torch
    >>> kto_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), 0.0)
    tensor([0.5000, 0.5000])
    """
    import torch

    distance = rewards - kl
    return 1 - torch.sigmoid(torch.where(labels >= 0.5, distance, -distance))
