"""EVOL-RL's novelty (arXiv 2509.15194): a completion unlike the others is worth more, within the band of its side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError
from rewardkit.rewards.base import authors_error

Matrix = NDArray[np.floating]
Embed = Callable[[list[str]], ArrayLike]
"""From n texts to an (n, d) array."""

MIDDLE = {True: 0.75, False: -0.75}
"""The middle of the majority's band [0.5, 1] and of the minority's [-1, -0.5]."""
SAME = 1e-6
"""Novelties this close are one: identical embeddings must not be told apart by rounding."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """Shaped rewards and what they rest on.

    Attributes:
        rewards: one a completion.
        texts: that were embedded, in order; none where fewer than two completions are valid.
        similarity: mean, std, min and max of the cosines of all pairs, or None.
        novelty: the same of the scaled novelty, and ``correct`` and ``incorrect`` (mean, std) by side, or None.
    """

    rewards: tuple[float, ...]
    texts: tuple[str, ...] = ()
    similarity: dict[str, float] | None = None
    novelty: dict[str, float | dict[str, float]] | None = field(default=None)


def answer_part(text: str) -> str:
    """What is compared: the text behind the first ``</think>``, stripped; without one the text as it is.

    >>> answer_part("<think>hm</think> so 4 "), answer_part(" so 4 ")
    ('so 4', ' so 4 ')
    """
    _, mark, tail = text.partition("</think>")
    return tail.strip() if mark else text


def bands(similarity: Matrix, majority: Sequence[bool], *, tolerance: float = SAME) -> tuple[list[float], list[float]]:
    """Rewards and scaled novelties from similarities.

    The novelty of one is ``1 - (mean similarity to the others of its side + highest similarity to anyone) / 2``, scaled
    within its side to [0, 1]. Majority: 0.5 + half of it (alone 1, all equal 0.75); minority: half of it - 1 (alone
    -0.5, all equal -0.75).

    Args:
        similarity: (n, n) cosines in [0, 1], n at least 2.
        majority: which side each is on.
        tolerance: spreads up to this are no spread.

    >>> bands(np.array([[1, 0.9, 0.1], [0.9, 1, 0.1], [0.1, 0.1, 1]]), [True, True, False])[0]
    [0.75, 0.75, -0.5]
    """
    raw = _novelties(similarity, majority)
    rewards, scaled = np.zeros(len(raw)), raw.copy()
    for side in (True, False):
        members = [i for i, m in enumerate(majority) if m is side]
        if not members:
            continue
        low, spread = raw[members].min(), float(np.ptp(raw[members]))
        if len(members) == 1:
            scaled[members], rewards[members] = 0.5, 1.0 if side else -0.5
        elif spread <= tolerance:
            rewards[members] = MIDDLE[side]
        else:
            scaled[members] = (raw[members] - low) / spread
            rewards[members] = (0.5 if side else -1.0) + 0.5 * scaled[members]
    return [float(r) for r in rewards], [float(s) for s in scaled]


def _novelties(similarity: Matrix, majority: Sequence[bool]) -> NDArray[np.float64]:
    n = len(similarity)
    novelties = np.zeros(n)
    for i in range(n):
        everyone = [j for j in range(n) if j != i]
        side = [j for j in everyone if majority[j] == majority[i]] or everyone
        row = similarity[i]
        novelties[i] = 1.0 - 0.5 * (float(np.mean(row[side])) + float(np.max(row[everyone])))
    return novelties


def cosines(embeddings: Matrix) -> Matrix:
    """(n, n) cosines, clipped to [0, 1].

    >>> cosines(np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    norms = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-8)
    unit = embeddings / norms
    return np.asarray(np.clip(unit @ unit.T, 0.0, 1.0))


def shape(
    completions: Sequence[str], majority: Sequence[bool], valid: Sequence[bool], embeddings: ArrayLike
) -> tuple[tuple[float, ...], int]:
    """The safe shaping: invalid completions get -1; those without a usable embedding the middle of their band.

    Args:
        completions: for the error message only their number counts.
        majority: which of them agree with the label.
        valid: which of them have an answer.
        embeddings: (n, d), rows of invalid completions are not looked at.

    Returns:
        The rewards, and how many valid completions had no usable embedding (not finite, or all zero).

    Raises:
        DataError: the embeddings are not one row of numbers a completion.

    >>> shape(["a", "b", "c"], [True, True, False], [True, True, False], [[1, 0], [0, 1], [1, 1]])
    ((0.75, 0.75, -1.0), 0)
    """
    try:
        rows = np.asarray(embeddings, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("embeddings are not rows of numbers, all of one length") from None
    if rows.ndim != 2 or len(rows) != len(completions):
        raise DataError(f"embeddings have shape {rows.shape}, not one row for each of {len(completions)} completions")
    usable = np.isfinite(rows).all(axis=1) & (np.abs(np.nan_to_num(rows)).max(axis=1, initial=0.0) > 0)
    compared = [i for i in range(len(rows)) if valid[i] and usable[i]]
    rewards = [MIDDLE[m] if v else -1.0 for m, v in zip(majority, valid, strict=True)]
    if len(compared) > 1:
        shaped, _ = bands(cosines(rows[compared]), [majority[i] for i in compared])
        for i, reward in zip(compared, shaped, strict=True):
            rewards[i] = reward
    return tuple(rewards), sum(1 for i, v in enumerate(valid) if v and not usable[i])


# --- the authors' code ---


def authors_shape(completions: Sequence[str], base: Sequence[float], embed: Embed) -> Novelty:
    r"""EVOL-RL's own shaping of 0/1 (or -1/1) base rewards.

    Odd: valid is what has a digit in some ``\boxed{..}`` before its first ``}``, so ``\boxed{\sqrt{x}+1}`` and
    ``\boxed{A}`` get -1; with fewer than two valid completions the valid one gets -1 as well; a group of one keeps its
    base reward.

    >>> authors_shape([r"\boxed{4}", r"so \boxed{4}", "no"], [1, 1, 0], lambda texts: [[1, 0], [0, 1]]).rewards
    (0.75, 0.75, -1.0)
    """
    if len(completions) != len(base):
        raise authors_error(IndexError, f"{len(completions)} completions but {len(base)} base rewards")
    if len(completions) <= 1:
        return Novelty(tuple(base))
    texts = [answer_part(text) for text in completions]
    valid = [i for i, text in enumerate(texts) if _has_boxed_digit(text)]
    if len(valid) <= 1:
        return Novelty((-1.0,) * len(texts))
    kept = [texts[i] for i in valid]
    majority = [base[i] > 0 for i in valid]
    similarity = cosines(np.asarray(embed(kept), dtype=np.float32))
    shaped, scaled = bands(similarity, majority, tolerance=0.0)
    rewards = [-1.0] * len(texts)
    for i, reward in zip(valid, shaped, strict=True):
        rewards[i] = reward
    return Novelty(tuple(rewards), tuple(kept), _pairs(similarity), _by_side(np.asarray(scaled), majority))


def _has_boxed_digit(text: str) -> bool:
    parts = [part.partition("}") for part in text.split("\\boxed{")[1:]]
    return any(closed and any(c.isdecimal() for c in inside) for inside, closed, _ in parts)


def _pairs(similarity: Matrix) -> dict[str, float]:
    return _summary(similarity[np.triu_indices(len(similarity), k=1)])


def _summary(values: Matrix) -> dict[str, float]:
    return {name: float(getattr(np, name)(values)) for name in ("mean", "std", "min", "max")}


def _by_side(novelty: NDArray[np.float64], majority: Sequence[bool]) -> dict[str, float | dict[str, float]]:
    made: dict[str, float | dict[str, float]] = dict(_summary(novelty))
    for name, side in (("correct", True), ("incorrect", False)):
        own = novelty[[i for i, m in enumerate(majority) if m is side]]
        if len(own):
            made[name] = {"mean": float(own.mean()), "std": float(own.std())}
    return made
