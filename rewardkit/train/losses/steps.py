"""Losses of single steps: what each step costs by itself, and the mean over labelled steps that trains on it.

Every function takes the logits ``z`` and the targets ``y`` of the labelled steps, both of shape (steps,), and gives
the loss of each step in nats, of the same shape. ``p = σ(z)`` is the model's chance that the step is right, ``y`` the
given chance: 1 right, 0 wrong, between them soft. All are computed in float32 from log-probabilities, so that no logit
is too large for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError

if TYPE_CHECKING:
    import torch

IGNORE = -100.0
"""The target of a position that carries no label, as a float: soft labels keep the label tensor a float one."""


def bce(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy: ``-y log p - (1 - y) log(1 - p)``.

    With ``y`` the posterior of a label model this is the loss of its soft targets (Math-Shepherd, arXiv 2312.08935,
    eq. 2, with the share of right rollouts as ``y``).

    >>> import torch
    >>> [round(v, 4) for v in bce(torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.0])).tolist()]
    [0.6931, 0.1269]
    """
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(z.float(), y.float(), reduction="none")


def soft_kl(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Divergence from soft targets: ``KL(y || p) = bce(z, y) - H(y)``, with H the entropy of the target.

    The gradient is that of `bce`; the value is 0 where the model says what the label model said, so that losses of
    data with targets of different softness can be compared.

    >>> import torch
    >>> [round(v, 4) for v in soft_kl(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 1.0])).tolist()]
    [0.0, 0.6931]
    """
    import torch

    y = y.float()
    return bce(z, y) + torch.xlogy(y, y) + torch.xlogy(1 - y, 1 - y)


def gce(z: torch.Tensor, y: torch.Tensor, q: float = 0.7) -> torch.Tensor:
    """Generalised cross-entropy: ``y (1 - p^q) / q + (1 - y) (1 - (1 - p)^q) / q``.

    Zhang & Sabuncu 2018, arXiv 1805.07836. Between cross-entropy (q to 0) and the mean absolute error (q = 1,
    which symmetric noise does not move): a step whose label the model does not believe costs 1/q at most, and pulls
    less.

    >>> import torch
    >>> z, y = torch.tensor([0.0, -20.0]), torch.tensor([1.0, 1.0])
    >>> [round(v, 4) for v in gce(z, y).tolist()]
    [0.5492, 1.4286]
    """
    import torch
    import torch.nn.functional as F

    z, y = z.float(), y.float()
    right = -torch.expm1(q * F.logsigmoid(z)) / q
    wrong = -torch.expm1(q * F.logsigmoid(-z)) / q
    return y * right + (1 - y) * wrong


def forward_bce(z: torch.Tensor, y: torch.Tensor, noise: Sequence[Sequence[float]]) -> torch.Tensor:
    """Forward correction: cross-entropy of the *given* label against what noise makes of the model's prediction.

    ``-y log p̃ - (1 - y) log(1 - p̃)`` with ``p̃ = T[1][1] p + T[0][1] (1 - p)``; Patrini et al. 2017, arXiv
    1609.03944, theorem 2: with the true matrix its minimum is that of cross-entropy on clean labels.

    Args:
        z: (steps,) logits.
        y: (steps,) given labels.
        noise: ``T[true][given]``, the chance that a step that is truly wrong (row 0) or right (row 1) is given the
            label wrong (column 0) or right (column 1); rows sum to 1. See `check_noise`.

    >>> import torch
    >>> z, y = torch.tensor([-20.0]), torch.tensor([1.0])
    >>> round(forward_bce(z, y, [[0.8, 0.2], [0.1, 0.9]]).item(), 4)  # -log 0.2: a lucky guess, not a surprise
    1.6094
    """
    import torch
    import torch.nn.functional as F

    z, y = z.float(), y.float()
    log_right, log_wrong = F.logsigmoid(z), F.logsigmoid(-z)
    log_noise = torch.tensor(noise, dtype=torch.float32, device=z.device).log()
    given_right = torch.logaddexp(log_right + log_noise[1, 1], log_wrong + log_noise[0, 1])
    given_wrong = torch.logaddexp(log_right + log_noise[1, 0], log_wrong + log_noise[0, 0])
    return -y * given_right - (1 - y) * given_wrong


def check_noise(noise: Sequence[Sequence[float]]) -> None:
    """Refuse what is no noise matrix, or one whose labels say nothing (or the contrary) of the truth.

    Raises:
        ConfigError: not two rows of two chances that sum to 1, or ``T[0][1] >= T[1][1]``.

    >>> check_noise([[0.5, 0.5], [0.5, 0.5]])
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: noise: right steps must be labelled right more often than wrong ones are
    """
    if len(noise) != 2 or any(len(row) != 2 or min(row) < 0 or abs(sum(row) - 1) > 1e-6 for row in noise):
        raise ConfigError("noise must be [[P(wrong|wrong), P(right|wrong)], [P(wrong|right), P(right|right)]]")
    if noise[0][1] >= noise[1][1]:
        raise ConfigError("noise: right steps must be labelled right more often than wrong ones are")


def balanced_weights(targets: Sequence[float]) -> tuple[float, float]:
    """Weights of (wrong, right) steps under which both classes weigh the same and the mean weight is 1.

    ``n / (2 n_c)``, scikit-learn's "balanced"; soft targets count to both classes by their share.

    Raises:
        ConfigError: one class is missing.

    >>> balanced_weights([1.0, 1.0, 1.0, 0.0])
    (2.0, 0.6666666666666666)
    """
    right = sum(targets)
    wrong = len(targets) - right
    if right <= 0 or wrong <= 0:
        raise ConfigError("class_weights: balanced needs labels of both classes; the data has one")
    return len(targets) / (2 * wrong), len(targets) / (2 * right)


def weighted(losses: torch.Tensor, y: torch.Tensor, weights: tuple[float, float] | None) -> torch.Tensor:
    """Each step's loss times the weight of its class, ``y w_right + (1 - y) w_wrong``; as it is without weights.

    >>> import torch
    >>> weighted(torch.ones(3), torch.tensor([0.0, 1.0, 0.5]), (3.0, 1.0)).tolist()
    [3.0, 1.0, 2.0]
    """
    return losses if weights is None else losses * (y.float() * weights[1] + (1 - y.float()) * weights[0])


def step_logits(logits: torch.Tensor) -> torch.Tensor:
    """One float32 logit a position: of a head of one label as it is, of two ``z_right - z_wrong``.

    Sigmoid of that difference is the softmax of the two, so that every loss serves both heads.

    Args:
        logits: shape (..., 1) or (..., 2); with two, the last is the one of right steps.

    Returns:
        Shape (...).

    Raises:
        ConfigError: a head of more labels.

    >>> import torch
    >>> step_logits(torch.tensor([[1.0, 3.0]])).tolist(), step_logits(torch.tensor([[3.0]])).tolist()
    ([2.0], [3.0])
    """
    if logits.shape[-1] == 1:
        return logits.squeeze(-1).float()
    if logits.shape[-1] == 2:
        return logits[..., 1].float() - logits[..., 0].float()
    raise ConfigError(f"a step loss needs a head of one or two labels, not of {logits.shape[-1]}")


def step_mean(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The sum of a step loss over labelled steps, divided by their number in the whole accumulated batch.

    So gradient accumulation and more processes change nothing but rounding. A batch without any label costs 0, with
    a gradient of 0.

    Args:
        loss: from logits and targets of the labelled steps, (steps,) each, to their losses.
        outputs: of the model; ``outputs.logits`` of shape (batch, tokens, 1 or 2).
        labels: shape (batch, tokens), floats in [0, 1], `IGNORE` where there is no label.
        num_items_in_batch: the number of labelled steps to divide by; None means those of this call.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.zeros(1, 3, 1))
    >>> round(step_mean(bce, out, torch.tensor([[IGNORE, 1.0, 0.3]])).item(), 4)
    0.6931
    """
    labelled = labels != IGNORE
    losses = loss(step_logits(outputs.logits[labelled]), labels[labelled].float())
    return losses.sum() / items(labelled, num_items_in_batch)


def items(labelled: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor | int:
    """What a sum over labelled steps is divided by: at least 1.

    >>> import torch
    >>> items(torch.tensor([[False]]), None).item(), items(torch.tensor([[True]]), 8)
    (1, 8)
    """
    if num_items_in_batch is None:
        return labelled.sum().clamp(min=1)
    return max(num_items_in_batch, 1) if isinstance(num_items_in_batch, int) else num_items_in_batch.clamp(min=1)


def step_bce_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """The mean of `bce` over labelled steps, hard and soft; the signature is that of ``compute_loss_func``.

    See `step_mean`.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.zeros(1, 3, 1))
    >>> round(step_bce_loss(out, torch.tensor([[IGNORE, 1.0, 0.3]])).item(), 4)
    0.6931
    """
    return step_mean(bce, outputs, labels, num_items_in_batch)
