"""How many wrong test labels would it take for two models to change places?

With a share v of wrong labels a benchmark shows ``A(v) = (1 - v) A_clean + v A_wrong``: the accuracy on the clean
items, and on the mislabelled ones against the label that they were given. Two models swap at
``v* = d_clean / (d_clean - d_wrong)``, where the two differences have opposite signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.arrays import binary, same_shape
from rewardkit.labels.aggregate import gold_verdicts
from rewardkit.labels.votes import Votes, choose_sources, meanings, read_votes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stability:
    """What mislabelled items do to the comparison of two models.

    Attributes:
        shown: accuracy of the first less that of the second, with the labels as given.
        clean: the same on the items whose label is right.
        wrong: the same, against the given label, on the mislabelled ones; None where there is none.
        items: how many were compared.
        rate: share of mislabelled items.
        swap_at: the share at which the two would change places; None where no share would.
        stable: False where the order is already turned, or the audited share is past `swap_at`.
    """

    shown: float
    clean: float
    wrong: float | None
    items: int
    rate: float
    swap_at: float | None
    stable: bool


def stability(first: ArrayLike, second: ArrayLike, mislabelled: ArrayLike) -> Stability:
    """Compare two models on a benchmark some of whose labels were found wrong.

    Args:
        first: (items,) 1 where the first model agrees with the given label.
        second: (items,) the same of the second.
        mislabelled: (items,) 1 where the given label is wrong, as verified by somebody.

    Raises:
        DataError: shapes differ, a value is not 0 or 1, or every item is mislabelled.

    >>> found = stability([1] * 9 + [0], [1] * 8 + [0, 1], [0] * 9 + [1])
    >>> round(found.shown, 3), round(found.clean, 3), found.wrong, round(found.swap_at, 3), found.stable
    (0.0, 0.111, -1.0, 0.1, False)
    """
    a, b, bad = (binary(x, name) for x, name in ((first, "first"), (second, "second"), (mislabelled, "mislabelled")))
    same_shape(first=a, second=b, mislabelled=bad)
    if bad.all():
        raise DataError("every item is mislabelled: there is no clean item to compare the models on")
    gap = a.astype(np.float64) - b
    clean = float(gap[~bad].mean())
    wrong = float(gap[bad].mean()) if bad.any() else None
    swap = swap_share(clean, wrong) if wrong is not None else None
    rate = float(bad.mean())
    return Stability(float(gap.mean()), clean, wrong, len(gap), rate, swap, swap is None or rate < swap - 1e-12)


def swap_share(clean: float, wrong: float) -> float | None:
    """The share of wrong labels at which two models change places; None where the differences have one sign.

    Args:
        clean: difference of the two accuracies on clean items.
        wrong: the same on mislabelled ones, against the given label.

    >>> swap_share(0.02, -0.18), swap_share(0.02, 0.1)
    (0.1, None)
    """
    if clean * wrong >= 0:
        return None
    return clean / (clean - wrong)


def dataset_stability(
    folder: str | Path, source: str, gold: Sequence[str], first: str, second: str, threshold: float = 0.5
) -> Stability:
    """Compare two models on the steps of a dataset, some of whose labels are known to be wrong.

    The items are the steps on which the source and both models have a verdict. Those where gold contradicts the
    source count as mislabelled, all others as right: where gold saw only some of them, the share is a lower bound.

    Args:
        folder: the dataset.
        source: the labels that the models are measured by.
        gold: sources that know better, such as ``audited`` of `rewardkit labels decide`.
        first: a model: a source of the dataset, or a folder with its scores of the same traces, as `rewardkit eval`
            writes it.
        second: another.
        threshold: from which on a model calls a step right.

    Raises:
        ConfigError: there is no such source, or meanings differ.
        DataError: no step has the source's label and both models' verdicts, or all that have are mislabelled.
    """
    known = meanings(folder)
    models = [name for name in (first, second) if name in known]
    meaning, _ = choose_sources(known, [source, *models], gold)
    votes = read_votes(folder, [source, *models], meaning)
    truth, _ = gold_verdicts(read_votes(folder, gold, meaning))
    given = votes.column(source)
    said = [votes.column(name) if name in known else _scores_of(name, votes, known) for name in (first, second)]
    items = ~np.isnan(given) & ~np.isnan(said[0]) & ~np.isnan(said[1])
    if not items.any():
        raise DataError(f"no step has a label of {source} and a verdict of both {first} and {second}")
    label = given[items] >= 0.5
    agrees = [(model[items] >= threshold) == label for model in said]
    wrong = ~np.isnan(truth[items]) & ((truth[items] == 1) != label)
    return stability(agrees[0], agrees[1], wrong)


def _scores_of(name: str, votes: Votes, known: Iterable[str]) -> Floats:
    """(steps,) the scores that another dataset has of the same steps; NaN where it has none."""
    if not Path(name).is_dir():
        raise ConfigError(f"'{name}' is no label source ({', '.join(known)}) and no folder with a model's scores")
    other = read_votes(name, [], votes.meaning)
    place = {(other.trace_ids[t], s): i for i, (t, s) in enumerate(zip(other.trace, other.step, strict=True))}
    rows = [place.get((votes.trace_ids[t], s), -1) for t, s in zip(votes.trace, votes.step, strict=True)]
    return np.append(other.scores, np.nan)[rows]
