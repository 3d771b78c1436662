"""Intervals by resampling *problems*: steps and samples of one problem are never independent of each other.

Percentile bootstrap over clusters; Efron & Tibshirani 1993, chapter 13; Field & Welsh 2007 for clusters. It is a
little narrow below some 30 problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import Floats, Ints
from rewardkit.evaluate.figure import Figure

Metric = Callable[..., float | None]
"""A function of one or more arrays that share their first dimension; None where it is not defined on them."""


class Interval(NamedTuple):
    """A value with its interval.

    Attributes:
        value: the metric on all rows, None where it is not defined.
        low, high: the interval, None where most resamples had no value.
        undefined: how many resamples had none (one class only, for instance); they are left out.
    """

    value: float | None
    low: float | None
    high: float | None
    undefined: int = 0


def bootstrap(
    metric: Metric,
    arrays: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """A metric with its percentile interval, resampling whole groups with replacement.

    Args:
        metric: called as ``metric(*arrays)``, first on all rows, then on each resample.
        arrays: what it takes; equal first dimensions (steps, traces or problems).
        groups: (rows,) a problem's id for each row; None where each row is a problem of its own.
        n: resamples; 0 for the value alone.
        seed: of the draws; equal seeds and groups give equal draws, so that two metrics can be compared.
        level: of the interval.

    Raises:
        DataError: lengths differ or there is no row.

    >>> from rewardkit.evaluate.calibration import brier
    >>> made = bootstrap(brier, [[0.9, 0.8, 0.3, 0.2], [1, 1, 0, 1]], ["a", "a", "b", "b"], n=200)
    >>> round(made.low, 3), made.value, round(made.high, 3)
    (0.025, 0.195, 0.365)
    """
    rows = [np.asarray(array) for array in arrays]
    length = {len(array) for array in rows} | ({len(np.asarray(groups))} if groups is not None else set())
    if len(length) != 1 or 0 in length:
        raise DataError(f"a bootstrap needs arrays and groups of one length, at least 1; got lengths {sorted(length)}")
    value = metric(*rows)
    if value is None or n == 0:
        return Interval(value, None, None)
    drawn = [metric(*(array[index] for array in rows)) for index in _resamples(length.pop(), groups, n, seed)]
    defined = np.asarray([d for d in drawn if d is not None], dtype=np.float64)
    if 2 * len(defined) < n:
        return Interval(float(value), None, None, n - len(defined))
    tail = 50 * (1 - level)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), n - len(defined))


def paired_difference(
    first: Metric,
    second: Metric,
    arrays: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
) -> Interval:
    """``first - second`` on the same rows and the same resamples: is one better, beyond luck?

    Both metrics get all arrays. The difference is called real at 95% where the interval leaves out 0; two intervals
    that overlap say nothing of the kind.

    >>> from rewardkit.evaluate.calibration import brier
    >>> a, b, y = [0.9, 0.8, 0.1], [0.5, 0.5, 0.5], [1, 1, 0]
    >>> paired_difference(lambda a, b, y: brier(a, y), lambda a, b, y: brier(b, y), [a, b, y], n=100).high < 0
    True
    """

    def difference(*rows: NDArray[np.generic]) -> float | None:
        one, two = first(*rows), second(*rows)
        return None if one is None or two is None else one - two

    return bootstrap(difference, arrays, groups, n=n, seed=seed)


def measure(
    name: str,
    metric: Metric,
    arrays: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    note: str = "",
) -> Figure:
    """A metric as a `Figure` with its interval; its `n` is the number of rows.

    >>> from rewardkit.evaluate.steps import step_auroc
    >>> measure("step AUROC", step_auroc, [[0.9, 0.2], [1, 1]]).note
    'not defined on these rows: one class only, or too few'
    """
    interval = bootstrap(metric, arrays, groups, n=n, seed=seed)
    notes = [note] if note else []
    if interval.value is None:
        notes.append("not defined on these rows: one class only, or too few")
    elif interval.undefined:
        notes.append(f"not defined on {interval.undefined} of {n} resamples")
    return Figure(name, interval.value, interval.low, interval.high, len(np.asarray(arrays[0])), "; ".join(notes))


def resample_counts(groups: int, n: int, seed: int) -> Floats:
    """(n, groups): how often each group was drawn in each resample; every row sums to `groups`.

    >>> resample_counts(3, 2, seed=0).sum(axis=1)
    array([3., 3.])
    """
    draws = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=n)
    return draws.astype(np.float64)


def _resamples(rows: int, groups: ArrayLike | None, n: int, seed: int) -> Iterator[Ints]:
    """The row indices of each resample: all rows of each drawn group, as often as it was drawn."""
    keys = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    size = int(keys.max()) + 1
    index = np.arange(rows)
    for counts in np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n):
        yield np.repeat(index, counts[keys])
