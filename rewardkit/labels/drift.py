"""Have the scores drifted, and do problems leak? Two datasets side by side, before a calibration is carried over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.evaluate.arrays import unit
from rewardkit.labels.duplicates import near_duplicates


@dataclass(frozen=True, slots=True)
class Drift:
    """How far two sets of scores lie apart.

    Attributes:
        distance: the largest gap between their distribution functions (Kolmogorov and Smirnov), 0 to 1.
        level: the gap that equal distributions stay under in 95 of 100 draws, for independent scores: steps of one
            problem are not, so a small excess says little.
        drifted: whether the distance is above twice that level.
        means: of the first and of the second.
    """

    distance: float
    level: float
    drifted: bool
    means: tuple[float, float]


def score_drift(first: ArrayLike, second: ArrayLike) -> Drift:
    """Compare the scores on which a calibration was fitted with those on which it is used.

    Args:
        first: (steps,) in [0, 1].
        second: (other steps,) in [0, 1].

    Raises:
        DataError: a score is missing or outside [0, 1].

    >>> score_drift([0.1] * 50, [0.9] * 50).drifted, score_drift([0.1, 0.9] * 50, [0.1, 0.9] * 40).distance
    (True, 0.0)
    """
    a, b = np.sort(unit(first, "first")), np.sort(unit(second, "second"))
    at = np.concatenate([a, b])
    gaps = np.abs(np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b))
    distance = float(gaps.max())
    level = float(1.358 * np.sqrt((len(a) + len(b)) / (len(a) * len(b))))
    return Drift(distance, level, distance > 2 * level, (float(a.mean()), float(b.mean())))


def leaks(
    train: Sequence[str], evaluation: Sequence[str], threshold: float = 0.8
) -> tuple[float, list[tuple[int, int]]]:
    """The share of evaluation problems that stand, nearly word for word, among the training problems, and the pairs.

    Args:
        train: texts of the training problems.
        evaluation: texts of the evaluation problems.
        threshold: Jaccard similarity of their pieces, see `near_duplicates`.

    >>> leaks(["How many apples has Ann?"], ["How many apples has Ann ?", "What is pi?"])
    (0.5, [(0, 0)])
    """
    if not train or not evaluation:
        return 0.0, []
    pairs = [(a, b) for a, b, _ in near_duplicates(train, evaluation, threshold=threshold)]
    return len({b for _, b in pairs}) / len(evaluation), pairs
