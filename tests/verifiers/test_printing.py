"""What reaches a prover: only symbols of its table, digits and names of ours, whatever a model calls things."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.verifiers.coq import coq_sentence
from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Not,
    Number,
    Operation,
    Predicate,
    Quantified,
    Truth,
    Variable,
)
from rewardkit.verifiers.printing import MAX_NODES, Unprintable, prepare
from rewardkit.verifiers.statements import parse_formula, parse_sequent

HOSTILE = [
    "Axiom",
    "Admitted",
    "Load",
    "Qed",
    "Abort",
    "R",
    "Z",
    "obj",
    "v0",
    "p0",
    "b0",
    "rk_real",
    "sorry",
    "False",
    "END1",
]
numbers = st.fractions(min_value=-(10**30), max_value=10**30, max_denominator=10**6).map(Number)
variables = st.builds(Variable, st.sampled_from(HOSTILE), st.sampled_from(["real", "int"]))
objects = st.builds(Variable, st.sampled_from(HOSTILE), st.just("object"))
terms = st.recursive(
    numbers | variables,
    lambda inner: st.one_of(
        st.builds(lambda o, a, b: Operation(o, (a, b)), st.sampled_from("+-*/"), inner, inner),
        st.builds(lambda o, a: Operation(o, (a,)), st.sampled_from(["neg", "abs", "sqrt"]), inner),
        st.builds(lambda a, n: Operation("^", (a, Number(Fraction(n)))), inner, st.integers(-70, 70)),
    ),
    max_leaves=10,
)
atoms = st.one_of(
    st.builds(Comparison, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), terms, terms),
    st.builds(Predicate, st.sampled_from(HOSTILE), st.lists(objects, max_size=2).map(tuple)),
    st.builds(Truth, st.booleans()),
)
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Connected, st.sampled_from(["and", "or", "implies", "iff"]), inner, inner),
        st.builds(Quantified, st.sampled_from(["forall", "exists"]), objects | variables, inner),
    ),
    max_leaves=8,
)

TOKEN = re.compile(
    r"Goal|True|False|first|assert|forall|exists|as _|by|timeout|abstract|intros|repeat|split|idtac|Abort"
    r'|"rk:(?:OK|REF|DEN|UNK)"|rk_(?:linear|whole|real|hard|int_hard|int|logic|classical)|Rabs|Z\.abs|sqrt|Type|Prop'
    r"|obj|some|[vbp][0-9]+|[0-9]+|R|Z|%R|%Z|%type|<->|->|<=|>=|<>|/\\|\\/|[-+*/^=<>~()\[\]|;:,.]"
)


def pieces(sentence):
    """The tokens of a sentence; fails where anything else stands in it."""
    found, at = [], 0
    while at < len(sentence):
        if sentence[at] == " ":
            at += 1
            continue
        match = TOKEN.match(sentence, at)
        assert match, f"{sentence[at : at + 20]!r} is none of ours"
        found.append(match[0])
        at = match.end()
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(formulas, max_size=3), formulas)
def test_a_sentence_for_coq_is_made_of_our_tokens_alone(premises, goal):
    try:
        sequent = prepare(premises, goal)
        sentences = [coq_sentence(sequent, sides=sides) for sides in (["OK", "REF"], ["OK"], ["REF"])]
    except Unprintable:
        return
    for sentence in sentences:
        check_sentence(pieces(sentence))


def check_sentence(found):
    assert found[0] == "Goal"
    assert found[-3:] == [".", "Abort", "."]
    # Coq reads three sentences: no point of a decimal, no name with a dot ends one early.
    assert found.count(".") == 3
    depth = 0
    for token in found:
        depth += (token in "([") - (token in ")]")
        assert depth >= 0
    assert depth == 0


def test_names_are_replaced_in_order_of_appearance():
    sequent = prepare(*parse_sequent("Axiom = 2; Load = Axiom |- Load = 2"))
    assert list(sequent.variables.values()) == ["v0", "v1"]
    assert "Axiom" not in coq_sentence(sequent)
    assert "Load" not in coq_sentence(sequent)


def test_one_name_of_two_sorts_is_two_variables():
    x = Variable("x")
    goal = Comparison("=", x, replace(x, sort="int"))
    assert list(prepare([], goal).variables.values()) == ["v0", "v1"]


@pytest.mark.parametrize(
    ("goal", "reason"),
    [
        ("1 / 0 = 1", "division by zero"),
        ("2 ^ 65 = 1", "exponent above"),
        ("2 ^ x = 1", "no whole number"),
        ("2 ^ 0.5 = 1", "no whole number"),
        ("0 ^ 0 = 1", "not positive"),
        ("F(a) and x = 1", "predicates and numbers"),
    ],
)
def test_what_is_not_put_to_a_prover(goal, reason):
    with pytest.raises(Unprintable, match=reason):
        prepare([], parse_formula(goal))


def test_large_deep_and_long_statements_are_refused():
    one = Number(Fraction(1))
    deep = Truth(True)
    for _ in range(10_000):
        deep = Not(deep)
    wide = one
    for _ in range(50):
        wide = Operation("+", (wide, one))
    whole = Comparison("=", wide, one)
    for goal, premises in (
        (deep, []),
        (Comparison("=", Number(Fraction(10**200)), one), []),
        (Comparison("=", Number(Fraction(1, 10**200)), one), []),
        (whole, [whole] * (MAX_NODES // 100)),
    ):
        with pytest.raises(Unprintable):
            prepare(premises, goal)


def test_a_quantifier_hides_the_free_variable_of_its_name():
    x = Variable("x", "object")
    goal = Connected("and", Predicate("F", (x,)), Quantified("forall", x, Predicate("F", (x,))))
    assert "(p0 v0) /\\ (forall b0 : obj, (p0 b0))" in coq_sentence(prepare([], goal))


def test_obligations_are_the_denominators_and_radicands():
    sequent = prepare(*parse_sequent("y = 1 / x |- sqrt(y - 1) ^ -2 + 1 / 2 = z"))
    assert {o.relation for o in sequent.obligations} == {"!=", ">="}
    assert len(sequent.obligations) == 3
