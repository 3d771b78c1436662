"""Random sequents of each kind that verifiers decide, from a seed: to try one verifier against another.

    for premises, goal in random_sequents("linear", 1000, seed=0): ...

A good part follows and a good part does not; some are open, undefined, or contradict themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal, get_args

from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Not,
    Number,
    Operation,
    Predicate,
    Quantified,
    Relation,
    Term,
    Variable,
)
from rewardkit.verifiers.values import value
from rewardkit.verifiers.z3 import CONTRADICTION

Agreement = Literal["agree", "disagree", "undecided", "either"]
Pair = tuple[tuple[Formula, ...], Formula]

_NAMES = "xyz"
_OBJECTS = tuple(Variable(name, "object") for name in "ab")
_BOUND = Variable("x", "object")
_RELATIONS: tuple[Relation, ...] = ("=", *get_args(Relation))


def random_sequents(family: str, count: int, seed: int = 0) -> Iterator[Pair]:
    """So many sequents of one of the `FAMILIES`.

    Raises:
        KeyError: there is no such family.

    >>> from rewardkit.verifiers.plain import print_sequent
    >>> [print_sequent(*pair) for pair in random_sequents("propositional", 2, seed=3)]
    ['P; Q and P -> R or R; not R and (R and P); P -> not R |- not R', 'Q -> Q -> P |- (R -> Q or Q) or (Q -> Q -> P)']
    """
    draw = random.Random(f"{family} {seed}")
    for _ in range(count):
        yield FAMILIES[family](draw)


def agreement(one: Verdict, other: Verdict) -> Agreement:
    """What two verifiers' verdicts on one sequent come to.

    ``either``: one proves and one refutes it, and one says that the premises contradict each other. From such premises
    follows the goal, and its negation too, so that a proof of either is right.

    >>> agreement(Verdict("proved"), Verdict("unknown"))
    'undecided'
    """
    if "unknown" in (one.status, other.status):
        return "undecided"
    if one.status == other.status:
        return "agree"
    return "either" if CONTRADICTION in (one.reason, other.reason) else "disagree"


def _number(draw: random.Random) -> Number:
    return Number(Fraction(draw.randint(-20, 20), draw.choice([1, 1, 1, 2, 3, 4])))


def _calculation(draw: random.Random, depth: int) -> Term:
    if depth == 0 or draw.random() < 0.2:
        return _number(draw)
    return Operation(draw.choice("+-*/"), (_calculation(draw, depth - 1), _calculation(draw, depth - 1)))  # type: ignore[arg-type]


def _ground(draw: random.Random) -> Pair:
    """A calculation and what it comes to, or nearly so."""
    term = Operation(draw.choice("+-*/"), (_calculation(draw, 2), _calculation(draw, 2)))  # type: ignore[arg-type]
    return (), _claim(draw, term, {})


def _claim(draw: random.Random, term: Term, values: dict[str, Fraction]) -> Comparison:
    """That a term has the value that it has, or one beside it."""
    exact = value(term, values)
    off = draw.choice([Fraction(n, 3) for n in (0, 0, 0, 3, -3, 1)])
    claimed = Number(Fraction(1) if exact is None else exact + off)
    return Comparison(draw.choice(_RELATIONS) if off == 0 else draw.choice(["=", "<", ">="]), term, claimed)


def _sum(draw: random.Random, variables: list[Variable], whole: bool) -> Term:
    total: Term = Number(Fraction(draw.randint(-9, 9))) if whole else _number(draw)
    for variable in draw.sample(variables, draw.randint(1, len(variables))):
        factor = Number(Fraction(draw.randint(-9, 9))) if whole else _number(draw)
        total = Operation(draw.choice("+-"), (total, Operation("*", (factor, variable))))  # type: ignore[arg-type]
    return total


def _linear(draw: random.Random, whole: bool = False) -> Pair:
    """Values of some variables, equations and bounds, and what a linear term then comes to."""
    variables = [Variable(f"int_{name}", "int") if whole else Variable(name) for name in _NAMES]
    values = {v.name: Fraction(draw.randint(-9, 9)) for v in variables}
    premises: list[Formula] = []
    for variable in variables:
        kind = draw.random()
        if kind < 0.75:
            premises.append(Comparison("=", variable, Number(values[variable.name])))
        elif kind < 0.95:
            premises.append(_true(draw, _sum(draw, variables, whole), values))
    return tuple(premises), _claim(draw, _sum(draw, variables, whole), values)


def _true(draw: random.Random, term: Term, values: dict[str, Fraction]) -> Comparison:
    exact = value(term, values)
    assert exact is not None  # it divides by nothing
    relation: Relation = draw.choice(["=", "=", "<=", ">=", "<"])
    return Comparison(relation, term, Number(exact + (relation == "<")))


def _polynomial(draw: random.Random) -> Pair:
    """Expansions, squares that are not negative, equations solved, and products of what is known."""
    x, y = Variable("x"), Variable("y")
    a, b, c, d = (Number(Fraction(draw.randint(-9, 9))) for _ in range(4))
    off = Number(Fraction(draw.choice([0, 0, 1])))
    kind = draw.randrange(4)
    if kind == 0:  # (x + a)(y + b) = xy + bx + ay + ab
        left = _times(_plus(x, a), _plus(draw.choice([x, y]), b))
        second = left.arguments[1].arguments[0]  # type: ignore[union-attr]
        right = _plus(_times(x, second), _plus(_plus(_times(b, x), _times(a, second)), _times(a, b)))
        return (), Comparison("=", left, _plus(right, off))
    if kind == 1:  # (x + a)^2 + (c y + d)^2 >= 0
        squares = _plus(_power(_plus(x, a), 2), _power(_plus(_times(c, y), d), 2))
        return (), Comparison(draw.choice([">=", ">=", "<", "!="]), squares, Number(-off.value))
    if kind == 2:  # x^2 - (r + s) x + rs = 0
        r, s = a.value, b.value
        left = _plus(_power(x, 2), _plus(_times(Number(-(r + s)), x), Number(r * s)))
        solved = [Comparison("=", x, Number(root + off.value)) for root in (r, s)]
        return (Comparison("=", left, Number(Fraction(0))),), Connected("or", *solved)
    values = {"x": a.value, "y": b.value}
    term = _plus(_power(_plus(_times(c, x), y), draw.choice([2, 3])), _times(d, _times(x, y)))
    return (Comparison("=", x, a), Comparison("=", y, b)), _claim(draw, term, values)


def _plus(left: Term, right: Term) -> Operation:
    return Operation("+", (left, right))


def _times(left: Term, right: Term) -> Operation:
    return Operation("*", (left, right))


def _power(base: Term, exponent: int) -> Operation:
    return Operation("^", (base, Number(Fraction(exponent))))


def _propositional(draw: random.Random) -> Pair:
    def formula(depth: int) -> Formula:
        return _connected(draw, depth, lambda: Predicate(draw.choice("PQR")), formula)

    return _with_premises(draw, lambda: formula(2))


def _monadic(draw: random.Random) -> Pair:
    def formula(depth: int, terms: tuple[Variable, ...]) -> Formula:
        if depth and _BOUND not in terms and draw.random() < 0.3:
            quantifier = draw.choice(["forall", "exists"])
            return Quantified(quantifier, _BOUND, formula(depth, (*terms, _BOUND)))  # type: ignore[arg-type]
        atom = lambda: Predicate(draw.choice("FG"), (draw.choice(terms[-2:]),))  # noqa: E731
        return _connected(draw, depth, atom, lambda deeper: formula(deeper, terms))

    return _with_premises(draw, lambda: formula(2, _OBJECTS))


def _connected(
    draw: random.Random, depth: int, atom: Callable[[], Formula], formula: Callable[[int], Formula]
) -> Formula:
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return Not(atom()) if kind < 0.1 else atom()
    if kind < 0.4:
        return Not(formula(depth - 1))
    word = draw.choice(["and", "or", "implies", "implies", "iff"])
    return Connected(word, formula(depth - 1), formula(depth - 1))  # type: ignore[arg-type]


def _with_premises(draw: random.Random, make: Callable[[], Formula]) -> Pair:
    """Premises and a goal that is now and then made of them: a part, a weakening, or the conclusion of a rule."""
    premises = [make() for _ in range(draw.randint(1, 3))]
    goal = make()
    kind = draw.random()
    if kind < 0.35:
        premises.append(Connected("implies", premises[0], goal))
    elif kind < 0.5:
        goal = Connected("or", goal, premises[-1])
    return tuple(premises), Not(goal) if draw.random() < 0.25 else goal


FAMILIES: dict[str, Callable[[random.Random], Pair]] = {
    "ground": _ground,
    "linear": _linear,
    "whole": lambda draw: _linear(draw, whole=True),
    "polynomial": _polynomial,
    "propositional": _propositional,
    "monadic": _monadic,
}
