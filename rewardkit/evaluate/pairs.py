"""Accuracy on preference pairs, and RewardBench's sections.

Lambert et al., "RewardBench" (arXiv 2403.13787) and allenai/reward-bench, ``scripts/run_rm.py`` and
``rewardbench/constants.py``; theirs in percent, ours in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import Floats, finite, same_shape

SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
"""Each section's subsets with their weights: their sizes; but math-prm (447 pairs) weighs as much as all the code."""


def pair_wins(chosen: ArrayLike, rejected: ArrayLike) -> Floats:
    """For each pair 1 where the chosen response scores higher, 0 where lower, 1/2 on a tie.

    The published code counts a tie as lost; scores in bf16 tie often, and a model that gives one score to everything is
    at chance here, as it should be.

    Args:
        chosen: (pairs,) scores of the better responses.
        rejected: (pairs,) of the others, on the same scale.

    Raises:
        DataError: shapes differ or a value is missing.

    >>> pair_wins([0.9, 0.5, 0.1], [0.1, 0.5, 0.9])
    array([1. , 0.5, 0. ])
    """
    better, worse = finite(chosen, "chosen"), finite(rejected, "rejected")
    same_shape(chosen=better, rejected=worse)
    return np.asarray((np.sign(better - worse) + 1) / 2, dtype=np.float64)


def pair_accuracy(chosen: ArrayLike, rejected: ArrayLike) -> float:
    """The mean of `pair_wins`.

    >>> pair_accuracy([0.9, 0.5], [0.1, 0.5])
    0.75
    """
    return float(pair_wins(chosen, rejected).mean())


def section_accuracy(subsets: Mapping[str, float], section: str) -> float | None:
    """A section's score: the mean of its subsets' accuracies by the weights of `SECTIONS`; None without any of them.

    Args:
        subsets: accuracy by subset; those of other sections are passed over.
        section: a key of `SECTIONS`.

    Raises:
        DataError: there is no such section.

    >>> section_accuracy({"math-prm": 1.0, "hep-cpp": 0.0}, "Reasoning")
    0.8571428571428571
    """
    if section not in SECTIONS:
        raise DataError(f"RewardBench has no section '{section}'; it has {', '.join(SECTIONS)}")
    weights = {name: weight for name, weight in SECTIONS[section].items() if name in subsets}
    if not weights:
        return None
    return sum(subsets[name] * weight for name, weight in weights.items()) / sum(weights.values())
