"""Advantages of groups: GRPO's, and PRIME's sum of leave-one-out baselines over reward sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError
from rewardkit.rewards.base import choose
from rewardkit.rewards.process import returns

Floats = NDArray[np.float64]


def grpo_advantages(rewards: Sequence[float | None], *, style: str = "trl", scale: bool = True) -> list[float]:
    """Group-normalised advantages: (r - mean) / (unbiased standard deviation + eps). An abstention has advantage 0.

    Args:
        rewards: of one group, None where a reward abstains; it counts in neither mean nor deviation.
        style: ``trl`` (eps 1e-4; a single reward gives 0) or ``verl`` (eps 1e-6; a single reward stays as it is).
        scale: divide by the deviation; without it, Dr. GRPO's.

    >>> [round(a, 4) for a in grpo_advantages([1, 0, None, 1])]
    [0.5773, -1.1545, 0.0, 0.5773]
    """
    choose(style, "style", ["trl", "verl"])
    known = np.array([r for r in rewards if r is not None], dtype=np.float64)
    if not known.size:
        return [0.0] * len(rewards)
    mean, deviation = known.mean(), known.std(ddof=1) if known.size > 1 else 0.0
    if known.size == 1 and style == "verl":
        mean, deviation = np.float64(0.0), 1.0
    below = deviation + (1e-4 if style == "trl" else 1e-6) if scale else 1.0
    return [0.0 if r is None else float((r - mean) / below) for r in rewards]


def leave_one_out(rewards: ArrayLike, mask: ArrayLike) -> Floats:
    """PRIME's RLOO of one source: r * K/(K-1) minus the sum of the K responses' mean rewards over K-1.

    Args:
        rewards: (K, T) of one group, by token.
        mask: (K, T) true where the source has a reward: all response tokens, or the last one.

    Returns:
        (K, T), zero outside the mask.

    Raises:
        DataError: fewer than two responses, shapes differ, or a response has no masked token.

    >>> leave_one_out([[0, 1.0], [0, 0.0]], [[0, 1], [0, 1]]).tolist()
    [[0.0, 1.0], [0.0, -1.0]]
    """
    values, where = np.asarray(rewards, dtype=np.float64), np.asarray(mask, dtype=bool)
    if values.shape != where.shape or values.ndim != 2 or len(values) < 2:
        raise DataError(f"rewards {values.shape} and mask {where.shape} must be (K, T) with K at least 2")
    if not where.any(axis=1).all():
        raise DataError("a response has no token with a reward")
    if not np.isfinite(values[where]).all():
        raise DataError("a token reward is not finite")
    k = len(values)
    means = np.array([row[kept].mean() for row, kept in zip(values, where, strict=True)])
    made = values * k / (k - 1) - means.sum() / (k - 1)
    return np.asarray(np.where(where, made, 0.0), dtype=np.float64)


def prime_advantages(
    sources: Mapping[str, tuple[ArrayLike, ArrayLike]],
    mask: ArrayLike,
    *,
    weights: Mapping[str, float] | None = None,
    whiten: bool = True,
) -> tuple[Floats, Floats]:
    """PRIME's advantages and returns (arXiv 2502.01456): RLOO per source, summed, then token-level returns.

    Args:
        sources: by name, each (K, T) rewards and (K, T) mask, as `leave_one_out` takes them. PRIME's are the implicit
            PRM's token rewards on all response tokens, and the outcome on the last token (`at_last_token`).
        mask: (K, T) true on response tokens.
        weights: by name, 1.0 where none is given (verl's PRIME recipe: 5 and 5).
        whiten: make mean 0 and variance 1 over the response tokens of these K responses. verl does that over the whole
            batch: leave it out and use `whitened` on the batch to do the same.

    Returns:
        Advantages and returns, (K, T) each, zero outside the mask.

    Raises:
        DataError: as `leave_one_out`.

    >>> mask = [[1, 1], [1, 0]]
    >>> advantages, r = prime_advantages({"outcome": at_last_token([1.0, 0.0], mask)}, mask, whiten=False)
    >>> r.tolist()
    [[1.0, 1.0], [-1.0, 0.0]]
    """
    where = np.asarray(mask, dtype=bool)
    total = np.zeros(where.shape)
    for name, (rewards, own) in sources.items():
        total += (weights or {}).get(name, 1.0) * leave_one_out(rewards, own)
    made = returns(np.where(where, total, 0.0))
    advantages = whitened(made, where) if whiten else made
    return np.where(where, advantages, 0.0), np.where(where, made, 0.0)


def at_last_token(rewards: Sequence[float], mask: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """One reward a response, written at its last token, and the mask of those tokens.

    >>> at_last_token([1.0], [[1, 1, 0]])[0].tolist()
    [[0.0, 1.0, 0.0]]
    """
    where = np.asarray(mask, dtype=bool)
    if len(rewards) != len(where) or not where.any(axis=1).all():
        raise DataError(f"{len(rewards)} rewards for {len(where)} responses, each with at least one token")
    last = where.shape[1] - 1 - where[:, ::-1].argmax(axis=1)
    made, only = np.zeros(where.shape), np.zeros(where.shape, dtype=bool)
    made[np.arange(len(where)), last] = rewards
    only[np.arange(len(where)), last] = True
    return made, only


def whitened(values: ArrayLike, mask: ArrayLike) -> Floats:
    """Values of mean 0 and (unbiased) variance 1 over the mask; as verl's masked_whiten.

    >>> whitened([[1.0, 3.0]], [[1, 1]]).round(3).tolist()
    [[-0.707, 0.707]]
    """
    array, where = np.asarray(values, dtype=np.float64), np.asarray(mask, dtype=bool)
    kept = array[where]
    if kept.size < 2:
        return np.zeros_like(array)
    return np.asarray((array - kept.mean()) / np.sqrt(kept.var(ddof=1) + 1e-8), dtype=np.float64)


def batch_normalised(token_rewards: ArrayLike) -> Floats:
    """PRIME's ``prime_norm: batch_norm``: token rewards over the largest return in magnitude.

    >>> batch_normalised([[1.0, -3.0]]).tolist()
    [[0.3333333333333333, -1.0]]
    """
    values = np.asarray(token_rewards, dtype=np.float64)
    largest = float(np.abs(returns(values)).max(initial=0.0))
    return values / largest if largest else values
