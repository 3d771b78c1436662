"""Process rewards: from the scores of steps to rewards of responses, steps and tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError
from rewardkit.models.reduce import reduce_scores
from rewardkit.rewards.base import Group, GroupResult
from rewardkit.text.extract import extract_answer

Floats = NDArray[np.float64]


def process(group: Group, *, reducer: str = "min", differences: bool = False) -> GroupResult:
    """A token PRM's reward: one score of the response from those of its steps, and one reward a step.

    A response without steps, or with a score that is not finite, abstains with a note.

    Args:
        group: with `step_scores`.
        reducer: ``min``, ``prod``, ``last``, ``mean`` or ``sum``; the one that the model was made for.
        differences: the step rewards are score[k] - score[k-1] (the first: score[0]), whose sum is the last score; for
            value models, so that a long response earns no more than a short one.

    Raises:
        DataError: the group has no step scores.
        ConfigError: there is no such reducer.

    >>> result = process(Group.create("p", ["a", "b"], step_scores=[[0.9, 0.4], []]), differences=True)
    >>> result.rewards, result.step_rewards
    ((0.4, None), ((0.9, -0.5), ()))
    """
    if not group.step_scores:
        raise DataError(f"group '{group.id}' has no step_scores; score its completions with a reward model first")
    usable = [bool(scores) and all(map(math.isfinite, scores)) for scores in group.step_scores]
    pairs = list(zip(group.step_scores, usable, strict=True))
    rewards = tuple(reduce_scores(scores, reducer) if ok else None for scores, ok in pairs)
    steps = tuple(_steps(scores, differences) if ok else () for scores, ok in pairs)
    left_out = usable.count(False)
    notes = (f"{left_out} completions have no usable step scores",) if left_out else ()
    answers = tuple(extract_answer(text) for text in group.completions)
    return GroupResult(rewards, answers, step_rewards=steps, stats={"without_scores": float(left_out)}, notes=notes)


def _steps(scores: Sequence[float], differences: bool) -> tuple[float, ...]:
    if not differences:
        return tuple(scores)
    return tuple(score - before for score, before in zip(scores, (0.0, *scores), strict=False))


def implicit_step_rewards(
    log_ratios: ArrayLike, ends: Sequence[int], *, beta: float = 0.05
) -> tuple[list[float], list[float]]:
    """An implicit PRM's rewards of steps (Yuan et al. 2024, arXiv 2412.01981).

    Args:
        log_ratios: (T,) log pi(token) - log pi_ref(token) of the response's tokens.
        ends: for each step the index behind its last token; the last one is T or less.
        beta: of the model.

    Returns:
        The reward of each step (beta times the sum over its own tokens) and q of each step (the sum up to its end).
        Neither is a probability.

    Raises:
        DataError: the ends do not rise or pass the tokens, or a log-ratio is not finite.

    >>> implicit_step_rewards([1.0, 1.0, -2.0], [2, 3], beta=0.5)
    ([1.0, -1.0], [1.0, 0.0])
    """
    tokens = np.asarray(log_ratios, dtype=np.float64)
    if tokens.ndim != 1 or not np.isfinite(tokens).all():
        raise DataError("log_ratios must be one finite number a token")
    _check_ends(ends, len(tokens))
    sums = [beta * float(tokens[:end].sum()) for end in ends]
    return [q - before for q, before in zip(sums, [0.0, *sums], strict=False)], sums


def token_rewards(step_rewards: Sequence[float], ends: Sequence[int], length: int) -> Floats:
    """Rewards of steps written at the last token of each step, zero elsewhere.

    Args:
        step_rewards: one a step.
        ends: for each step the index behind its last token.
        length: T, tokens of the response.

    Returns:
        (T,) rewards.

    Raises:
        DataError: the numbers of rewards and ends differ, or an end is out of order.

    >>> token_rewards([0.5, 1.0], [2, 4], 5).tolist()
    [0.0, 0.5, 0.0, 1.0, 0.0]
    """
    if len(step_rewards) != len(ends):
        raise DataError(f"{len(step_rewards)} step rewards but {len(ends)} step ends")
    _check_ends(ends, length)
    made = np.zeros(length)
    made[[end - 1 for end in ends]] = step_rewards
    return made


def returns(rewards: ArrayLike, *, gamma: float = 1.0) -> Floats:
    """Token-level returns: the discounted sum of the rewards from each token on.

    Args:
        rewards: (..., T).
        gamma: the discount.

    Returns:
        (..., T).

    >>> returns([0.0, 0.5, 1.0]).tolist(), returns([0.0, 1.0], gamma=0.5).tolist()
    ([1.5, 1.5, 1.0], [0.5, 1.0])
    """
    values = np.asarray(rewards, dtype=np.float64)
    made = np.zeros_like(values)
    ahead: Floats = np.zeros(values.shape[:-1])
    for t in range(values.shape[-1] - 1, -1, -1):
        ahead = values[..., t] + gamma * ahead
        made[..., t] = ahead
    return made


def _check_ends(ends: Sequence[int], length: int) -> None:
    if any(end <= before for end, before in zip(ends, (0, *ends), strict=False)) or (ends and ends[-1] > length):
        raise DataError(f"step ends must rise from 1 to at most {length}; they are {list(ends)}")
