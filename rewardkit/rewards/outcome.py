"""The outcome reward: does the final answer match the reference? (RLVR)"""

from __future__ import annotations

from rewardkit.errors import DataError
from rewardkit.rewards.base import Group, GroupResult
from rewardkit.rewards.self_vote import reference_stats
from rewardkit.rewards.vote import majority
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer


def outcome(
    group: Group, *, missing: float | None = 0.0, check: object = None, checker: AnswerChecker | None = None
) -> GroupResult:
    r"""1.0 where the answer matches the reference, 0.0 where it does not, None where the two cannot be compared.

    Args:
        group: with a reference.
        missing: the reward of a completion without an answer; None abstains.
        check: a verifier of one's own, ``check(answer, reference) -> bool | None``, in place of the comparison.
        checker: compares the answers.

    Raises:
        DataError: the group has no reference.

    >>> outcome(Group.create("p", [r"\boxed{0.5}", r"\boxed{2}", "?"], reference="50%")).rewards
    (1.0, 0.0, 0.0)
    >>> outcome(Group.create("p", [r"\boxed{north}"], reference="18")).rewards
    (None,)
    """
    if group.reference is None:
        raise DataError(f"group '{group.id}' has no reference answer")
    reference = extract_answer(group.reference) or group.reference.strip()
    compare = check if callable(check) else (checker or default_checker()).matches_reference
    answers = [extract_answer(text) for text in group.completions]
    rewards = [_value(compare(answer, reference)) if answer else missing for answer in answers]
    undecided = sum(1 for answer, reward in zip(answers, rewards, strict=True) if answer and reward is None)
    vote = majority(answers, checker=checker)
    stats = vote.stats | reference_stats(answers, vote.label, rewards, reference, checker)
    stats["undecided"] = float(undecided)
    notes = (f"{undecided} answers could not be compared with the reference",) if undecided else ()
    return GroupResult(tuple(rewards), tuple(answers), reference, stats=stats, notes=notes)


def _value(verdict: bool | None) -> float | None:
    return None if verdict is None else float(verdict)
