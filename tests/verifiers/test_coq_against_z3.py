"""Coq and Z3, which share no code, on random statements: where both decide, they agree."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from fractions import Fraction

import pytest

from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.formula import Comparison, Connected, Not, Number, Operation, Predicate, Quantified, Variable
from rewardkit.verifiers.plain import print_sequent
from rewardkit.verifiers.z3 import Z3Verifier

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("coqtop") is None and not os.environ.get("CI"), reason="there is no coqtop: apt-get install coq"
    ),
]
VARIABLES = [Variable(name) for name in "xyz"]


def number(rng):
    return Number(Fraction(rng.randint(-20, 20), rng.choice([1, 1, 1, 2, 3, 4])))


def ground(rng, depth=3):
    if depth == 0 or rng.random() < 0.2:
        return number(rng)
    return Operation(rng.choice("+-*/"), (ground(rng, depth - 1), ground(rng, depth - 1)))


def linear(rng):
    parts = [Operation("*", (number(rng), variable)) for variable in rng.sample(VARIABLES, rng.randint(1, 3))]
    total = parts[0]
    for part in parts[1:]:
        total = Operation(rng.choice("+-"), (total, part))
    return Operation("+", (total, number(rng)))


def compared(rng, make):
    return Comparison(rng.choice(["=", "=", "<", "<=", ">", ">=", "!="]), make(rng), make(rng))


def ground_sequent(rng):
    return [], compared(rng, ground)


def linear_sequent(rng):
    """Values for x, y, z (or equations of them), and a goal that often follows."""
    values = {v: Fraction(rng.randint(-9, 9)) for v in VARIABLES}
    premises = [Comparison("=", v, Number(values[v])) for v in VARIABLES if rng.random() < 0.7]
    premises += [compared(rng, linear) for _ in range(rng.randint(0, 2))]
    return premises, compared(rng, linear)


def logic_sequent(rng):
    a, b = Variable("a", "object"), Variable("b", "object")
    x = Variable("x", "object")

    def formula(depth, terms):
        kind = rng.random()
        if depth == 0 or kind < 0.3:
            return Predicate(rng.choice("FGH"), (rng.choice(terms),))
        if kind < 0.45:
            return Not(formula(depth - 1, terms))
        if kind < 0.6 and x not in terms:
            return Quantified(rng.choice(["forall", "exists"]), x, formula(depth - 1, [x, *terms]))
        word = rng.choice(["and", "or", "implies", "implies", "iff"])
        return Connected(word, formula(depth - 1, terms), formula(depth - 1, terms))

    return [formula(2, [a, b]) for _ in range(rng.randint(1, 3))], formula(2, [a, b])


@pytest.mark.parametrize(("make", "count"), [(ground_sequent, 500), (linear_sequent, 500), (logic_sequent, 100)])
def test_where_both_decide_they_agree(make, count):
    rng = random.Random(11)
    seen = Counter()
    with CoqVerifier() as coq, Z3Verifier(tables=False, cache_size=0) as z3:
        for _ in range(count):
            premises, goal = make(rng)
            one, other = coq.verify(premises, goal), z3.verify(premises, goal)
            seen[one.status, other.status] += 1
            # Coq refutes by proving the negation, which Z3 also proves where premises contradict each other.
            vacuous = other.status == "proved" and z3.verify(premises, Not(goal)).status == "proved"
            conflict = {one.status, other.status} == {"proved", "refuted"} and not vacuous
            assert not conflict, (print_sequent(premises, goal), one, other)
    assert seen["proved", "proved"] >= count // 20, seen
    assert seen["refuted", "refuted"] >= count // 20, seen
