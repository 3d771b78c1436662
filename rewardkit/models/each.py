"""Score many traces where some cannot be scored: these get a reason, and the others their scores."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.errors import DataError, ServerError
from rewardkit.models import RewardModel
from rewardkit.types import StepScores, Trace

_REFUSED = frozenset({400, 413, 422})
"""What a scoring service answers to a trace that is too long or malformed; its other errors are no fault of a trace."""


def score_each(model: RewardModel, traces: Sequence[Trace]) -> list[tuple[tuple[float, ...], str]]:
    """For each trace its scores and "", or () and why it could not be scored (too long, no steps, images).

    A model that reads images says so by an attribute ``reads_images``; none of this package does.

    Raises:
        ServerError: a service is down; that is no fault of a trace.

    >>> from types import SimpleNamespace
    >>> from rewardkit.types import Problem
    >>> model = SimpleNamespace(score=lambda traces: [StepScores(t.id, (0.5,) * len(t.steps)) for t in traces])
    >>> score_each(model, [Trace.create(Problem.create("?"), ["a", "b"]), Trace.create(Problem.create("?"), [])])
    [((0.5, 0.5), ''), ((), 'has no steps')]
    """
    blind = not getattr(model, "reads_images", False)
    made: list[tuple[tuple[float, ...], str]] = [((), _why_not(trace, blind)) for trace in traces]
    places = [i for i, (_, why) in enumerate(made) if not why]
    for i, found in zip(places, score_or_fault(model, [traces[i] for i in places]), strict=True):
        made[i] = (tuple(found.scores), "") if isinstance(found, StepScores) else ((), f"not scored: {found}")
    return made


def score_or_fault(model: RewardModel, traces: Sequence[Trace]) -> list[StepScores | DataError | ServerError]:
    """For each trace its scores, or the error that it meets by itself, in this process or at a service.

    One batch where all is well; a batch that is refused is halved until the bad traces are alone.

    Raises:
        ServerError: a service is down.
    """
    if not traces:
        return []
    try:
        return list(model.score(traces))
    except (DataError, ServerError) as error:
        if isinstance(error, ServerError) and error.status not in _REFUSED:
            raise
        if len(traces) == 1:
            return [error]
    middle = len(traces) // 2
    return [*score_or_fault(model, traces[:middle]), *score_or_fault(model, traces[middle:])]


def _why_not(trace: Trace, blind: bool) -> str:
    if not trace.steps:
        return "has no steps"
    return "its problem has images, which this reward model does not read" if blind and trace.problem.images else ""
