"""EVOL-RL (arXiv 2509.15194): the majority selects and novelty varies, so that agreeing does not end in one answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.rewards.base import Group, GroupResult, choose
from rewardkit.rewards.compat import qwen
from rewardkit.rewards.novelty import Embed, answer_part, authors_shape, shape
from rewardkit.rewards.self_vote import authors_vote, self_vote
from rewardkit.text.answers import AnswerChecker

CLIP_HIGH = 0.28
"""The authors' upper clip of the ratio (GRPOConfig's ``epsilon_high``; the lower one is 0.2)."""
ENTROPY_COEF = 0.003
"""The authors' weight of the token entropy (GRPOConfig's ``entropy_coef``)."""


def evol_rl(
    group: Group,
    *,
    embed: Embed | None = None,
    compat: str | None = None,
    task: str = "math",
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> GroupResult:
    r"""EVOL-RL's reward: [0.5, 1] for the majority and [-1, -0.5] for the minority, more for what is unlike the rest.

    A completion without an answer gets -1. One whose embedding failed gets the middle of its band (0.75, -0.75), and
    is counted in ``embedding_failed``. With the reward use EVOL-RL's clip (`CLIP_HIGH`) and entropy (`ENTROPY_COEF`).

    Args:
        group: completions; their `embeddings` where `embed` is not given.
        embed: from texts (what follows ``</think>``) to rows; it must give the same rows for the same texts.
        compat: ``evol_rl`` gives the authors' outputs: TTRL's vote after their LaTeX cleaning, -1 without a boxed
            digit, and everyone -1 where fewer than two are valid.
        task: as in `ttrl`; of `compat` alone.
        tie: ``abstain`` or ``first``.
        min_share: abstain where the largest class has a smaller share of the completions.
        checker: compares the answers.

    Raises:
        DataError: there are neither embeddings nor `embed`, or not one row a completion.

    >>> texts, rows = ["#### 4", "So 4.\n#### 4", "#### 5", "?"], [[1, 0], [0, 1], [1, 1], [0, 0]]
    >>> evol_rl(Group.create("p", texts, embeddings=rows)).rewards
    (0.75, 0.75, -0.5, -1.0)
    """
    choose(compat, "compat", [None, "evol_rl"])
    if embed is None and group.embeddings is None:
        raise DataError(f"group '{group.id}': evol_rl needs embeddings, or embed=FUNCTION")
    if compat:
        return _authors(group, embed, task)
    base = self_vote(group, tie=tie, min_share=min_share, checker=checker)
    if base.label is None:
        return base
    majority, valid = [reward == 1.0 for reward in base.rewards], [bool(answer) for answer in base.answers]
    rows, note = _rows(group, embed)
    rewards, failed = shape(group.completions, majority, valid, rows)
    notes = base.notes + ((note,) if note else ())
    return GroupResult(
        rewards, base.answers, base.label, stats={**base.stats, "embedding_failed": float(failed)}, notes=notes
    )


def _rows(group: Group, embed: Embed | None) -> tuple[ArrayLike, str]:
    """The embeddings, or rows of zeros with the reason why there are none."""
    if embed is None:
        return _list(group.embeddings), ""
    try:
        return embed([answer_part(text) for text in group.completions]), ""
    except DataError:
        raise
    except Exception as error:  # a service that is down must not end the training; the reward stays in its band
        reason = f"embedding failed ({type(error).__name__}): rewards are the middle of their bands"
        return np.zeros((group.size, 1)), reason


def _authors(group: Group, embed: Embed | None, task: str) -> GroupResult:
    base = authors_vote(group, lambda text: qwen.extract(clean_latex(text), task))
    rows = {answer_part(t): row for t, row in zip(group.completions, _list(group.embeddings), strict=False)}
    made = authors_shape(
        group.completions, [r or 0.0 for r in base.rewards], embed or (lambda ts: [rows[t] for t in ts])
    )
    return GroupResult(made.rewards, base.answers, base.label, stats=base.stats)


def _list(embeddings: Sequence[Sequence[float]] | None) -> Sequence[Sequence[float]]:
    return [] if embeddings is None else embeddings


_CLEANING = [
    (re.compile(r"\\[dt]frac\b"), r"\\frac"),
    (re.compile(r"\\frac\s+([^\s{}]+)\s+([^\s{}]+)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*{([^{}]+)}\s+([^\s{}]+)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s+([^\s{}]+)\s*{([^{}]+)}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*{([^{}]+)}\s*(?!{)"), r"\\frac{\1}{1}"),
    (re.compile(r"\\frac\s*{\s*}\s*{\s*}"), ""),
]


def clean_latex(text: str) -> str:
    r"""EVOL-RL's cleaning of fractions before the vote.

    >>> clean_latex(r"\dfrac 1 2 and \frac{3}")
    '\\frac{1}{2} and \\frac{3}{1}'
    """
    if "frac" not in text:
        return text
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text
