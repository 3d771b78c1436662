"""From a fact about a whole response to its steps: posteriors, exact, by a Poisson-binomial recursion.

``a`` is the chance of each step to be wrong by itself, the steps being independent given the response (an assumption:
real errors come in runs). "Outcome wrong, so some step is wrong" holds; "outcome right, so no step is wrong" does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import unit

Floats = NDArray[np.float64]


def given_count(wrong: ArrayLike, k: int) -> Floats:
    """The chance of each step to be wrong, given that exactly `k` of them are.

    ``P(t wrong | k) = a_t PB_without_t(k - 1) / PB(k)``; the chances sum to k.

    Args:
        wrong: (steps,) chances before.
        k: how many are wrong.

    Raises:
        DataError: `k` wrong steps are impossible under these chances.

    >>> given_count([0.5, 0.5, 0.0], 1).tolist()
    [0.5, 0.5, 0.0]
    """
    a = unit(wrong, "wrong")
    n = len(a)
    before = _counts(a)
    after = _counts(a[::-1])[::-1]
    whole = before[n]
    if not 0 <= k <= n or whole[k] <= 0:
        raise DataError(f"{k} of {n} steps cannot be wrong under these chances")
    found = np.zeros(n)
    for t in range(n if k else 0):
        rest = np.convolve(before[t], after[t + 1])[k - 1]
        found[t] = a[t] * rest / whole[k]
    return np.clip(found, 0.0, 1.0)


def given_any(wrong: ArrayLike) -> Floats:
    """The chance of each step to be wrong, given that at least one is: ``a_t / (1 - prod(1 - a_j))``.

    Where every chance is 0 the fact contradicts them: then each step is as likely as any other.

    >>> given_any([0.5, 0.0]).tolist()
    [1.0, 0.0]
    """
    a = unit(wrong, "wrong")
    some = _some(a)
    return np.full(len(a), 1 / len(a)) if some <= 0 else np.minimum(a / some, 1.0)


def given_first(wrong: ArrayLike) -> Floats:
    """The chance of each step to be the first wrong one, given that at least one is; they sum to 1.

    >>> given_first([0.5, 0.5]).round(3).tolist()
    [0.667, 0.333]
    """
    a = unit(wrong, "wrong")
    some = _some(a)
    if some <= 0:
        return np.full(len(a), 1 / len(a))
    return np.asarray(a * np.concatenate([[1.0], np.cumprod(1 - a)[:-1]]) / some, dtype=np.float64)


def _some(a: Floats) -> float:
    """``1 - prod(1 - a)``, exact for tiny chances."""
    with np.errstate(divide="ignore"):
        return float(-np.expm1(np.log1p(-a).sum()))


def _counts(a: Floats) -> list[Floats]:
    """For each prefix of the steps the chances of 0, 1, 2 ... wrong ones among it."""
    rows = [np.ones(1)]
    for chance in a:
        rows.append(np.convolve(rows[-1], [1 - chance, chance]))
    return rows
