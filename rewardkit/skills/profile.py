"""From what a teacher reads in a model's failures to the skills that it lacks, and to problems that train them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rewardkit.errors import DataError
from rewardkit.labelers.answer import AnswerLabeler
from rewardkit.labels.keep import agreeing
from rewardkit.labels.select import skill_weights
from rewardkit.store.dataset import LabelledTrace
from rewardkit.text.extract import extract_answer
from rewardkit.types import Problem, Trace


def refuse_shared(problems: Sequence[Problem], evaluation: Sequence[Problem], what: str) -> None:
    """See that no problem of a split is one of evaluation, but for white space and case.

    Raises:
        DataError: one is; the profile, and what is trained by it, would be fitted to the test.

    >>> refuse_shared([Problem.create("2 + 2?")], [Problem.create("3 + 3?")], "failures")
    >>> refuse_shared([Problem.create("What is 2?")], [Problem.create("what is  2?")], "failures")
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: failures: 1 of 1 problems are in evaluation too, the first is 'What is 2?'; take \
another split
    """
    known = {problem_key(problem.text) for problem in evaluation}
    shared = [problem.text for problem in problems if problem_key(problem.text) in known]
    if shared:
        first = " ".join(shared[0].split())[:60]
        raise DataError(
            f"{what}: {len(shared)} of {len(problems)} problems are in evaluation too, the first is {first!r}; "
            "take another split"
        )


def problem_key(text: str) -> str:
    """What two problems have in common that differ in white space and case alone."""
    return "".join(text.casefold().split())


def failed(rows: Sequence[LabelledTrace], by: str) -> list[Trace]:
    """The traces that failed.

    Args:
        rows: of the student.
        by: ``answer`` for a final answer that is not the reference; ``scores`` for STAT's rule on a reward model's
            scores (the last or the mean at most 0.9, or a step behind the first at most 0.7); else a source of labels,
            one of which is below 0.5.
    """
    if by == "answer":
        labeler = AnswerLabeler()
        return [row.trace for row in rows if any(x.p_correct == 0.0 for x in labeler.label(row.trace))]
    if by == "scores":
        return [row.trace for row in rows if row.scores and difficult(row.scores)]
    return [
        row.trace
        for row in rows
        if any(x.source == by and x.p_correct is not None and x.p_correct < 0.5 for x in row.labels)
    ]


def difficult(scores: Sequence[float], whole: float = 0.9, step: float = 0.7) -> bool:
    """STAT's test of a response by a process reward model, with the thresholds of the same authors' AdaptMI.

    >>> difficult([0.1, 0.95, 0.97]), difficult([0.99, 0.99, 0.99]), difficult([0.99, 0.6, 0.99])
    (True, False, True)
    """
    mean = sum(scores) / len(scores)
    return scores[-1] <= whole or mean <= whole or any(score <= step for score in scores[1:])


def missing_profile(traces: Sequence[Trace], read: Sequence[Sequence[str] | None]) -> dict[str, int]:
    """In how many questions each skill was missing, the most missing first.

    A skill counts once for a question, however many of its answers lack it.

    Args:
        traces: the failures.
        read: of each the missing skills, None without a verdict.
    """
    questions: dict[str, set[str]] = {}
    for trace, skills in zip(traces, read, strict=True):
        questions.setdefault(trace.problem.id, set()).update(skills or ())
    counts = Counter(skill for skills in questions.values() for skill in skills)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def choose_problems(
    profile: Mapping[str, int], tags: Sequence[Sequence[str] | None], count: int, seed: int = 0
) -> list[int]:
    """Draw problems without replacement, each with a chance as the profile weighs its skills.

    Args:
        profile: see `missing_profile`.
        tags: the skills of each candidate, None where nobody knows.
        count: how many; fewer where fewer need a missing skill.
        seed: of the draw.

    Raises:
        DataError: no candidate needs a missing skill.

    >>> choose_problems({"fractions": 3}, [["units"], ["fractions"], None, ["fractions"]], 5) in ([1, 3], [3, 1])
    True
    """
    weights = skill_weights(dict(profile), [set(own or ()) for own in tags])
    # Drawing without replacement by weights is sorting by exponential clocks (Efraimidis and Spirakis 2006).
    clocks = np.random.default_rng(seed).exponential(size=len(weights)) / np.maximum(weights, 1e-300)
    order = np.argsort(clocks, kind="stable")[: int((weights > 0).sum())]
    return [int(i) for i in order[:count]]


def draw_skills(profile: Mapping[str, int], count: int, seed: int = 0) -> list[str]:
    """`count` skills, each with a chance as it is missing.

    Raises:
        DataError: no skill is missing.
    """
    if not profile:
        raise DataError("no skill is missing: there is no profile to follow")
    weights = np.array(list(profile.values()), dtype=np.float64)
    drawn = np.random.default_rng(seed).choice(len(weights), size=count, p=weights / weights.sum())
    return [list(profile)[int(i)] for i in drawn]


def agreed_answer(solutions: Sequence[str], least: int) -> str | None:
    """The answer that enough solutions of a new problem agree on (STAT: 2 of 3); None where they do not.

    >>> agreed_answer(["#### 4", "so 4\\n#### 4.0", "#### 5"], 2), agreed_answer(["#### 4", "#### 5", ""], 2)
    ('4', None)
    """
    answers = [extract_answer(text) for text in solutions]
    found = agreeing(answers, least)
    return answers[found[0]] if found else None
