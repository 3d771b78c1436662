"""Division, roots and powers are not defined everywhere, but to a solver every operation is total: ``x / 0`` is *some*
number. So what makes a formula defined is stated beside it: taken for granted of the premises (they are given as true),
to be shown of the goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count

from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Not,
    Number,
    Operation,
    Predicate,
    Quantified,
    Term,
    Truth,
    Variable,
    free_variables,
)
from rewardkit.verifiers.normalise import Unsupported

_ZERO = Number(Fraction(0))
_ONE = Number(Fraction(1))


@dataclass(slots=True)
class Made:
    """A sequent whose operations are total.

    Attributes:
        premises: with what defines the roots in them, and what makes them defined.
        goal: rewritten.
        defining: what defines the roots of the goal.
        owed: what must follow from the premises for the goal to be defined.
    """

    premises: list[Formula]
    goal: Formula
    defining: list[Formula] = field(default_factory=list)
    owed: list[Formula] = field(default_factory=list)


def make_total(premises: Sequence[Formula], goal: Formula) -> Made:
    """Rewrite a sequent so that it holds no root and no negative power, and state what makes it defined.

    Raises:
        Unsupported: a partial operation stands under a quantifier or, in a premise, under "or", "implies", "iff" or the
            negation of these; or something is divided by 0 outright.

    >>> x, y = Variable("x"), Variable("y")
    >>> made = make_total([], Comparison("=", Operation("/", (y, x)), Number(Fraction(2))))
    >>> made.owed == [Comparison("!=", x, Number(Fraction(0)))]
    True
    """
    taken = {variable.name for formula in (*premises, goal) for variable in free_variables(formula)}
    roots = _Roots(taken)
    given = _Rewriter(roots, given=True)
    changed = [given.formula(premise, False) for premise in premises]
    wanted = _Rewriter(roots, given=False)
    made = wanted.formula(goal, False)
    return Made([*changed, *given.owed, *given.defining], made, wanted.defining, wanted.owed)


class _Roots:
    """A variable for each root, under a name that nobody uses."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._known: dict[Term, Variable] = {}

    def variable(self, term: Term) -> Variable:
        if term not in self._known:
            name = next(f"root{i}" for i in count(1) if f"root{i}" not in self._taken)
            self._taken.add(name)
            self._known[term] = Variable(name)
        return self._known[term]


class _Rewriter:
    """Rewrites formulas and gathers what defines them.

    With `given`, a partial operation may only stand where its formula asserts it: of ``x = 0 or 1/x = 2`` nobody may
    conclude that x is not 0.
    """

    def __init__(self, roots: _Roots, given: bool) -> None:
        self.owed: list[Formula] = []
        self.defining: list[Formula] = []
        self._roots = roots
        self._given = given

    def formula(self, node: Formula, shielded: bool) -> Formula:
        match node:
            case Comparison(relation, left, right):
                return Comparison(relation, self._term(left, shielded), self._term(right, shielded))
            case Connected(connective, left, right):
                inside = shielded or (self._given and connective != "and")
                return Connected(connective, self.formula(left, inside), self.formula(right, inside))
            case Not(body):
                inside = shielded or (self._given and not isinstance(body, Comparison))
                return Not(self.formula(body, inside))
            case Quantified(quantifier, variable, body):
                return Quantified(quantifier, variable, self.formula(body, True))
            case Predicate() | Truth():
                return node

    def _term(self, node: Term, shielded: bool) -> Term:
        if not isinstance(node, Operation):
            return node
        arguments = tuple(self._term(argument, shielded) for argument in node.arguments)
        if node.operator not in ("/", "sqrt", "^"):
            return Operation(node.operator, arguments)
        if node.operator == "sqrt":
            return self._root(arguments[0], shielded)
        base, other = arguments
        if node.operator == "/":
            self._nonzero(other, shielded)
            return Operation("/", arguments)
        return self._power(base, other, shielded)

    def _power(self, base: Term, exponent: Term, shielded: bool) -> Term:
        if not isinstance(exponent, Number) or exponent.value > 0:
            return Operation("^", (base, exponent))  # what is no whole number is refused later
        self._nonzero(base, shielded)
        if exponent.value == 0:
            return _ONE
        return Operation("/", (_ONE, Operation("^", (base, Number(-exponent.value)))))

    def _nonzero(self, term: Term, shielded: bool) -> None:
        if isinstance(term, Number):
            if term.value == 0:
                raise Unsupported("division by zero")
            return
        self._owe(Comparison("!=", term, _ZERO), shielded)

    def _root(self, term: Term, shielded: bool) -> Variable:
        self._owe(Comparison(">=", term, _ZERO), shielded)
        root = self._roots.variable(term)
        self.defining += [Comparison("=", Operation("*", (root, root)), term), Comparison(">=", root, _ZERO)]
        return root

    def _owe(self, condition: Formula, shielded: bool) -> None:
        if shielded:
            raise Unsupported("a division, root or power stands where it need not be defined")
        self.owed.append(condition)
