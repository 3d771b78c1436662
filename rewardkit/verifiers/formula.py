"""Statements as one closed syntax tree: parsed by our grammars, printed into each solver's language from here alone.

Text that a model wrote never reaches a solver; only what these classes can hold does. Names are checked when a node is
made, numbers are exact, and size and depth are bounded by `size` at the parsers' doors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Sort = Literal["real", "int", "object"]
Operator = Literal["+", "-", "*", "/", "^", "neg", "abs", "sqrt"]
Relation = Literal["=", "!=", "<", "<=", ">", ">="]
Connective = Literal["and", "or", "implies", "iff"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable or constant; ``object`` is the one uninterpreted sort of first-order logic."""

    name: str
    sort: Sort = "real"

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, slots=True)
class Operation:
    """An arithmetic operation; ``neg``, ``abs`` and ``sqrt`` take one argument, the others two."""

    operator: Operator
    arguments: tuple[Term, ...]

    def __post_init__(self) -> None:
        wanted = 1 if self.operator in ("neg", "abs", "sqrt") else 2
        if len(self.arguments) != wanted:
            raise ValueError(f"'{self.operator}' takes {wanted} arguments, not {len(self.arguments)}")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A relation between two terms."""

    relation: Relation
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Predicate:
    """A predicate over objects; without arguments, a proposition."""

    name: str
    arguments: tuple[Variable, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, slots=True)
class Truth:
    """True or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    body: Formula


@dataclass(frozen=True, slots=True)
class Connected:
    """Two formulas under ``and``, ``or``, ``implies`` or ``iff``."""

    connective: Connective
    left: Formula
    right: Formula


@dataclass(frozen=True, slots=True)
class Quantified:
    """A quantifier over one variable."""

    quantifier: Literal["forall", "exists"]
    variable: Variable
    body: Formula


Term = Number | Variable | Operation
Formula = Comparison | Predicate | Truth | Not | Connected | Quantified
Node = Term | Formula


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node (a quantifier's variable is not one of them).

    >>> children(Not(Truth(True)))
    (Truth(value=True),)
    """
    match node:
        case Operation() | Predicate():
            return node.arguments
        case Comparison() | Connected():
            return (node.left, node.right)
        case Not() | Quantified():
            return (node.body,)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Every node of a tree, without recursion, so that a deep tree cannot exhaust the stack."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(children(here))


def size(node: Node) -> int:
    """The number of nodes.

    >>> size(Comparison("=", Variable("x"), Number(Fraction(1, 2))))
    3
    """
    return sum(1 for _ in walk(node))


def free_variables(node: Node) -> frozenset[Variable]:
    """The variables and constants that no quantifier binds.

    >>> x = Variable("x", "object")
    >>> free_variables(Quantified("forall", x, Predicate("F", (x,))))
    frozenset()
    """
    found: set[Variable] = set()
    waiting: list[tuple[Node, frozenset[Variable]]] = [(node, frozenset())]
    while waiting:
        here, bound = waiting.pop()
        if isinstance(here, Variable):
            if here not in bound:
                found.add(here)
        elif isinstance(here, Quantified):
            waiting.append((here.body, bound | {here.variable}))
        else:
            waiting.extend((child, bound) for child in children(here))
    return frozenset(found)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: a letter, then at most 63 letters, digits or underscores")
