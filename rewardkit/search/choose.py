"""Choosing one of n scored candidates: majority, best-of-N and the weighted vote. Pure; every candidate is kept.

    candidates = make_candidates(texts, step_scores, reducer="min")
    choice = weighted_vote(candidates)
    choice.text, choice.answer, choice.note

A candidate whose score is missing, NaN or infinite is never chosen for its score; it keeps its vote where votes count,
and says why in `Candidate.reason`. Answers vote by equivalence (0.5 = 1/2). How accurate each way is on average, ties
shared out, is measured by `rewardkit.evaluate.best_of_n`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.reduce import reduce_scores
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer

TOLERANCE = 1e-9
"""Sums of scores this close (relatively) tie: a sum of floats depends on the order of its terms."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response that may be chosen.

    Attributes:
        text: the response.
        answer: its final answer, None where there is none.
        score: of the response, None where it has none.
        step_scores: that the score was reduced from.
        tokens: that it cost, 0 where nobody counted.
        reason: why it cannot be chosen for its score; "" otherwise.
    """

    text: str
    answer: str | None = None
    score: float | None = None
    step_scores: tuple[float, ...] = ()
    tokens: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, of what, and why.

    Attributes:
        method: its name in `METHODS`.
        chosen: index into `candidates`.
        candidates: all of them, in order.
        classes: of equal answers, as lists of indices, the best supported first; empty where nobody voted.
        support: votes or summed scores of each class; for best-of-N the score of each candidate, NaN-free.
        tie: whether another was as good.
        note: how a tie or a lack was resolved; "" where all was plain.
    """

    method: str
    chosen: int
    candidates: tuple[Candidate, ...]
    classes: tuple[tuple[int, ...], ...] = ()
    support: tuple[float, ...] = ()
    tie: bool = False
    note: str = ""

    @property
    def text(self) -> str:
        """The chosen response."""
        return self.candidates[self.chosen].text

    @property
    def answer(self) -> str | None:
        """Its final answer."""
        return self.candidates[self.chosen].answer


def make_candidates(
    texts: Sequence[str],
    step_scores: Sequence[Sequence[float]] | None = None,
    *,
    reducer: str = "min",
    tokens: Sequence[int] | None = None,
) -> list[Candidate]:
    """Candidates from responses and, where there are, the scores of their steps.

    Args:
        texts: the responses.
        step_scores: for each the scores of its steps; none for a response that could not be scored.
        reducer: as in `rewardkit.models.reduce.reduce_scores`; the one named is the one used.
        tokens: for each what it cost.

    Raises:
        DataError: the lengths differ.
        ConfigError: there is no such reducer.

    >>> [c.score for c in make_candidates(["a #### 1", "b"], [[0.9, 0.5], []])]
    [0.5, None]
    """
    if step_scores is not None and len(step_scores) != len(texts):
        raise DataError(f"{len(texts)} responses but step scores of {len(step_scores)}")
    rows = step_scores if step_scores is not None else [()] * len(texts)
    made = []
    for i, (text, scores) in enumerate(zip(texts, rows, strict=True)):
        score = response_score(scores, reducer)
        made.append(Candidate(text, extract_answer(text), score, tuple(scores), tokens[i] if tokens else 0))
    return made


def response_score(scores: Sequence[float], reducer: str) -> float | None:
    """The reduced score of a response; None without steps, NaN where a step's is not finite (`min` would hide it).

    Raises:
        ConfigError: there is no such reducer.

    >>> response_score([0.5, float("nan")], "min"), response_score([], "min"), response_score([0.5, 0.9], "min")
    (nan, None, 0.5)
    """
    if not len(scores):
        return None
    return reduce_scores(list(scores), reducer) if all(map(math.isfinite, scores)) else math.nan


def best_of_n(candidates: Sequence[Candidate], *, checker: AnswerChecker | None = None) -> Choice:
    """The candidate with the highest score (Cobbe et al. 2021); the first of several, noted. Without any usable score
    the first candidate.

    Raises:
        DataError: there is no candidate.

    >>> best_of_n([Candidate("a", score=0.2), Candidate("b", score=float("nan")), Candidate("c", score=0.7)]).text
    'c'
    """
    kept = _checked(candidates)
    usable = [i for i, c in enumerate(kept) if not c.reason]
    support = tuple(-math.inf if c.reason else float(c.score or 0.0) for c in kept)
    if not usable:
        return Choice("best_of_n", 0, kept, note="no candidate has a usable score: took the first")
    top = max(support)
    best = [i for i in usable if support[i] == top]
    note = f"{len(best)} candidates have the highest score: took the first" if len(best) > 1 else ""
    return Choice("best_of_n", best[0], kept, support=support, tie=len(best) > 1, note=note)


def majority(candidates: Sequence[Candidate], *, checker: AnswerChecker | None = None) -> Choice:
    """The most frequent answer (self-consistency, Wang et al. 2023), by the best scored candidate that gave it.

    In a tie the class whose first answer came first; where nobody answers, best-of-N.

    Raises:
        DataError: there is no candidate.

    >>> majority([Candidate("a", "1/2"), Candidate("b", "3"), Candidate("c", "0.5")]).answer
    '1/2'
    """
    return _vote("majority", _checked(candidates), lambda c: 1.0, checker)


def weighted_vote(candidates: Sequence[Candidate], *, checker: AnswerChecker | None = None) -> Choice:
    """The answer whose candidates have the highest sum of scores (Li et al. 2023), by the best scored of them.

    A candidate without a usable score weighs nothing; where none has one, the majority.

    Args:
        candidates: with scores that are not negative: probabilities, not log-ratios.
        checker: compares the answers.

    Raises:
        DataError: there is no candidate, or a score is negative.

    >>> weighted_vote([Candidate("a", "1", 0.9), Candidate("b", "2", 0.5), Candidate("c", "2.0", 0.5)]).answer
    '2'
    """
    kept = _checked(candidates)
    usable = [c.score or 0.0 for c in kept if not c.reason]
    if usable and min(usable) < 0:
        raise DataError("weights of a vote must not be negative; calibrate or squash the scores first")
    if not usable:
        choice = _vote("weighted_vote", kept, lambda c: 1.0, checker)
        return replace(choice, note=_both("no candidate has a usable score: took the majority", choice.note))
    return _vote("weighted_vote", kept, lambda c: 0.0 if c.reason else float(c.score or 0.0), checker)


METHODS: Mapping[str, Callable[..., Choice]] = {
    "majority": majority,
    "best_of_n": best_of_n,
    "weighted_vote": weighted_vote,
}
"""From a method's name to its function."""


def choose(method: str, candidates: Sequence[Candidate], *, checker: AnswerChecker | None = None) -> Choice:
    """Choose by the method of that name.

    Raises:
        ConfigError: there is none.
        DataError: as the method.

    >>> choose("mayority", [Candidate("a")])
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: there is no method 'mayority'; use one of majority, best_of_n, weighted_vote
    """
    if method not in METHODS:
        raise ConfigError(f"there is no method '{method}'; use one of {', '.join(METHODS)}")
    return METHODS[method](candidates, checker=checker)


def openr_choice(method: str, answers: Sequence[str], step_scores: Sequence[Sequence[float]]) -> str:
    """openr's own choice (``reason/reranking/vote_utils.py``), odd cases included: answers are compared as strings, a
    response without steps scores -1, a negative score takes away from a vote, ties go to the first.

    Args:
        method: ``majority_vote``, or ``prm_{min,last}_{max,vote}``.
        answers: one a response.
        step_scores: likewise.

    Raises:
        ConfigError: there is no such method.

    >>> openr_choice("prm_min_max", ["4", "5"], [[0.9, 0.2], [0.4]])
    '5'
    """
    weights: dict[str, float] = {}
    if method == "majority_vote":
        scores = [1.0] * len(answers)
    elif method in OPENR:
        scores = [reduce_scores(list(s), OPENR[method][0]) if s else -1.0 for s in step_scores]
        if OPENR[method][1] == "max":
            return answers[scores.index(max(scores))]
    else:
        raise ConfigError(f"openr has no method '{method}'; use one of majority_vote, {', '.join(OPENR)}")
    for answer, score in zip(answers, scores, strict=True):
        weights[answer] = weights.get(answer, 0.0) + score
    return max(weights, key=weights.__getitem__)


OPENR = {f"prm_{reducer}_{how}": (reducer, how) for reducer in ("min", "last") for how in ("max", "vote")}


def _checked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, each with the reason why its score is no use."""
    if not candidates:
        raise DataError("there is no candidate to choose from")
    return tuple(replace(c, reason=c.reason or _why_not(c.score)) for c in candidates)


def _why_not(score: float | None) -> str:
    if score is None:
        return "has no score"
    return "" if math.isfinite(score) else f"score is {score}"


def _vote(
    method: str, kept: tuple[Candidate, ...], weight: Callable[[Candidate], float], checker: AnswerChecker | None
) -> Choice:
    groups = (checker or default_checker()).group([c.answer for c in kept])
    classes = [tuple(group) for group in groups if (kept[group[0]].answer or "").strip()]
    if not classes:
        return replace(best_of_n(kept), method=method, note="no candidate has an answer: took the best scored")
    sums = {group: math.fsum(weight(kept[i]) for i in group) for group in classes}
    order = sorted(classes, key=lambda group: -sums[group])
    top = sums[order[0]]
    tied = [group for group in classes if sums[group] >= top - TOLERANCE * max(1.0, abs(top))]
    note = f"tie between {len(tied)} answers: took the first" if len(tied) > 1 else ""
    winner = tied[0]
    ranked = (winner, *(group for group in order if group != winner))
    support = tuple(sums[group] for group in ranked)
    return Choice(method, _best(kept, winner), kept, ranked, support, len(tied) > 1, note)


def _best(kept: tuple[Candidate, ...], members: tuple[int, ...]) -> int:
    return max(members, key=lambda i: (not kept[i].reason, 0.0 if kept[i].reason else kept[i].score or 0.0, -i))


def _both(first: str, second: str) -> str:
    return f"{first}; {second}" if second else first
