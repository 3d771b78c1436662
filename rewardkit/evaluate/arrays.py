"""The checks that every metric makes of its arrays, so that a bad value is named and never averaged away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def finite(values: ArrayLike, what: str, *, dimensions: int = 1) -> Floats:
    """Floats of the given number of dimensions, none of them NaN or infinite.

    Args:
        values: the array; an abstention must have been left out of it, never turned into a number.
        what: how to call it in an error.
        dimensions: 1 for one value a step or a trace, 2 for (problems, samples).

    Raises:
        DataError: it is empty, has another number of dimensions, or holds NaN or infinity.

    >>> finite([0, 1], "scores")
    array([0., 1.])
    >>> finite([float("nan")], "scores")
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: scores: 1 of 1 values is NaN or infinite; leave out what has no value
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        shape = "a list" if dimensions == 1 else "rows of equal length"
        raise DataError(f"{what} must be {shape} with at least one value, not of shape {array.shape}")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(f"{what}: {bad} of {array.size} values is NaN or infinite; leave out what has no value")
    return array


def unit(values: ArrayLike, what: str, *, dimensions: int = 1) -> Floats:
    """Like `finite`, and every value lies in [0, 1].

    Raises:
        DataError: as `finite`, or a value lies outside.

    >>> unit([1.5], "scores")
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: scores must lie in [0, 1]; they range from 1.5 to 1.5
    """
    array = finite(values, what, dimensions=dimensions)
    if array.min() < 0 or array.max() > 1:
        raise DataError(f"{what} must lie in [0, 1]; they range from {array.min():g} to {array.max():g}")
    return array


def binary(values: ArrayLike, what: str, *, dimensions: int = 1) -> Bools:
    """Like `finite`, and every value is 0 or 1; given back as booleans.

    Raises:
        DataError: as `finite`, or a value is neither.

    >>> binary([1, 0], "correct")
    array([ True, False])
    """
    array = finite(values, what, dimensions=dimensions)
    if not np.isin(array, (0.0, 1.0)).all():
        raise DataError(f"{what} must hold 0 and 1 only; round or leave out soft labels on purpose beforehand")
    return array.astype(np.bool_)


def same_shape(**arrays: NDArray[Any]) -> None:
    """Raise `DataError` unless all arrays have one shape.

    >>> same_shape(scores=np.zeros(2), correct=np.zeros(3))
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: shapes differ: scores (2,), correct (3,)
    """
    if len({array.shape for array in arrays.values()}) > 1:
        raise DataError("shapes differ: " + ", ".join(f"{name} {array.shape}" for name, array in arrays.items()))
