"""Sequents in one canonical form, so that the same question under other names is asked of a solver once.

Premises are sorted and deduplicated, free names are numbered in order of appearance, bound ones too.
Equal forms mean equal questions up to renaming, which cannot change the answer; the reverse need not hold, and costs a
second look only. The form is SMT-LIB 2.6 text, printed from our tree alone, and is what the solvers read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
)

MAX_TEXT = 50_000  # characters of one formula in SMT-LIB
MAX_BITS = 4096  # of a numerator or denominator
MAX_POWER = 16

Bound = Mapping[Variable, str]
Symbol = tuple[str, tuple[str, ...], bool]
"""A free name: as written, the sorts of its arguments (a constant: its own), and whether it is a predicate."""

_SORTS = {"object": "U", "real": "Real", "int": "Int"}
_PREFIX = {"object": "o", "real": "r", "int": "i"}
_WORDS = {"and": "and", "or": "or", "implies": "=>", "iff": "="}
_CANONICAL = re.compile(r"\b[opri]\d+\b")


class Unsupported(Exception):
    """A formula that the solvers are not asked about; the message says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One formula as SMT-LIB text with gaps: ``parts[0] free[0] parts[1] free[1] ... parts[-1]``."""

    key: str
    parts: tuple[str, ...]
    free: tuple[Symbol, ...]
    arithmetic: bool
    partial: bool


@dataclass(frozen=True, slots=True)
class Sequent:
    """A sequent in canonical form.

    Attributes:
        premises: SMT-LIB terms, sorted.
        goal: an SMT-LIB term.
        names: from each free name as written (and its sorts) to its canonical name.
        arithmetic: whether numbers occur.
        partial: whether an operation occurs that is not defined everywhere (division, root, power).
    """

    premises: tuple[str, ...]
    goal: str
    names: dict[Symbol, str]
    arithmetic: bool
    partial: bool

    @property
    def key(self) -> str:
        """Equal for two sequents only if one is the other under a renaming."""
        return "\n".join((*self.premises, self.goal))

    def declarations(self) -> str:
        """The SMT-LIB commands that declare the names."""
        lines = ["(declare-sort U 0)"]
        for (_, sorts, predicate), name in self.names.items():
            kinds = " ".join(_SORTS[sort] for sort in sorts)
            lines.append(f"(declare-fun {name} ({kinds}) Bool)" if predicate else f"(declare-fun {name} () {kinds})")
        return "".join(lines)

    def restore(self, text: str) -> str:
        """`text` with canonical names turned back into the names as written."""
        written = {canonical: symbol[0] for symbol, canonical in self.names.items()}
        return _CANONICAL.sub(lambda match: written.get(match[0], match[0]), text)


def normalise(premises: Sequence[Formula], goal: Formula) -> Sequent:
    """The canonical form of a sequent.

    Raises:
        Unsupported: too large or too deep, or with an operation that the solvers are not asked about.

    >>> def rule(p, q):
    ...     return Connected("implies", Predicate(p), Predicate(q))
    >>> one = normalise([Predicate("A"), rule("A", "B")], Predicate("B"))
    >>> two = normalise([rule("X", "Y"), Predicate("X"), Predicate("X")], Predicate("Y"))
    >>> one.key == two.key, one.goal
    (True, 'p1')
    """
    try:
        shapes = {shape(premise): None for premise in premises}
        last = shape(goal)
    except RecursionError:
        raise Unsupported("a formula is nested too deeply") from None
    names: dict[Symbol, str] = {}
    ordered = sorted(shapes, key=_order)
    texts = {_fill(each, names): None for each in ordered}
    text = _fill(last, names)
    every = (*ordered, last)
    return Sequent(
        tuple(texts), text, names, any(each.arithmetic for each in every), any(each.partial for each in every)
    )


@lru_cache(maxsize=1 << 15)
def shape(formula: Formula) -> Shape:
    """The SMT-LIB text of one formula with gaps for its free names."""
    writer = _Writer()
    writer.formula(formula, {})
    parts = writer.finish()
    return Shape("?".join(parts), parts, tuple(writer.free), writer.arithmetic, writer.partial)


def _order(each: Shape) -> tuple[str, tuple[Symbol, ...]]:
    return each.key, each.free


def _fill(each: Shape, names: dict[Symbol, str]) -> str:
    pieces = [each.parts[0]]
    for symbol, part in zip(each.free, each.parts[1:], strict=True):
        name = names.get(symbol)
        if name is None:
            prefix = "p" if symbol[2] else _PREFIX[symbol[1][0]]
            name = names[symbol] = f"{prefix}{len(names)}"
        pieces += (name, part)
    return "".join(pieces)


class _Writer:
    def __init__(self) -> None:
        self.free: list[Symbol] = []
        self.arithmetic = False
        self.partial = False
        self._parts: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._binders = 0

    def finish(self) -> tuple[str, ...]:
        return (*self._parts, "".join(self._text))

    def formula(self, node: Formula, bound: Bound) -> None:
        match node:
            case Predicate():
                self._predicate(node, bound)
            case Connected(connective, left, right):
                self._add(f"({_WORDS[connective]} ")
                self.formula(left, bound)
                self._add(" ")
                self.formula(right, bound)
                self._add(")")
            case Not(body):
                self._add("(not ")
                self.formula(body, bound)
                self._add(")")
            case Quantified(quantifier, variable, body):
                name = f"b{self._binders}"  # never one that is taken: an inner name may hide an outer one
                self._binders += 1
                self._add(f"({quantifier} (({name} {_SORTS[variable.sort]})) ")
                self.formula(body, {**bound, variable: name})
                self._add(")")
            case Truth(value):
                self._add("true" if value else "false")
            case Comparison():
                self._comparison(node, bound)

    def _predicate(self, node: Predicate, bound: Bound) -> None:
        if node.arguments:
            self._add("(")
        self._gap((node.name, tuple(argument.sort for argument in node.arguments), True))
        for argument in node.arguments:
            self._add(" ")
            self._variable(argument, bound)
        if node.arguments:
            self._add(")")

    def _comparison(self, node: Comparison, bound: Bound) -> None:
        relation = "=" if node.relation == "!=" else node.relation
        objects = [isinstance(side, Variable) and side.sort == "object" for side in (node.left, node.right)]
        if any(objects) and not (all(objects) and relation == "="):
            raise Unsupported("an object is compared with a number")
        self._add("(not " if node.relation == "!=" else "")
        self._add(f"({relation} ")
        self._term(node.left, bound)
        self._add(" ")
        self._term(node.right, bound)
        self._add("))" if node.relation == "!=" else ")")

    def _term(self, node: Term, bound: Bound) -> None:
        match node:
            case Number(value):
                self.arithmetic = True
                self._add(_number(value.numerator, value.denominator))
            case Variable(_, sort):
                self.arithmetic |= sort != "object"
                self._add("(to_real " if sort == "int" else "")
                self._variable(node, bound)
                self._add(")" if sort == "int" else "")
            case Operation():
                self._operation(node, bound)

    def _operation(self, node: Operation, bound: Bound) -> None:
        self.arithmetic = True
        arguments = node.arguments
        if any(isinstance(argument, Variable) and argument.sort == "object" for argument in arguments):
            raise Unsupported("an object is used as a number")
        self.partial |= node.operator in ("/", "sqrt", "^")
        if node.operator == "^":
            power = _power(arguments[1])
            self._apply("(/ 1.0 (* 1.0" if power < 0 else "(* 1.0", arguments[:1] * abs(power), bound)
            self._add(")" if power < 0 else "")
        else:
            name = {"neg": "-", "abs": "rk-abs", "sqrt": "rk-sqrt"}.get(node.operator, node.operator)
            self._apply(f"({name}", arguments, bound)

    def _apply(self, head: str, arguments: tuple[Term, ...], bound: Bound) -> None:
        self._add(head if arguments else f"{head} 1.0")
        for argument in arguments:
            self._add(" ")
            self._term(argument, bound)
        self._add(")")

    def _variable(self, node: Variable, bound: Bound) -> None:
        if node in bound:
            self._add(bound[node])
        else:
            self._gap((node.name, (node.sort,), False))

    def _gap(self, symbol: Symbol) -> None:
        self.free.append(symbol)
        self._parts.append("".join(self._text))
        self._text = []
        self._add("")

    def _add(self, text: str) -> None:
        self._length += len(text) + 1
        if self._length > MAX_TEXT:
            raise Unsupported("a formula is too large")
        self._text.append(text)


def _power(exponent: Term) -> int:
    if not isinstance(exponent, Number) or exponent.value.denominator != 1:
        raise Unsupported("an exponent is not a whole number")
    if abs(exponent.value) > MAX_POWER:
        raise Unsupported(f"an exponent lies outside {-MAX_POWER} to {MAX_POWER}")
    return int(exponent.value)


def _number(numerator: int, denominator: int) -> str:
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_BITS:
        raise Unsupported("a number is too long")
    whole = f"{abs(numerator)}.0"
    text = whole if denominator == 1 else f"(/ {whole} {denominator}.0)"
    return f"(- {text})" if numerator < 0 else text
