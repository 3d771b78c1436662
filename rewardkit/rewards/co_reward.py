"""Labels from elsewhere: the other view's majority (Co-Reward) or the teacher's (Co-rewarding-II); arXiv 2508.00410."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.errors import DataError
from rewardkit.rewards.base import Group, GroupResult, authors_error, choose
from rewardkit.rewards.compat.boxes import last_box
from rewardkit.rewards.self_vote import reference_stats
from rewardkit.rewards.vote import Vote, majority, most_common
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer


def co_reward(
    group: Group,
    *,
    compat: str | None = None,
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> GroupResult:
    r"""Co-Reward (Co-rewarding-I): the question and its rephrasing label each other.

    Each completion gets 1.0 where it equals the majority of the OTHER view, else 0.0; `GroupResult.other` holds the
    rephrased view's rewards. Only the crossing keeps a policy from agreeing with itself.

    Args:
        group: `completions` of the question, `others` of the rephrased question.
        compat: ``co_reward`` gives the authors' outputs: the last box, raw strings, an empty label rewards nothing.
        tie: ``abstain`` or ``first``.
        min_share: abstain where the labelling view's largest class has a smaller share of its completions.
        checker: compares the answers.

    Raises:
        DataError: there is no other view; under `compat` also if the views differ in size.

    >>> group = Group.create("p", [r"\boxed{4}", r"\boxed{4}", r"\boxed{5}"], others=[r"\boxed{5}", r"\boxed{5.0}"])
    >>> result = co_reward(group)
    >>> result.rewards, result.label, result.other.rewards, result.other.label
    ((0.0, 0.0, 1.0), '5', (0.0, 0.0), '4')
    """
    choose(compat, "compat", [None, "co_reward"])
    if not group.others:
        raise DataError(f"group '{group.id}' has no completions of the rephrased prompt (others)")
    if compat:
        return _co_reward_authors(group)
    first, second = _extract(group.completions), _extract(group.others)
    votes = [majority(answers, tie=tie, min_share=min_share, checker=checker) for answers in (first, second)]
    other = _labelled(second, votes[0], group.reference, checker)
    made = _labelled(first, votes[1], group.reference, checker)
    return GroupResult(made.rewards, made.answers, made.label, other, stats=made.stats, notes=made.notes + other.notes)


def co_rewarding_ii(
    group: Group,
    *,
    compat: str | None = None,
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> GroupResult:
    r"""Co-rewarding-II: the majority of a slowly following teacher labels the policy's completions.

    Args:
        group: `completions` of the policy, `others` of the teacher, for the same prompt.
        compat: ``co_rewarding_ii`` gives the authors' outputs: the last box and raw strings; a ZeroDivisionError where
            no teacher completion has an answer.
        tie: ``abstain`` or ``first``.
        min_share: abstain where the teacher's largest class has a smaller share of its completions.
        checker: compares the answers.

    Raises:
        DataError: there is no teacher completion.

    >>> group = Group.create("p", [r"\boxed{4}", r"\boxed{5}"], others=[r"\boxed{4}", r"\boxed{4}", "?"])
    >>> co_rewarding_ii(group).rewards
    (1.0, 0.0)
    >>> co_rewarding_ii(Group.create("p", [r"\boxed{4}"], others=["?"])).rewards
    (None,)
    """
    choose(compat, "compat", [None, "co_rewarding_ii"])
    if not group.others:
        raise DataError(f"group '{group.id}' has no completions of the teacher (others)")
    if not compat:
        vote = majority(_extract(group.others), tie=tie, min_share=min_share, checker=checker)
        return _labelled(_extract(group.completions), vote, group.reference, checker)
    label = _authors_label([last_box(text) for text in group.others])
    if not label:
        raise authors_error(ZeroDivisionError, f"group '{group.id}': no teacher completion has an answer")
    return _authors_result([last_box(text) for text in group.completions], label, group.reference)


def teacher_weight(step: int, steps: int, *, start: float = 0.01, end: float = 1e-5) -> float:
    """How much of the policy goes into Co-rewarding-II's teacher at a step: teacher <- a * policy + (1 - a) * teacher.

    The cosine of the authors' code; the paper's Eq. 11 and its table say otherwise (0.99 to 0.9999 for the teacher).

    Args:
        step: from 0.
        steps: of the whole training.
        start: the weight at the first step.
        end: at the last.

    >>> teacher_weight(0, 100), round(teacher_weight(50, 100), 6), teacher_weight(100, 100)
    (0.01, 0.005005, 1e-05)
    """
    import math

    return end + (start - end) * (1 + math.cos(math.pi * step / steps)) / 2


def _extract(texts: Sequence[str]) -> list[str | None]:
    return [extract_answer(text) for text in texts]


def _labelled(
    answers: Sequence[str | None], vote: Vote, reference: str | None, checker: AnswerChecker | None
) -> GroupResult:
    """Rewards of answers for equality with a label that others voted for."""
    judge = checker or default_checker()
    rewards: tuple[float | None, ...] = (None,) * len(answers)
    if vote.label is not None:
        label = vote.label
        rewards = tuple(float(bool(a) and judge.equal(a or "", label) is True) for a in answers)
    stats = vote.stats | reference_stats(answers, vote.label, rewards, reference, checker)
    return GroupResult(rewards, tuple(answers), vote.label, stats=stats, notes=(vote.note,) if vote.note else ())


# --- the authors' code ---


def _co_reward_authors(group: Group) -> GroupResult:
    if len(group.completions) != len(group.others):
        raise authors_error(AssertionError, "the original and rephrased views must have the same size")
    first, second = ([last_box(text) for text in texts] for texts in (group.completions, group.others))
    other = _authors_result(second, _authors_label(first), group.reference)
    made = _authors_result(first, _authors_label(second), group.reference)
    return GroupResult(made.rewards, made.answers, made.label, other, stats=made.stats)


def _authors_label(answers: Sequence[str]) -> str:
    voting = [answer for answer in answers if answer.strip()]
    return most_common(voting)[0] if voting else ""


def _authors_result(answers: Sequence[str], label: str, reference: str | None) -> GroupResult:
    rewards = tuple(float(answer == label != "") for answer in answers)
    stats = {} if reference is None else {"label_accuracy": float(label.strip() == reference.strip() != "")}
    return GroupResult(rewards, tuple(answers), label, stats=stats)
