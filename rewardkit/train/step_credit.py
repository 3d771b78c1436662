"""From rewards of steps to an advantage of each token: whom to credit inside a response.

Process supervision of GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.3): the rewards of all steps of a group are
normalised together, and a token's advantage is the sum over the steps that end at or behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import DataError
from rewardkit.rewards.process import returns, token_rewards
from rewardkit.text.split import split_steps

Floats = NDArray[np.float64]


def step_advantages(
    step_rewards: Sequence[Sequence[float]], ends: Sequence[Sequence[int]], width: int, *, scale: bool = True
) -> Floats:
    """The advantage of every token of a group's responses, by the returns of their steps.

    Args:
        step_rewards: for each of the G responses one reward a step; none where they are not known, which gives zeros.
        ends: for each response and step the index behind its last token; steps that end in one token share it.
        width: T, tokens of the longest response.
        scale: divide by the deviation of the group's step rewards.

    Returns:
        (G, T), zero behind the last step.

    Raises:
        DataError: the numbers of rewards and ends of a response differ.

    >>> step_advantages([[1.0, 0.0], [1.0, 0.0]], [[1, 3], [2, 3]], 3, scale=False).tolist()
    [[0.0, -0.5, -0.5], [0.0, 0.0, -0.5]]
    """
    made = np.zeros((len(step_rewards), width))
    every = np.array([r for rewards in step_rewards for r in rewards], dtype=np.float64)
    if not every.size:
        return made
    deviation = every.std(ddof=1) if every.size > 1 else 0.0
    below = deviation + 1e-4 if scale else 1.0
    for row, (rewards, places) in enumerate(zip(step_rewards, ends, strict=True)):
        if not rewards:
            continue
        if len(rewards) != len(places):
            raise DataError(f"response {row} has {len(rewards)} step rewards but {len(places)} steps")
        sums: dict[int, float] = {}
        for reward, end in zip(rewards, places, strict=True):
            sums[end] = sums.get(end, 0.0) + float((reward - every.mean()) / below)
        made[row] = returns(token_rewards(list(sums.values()), list(sums), width))
    return made


def step_ends(tokenizer: Any, ids: Sequence[int], text: str) -> list[int]:
    """Where the steps of a sampled response end among its token ids.

    The ids are those that were sampled: nothing is tokenized again, which would give others. A token that holds the end
    of one step and the beginning of the next belongs to the first.

    Args:
        tokenizer: that decodes them.
        ids: of the completion, end of sequence included.
        text: the completion as the reward saw it.

    Returns:
        For each step of `rewardkit.text.split.split_steps` the index behind its last token; the last is ``len(ids)``.
    """
    steps = split_steps(text)
    lead = max(0, _decode(tokenizer, ids).find(text))
    ends: list[int] = []
    for step in steps:
        begin = ends[-1] if ends else 1
        ends.append(_first_reaching(tokenizer, ids, lead + step.end, min(begin, len(ids))))
    return [*ends[:-1], len(ids)] if ends else []


def _first_reaching(tokenizer: Any, ids: Sequence[int], characters: int, low: int) -> int:
    """The fewest of the ids, at least `low`, whose text has so many characters; found by halving."""
    high = len(ids)
    while low < high:
        middle = (low + high) // 2
        if len(_decode(tokenizer, ids[:middle])) >= characters:
            high = middle
        else:
            low = middle + 1
    return low


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))
