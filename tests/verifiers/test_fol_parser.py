"""The two notations of first-order logic: precedence, quantifiers, names, bounds, and what is refused."""

import pytest

from rewardkit.verifiers.fol_parser import FormulaError, parse_formula
from rewardkit.verifiers.formula import Comparison, Connected, Not, Predicate, Quantified, Truth, Variable

A, B, C = (Predicate(name) for name in "ABC")
x, y, a = (Variable(name, "object") for name in "xya")


def F(v):
    return Predicate("F", (v,))


def G(v):
    return Predicate("G", (v,))


def implies(left, right):
    return Connected("implies", left, right)


def forall(v, body):
    return Quantified("forall", v, body)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("{A}", A),
        ("{F}{a}", F(a)),
        ("¬{A} & {B}", Connected("and", Not(A), B)),
        ("¬({A} & {B})", Not(Connected("and", A, B))),
        ("{A} & {B} v {C}", Connected("or", Connected("and", A, B), C)),
        ("{A} v {B} & {C}", Connected("or", A, Connected("and", B, C))),
        ("{A} & {B} -> {C}", implies(Connected("and", A, B), C)),
        ("{A} -> {B} -> {C}", implies(A, implies(B, C))),
        ("({A} -> {B}) -> {C}", implies(implies(A, B), C)),
        ("(x): {F}x -> {G}x", forall(x, implies(F(x), G(x)))),
        ("(Ex): ({F}x & ¬{G}x)", Quantified("exists", x, Connected("and", F(x), Not(G(x))))),
        ("¬((x): {F}x)", Not(forall(x, F(x)))),
        ("{A} -> (Ex): {F}x", implies(A, Quantified("exists", x, F(x)))),
        ("(x): {F}x -> {F}{a}", forall(x, implies(F(x), F(a)))),
        ("{F}{a}v{G}{a}", Connected("or", F(a), G(a))),
        ("{AA}{bc}", Predicate("AA", (Variable("bc", "object"),))),
        (
            "(v): {F}v v {G}v",
            forall(Variable("v", "object"), Connected("or", *(Predicate(p, (Variable("v", "object"),)) for p in "FG"))),
        ),
        ("#F#", Truth(False)),
    ],
)
def test_fld_notation(text, formula):
    assert parse_formula(text) == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("forall x. F(x) -> G(x)", forall(x, implies(F(x), G(x)))),
        ("∀x (F(x) → G(x))", forall(x, implies(F(x), G(x)))),
        ("(∀x)(F(x) → G(x))", forall(x, implies(F(x), G(x)))),
        ("∀x F(x) → G(a)", implies(forall(x, F(x)), G(a))),
        ("∀x ∀y R(x, y)", forall(x, forall(y, Predicate("R", (x, y))))),
        ("∀x∀y R(x, y)", forall(x, forall(y, Predicate("R", (x, y))))),
        ("forall x y. R(x, y)", forall(x, forall(y, Predicate("R", (x, y))))),
        ("¬∃x F(x)", Not(Quantified("exists", x, F(x)))),
        ("A ⊕ B", Not(Connected("iff", A, B))),
        ("A → B ⊕ C", implies(A, Not(Connected("iff", B, C)))),
        ("A <-> B -> C", Connected("iff", A, implies(B, C))),
        ("~A | !B & C", Connected("or", Not(A), Connected("and", Not(B), C))),
        ("not A and B or C", Connected("or", Connected("and", Not(A), B), C)),
        ("not (A)", Not(A)),
        ("∃x (F(x)) ∧ A", Connected("and", Quantified("exists", x, F(x)), A)),
        ("[A] & B", Connected("and", A, B)),
        ("∀x ∀y (x = y)", forall(x, forall(y, Comparison("=", x, y)))),
        ("∀x (x ≠ a)", forall(x, Comparison("!=", x, a))),
        ("⊤ & A.", Connected("and", Truth(True), A)),
    ],
)
def test_plain_notation(text, formula):
    assert parse_formula(text) == formula


def test_both_notations_meet():
    assert parse_formula("(x): {F}x -> ({G}x v ¬{H}x)") == parse_formula("∀x (F(x) → (G(x) ∨ ¬H(x)))")


def test_letters_that_look_alike_are_different_names():
    assert parse_formula("{А}") != parse_formula("{A}")


@pytest.mark.parametrize("text", ["Göteborg(a)", "P(34)", "P(o'neil)", "gpt-3", "P(1.5)"])
def test_names_beyond_ascii_letters_are_read(text):
    assert isinstance(parse_formula(text), Predicate)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the end"),
        ("{A", "unexpected"),
        ("{A} {B}", "unexpected"),
        ("{A} &", "the end"),
        ("({A}", "expected '\\)'"),
        ("F(x)", "outside of its quantifier"),
        ("{F}x", "outside of its quantifier"),
        ("∀x F(x) → G(x)", "outside of its quantifier"),
        ("∀birds (F(birds))", "expected a variable"),
        ("(forall foo. F(foo)) & G(foo)", "outside of its quantifier"),
        ("P(f(a))", "function terms"),
        ("P(captain america)", "expected"),
        ("All birds fly", "unexpected"),
        ("exists birds fly", "expected a variable"),
        ("∀x (x)", "where a statement is wanted"),
        ("a < b", "cannot read"),
        ("{A} -> " * 500 + "{A}", "tokens"),
        ("{A}" + " " * 5000, "characters"),
        ("(" * 60 + "{A}" + ")" * 60, "deep"),
        ("¬" * 60 + "{A}", "deep"),
        ("{A} -> " * 60 + "{A}", "deep"),
        ("(x): " * 60 + "{A}", "deep"),
        ("A" * 70, "64 characters"),
        ("; (assert false)", "unexpected"),
    ],
)
def test_what_is_no_formula_is_refused(text, reason):
    with pytest.raises(FormulaError, match=reason):
        parse_formula(text)
