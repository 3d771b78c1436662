"""The `vote` labeler: an outcome label from the majority of a problem's own answers, with how well it is supported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.errors import DataError
from rewardkit.labelers.groups import group_of
from rewardkit.rewards import Group, load_reward
from rewardkit.rewards.vote import Vote, majority
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer
from rewardkit.types import Meaning, StepLabel, Trace

Verdict = tuple[float | None, str]


class VoteOptions(Config):
    """Who votes, and how.

    Attributes:
        tie: ``abstain``, or ``first``: the class whose first answer came first wins.
        min_share: abstain where the largest class has a smaller share of the traces.
        min_votes: abstain where it has fewer votes (STAT: 2, of 3 samples).
        views: the traces of a problem and of its rephrasing (equal ``meta["group"]``, two values of ``meta["view"]``)
            label each other (Co-Reward).
        teacher: only the traces of the model of this name vote (Co-rewarding-II: a slowly moving copy of the policy).
        compat: the authors' own labels: ``ttrl``, ``mm_upt``, ``co_reward`` (with `views`) or ``co_rewarding_ii`` (with
            `teacher`); then `tie`, `min_share` and `min_votes` are theirs.
    """

    tie: Literal["abstain", "first"] = "abstain"
    min_share: float = Field(default=0.0, ge=0.0, le=1.0)
    min_votes: int = Field(default=1, ge=1)
    views: bool = False
    teacher: str | None = None
    compat: Literal["ttrl", "mm_upt", "co_reward", "co_rewarding_ii"] | None = None

    @model_validator(mode="after")
    def _fit(self) -> VoteOptions:
        if self.views and self.teacher is not None:
            raise ValueError("give views or teacher, not both")
        if (self.compat == "co_reward") != (self.views and self.compat is not None):
            raise ValueError("compat=co_reward and views=true go together")
        if (self.compat == "co_rewarding_ii") != (self.teacher is not None and self.compat is not None):
            raise ValueError("compat=co_rewarding_ii and teacher=MODEL go together")
        return self


class VoteLabeler:
    """Labels the last step 1.0 where the trace's answer is the majority's, 0.0 where it is another.

    Equivalent answers vote together (0.5 = 1/2). A trace without an answer does not vote and gets None; so does one
    whose answer cannot be compared with the majority's ("one half"), and all where the vote abstains. The evidence says
    how the vote went. Traces of one problem, see `rewardkit.labelers.groups.group_of`, vote together.

    Args:
        options: see `VoteOptions`.
        checker: compares answers; None takes the one that the process shares.

    >>> from rewardkit.types import Problem
    >>> problem = Problem.create("half of 1?")
    >>> traces = [Trace.create(problem, ["#### " + a], a, sample=i) for i, a in enumerate(["1/2", "0.5", "2"])]
    >>> for label in VoteLabeler(VoteOptions()).label_group(traces):
    ...     print(label.p_correct, label.evidence)
    1.0 majority 1/2: share 0.67, margin 0.33, 2 classes
    1.0 majority 1/2: share 0.67, margin 0.33, 2 classes
    0.0 2; majority 1/2: share 0.67, margin 0.33, 2 classes
    """

    Options = VoteOptions
    name = "vote"
    meaning: Meaning = "value"
    unit = 256

    def __init__(self, options: VoteOptions, checker: AnswerChecker | None = None) -> None:
        self.options = options
        self._checker = checker

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """One label for the last step of every trace that has one."""
        groups: dict[str, list[Trace]] = {}
        for trace in traces:
            groups.setdefault(group_of(trace), []).append(trace)
        labels = []
        for group in groups.values():
            for trace, (p_correct, evidence) in zip(group, self._group(group), strict=True):
                if trace.steps:
                    last = len(trace.steps) - 1
                    labels.append(StepLabel(trace.id, last, p_correct, self.name, self.meaning, evidence))
        return labels

    def _group(self, traces: Sequence[Trace]) -> list[Verdict]:
        if not self.options.views:
            voters = [i for i, t in enumerate(traces) if self.options.teacher in (None, t.model)]
            return self._judged(traces, list(range(len(traces))), voters)
        views: dict[str, list[int]] = {}
        for i, trace in enumerate(traces):
            views.setdefault(str(trace.meta.get("view", trace.problem.id)), []).append(i)
        if len(views) != 2:
            return [(None, f"{len(views)} views of the problem, where 2 are wanted")] * len(traces)
        first, second = views.values()
        judged = dict(zip(first, self._judged(traces, first, second), strict=True))
        judged |= zip(second, self._judged(traces, second, first), strict=True)
        return [judged[i] for i in range(len(traces))]

    def _judged(self, traces: Sequence[Trace], judged: Sequence[int], voters: Sequence[int]) -> list[Verdict]:
        """Verdicts on the traces `judged` by the vote of the traces `voters`."""
        if not voters:
            return [(None, f"no trace of {self.options.teacher}")] * len(judged)
        if self.options.compat:
            return self._authors([traces[i] for i in judged], [traces[i] for i in voters])
        answers = [trace.answer or extract_answer(trace.response) or "" for trace in traces]
        vote = majority(
            [answers[i] for i in voters],
            tie=self.options.tie,
            min_share=self.options.min_share,
            checker=self._checker,
        )
        if vote.label is not None and len(vote.members) < self.options.min_votes:
            note = f"{len(vote.members)} votes, below min_votes: {_support(vote, len(voters))}"
            return [(None, note)] * len(judged)
        if vote.label is None:
            return [(None, _support(vote, len(voters)))] * len(judged)
        checker, members = self._checker or default_checker(), {voters[i] for i in vote.members}
        verdicts = [i in members or (checker.equal(answers[i], vote.label) if answers[i] else None) for i in judged]
        return [_verdict(answers[i], ok, vote, len(voters)) for i, ok in zip(judged, verdicts, strict=True)]

    def _authors(self, judged: Sequence[Trace], voters: Sequence[Trace]) -> list[Verdict]:
        """The authors' labels: 0.0 also where there is no answer, as their rewards have it."""
        compat = str(self.options.compat)
        texts, others = [t.response for t in judged], [t.response for t in voters]
        try:
            result = load_reward(compat, compat=compat)(Group.create(self.name, texts, others=others))
        except DataError as error:
            return [(None, f"{compat}: {error}")] * len(judged)
        note = f"{compat}: label {_short(result.label or '')}"
        return [
            (p, f"{_short(answer or '')}; {note}") for p, answer in zip(result.rewards, result.answers, strict=True)
        ]


def _verdict(answer: str, agrees: bool | None, vote: Vote, voters: int) -> Verdict:
    if not answer:
        return None, f"no final answer; {_support(vote, voters)}"
    if agrees is None:
        return None, f"{_short(answer)} could not be compared; {_support(vote, voters)}"
    return float(agrees), _support(vote, voters) if agrees else f"{_short(answer)}; {_support(vote, voters)}"


def _support(vote: Vote, voters: int) -> str:
    if not vote.sizes:
        return vote.note
    margin = (vote.sizes[0] - (vote.sizes[1] if len(vote.sizes) > 1 else 0)) / voters
    classes = f"{len(vote.sizes)} class{'es' if len(vote.sizes) > 1 else ''}"
    text = f"share {vote.share:.2f}, margin {margin:.2f}, {classes}"
    if vote.label is None:
        return f"{vote.note}: {text}"
    return f"majority {_short(vote.label)}: {text}" + (f"; {vote.note}" if vote.note else "")


def _short(text: str, length: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
