"""Claims of the `algebra` labeler: what a text states, and what can be asked of it without a solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from rewardkit.text.algebra import Statement
from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Operation,
    Term,
    Variable,
    free_variables,
    walk,
)
from rewardkit.verifiers.polynomial import coefficients, difference, identical

Role = Literal["asserted", "defined", "supposed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Statements joined by "or"; most often one.

    Attributes:
        statements: the alternatives.
        formula: their disjunction.
        names: of its variables.
        role: whether it is asserted, names something ("let x = 3y") or is supposed ("if x = 3").
        step: in which it stands, -1 for the problem.
        refuted: it was found wrong, so that nothing follows from it.
    """

    statements: tuple[Statement, ...]
    formula: Formula
    names: frozenset[str]
    role: Role = "asserted"
    step: int = -1
    refuted: bool = False

    @classmethod
    def of(cls, statements: Sequence[Statement], role: Role = "asserted", step: int = -1) -> Claim:
        whole = statements[0].formula
        for statement in statements[1:]:
            whole = Connected("or", whole, statement.formula)
        names = frozenset(v.name for v in free_variables(whole))
        return cls(tuple(statements), whole, names, role, step)

    @property
    def text(self) -> str:
        return " or ".join(s.text for s in self.statements)

    @property
    def equation(self) -> Comparison | None:
        """Its one equality; of ``x = 24/15 = 8/5`` the first, of ``x = 24/15 = 9/5`` none, since no x is both."""
        statement = self.statements[0]
        numbers = [term for term in statement.terms if is_constant(term)]
        if any(identical(a, b) is False for a, b in pairwise(numbers)):
            return None
        more = any(not is_constant(term) for term in statement.terms[2:])
        if len(self.statements) > 1 or set(statement.relations) != {"="} or more:
            return None
        return statement.links[0]

    @property
    def solved(self) -> bool:
        """Whether it says outright what a variable is: ``x = 3``, ``x = 2 or x = 5``, ``x > 3``."""
        return all(
            any(isinstance(t, Variable) for t in s.terms) and any(is_constant(t) for t in s.terms)
            for s in self.statements
        )


def is_constant(term: Term) -> bool:
    """Whether no variable stands in it."""
    return not any(isinstance(node, Variable) for node in walk(term))


def is_algebra(claim: Claim) -> bool:
    """Whether it has a variable or a root (plain numbers are the `arithmetic` labeler's) and is no mere x = x."""
    links = [link for s in claim.statements for link in s.links]
    if all(link.left == link.right for link in links):
        return False
    return bool(claim.names) or any(has_root(link) for link in links)


def univariate(claim: Claim) -> tuple[str, list[Fraction]] | None:
    """The unknown and coefficients of an equation in one unknown, else None."""
    equation = claim.equation
    if equation is None:
        return None
    poly = difference(equation.left, equation.right)
    found = coefficients(poly) if poly else None
    return found if found is not None and len(found[1]) > 1 else None


def is_exact(claim: Claim) -> bool:
    """Whether nothing in it may be rounded."""
    return all(s.exact for s in claim.statements)


def divides(formula: Formula) -> bool:
    """Whether a denominator holds a variable."""
    return any(
        isinstance(node, Operation) and node.operator == "/" and not is_constant(node.arguments[1])
        for node in walk(formula)
    )


def has_root(link: Comparison) -> bool:
    """Whether a square root stands in it."""
    return any(isinstance(node, Operation) and node.operator == "sqrt" for node in walk(link))
