"""How many wrong test labels would it take for two models to change places?

With a share v of wrong labels a benchmark shows ``A(v) = (1 - v) A_clean + v A_wrong``: the accuracy on the clean
items, and on the mislabelled ones against the label that they were given. Two models swap at
``v* = d_clean / (d_clean - d_wrong)``, where the two differences have opposite signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import binary, same_shape


@dataclass(frozen=True, slots=True)
class Stability:
    """What mislabelled items do to the comparison of two models.

    Attributes:
        shown: accuracy of the first less that of the second, with the labels as given.
        clean: the same on the items whose label is right.
        wrong: the same, against the given label, on the mislabelled ones; None where there is none.
        rate: share of mislabelled items.
        swap_at: the share at which the two would change places; None where no share would.
        stable: False where the order is already turned, or the audited share is past `swap_at`.
    """

    shown: float
    clean: float
    wrong: float | None
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
    return Stability(float(gap.mean()), clean, wrong, rate, swap, swap is None or rate < swap - 1e-12)


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
