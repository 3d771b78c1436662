"""Models of premises: what they rule out is ruled out, and nothing else."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rewardkit.verifiers.models import can_hold, model
from rewardkit.verifiers.statements import parse_sequent


@pytest.mark.parametrize(
    ("sequent", "expected"),
    [
        ("x = 48; y = x / 2 |- y = 24", (True, False)),
        ("y = x / 2; x = 48 |- y = 25", (False, True)),  # in whatever order
        ("48 = x and x / 2 = y |- not (y = 24)", (False, True)),
        ("|- 7 != 7", (False, True)),
        ("x > 2 |- x < 3", (False, True)),
        ("int_x = 4; int_y = int_x / 2 |- int_y = 2", (True, False)),
        ("F(a) |- G(a)", (False, False)),
        ("F(a); forall x: F(x) -> G(x) |- G(a)", (True, False)),
        ("P; not P |- Q", (True, True)),  # what contradicts itself has no model
    ],
)
def test_a_side_that_a_model_denies_is_ruled_out(sequent, expected):
    assert can_hold(*parse_sequent(sequent)) == expected


@pytest.mark.parametrize(
    "sequent",
    [
        "x = 5; x = 6 |- x = 7",
        "x = 0; y = 1 / x |- y = 0",
        "x ^ 2 = 4 |- x = 2",
        "int_x = 1 / 2 |- int_x = 2",  # no whole number is a half
        "Rain -> x = 2; Rain |- x = 2",
    ],
)
def test_without_a_model_nothing_is_ruled_out(sequent):
    assert can_hold(*parse_sequent(sequent)) == (True, True)


def test_a_goal_that_is_undefined_in_the_model_is_not_ruled_out():
    assert can_hold(*parse_sequent("x = 0 |- 1 / x = 0")) == (True, True)


def test_what_nothing_defines_gets_a_value_that_fits_the_rest():
    premises, goal = parse_sequent("y = 2 * x |- y > z")
    assert model(premises, goal) == {"x": Fraction(97), "y": Fraction(194), "z": Fraction(99)}


def test_one_name_of_two_sorts_has_no_value():
    premises, goal = parse_sequent("x = 2; F(x) |- x = 2")
    assert model(premises, goal) is None
