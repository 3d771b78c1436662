"""Test-time search: choosing among candidates, and growing them step by step under a reward model's eye.

choose     majority, best_of_n, weighted_vote: pure functions over scored candidates
stepwise   beam, dvts, lookahead: over a step generator and a reward model, many problems at once
sampling   whole responses, a fixed number or as many as the vote needs to settle
"""

from __future__ import annotations

from rewardkit.search.choose import (
    METHODS,
    Candidate,
    Choice,
    best_of_n,
    choose,
    majority,
    make_candidates,
    weighted_vote,
)

__all__ = [
    "METHODS",
    "Candidate",
    "Choice",
    "best_of_n",
    "choose",
    "majority",
    "make_candidates",
    "weighted_vote",
]
