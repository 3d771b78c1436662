"""Posteriors from a fact about the response equal those by enumeration of every combination."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from rewardkit.errors import DataError
from rewardkit.labels.bags import given_any, given_count, given_first

A = np.array([0.1, 0.7, 0.4, 0.2, 0.05])


def enumerated(keep, what) -> np.ndarray:
    total, found = 0.0, np.zeros(len(A))
    for wrong in product([0, 1], repeat=len(A)):
        w = np.array(wrong)
        chance = float(np.prod(np.where(w == 1, A, 1 - A)))
        if keep(w):
            total += chance
            found += chance * what(w)
    return found / total


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_count(k):
    assert given_count(A, k) == pytest.approx(enumerated(lambda w: w.sum() == k, lambda w: w), abs=1e-12)


def test_any():
    assert given_any(A) == pytest.approx(enumerated(lambda w: w.any(), lambda w: w))


def test_first():
    expected = enumerated(lambda w: w.any(), lambda w: np.arange(len(w)) == np.argmax(w))
    assert given_first(A) == pytest.approx(expected)


def test_long_responses_and_certain_steps_stay_finite():
    a = np.full(512, 0.02)
    a[7] = 1.0
    assert np.isfinite(given_any(a)).all()
    assert given_first(a).sum() == pytest.approx(1.0)
    assert given_count(a[:64], 3).sum() == pytest.approx(3.0)


def test_what_contradicts_the_chances():
    assert given_any([0.0, 0.0]).tolist() == [0.5, 0.5]
    with pytest.raises(DataError, match="2 of 2 steps cannot be wrong"):
        given_count([0.0, 1.0], 2)
