"""cvc5 as a second opinion on Z3 and the truth tables."""

import importlib.util
import os
import random
from fractions import Fraction

import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers.cvc5 import Cvc5Verifier
from rewardkit.verifiers.fol_parser import parse_formula
from rewardkit.verifiers.formula import Comparison, Number, Operation, Predicate, Variable
from rewardkit.verifiers.z3 import CONTRADICTION, Z3Verifier

missing = importlib.util.find_spec("cvc5") is None and not os.environ.get("CI")
needs_cvc5 = pytest.mark.skipif(missing, reason="cvc5 is not installed: pip install cvc5")


@pytest.fixture(scope="module")
def cvc5():
    with Cvc5Verifier(seconds=5, cache_size=0) as made:
        yield made


@needs_cvc5
@pytest.mark.parametrize(
    ("premises", "goal", "expected"),
    [
        (["∀x (F(x) → G(x))", "F(a)"], "G(a)", "proved"),
        (["∀x (F(x) → G(x))", "G(a)"], "F(a)", "refuted"),
        (["∃y ∀x R(x, y)"], "∀x ∃y R(x, y)", "proved"),
        (["∀x ∃y R(x, y)"], "∃y ∀x R(x, y)", "refuted"),
        (["A", "A -> B"], "B", "proved"),
    ],
)
def test_entailment(cvc5, premises, goal, expected):
    assert cvc5.verify([parse_formula(p) for p in premises], parse_formula(goal)).status == expected


@needs_cvc5
def test_contradicting_premises_are_told(cvc5):
    assert cvc5.verify([parse_formula("A"), parse_formula("~A")], Predicate("B")).reason == CONTRADICTION


def random_lines(draw, count):
    """``a x + b = c`` with the right or a wrong solution, some with a bound instead."""
    x = Variable("x")
    for _ in range(count):
        a, b, value = draw.randint(1, 9), draw.randint(-9, 9), draw.randint(-9, 9)
        left = Operation("+", (Operation("*", (Number(Fraction(a)), x)), Number(Fraction(b))))
        relation = draw.choice(["=", "<", ">="])
        claimed = Number(Fraction(value + draw.choice([0, 0, 1])))
        yield [Comparison(relation, left, Number(Fraction(a * value + b)))], Comparison(relation, x, claimed)


@needs_cvc5
def test_cvc5_agrees_with_z3_on_random_linear_steps(cvc5):
    sequents = list(random_lines(random.Random(1), 150))
    with Z3Verifier(seconds=5) as z3:
        theirs = [verdict.status for verdict in z3.verify_many(sequents)]
    assert [verdict.status for verdict in cvc5.verify_many(sequents)] == theirs
    assert set(theirs) == {"proved", "refuted"}


def test_a_missing_cvc5_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(Cvc5Verifier, "_package", "no-such-cvc5")
    with Cvc5Verifier() as verifier, pytest.raises(VerifierError, match="pip install 'no-such-cvc5>=1.2'"):
        verifier.verify([], Predicate("A"))


def test_an_old_cvc5_says_which_is_needed(monkeypatch):
    monkeypatch.setattr("rewardkit.verifiers.z3.version", lambda package: "1.0.8")
    with Cvc5Verifier() as verifier, pytest.raises(VerifierError, match=r"cvc5 1\.0\.8 is too old.*'cvc5>=1\.2'"):
        verifier.verify([], Predicate("A"))
