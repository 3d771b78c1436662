"""Self-voted rewards: the majority of a group's own answers is the label. TTRL (2504.16084), MM-UPT (2505.22453)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewardkit.rewards.base import Group, GroupResult, authors_error, choose
from rewardkit.rewards.compat import qwen
from rewardkit.rewards.compat.boxes import mathruler_box
from rewardkit.rewards.compat.prm800k import grade
from rewardkit.rewards.vote import Vote, majority, most_common
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer


def ttrl(
    group: Group,
    *,
    compat: str | None = None,
    task: str = "math",
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> GroupResult:
    r"""TTRL: 1.0 for the completions that agree with the majority, 0.0 for the others; None for all without one.

    Stats: those of `Vote`, and with a reference ``label_accuracy`` and ``reward_accuracy`` (share of rewards equal to
    what the reference gives), ``reference_share`` and ``pass``. Under ``compat="ttrl"`` they have the authors' names.

    Args:
        group: completions, and a reference where statistics of the label are wanted.
        compat: ``ttrl`` gives the authors' outputs: Qwen's parser (the last number counts as an answer), votes by
            string, empty answers vote, rewards by PRM800K's grader, ties to the first seen.
        task: ``math`` or ``gpqa``; of ``compat="ttrl"`` alone.
        tie: ``abstain`` or ``first``.
        min_share: abstain where the largest class has a smaller share of the completions.
        checker: compares the answers.

    Raises:
        ConfigError: an option is not one of those.

    >>> group = Group.create("p", [r"\boxed{0.5}", r"\boxed{1/2}", r"\boxed{3}", "I give up"], reference="50%")
    >>> result = ttrl(group)
    >>> result.rewards, result.label, result.stats["majority_share"], result.stats["label_accuracy"]
    ((1.0, 1.0, 0.0, 0.0), '0.5', 0.5, 1.0)
    >>> ttrl(Group.create("p", ["none", "neither"]), compat="ttrl").rewards
    (1.0, 1.0)
    """
    choose(compat, "compat", [None, "ttrl"])
    choose(task, "task", ["math", "gpqa"])
    if compat:
        return _ttrl_authors(group, task)
    return self_vote(group, tie=tie, min_share=min_share, checker=checker)


def mm_upt(
    group: Group,
    *,
    compat: str | None = None,
    tie: str = "abstain",
    min_share: float = 0.0,
    checker: AnswerChecker | None = None,
) -> GroupResult:
    r"""MM-UPT: as `ttrl`, from multimodal completions. The group is one block of ``n`` rollouts.

    Args:
        group: completions, and a reference where statistics of the label are wanted.
        compat: ``mm_upt`` gives the authors' outputs: the last box or the string "None", votes by string, "None" votes
            too, rewards by mathruler's grader.
        tie: ``abstain`` or ``first``.
        min_share: as in `ttrl`.
        checker: compares the answers.

    >>> mm_upt(Group.create("p", ["no box", "still none", r"\boxed{4}"])).rewards
    (0.0, 0.0, 1.0)
    >>> mm_upt(Group.create("p", ["no box", "still none", r"\boxed{4}"]), compat="mm_upt").rewards
    (1.0, 1.0, 0.0)
    """
    choose(compat, "compat", [None, "mm_upt"])
    if not compat:
        return self_vote(group, tie=tie, min_share=min_share, checker=checker)
    answers = [mathruler_box(text) for text in group.completions]
    label, votes = most_common(answers)
    rewards = tuple(float(grade(answer, label)) for answer in answers)
    return GroupResult(rewards, tuple(answers), label, stats={"majority_ratio": votes / group.size})


def self_vote(
    group: Group, *, tie: str = "abstain", min_share: float = 0.0, checker: AnswerChecker | None = None
) -> GroupResult:
    """The safe form of both: votes by equivalence, no answer no vote, ties as told.

    >>> self_vote(Group.create("p", ["#### 4", "#### 4.0", "#### 5"])).rewards
    (1.0, 1.0, 0.0)
    """
    answers = [extract_answer(text) for text in group.completions]
    vote = majority(answers, tie=tie, min_share=min_share, checker=checker)
    rewards = vote_rewards(vote, group.size)
    stats = vote.stats | reference_stats(answers, vote.label, rewards, group.reference, checker)
    return GroupResult(rewards, tuple(answers), vote.label, stats=stats, notes=(vote.note,) if vote.note else ())


def vote_rewards(vote: Vote, size: int) -> tuple[float | None, ...]:
    """1.0 for the members of the winning class, 0.0 for the others, None for all where the vote abstains.

    >>> vote_rewards(majority(["1", "2", "1"]), 3)
    (1.0, 0.0, 1.0)
    """
    if vote.label is None:
        return (None,) * size
    return tuple(float(i in vote.members) for i in range(size))


def reference_stats(
    answers: Sequence[str | None],
    label: str | None,
    rewards: Sequence[float | None],
    reference: str | None,
    checker: AnswerChecker | None,
) -> dict[str, float]:
    """How good label and rewards are, where there is a reference; what could not be compared counts as wrong.

    >>> stats = reference_stats(["4", "5"], "5", [0.0, 1.0], "4", None)
    >>> stats["label_accuracy"], stats["reward_accuracy"], stats["pass"]
    (0.0, 0.0, 1.0)
    """
    if reference is None:
        return {}
    judge = checker or default_checker()
    right = [bool(answer) and judge.matches_reference(answer or "", reference) is True for answer in answers]
    stats = {"reference_share": sum(right) / len(right), "pass": float(any(right)), "right": float(sum(right))}
    if label is not None:
        stats["label_accuracy"] = float(judge.matches_reference(label, reference) is True)
        stats["reward_accuracy"] = sum(r == float(t) for r, t in zip(rewards, right, strict=True)) / len(right)
    return stats


# --- the authors' TTRL ---


def _ttrl_authors(group: Group, task: str) -> GroupResult:
    return authors_vote(group, lambda text: qwen.extract(text, task))


def authors_vote(group: Group, extract: Callable[[str], str]) -> GroupResult:
    """TTRL's own reward and metrics, with the answers that `extract` finds.

    >>> result = authors_vote(Group.create("p", ["4", "5", "4"], reference="4"), lambda text: text)
    >>> result.rewards, result.stats["pass@3"]
    ((1.0, 0.0, 1.0), 1.0)
    """
    answers = [extract(text) for text in group.completions]
    label, votes = most_common(answers)
    rewards = tuple(float(grade(answer, label)) for answer in answers)
    stats = {"majority_ratio": votes / group.size, "majority_voting_reward": sum(rewards) / group.size}
    if group.reference is not None:
        true = [float(grade(answer, group.reference)) for answer in answers]
        stats |= {
            # The label is parsed once more, as if it were a response: \frac{1}{2} becomes 2.
            "label_accuracy": float(grade(extract(label), group.reference)),
            "reward_accuracy": sum(a == b for a, b in zip(rewards, true, strict=True)) / group.size,
            "ground_truth_ratio": sum(true) / group.size,
            f"pass@{group.size}": float(sum(true) >= 1),
        }
    return GroupResult(rewards, tuple(answers), label, stats=stats)


def authors_token_rewards(
    rewards: Sequence[float], lengths: Sequence[int], *, n_votes: int, n_samples: int
) -> list[tuple[float, int]]:
    """Where TTRL's reward manager writes: for each trained sample its reward and token index.

    Odd: the index is the length of the group's LAST response less one, not the sample's own last token. That is
    harmless for GRPO (rows are summed) and wrong for GAE and REINFORCE++.

    Args:
        rewards: of all votes, prompt by prompt.
        lengths: of the responses in tokens, likewise.
        n_votes: completions a prompt that vote.
        n_samples: the first so many of them are trained on.

    Raises:
        DataError: the votes are not whole groups, or more samples are wanted than there are votes.

    >>> authors_token_rewards([1.0, 0.0, 1.0], [27, 12, 12], n_votes=3, n_samples=2)
    [(1.0, 11), (0.0, 11)]
    """
    if n_samples > n_votes or len(rewards) % n_votes:
        raise authors_error(AssertionError, f"{len(rewards)} votes are not whole groups of {n_votes}")
    return [
        (rewards[start + i], lengths[start + n_votes - 1] - 1)
        for start in range(0, len(rewards), n_votes)
        for i in range(n_samples)
    ]
