"""Labels made wrong on purpose, to see what that does to training and whether a loss or an audit can bear it.

Six ways, after FLORAL (arXiv 2502.17121) and what step labelers get wrong. Each flips ``floor(rate * n)`` labels:

    random             anywhere: a noisy annotator
    correct_to_wrong   right steps called wrong: a prover that gives up, rollouts that all miss
    margin             where a model trained on clean labels is least sure: honest doubt
    confident          where such a model is surest of the truth: an adversary, or a systematic misreading
    cluster            whole groups of like steps: one broken parser, one template
    trigger            wrong steps that carry a mark are called right: a backdoor
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import ConfigError, DataError

Mask = NDArray[np.bool_]

Way = Literal["random", "correct_to_wrong", "margin", "confident", "cluster", "trigger"]

WAYS: tuple[Way, ...] = ("random", "correct_to_wrong", "margin", "confident", "cluster", "trigger")


def poisoned(
    way: str,
    labels: ArrayLike,
    rate: float,
    *,
    seed: int = 0,
    chances: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> Mask:
    """Which labels to flip.

    For ``trigger`` these steps must also be shown with the mark. Where a way runs out of labels (``correct_to_wrong``
    of right ones, ``trigger`` of wrong ones), it flips those that there are.

    Args:
        way: one of `WAYS`.
        labels: (steps,) true labels, 0 or 1.
        rate: the share of all labels to flip, from 0 to 1.
        seed: of the draw.
        chances: (steps,) the chance of being right by a model trained on clean labels of *other* steps; for ``margin``
            and ``confident``.
        clusters: (steps,) a number for each step; for ``cluster``.

    Returns:
        (steps,) True where the label is to be flipped.

    Raises:
        ConfigError: no such way.
        DataError: labels are not 0 and 1, or what the way needs is missing.

    >>> poisoned("correct_to_wrong", [1, 0, 1, 0], 0.5).tolist()
    [True, False, True, False]
    >>> poisoned("confident", [1, 1, 0, 0], 0.25, chances=[0.6, 0.9, 0.2, 0.8]).tolist()
    [False, True, False, False]
    """
    truth = np.asarray(labels, dtype=np.float64)
    if way not in _CHOOSE:
        raise ConfigError(f"no way of poisoning '{way}'; there are {', '.join(WAYS)}")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise DataError("only hard labels, 0 or 1, can be flipped")
    needed: Any = {"margin": chances, "confident": chances, "cluster": clusters}.get(way, truth)
    if needed is None or len(np.asarray(needed)) != len(truth):
        raise DataError(f"poisoning by {way} needs one value of {'clusters' if way == 'cluster' else 'chances'} a step")
    count = int(np.floor(rate * len(truth) + 1e-9))
    mask = np.zeros(len(truth), dtype=np.bool_)
    mask[_CHOOSE[way](truth, np.asarray(needed), count, np.random.default_rng(seed))] = True
    return mask


Order = NDArray[np.int64]


def _random(truth: Any, _: Any, count: int, draw: np.random.Generator) -> Order:
    return draw.permutation(len(truth))[:count]


def _of_class(value: float) -> Callable[[Any, Any, int, np.random.Generator], Order]:
    def choose(truth: Any, _: Any, count: int, draw: np.random.Generator) -> Order:
        chosen: Order = draw.permutation(np.flatnonzero(truth == value))[:count]
        return chosen

    return choose


def _margin(truth: Any, chances: Any, count: int, draw: np.random.Generator) -> Order:
    """A random half of the 2 x count steps nearest to 0.5, as FLORAL draws from the smallest margins."""
    chosen: Order = draw.permutation(np.argsort(np.abs(2 * chances - 1), kind="stable")[: 2 * count])[:count]
    return chosen


def _confident(truth: Any, chances: Any, count: int, draw: np.random.Generator) -> Order:
    believed = np.where(truth == 1, chances, 1 - chances)
    chosen: Order = np.argsort(-believed, kind="stable")[:count]
    return chosen


def _cluster(truth: Any, clusters: Any, count: int, draw: np.random.Generator) -> Order:
    """Clusters in random order, each whole, but for the last, of which some steps may remain."""
    rank = {name: place for place, name in enumerate(draw.permutation(np.unique(clusters)).tolist())}
    order = draw.permutation(len(truth))
    places = np.array([rank[name] for name in clusters[order].tolist()])
    chosen: Order = order[np.argsort(places, kind="stable")][:count]
    return chosen


_CHOOSE: dict[str, Callable[[Any, Any, int, np.random.Generator], Order]] = {
    "random": _random,
    "correct_to_wrong": _of_class(1.0),
    "margin": _margin,
    "confident": _confident,
    "cluster": _cluster,
    "trigger": _of_class(0.0),
}
