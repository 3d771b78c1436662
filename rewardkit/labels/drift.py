"""Have the scores drifted, and do problems leak? Two datasets side by side, before a calibration is carried over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import unit
from rewardkit.labels.duplicates import near_duplicates
from rewardkit.store import LabelledTrace, load_problems, load_traces


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


@dataclass(frozen=True, slots=True)
class Leak:
    """A problem that stands, nearly word for word, in both datasets.

    Attributes:
        problem, other: its ids.
        similarity: estimated Jaccard similarity of the two texts' pieces.
        text: of the first.
    """

    problem: str
    other: str
    similarity: float
    text: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two datasets side by side.

    Attributes:
        drifts: of the scores (``scores``) and of the labels of each source (``labels of NAME``) that both have; the
            means are of the first dataset and of the other.
        leaks: the most similar first.
        problems: numbers of different problems in the first and in the other.
        leaked: share of the first's problems that leak.
    """

    drifts: dict[str, Drift]
    leaks: tuple[Leak, ...]
    problems: tuple[int, int]
    leaked: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare_datasets(folder: str | Path, other: str | Path, similarity: float = 0.8) -> Compared:
    """Have scores and labels drifted between two datasets, and do problems of the first stand in the other?

    Args:
        folder: the dataset that something is used or measured on.
        other: the one that it was trained or calibrated on; either may be whatever `load_traces` or `load_problems`
            reads: of problems alone, such as a test set, there are no scores and no labels.
        similarity: from which on two problems count as one, see `near_duplicates`.

    Raises:
        ConfigError: see `near_duplicates`.
        DataError: one of them cannot be read.
    """
    both = [_read(str(one)) for one in (folder, other)]
    series = [_series(rows) for rows, _ in both]
    drifts = {name: score_drift(values, series[1][name]) for name, values in series[0].items() if name in series[1]}
    first, second = (problems for _, problems in both)
    ids, others = list(first), list(second)
    pairs = near_duplicates(list(first.values()), list(second.values()), threshold=similarity)
    found = [Leak(ids[a], others[b], alike, first[ids[a]]) for a, b, alike in pairs]
    found.sort(key=lambda leak: -leak.similarity)
    share = len({leak.problem for leak in found}) / max(len(ids), 1)
    return Compared(drifts, tuple(found), (len(ids), len(others)), share)


def _read(source: str) -> tuple[tuple[LabelledTrace, ...], dict[str, str]]:
    """The traces of a source, and its problems: from an id to the text."""
    try:
        rows = load_traces(source).rows
        return rows, {row.trace.problem.id: row.trace.problem.text for row in rows}
    except DataError as error:
        try:
            return (), {problem.id: problem.text for problem in load_problems(source).rows}
        except DataError:
            raise error from None


def _series(rows: Iterable[LabelledTrace]) -> dict[str, list[float]]:
    """By what they are, the numbers of a dataset that may drift."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.scores:
            found.setdefault("scores", []).extend(row.scores)
        for label in row.labels:
            if label.p_correct is not None:
                found.setdefault(f"labels of {label.source}", []).append(label.p_correct)
    return found
