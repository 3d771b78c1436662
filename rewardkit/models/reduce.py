"""From the scores of the steps to one score of the response: five fixed ways, and a learned one."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rewardkit.errors import ConfigError

LEARNED = "learned:"
"""What the name of a learned reducer begins with; then ``feature=weight`` pairs, or the JSON file that holds them."""

_PAIR = r"[a-z_]{1,12}=-?[0-9]{1,6}(\.[0-9]{1,12})?"
PATTERN = rf"^(min|prod|last|mean|sum|{LEARNED}{_PAIR}(,{_PAIR}){{0,15}})$"
"""Every name that needs no file: what a request may say."""


def reduce_scores(scores: Sequence[float], reducer: str) -> float:
    """One score of a response from the scores of its steps.

    Args:
        scores: one a step, at least one.
        reducer: ``min`` (a chain is as good as its weakest step; Lightman et al. 2023, Wang et al. 2024), ``prod``
            (the chance that all steps hold, were they independent), ``last``, ``mean`` or ``sum``; or a learned one,
            ``learned:bias=-1.5,min=3.0``: the logistic of weighted `FEATURES`, see `rewardkit.search.learn`.

    Raises:
        ConfigError: no such reducer.
        ValueError: no scores.

    >>> reduce_scores([0.9, 0.5, 0.8], "min"), reduce_scores([0.5, 0.5], "prod")
    (0.5, 0.25)
    >>> round(reduce_scores([0.9, 0.5], "learned:bias=-1,min=2,last=2"), 4)
    0.7311
    """
    if reducer not in REDUCERS:
        weights = _weights(reducer)
    if not scores:
        raise ValueError("a response without step scores has no score")
    if reducer in REDUCERS:
        return float(REDUCERS[reducer](scores))
    return _logistic(math.fsum(weight * FEATURES[name](scores) for name, weight in weights))


def check_reducer(name: str) -> str:
    """A reducer's name, complete in itself: of ``learned:FILE.json`` the name that the file holds.

    Raises:
        ConfigError: there is no such reducer, or the file holds none.

    >>> check_reducer("learned:min=1.5"), check_reducer("last")
    ('learned:min=1.5', 'last')
    """
    if name.startswith(LEARNED) and name.endswith(".json"):
        name = _read(Path(name.removeprefix(LEARNED)))
    if name not in REDUCERS:
        _weights(name)
    return name


@functools.lru_cache(maxsize=64)
def _weights(name: str) -> tuple[tuple[str, float], ...]:
    if name.startswith(LEARNED) and name.endswith(".json"):
        return _weights(check_reducer(name))
    if not re.fullmatch(PATTERN, name):
        raise ConfigError(
            f"there is no reducer '{name[:80]}'; use one of {', '.join(REDUCERS)}, or a fitted one: {LEARNED}FILE.json"
        )
    pairs = (pair.partition("=") for pair in name.removeprefix(LEARNED).split(","))
    weights = tuple((feature, float(weight)) for feature, _, weight in pairs)
    unknown = [feature for feature, _ in weights if feature not in FEATURES]
    if unknown:
        raise ConfigError(f"a learned reducer knows no feature '{unknown[0]}'; use {', '.join(FEATURES)}")
    return weights


def _read(path: Path) -> str:
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["reducer"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} holds no reducer; make one with rewardkit.search.learn.fit_reducer") from None
    if not isinstance(name, str) or name.endswith(".json"):
        raise ConfigError(f"{path} holds no reducer; make one with rewardkit.search.learn.fit_reducer")
    return name


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))


def _last(scores: Sequence[float]) -> float:
    return scores[-1]


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores)


def _second(scores: Sequence[float]) -> float:
    return sorted(scores)[min(1, len(scores) - 1)]


def _log_prod(scores: Sequence[float]) -> float:
    return math.fsum(math.log(min(max(score, 1e-6), 1.0)) for score in scores)


REDUCERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "prod": math.prod,
    "last": _last,
    "mean": _mean,
    "sum": math.fsum,
}
"""From a fixed reducer's name to its function."""

FEATURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "bias": lambda scores: 1.0,
    "min": min,
    "second": _second,
    "mean": _mean,
    "max": max,
    "first": lambda scores: scores[0],
    "last": _last,
    "log_prod": _log_prod,
    "log_steps": lambda scores: math.log(len(scores)),
}
"""What a learned reducer weighs: the sorted ends of the scores (``second`` is the second lowest), their summaries, and
the number of steps."""
