"""Losses of a fact about a whole response: "k of these steps are wrong", "at least one is wrong".

Steps are taken as independent given the response, so that the number of wrong ones is Poisson-binomial, computed
exactly and in log space. ``z`` holds logits of shape (rows, steps), ``there`` which of them are steps of the bag;
``a = σ(-z)`` is the chance that a step is wrong. Losses are in nats, one a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardkit.train.losses.steps import IGNORE, items, step_logits

if TYPE_CHECKING:
    import torch

_NEVER = -1e30
"""Log of zero: infinity itself would make gradients NaN where it meets itself."""


def log_wrong_counts(z: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of each number of wrong steps.

    The recursion over steps is ``log P_t(k) = logaddexp(log P_{t-1}(k) + log(1 - a_t), log P_{t-1}(k-1) + log a_t)``
    (Poisson 1837; Chen & Liu 1997 call it the direct convolution): steps² operations a row.

    Args:
        z: (rows, steps) logits of being right.
        there: (rows, steps) bool; a position that is no step of the bag counts as never wrong.

    Returns:
        (rows, steps + 1); what is impossible is below -1e29.

    >>> import torch
    >>> counts = log_wrong_counts(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)).exp()
    >>> [round(v, 4) for v in counts[0].tolist()]
    [0.25, 0.5, 0.25]
    """
    import torch

    right, wrong = _logs(z, there)
    rows, steps = z.shape
    never = z.new_full((rows, 1), _NEVER, dtype=torch.float32)
    counts = torch.cat([torch.zeros_like(never), never.expand(rows, steps)], dim=1)
    for t in range(steps):
        one_more = torch.cat([never, counts[:, :-1]], dim=1)
        counts = torch.logaddexp(counts + right[:, t : t + 1], one_more + wrong[:, t : t + 1])
    return counts


def count_nll(z: torch.Tensor, there: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """``-log P(exactly k steps are wrong)``, one a row.

    With k = 0, or k = all, that is the sum of the steps' cross-entropies. In between the model finds out for itself
    which steps are meant: learning from label proportions with a likelihood that is exact.

    Args:
        z: (rows, steps) logits.
        there: (rows, steps) bool: the steps of the bag.
        wrong: (rows,) k, from 0 to the number of steps of the row.

    >>> import torch
    >>> z, there = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    >>> round(count_nll(z, there, torch.tensor([1])).item(), 4)  # -log 1/2
    0.6931
    """
    return -log_wrong_counts(z, there).gather(1, wrong.long().unsqueeze(1)).squeeze(1)


def any_wrong_nll(z: torch.Tensor, there: torch.Tensor, all_right: torch.Tensor) -> torch.Tensor:
    """``-q log Π(1 - a_t) - (1 - q) log(1 - Π(1 - a_t))`` with q the chance that no step of the row is wrong.

    q = 0 says that at least one step is wrong (the final answer is), and no more. The second logarithm is summed over
    where the first error is, ``1 - Π(1 - a_t) = Σ_t a_t Π_{j<t}(1 - a_j)``, which stays exact when every step
    looks right.

    Args:
        z: (rows, steps) logits.
        there: (rows, steps) bool: the steps of the bag.
        all_right: (rows,) q in [0, 1].

    >>> import torch
    >>> z, there = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    >>> round(any_wrong_nll(z, there, torch.tensor([0.0])).item(), 4)  # -log 3/4
    0.2877
    """
    import torch

    right, wrong = _logs(z, there)
    before = right.cumsum(dim=1) - right
    some = torch.logsumexp(before + wrong, dim=1)
    q = all_right.float()
    return -q * right.sum(dim=1) - (1 - q) * some


def count_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """`count_nll` with k read off each row's labels: how many of them are below 0.5; which ones is not used.

    Divided by the number of labelled *steps*, as the step losses are: a row whose steps are all right, or all wrong,
    then costs what it does in `step_bce_loss`, and gradient accumulation changes nothing.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.tensor([[[3.0], [-3.0], [0.5]]]))
    >>> a, b = torch.tensor([[1.0, 0.0, IGNORE]]), torch.tensor([[0.0, 1.0, IGNORE]])
    >>> bool(count_loss(out, a) == count_loss(out, b))
    True
    """
    z, y, there = bags(outputs.logits, labels)
    wrong = (there & (y < 0.5)).sum(dim=1)
    return count_nll(z, there, wrong).sum() / items(there, num_items_in_batch)


def any_wrong_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    all_right: float = 0.9,
) -> torch.Tensor:
    """`any_wrong_nll` with each row's labels read as one fact: q is `all_right` times the smallest of them.

    For outcomes: a right answer makes all labels of the response 1, a wrong one 0. A right answer does *not* prove
    every step right, hence `all_right`, the share of responses with a right answer in which every step is.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.zeros(1, 2, 1))
    >>> round(any_wrong_loss(out, torch.zeros(1, 2)).item() * 2, 4)
    0.2877
    """
    z, y, there = bags(outputs.logits, labels)
    # A row without a label has no fact: its sums of nothing are 0 and minus infinity.
    row = there.any(dim=1)
    if not row.any():
        return z.sum() * 0.0
    q = all_right * y.masked_fill(~there, 1.0).amin(dim=1)
    return any_wrong_nll(z[row], there[row], q[row]).sum() / items(there, num_items_in_batch)


def bags(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each row's labelled steps, moved to the front: logits, targets and a mask, (rows, most steps of a row) each.

    >>> import torch
    >>> z, y, there = bags(torch.tensor([[[7.0], [8.0], [9.0]]]), torch.tensor([[IGNORE, 1.0, 0.0]]))
    >>> z.tolist(), y.tolist(), there.tolist()
    ([[8.0, 9.0]], [[1.0, 0.0]], [[True, True]])
    """
    labelled = labels != IGNORE
    most = max(int(labelled.sum(dim=1).max()), 1)
    front = labelled.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    there = labelled.gather(1, front)
    y = labels.gather(1, front).float()
    picked = logits.gather(1, front.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
    return step_logits(picked), y, there


def _logs(z: torch.Tensor, there: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``log(1 - a)`` and ``log a`` of each step; a position outside the bag is never wrong."""
    import torch.nn.functional as F

    z = z.float()
    return F.logsigmoid(z).masked_fill(~there, 0.0), F.logsigmoid(-z).masked_fill(~there, _NEVER)
