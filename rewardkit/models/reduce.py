"""From the scores of the steps to one score of the response."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rewardkit.errors import ConfigError


def reduce_scores(scores: Sequence[float], reducer: str) -> float:
    """One score of a response from the scores of its steps.

    Args:
        scores: one a step, at least one.
        reducer: ``min`` (a chain is as good as its weakest step; Lightman et al. 2023, Wang et al. 2024), ``prod``
            (the chance that all steps hold, were they independent), ``last``, ``mean`` or ``sum``.

    Raises:
        ConfigError: no such reducer.
        ValueError: no scores.

    >>> reduce_scores([0.9, 0.5, 0.8], "min"), reduce_scores([0.5, 0.5], "prod")
    (0.5, 0.25)
    """
    if reducer not in REDUCERS:
        raise ConfigError(f"there is no reducer '{reducer}'; use one of {', '.join(REDUCERS)}")
    if not scores:
        raise ValueError("a response without step scores has no score")
    return float(REDUCERS[reducer](scores))


def _last(scores: Sequence[float]) -> float:
    return scores[-1]


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores)


REDUCERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "prod": math.prod,
    "last": _last,
    "mean": _mean,
    "sum": math.fsum,
}
"""From a reducer's name to its function."""
