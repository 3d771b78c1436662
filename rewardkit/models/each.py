"""Score many traces where some cannot be scored: these get a reason, and the others their scores."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.errors import DataError
from rewardkit.models import RewardModel
from rewardkit.types import Trace


def score_each(model: RewardModel, traces: Sequence[Trace]) -> list[tuple[tuple[float, ...], str]]:
    """For each trace its scores and "", or () and why it could not be scored (too long, no steps, images).

    A model that reads images says so by an attribute ``reads_images``; none of this package does.

    One batch where all is well; a batch that is refused is halved until the bad traces are alone.

    Raises:
        ServerError: a service is down; that is no fault of a trace.

    >>> from types import SimpleNamespace
    >>> from rewardkit.types import Problem, StepScores
    >>> model = SimpleNamespace(score=lambda traces: [StepScores(t.id, (0.5,) * len(t.steps)) for t in traces])
    >>> score_each(model, [Trace.create(Problem.create("?"), ["a", "b"]), Trace.create(Problem.create("?"), [])])
    [((0.5, 0.5), ''), ((), 'has no steps')]
    """
    blind = not getattr(model, "reads_images", False)
    made: list[tuple[tuple[float, ...], str]] = [((), _why_not(trace, blind)) for trace in traces]
    places = [i for i, (_, why) in enumerate(made) if not why]
    for i, found in zip(places, _halving(model, [traces[i] for i in places]), strict=True):
        made[i] = found
    return made


def _why_not(trace: Trace, blind: bool) -> str:
    if not trace.steps:
        return "has no steps"
    return "its problem has images, which this reward model does not read" if blind and trace.problem.images else ""


def _halving(model: RewardModel, traces: Sequence[Trace]) -> list[tuple[tuple[float, ...], str]]:
    if not traces:
        return []
    try:
        return [(tuple(scores.scores), "") for scores in model.score(traces)]
    except DataError as error:
        if len(traces) == 1:
            return [((), f"not scored: {error}")]
        middle = len(traces) // 2
        return [*_halving(model, traces[:middle]), *_halving(model, traces[middle:])]
