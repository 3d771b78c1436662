"""From the syntax tree into a proof assistant's language: one closed printer, one table of symbols a language.

What comes out is made of the table's symbols, digits and names of ours (``v0``, ``b1``, ``p2``, ``obj``); no character
of a model's text is in it. What cannot be said so, or is too large, raises `Unprintable`, which becomes an abstention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Node,
    Not,
    Number,
    Operation,
    Predicate,
    Quantified,
    Term,
    Truth,
    Variable,
    children,
    walk,
)

MAX_NODES = 2000
MAX_DEPTH = 100
MAX_DIGITS = 200
MAX_EXPONENT = 64

Theory = Literal["real", "int", "logic"]


class Unprintable(Exception):
    """A sequent that is not put to a prover; the message says why."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The symbols of one language; every template is filled with printed parts alone."""

    sorts: Mapping[str, str]
    whole: str
    negative: str
    terms: Mapping[str, str]
    relations: Mapping[str, str]
    connectives: Mapping[str, str]
    negation: str
    quantifiers: Mapping[str, str]
    truth: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sequent:
    """A sequent that is fit for a prover.

    Attributes:
        theory: what kind of tactics it needs. ``int`` only where nothing but whole numbers occurs.
        premises, goal: as given.
        obligations: what must hold for its divisions, roots and powers to mean what mathematics means by them: a prover
            gives ``1/0`` some value.
        names: the printed name of each free variable (in order) and predicate.
        nonlinear: whether anything but a constant is multiplied, divided or raised.
    """

    theory: Theory
    premises: tuple[Formula, ...]
    goal: Formula
    obligations: tuple[Formula, ...]
    variables: Mapping[Variable, str]
    predicates: Mapping[tuple[str, int], str]
    nonlinear: bool


def prepare(premises: Sequence[Formula], goal: Formula) -> Sequent:
    """Check the bounds of a sequent and find its theory, names and obligations.

    Raises:
        Unprintable: it is too large, or holds what no prover is asked.

    >>> x = Variable("x")
    >>> sequent = prepare([], Comparison("=", Operation("/", (x, x)), Number(Fraction(1))))
    >>> sequent.theory, list(sequent.variables.values()), len(sequent.obligations)
    ('real', ['v0'], 1)
    """
    formulas = (*premises, goal)
    nodes = [node for formula in formulas for node in _checked(formula)]
    if len(nodes) > MAX_NODES:
        raise Unprintable(f"the statement has more than {MAX_NODES} parts")
    variables: dict[Variable, str] = {}
    predicates: dict[tuple[str, int], str] = {}
    for formula in formulas:
        _collect(formula, frozenset(), variables, predicates)
    obligations: dict[Formula, None] = {}
    for formula in formulas:
        obligations.update(dict.fromkeys(_obligations(formula)))
    theory = _theory(nodes)
    return Sequent(theory, tuple(premises), goal, tuple(obligations), variables, predicates, _nonlinear(nodes))


def _checked(formula: Formula) -> Iterator[Node]:
    """Every node, once depth, digits and exponents are known to be within bounds."""
    waiting: list[tuple[Node, int]] = [(formula, 1)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            raise Unprintable("the statement is too large or too deep")
        match node:
            case Number() if max(abs(node.value.numerator), node.value.denominator) >= 10**MAX_DIGITS:
                raise Unprintable(f"a number has more than {MAX_DIGITS} digits")
            case Operation(operator="^"):
                _exponent(node)
            case Comparison() if _is_object(node.left) != _is_object(node.right):
                raise Unprintable("an object is compared with a number")
            case Comparison() if _is_object(node.left) and node.relation not in ("=", "!="):
                raise Unprintable("objects have no order")
            case Operation() if any(_is_object(part) for part in node.arguments):
                raise Unprintable("an object is calculated with")
            case Predicate() if not all(_is_object(part) for part in node.arguments):
                raise Unprintable("a predicate of numbers")
        yield node
        waiting.extend((child, depth + 1) for child in children(node))


def _is_object(term: Term) -> bool:
    return isinstance(term, Variable) and term.sort == "object"


def _exponent(node: Operation) -> int:
    exponent = node.arguments[1]
    if isinstance(exponent, Operation) and exponent.operator == "neg" and isinstance(exponent.arguments[0], Number):
        exponent = Number(-exponent.arguments[0].value)
    if not isinstance(exponent, Number) or exponent.value.denominator != 1:
        raise Unprintable("an exponent that is no whole number")
    if abs(exponent.value) > MAX_EXPONENT:
        raise Unprintable(f"an exponent above {MAX_EXPONENT}")
    return exponent.value.numerator


def _theory(nodes: Sequence[Node]) -> Theory:
    numeric = [n for n in nodes if isinstance(n, Number | Operation) or (isinstance(n, Variable) and not _is_object(n))]
    sorts = {n.variable.sort for n in nodes if isinstance(n, Quantified)} - {"object"}
    if not numeric and not sorts:
        return "logic"
    if any(isinstance(n, Predicate) and n.arguments for n in nodes):
        raise Unprintable("predicates and numbers in one statement")
    whole = "real" not in sorts and all(_is_whole(n) for n in numeric)
    return "int" if whole and any(isinstance(n, Variable) for n in numeric) else "real"


def _is_whole(node: Node) -> bool:
    match node:
        case Number():
            return node.value.denominator == 1
        case Variable():
            return node.sort == "int"
        case Operation():
            return node.operator not in ("/", "sqrt") and not (node.operator == "^" and _exponent(node) < 0)
        case _:
            return True


def _nonlinear(nodes: Sequence[Node]) -> bool:
    def constant(term: Term) -> bool:
        return not any(isinstance(n, Variable) for n in walk(term))

    for node in nodes:
        if isinstance(node, Operation):
            last = node.arguments[-1]
            if node.operator in ("sqrt", "abs") or (node.operator in ("/", "^") and not constant(node)):
                if node.operator != "/" or not constant(last):
                    return True
            elif node.operator == "*" and not any(constant(part) for part in node.arguments):
                return True
    return False


def _collect(
    formula: Node, bound: frozenset[Variable], variables: dict[Variable, str], predicates: dict[tuple[str, int], str]
) -> None:
    waiting: list[tuple[Node, frozenset[Variable]]] = [(formula, bound)]
    while waiting:
        node, known = waiting.pop()
        if isinstance(node, Quantified):
            known = known | {node.variable}
        elif isinstance(node, Variable) and node not in known:
            variables.setdefault(node, f"v{len(variables)}")
        elif isinstance(node, Predicate):
            predicates.setdefault((node.name, len(node.arguments)), f"p{len(predicates)}")
        waiting.extend((child, known) for child in reversed(children(node)))


def _obligations(formula: Formula) -> Iterator[Formula]:
    """Denominators that are not 0, radicands that are not negative; constants are settled here."""
    zero = Number(Fraction(0))
    waiting: list[tuple[Node, frozenset[Variable]]] = [(formula, frozenset())]
    while waiting:
        node, bound = waiting.pop()
        if isinstance(node, Quantified):
            bound = bound | {node.variable}
        if isinstance(node, Operation):
            needed = _needed(node, zero)
            if needed is not None:
                if any(n in bound for n in walk(needed)):
                    raise Unprintable("a division or root of what a quantifier binds")
                yield needed
        waiting.extend((child, bound) for child in children(node))


def _needed(node: Operation, zero: Number) -> Comparison | None:
    base = node.arguments[-1] if node.operator == "/" else node.arguments[0]
    if node.operator == "sqrt":
        return None if isinstance(base, Number) and base.value >= 0 else Comparison(">=", base, zero)
    if node.operator == "/" or (node.operator == "^" and _exponent(node) <= 0):
        if not isinstance(base, Number):
            return Comparison("!=", base, zero)
        if base.value == 0:
            raise Unprintable("division by zero" if node.operator == "/" else "zero to a power that is not positive")
    return None


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints the parts of one sequent in one language."""

    dialect: Dialect
    sequent: Sequent
    bound: dict[Variable, str] = field(default_factory=dict)

    @property
    def sort(self) -> str:
        """The language's name of the sort of its numbers."""
        return self.dialect.sorts["int" if self.sequent.theory == "int" else "real"]

    def sort_of(self, variable: Variable) -> str:
        """The language's name of a variable's sort."""
        return self.dialect.sorts["object"] if variable.sort == "object" else self.sort

    def formula(self, formula: Formula) -> str:
        """A formula, in brackets of its own."""
        d = self.dialect
        match formula:
            case Truth():
                return d.truth[formula.value]
            case Comparison():
                return d.relations[formula.relation].format(self.term(formula.left), self.term(formula.right))
            case Predicate():
                name = self.sequent.predicates[formula.name, len(formula.arguments)]
                return f"({' '.join([name, *(self.term(a) for a in formula.arguments)])})"
            case Not():
                return d.negation.format(self.formula(formula.body))
            case Connected():
                return d.connectives[formula.connective].format(self.formula(formula.left), self.formula(formula.right))
            case Quantified():
                name = f"b{len(self.bound)}"
                inner = Printer(d, self.sequent, {**self.bound, formula.variable: name})
                sort = self.sort_of(formula.variable)
                # a body may quantify the same variable again, so the count must grow all the same
                if len(inner.bound) == len(self.bound):
                    raise Unprintable("a quantifier within a quantifier over the same name")
                return d.quantifiers[formula.quantifier].format(name, sort, inner.formula(formula.body))

    def term(self, term: Term) -> str:
        """A term, in brackets of its own."""
        match term:
            case Number():
                return self._number(term.value)
            case Variable():
                return self.bound.get(term) or self.sequent.variables[term]
            case Operation(operator="^"):
                return self._power(term)
            case Operation():
                return self.dialect.terms[term.operator].format(*(self.term(part) for part in term.arguments))

    def _number(self, value: Fraction) -> str:
        if value.denominator != 1:
            return self.dialect.terms["/"].format(self._whole(value.numerator), self._whole(value.denominator))
        return self._whole(value.numerator)

    def _whole(self, value: int) -> str:
        written = self.dialect.whole.format(abs(value), self.sort)
        return self.dialect.negative.format(written) if value < 0 else written

    def _power(self, term: Operation) -> str:
        exponent = _exponent(term)
        power = self.dialect.terms["^"].format(self.term(term.arguments[0]), abs(exponent))
        return power if exponent >= 0 else self.dialect.terms["/"].format(self._whole(1), power)
