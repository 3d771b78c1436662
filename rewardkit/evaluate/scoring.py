"""Score the traces of an evaluation once each, and leave out, with the reason, what cannot be scored."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModel, RewardModelSpec
from rewardkit.models.each import score_or_fault
from rewardkit.store import LabelledTrace
from rewardkit.types import StepScores, Trace

Progress = Callable[[int, int], None]
"""Called with (traces scored, traces in all)."""

Scores = dict[str, tuple[float, ...]]
"""From a trace's id to its scores."""

_CHUNK = 64
_NUMBER = re.compile(r"[0-9]+")
"""Reasons that differ in a count alone are one reason."""


def score_traces(
    model: RewardModel, traces: Sequence[Trace], left_out: Counter[str], progress: Progress | None = None
) -> Scores:
    """Scores of every trace that can be scored; a trace that occurs several times is scored once.

    Args:
        model: in this process or behind an address.
        traces: in any order; those of like length go together, so that little of a batch is padding.
        left_out: counts the others by reason.
        progress: told after each chunk.

    Raises:
        ServerError: the service failed.
    """
    unique = sorted({trace.id: trace for trace in traces}.values(), key=lambda trace: len(trace.response))
    found: Scores = {}
    for start in range(0, len(unique), _CHUNK):
        chunk = unique[start : start + _CHUNK]
        found.update(_score(model, chunk, left_out))
        if progress:
            progress(start + len(chunk), len(unique))
    return found


def with_scores(rows: Sequence[LabelledTrace], scores: Scores) -> list[LabelledTrace]:
    """The rows that have scores, with them, in their order."""
    return [replace(row, scores=scores[row.trace.id]) for row in rows if row.trace.id in scores]


def prior_scores(rows: Sequence[LabelledTrace]) -> Scores:
    """The constant prior: every step gets the share of right steps of these very rows, the hardest constant to beat.

    >>> from rewardkit.types import Problem, StepLabel
    >>> trace = Trace.create(Problem.create("?"), ["a", "b"])
    >>> labels = tuple(StepLabel(trace.id, k, float(k), "human", "prefix") for k in range(2))
    >>> list(prior_scores([LabelledTrace(trace, labels)]).values())
    [(0.5, 0.5)]
    """
    verdicts = [label.p_correct for row in rows for label in row.labels if label.p_correct is not None]
    constant = sum(verdicts) / len(verdicts) if verdicts else 0.5
    return {row.trace.id: (constant,) * max(1, len(row.trace.steps)) for row in rows}


def needs_steps(part: str, model: str, spec: RewardModelSpec) -> None:
    """Raise where a model that scores whole responses is given to a suite about steps.

    Raises:
        ConfigError: the model gives no score for each step.

    >>> needs_steps("processbench", "runs/orm", RewardModelSpec(kind="outcome"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: runs/orm is an outcome reward model: it scores whole responses, so processbench, ...
    """
    if not spec.scores_steps:
        raise ConfigError(
            f"{model} is an {spec.kind} reward model: it scores whole responses, so {part}, which is about steps, "
            "cannot measure it; use the suites rewardbench or best-of-n"
        )


def _score(model: RewardModel, traces: Sequence[Trace], left_out: Counter[str]) -> Scores:
    made: Scores = {}
    for trace, found in zip(traces, score_or_fault(model, traces), strict=True):
        if isinstance(found, StepScores):
            made[trace.id] = found.scores
        else:
            reason = str(found)
            left_out[_NUMBER.sub("N", reason.partition(": ")[2] or reason)] += 1
    return made
