"""Exact identity checks, against SymPy and by cases."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.text.algebra import find_statements
from rewardkit.verifiers.formula import Number, Operation, Variable
from rewardkit.verifiers.polynomial import Unbounded, identical, quotient
from rewardkit.verifiers.values import value

X, Y = Variable("x"), Variable("y")


def sides(text):
    [statement] = find_statements(text)
    return statement.terms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"\[ (x + y)^3 = x^3 + 3x^2y + 3xy^2 + y^3 \]", True),
        (r"\[ (x + y)^3 = x^3 + 3x^2y + 3xy^2 - y^3 \]", False),
        (r"\[ \frac{1}{x} + \frac{1}{y} = \frac{x + y}{xy} \]", True),
        (r"\[ \sqrt{12} + \sqrt{27} = 5\sqrt{3} \]", True),
        (r"\[ \sqrt{2}\sqrt{3} = \sqrt{6} \]", True),
        (r"\[ \sqrt{2} + \sqrt{3} = \sqrt{5} \]", False),
        (r"\[ (1 + \sqrt{2})^2 = 3 + 2\sqrt{2} \]", True),
        (r"\[ \frac{x^2}{x} = x \]", True),
        (r"\[ \frac{x}{y} = x \]", False),
        (r"\[ \sqrt{x^2} = x \]", None),
        (r"\[ |x| = |x| \]", True),
        (r"\[ \frac{x}{0} = 1 \]", None),
    ],
)
def test_identities_are_told(text, same):
    assert identical(*sides(text)) is same


def terms():
    leaf = st.sampled_from([X, Y]) | st.integers(-5, 5).map(lambda n: Number(Fraction(n)))

    def join(inner):
        return st.tuples(st.sampled_from("+-*"), inner, inner).map(lambda t: Operation(t[0], (t[1], t[2])))

    return st.recursive(leaf, join, max_leaves=10)


def to_sympy(term):
    import sympy

    if isinstance(term, Number):
        return sympy.Rational(term.value.numerator, term.value.denominator)
    if isinstance(term, Variable):
        return sympy.Symbol(term.name)
    left, right = (to_sympy(part) for part in term.arguments)
    return {"+": left + right, "-": left - right, "*": left * right}[term.operator]


@settings(max_examples=100, deadline=None)
@given(terms(), terms())
def test_sympy_agrees_on_identities(left, right):
    import sympy

    assert identical(left, right) is (sympy.expand(to_sympy(left) - to_sympy(right)) == 0)
    assert identical(left, Operation("+", (left, Number(Fraction(1))))) is False


@settings(max_examples=100, deadline=None)
@given(terms(), st.fractions(-9, 9, max_denominator=5), st.fractions(-9, 9, max_denominator=5))
def test_a_quotient_has_the_value_of_its_term(term, x, y):
    read = quotient(term)
    total = sum(
        (c * x ** dict(mono).get("x", 0) * y ** dict(mono).get("y", 0) for mono, c in read.top.items()), Fraction(0)
    )
    assert total == value(term, {"x": x, "y": y})


def test_what_grows_too_large_is_given_up():
    term = Operation("+", (X, Y))
    for _ in range(3):
        term = Operation("^", (term, Number(Fraction(12))))
    with pytest.raises(Unbounded):
        quotient(term)
