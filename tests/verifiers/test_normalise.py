"""The canonical form: what may be equal, what must not."""

import pytest

from rewardkit.verifiers.fol_parser import parse_formula
from rewardkit.verifiers.formula import Comparison, Predicate, Quantified, Variable
from rewardkit.verifiers.normalise import Unsupported, normalise


def key(*texts):
    *premises, goal = map(parse_formula, texts)
    return normalise(premises, goal).key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("A", "A -> B", "B"), ("C", "C -> D", "D")),
        (("A -> B", "A", "B"), ("A", "A -> B", "B")),
        (("A", "A", "B"), ("A", "B")),
        (("∀x F(x)", "F(a)"), ("∀y G(y)", "G(b)")),
        (("∀x ∀y R(x, y)", "R(a, a)"), ("∀y ∀x R(y, x)", "R(a, a)")),
    ],
)
def test_renamed_and_reordered_sequents_are_one(one, two):
    assert key(*one) == key(*two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("A", "B"), ("A", "A")),
        (("A -> B", "A"), ("B -> A", "A", "A")),
        (("F(a)", "F(b)"), ("F(a)", "F(a)")),
        (("F(a)", "G(a)"), ("F(a)", "F(a)")),
        (("∀x ∀y R(x, y)", "R(a, a)"), ("∀x ∀y R(y, x)", "R(a, a)")),
        (("∀x F(x)", "A"), ("∃x F(x)", "A")),
        (("A", "B -> A"), ("B -> A", "A")),
        (("R(a)", "B"), ("R(a, a)", "B")),
        (("∀x ∃x F(x)", "A"), ("∀x ∃y F(x)", "A")),
        (("∀x ∃x ∀y R(x, y)", "A"), ("∀x ∃x ∀y R(y, y)", "A")),
    ],
)
def test_different_sequents_stay_apart(one, two):
    assert key(*one) != key(*two)


@pytest.mark.parametrize("sorts", [("real", "int"), ("int", "object"), ("real", "object")])
def test_names_of_different_sorts_stay_apart(sorts):
    one, two = (Comparison("=", Variable("x", sort), Variable("y", sort)) for sort in sorts)
    assert normalise([], one).key != normalise([], two).key


def test_names_that_look_like_canonical_ones_do_no_harm():
    assert key("p1", "p0") == key("A", "B")
    assert normalise([Predicate("p1")], Predicate("p0")).restore("p0, not p1") == "p1, not p0"


def test_a_name_at_another_sort_hides_nothing():
    x = Variable("x", "object")
    inner = Quantified("forall", Variable("x", "real"), Predicate("F", (x,)))
    assert normalise([], Quantified("forall", x, inner)).names.keys() == {("F", ("object",), True)}


def test_an_object_is_no_number():
    with pytest.raises(Unsupported, match="compared with a number"):
        normalise([], Comparison("=", Variable("a", "object"), Variable("x")))
