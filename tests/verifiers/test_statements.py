"""The formal statement syntax: what it reads, what it refuses, and that printing and reading are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.verifiers.formula import Connected, Operation, Predicate, Variable, walk
from rewardkit.verifiers.plain import print_formula, print_sequent
from rewardkit.verifiers.statements import StatementError, parse_formula, parse_sequent, parse_statement


@pytest.mark.parametrize(
    ("line", "kind", "name", "formula", "cites"),
    [
        ("fact h1: x = 48", "fact", "h1", "x = 48", ()),
        ("fact: x = 48.", "fact", "", "x = 48", ()),
        ("define y = x / 2", "define", "y", "y = x / 2", ()),
        ("have s1: y = 24 from h1, y", "have", "s1", "y = 24", ("h1", "y")),
        ("show s2: x + y = 72 from h1 and s1", "show", "s2", "x + y = 72", ("h1", "s1")),
        ("show x < 2.50", "show", "", "x < 2.5", ()),
    ],
)
def test_reads_statements(line, kind, name, formula, cites):
    statement = parse_statement(line)
    assert (statement.kind, statement.name, statement.cites) == (kind, name, cites)
    assert statement.formula == parse_formula(formula)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "so y is 24",
        "have s1 y = 24",
        "have s1: y",
        "have s1: y = 24 since h1",
        "have s1: y = 24 from",
        "have s1: y = = 24",
        "define 2 = x",
        "define x < 2",
        "have s1: (y = 24",
        'have s1: y = 24. Load "x".',
        "have s1: y = __import__('os')",
        "have s1: у = 24",  # a Cyrillic letter
        "have s1: y = 2²",
        "have s1: y = 1e9",
        "have s1: y = " + "9" * 31,
        "have s1: y = " + "(" * 50 + "1" + ")" * 50,
        "have s1: y = " + "-" * 50 + "1",
        "have s1: " + "P -> " * 50 + "P",
        "have s1: " + "not " * 50 + "P",
        "have s1: y = " + "2^" * 50 + "2",
        "have s1: y = " + "1 + " * 600 + "1",
    ],
)
def test_refuses(line):
    with pytest.raises(StatementError):
        parse_statement(line)


def test_arrow_is_right_associative():
    assert parse_formula("P -> Q -> P") == parse_formula("P -> (Q -> P)") != parse_formula("(P -> Q) -> P")


def test_minus_and_slash_are_left_associative_and_power_right():
    assert parse_formula("8 - 4 - 2 = 8 / 4 / 2") == parse_formula("(8 - 4) - 2 = (8 / 4) / 2")
    assert parse_formula("2 ^ 3 ^ 2 = 1") == parse_formula("2 ^ (3 ^ 2) = 1")
    assert parse_formula("-2 ^ 2 = 1") == parse_formula("-(2 ^ 2) = 1")


def test_connectives_bind_in_the_usual_order():
    assert parse_formula("P or Q and not R -> S") == parse_formula("(P or (Q and (not R))) -> S")


def test_chain_says_each_link():
    assert parse_formula("a = b < 3") == parse_formula("a = b and b < 3")


def test_names_have_sorts():
    found = {n.name: n.sort for n in walk(parse_formula("x + int_n = 1 and F(c)")) if isinstance(n, Variable)}
    assert found == {"x": "real", "int_n": "int", "c": "object"}


def test_capital_name_is_a_number_where_it_is_calculated_with():
    assert isinstance(parse_formula("Rain -> X + 1 = 2"), Connected)
    assert isinstance(parse_formula("Rain"), Predicate)
    assert Operation("+", (Variable("X"), Variable("Y"))) in set(walk(parse_formula("(X + Y) * 2 = 1")))


def test_sequent_without_turnstile_is_refused():
    with pytest.raises(StatementError, match=r"\|-"):
        parse_sequent("x = 1")


numbers = st.sampled_from(["0", "7", "48", "0.5", "3.25", "x", "y", "int_n", "Total"])
terms = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/^"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"-{t}"),
        inner.map(lambda t: f"sqrt({t})"),
    ),
    max_leaves=8,
)
atoms = st.one_of(
    st.tuples(terms, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), terms).map(" ".join),
    st.sampled_from(["Rain", "Bird(tweety)", "Likes(ann, bob)", "true", "exists z: F(z)", "forall z: F(z) -> G(z)"]),
)
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "->", "<->"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda t: f"not ({t})"),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(formulas, max_size=3), formulas)
def test_what_is_printed_is_read_back(premises, goal):
    sequent = tuple(parse_formula(p) for p in premises), parse_formula(goal)
    assert parse_sequent(print_sequent(*sequent)) == sequent


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60) | st.text("xyPQ012 +-*/^()=<>,:;&|~.notandforall\n", max_size=80))
def test_any_text_is_read_or_refused(text):
    for read in (parse_statement, parse_formula, parse_sequent):
        try:
            read(text)
        except StatementError:
            continue


def test_printed_formula_has_few_brackets():
    assert print_formula(parse_formula("((a * (b + c)) / 2) = (1 - (2 - 3))")) == "a * (b + c) / 2 = 1 - (2 - 3)"
