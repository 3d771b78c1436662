"""Votes: the majority among answers, by equivalence, and what the vote says of the group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewardkit.rewards.base import choose
from rewardkit.text.answers import AnswerChecker, default_checker

TIES = ("abstain", "first")
"""How a tie is resolved: no label, or the class whose first answer came first."""


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes:
        label: the winning answer as it was written most often; None where nobody answered or the vote abstains.
        members: indices of the answers that voted for it.
        share: votes of the largest class over all completions, empty ones included.
        tie: whether two classes have the most votes.
        sizes: votes of each class, the largest first.
        note: why there is no label, or how a tie was resolved; "" otherwise.
    """

    label: str | None
    members: frozenset[int]
    share: float
    tie: bool
    sizes: tuple[int, ...]
    note: str = ""

    @property
    def stats(self) -> dict[str, float]:
        """``majority_share``, ``answered`` (votes), ``distinct`` (classes), ``entropy`` (nats, of votes), ``tie``."""
        return {
            "majority_share": self.share,
            "answered": float(sum(self.sizes)),
            "distinct": float(len(self.sizes)),
            "entropy": entropy(self.sizes),
            "tie": float(self.tie),
        }


def majority(
    answers: Sequence[str | None],
    *,
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> Vote:
    """The majority of the answers. Empty answers never vote; equivalent answers vote together.

    Args:
        answers: one a completion, None or "" for none.
        tie: ``abstain`` or ``first``.
        min_share: abstain where the largest class has a smaller share of all completions.
        checker: compares the answers; None takes the one that the process shares.

    Raises:
        ConfigError: `tie` is neither.

    >>> vote = majority(["1/2", None, "3", "0.5", ""])
    >>> vote.label, sorted(vote.members), vote.share, vote.sizes
    ('1/2', [0, 3], 0.4, (2, 1))
    >>> majority(["1", "2"]).note, majority(["1", "2"], tie="first").label
    ('tie between 2 answers: abstained', '1')
    """
    choose(tie, "tie", TIES)
    groups = (checker or default_checker()).group(answers)
    classes = sorted((g for g in groups if (answers[g[0]] or "").strip()), key=lambda g: -len(g))
    if not classes:
        return Vote(None, frozenset(), 0.0, False, (), "no completion has an answer")
    sizes = tuple(len(g) for g in classes)
    share, tied = sizes[0] / len(answers), sizes.count(sizes[0])
    note = f"tie between {tied} answers: {'abstained' if tie == 'abstain' else 'took the first'}" if tied > 1 else ""
    if share < min_share:
        note = f"the largest class has {share:.0%} of the completions, below min_share"
    if (tied > 1 and tie == "abstain") or share < min_share:
        return Vote(None, frozenset(), share, tied > 1, sizes, note)
    label = Counter(answers[i] for i in classes[0]).most_common(1)[0][0]
    return Vote(label, frozenset(classes[0]), share, tied > 1, sizes, note)


def most_common(strings: Sequence[str]) -> tuple[str, int]:
    """The most frequent string, the first seen in a tie, and its count: the authors' vote.

    >>> most_common(["5", "4", "4", "5"])
    ('5', 2)
    """
    return Counter(strings).most_common(1)[0]


def entropy(sizes: Sequence[int]) -> float:
    """Shannon entropy of the votes in nats; 0 where all agree or nobody votes.

    >>> round(entropy([2, 2]), 4), entropy([4]), entropy([])
    (0.6931, 0.0, 0.0)
    """
    total = sum(sizes)
    return math.fsum(-n / total * math.log(n / total) for n in sizes if n) + 0.0
