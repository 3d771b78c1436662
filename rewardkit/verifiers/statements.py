r"""Formal statements in plain ASCII, one a line, as a model writes them and as evidence keeps them.

    fact h1: x = 48                          a number or relation that the problem gives
    define y = x / 2                         a new name
    have s1: y = 24 from h1, y               a step; what it cites stands behind `from`
    show s2: x + y = 72 from h1, s1          the last step

Terms: numbers, names, ``+ - * / ^``, ``abs( )``, ``sqrt( )``; a name that begins with ``int_`` is a whole number.
Formulas: ``= != < <= > >=`` (also in chains), ``and``, ``or``, ``not``, ``->`` (right-associative), ``<->``, ``true``,
``false``, predicates ``Bird(tweety)``, propositions ``Rain`` (a capital first), ``forall x: ...`` and ``exists x: ...``
over objects.

A recursive-descent parser with bounds on length, digits and depth; nothing else ever reads the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

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
    Truth,
    Variable,
)

MAX_CHARACTERS = 2000
MAX_DIGITS = 30
MAX_DEPTH = 40

Kind = Literal["fact", "define", "have", "show"]


class StatementError(ValueError):
    """A text that is no statement of this syntax; the message says where it stops to be one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One line.

    Attributes:
        kind: see the head of this module.
        name: by which later lines cite it; of a definition, the new name; may be "".
        formula: what it says.
        cites: the names behind ``from``.
    """

    kind: Kind
    name: str
    formula: Formula
    cites: tuple[str, ...] = ()


_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z][A-Za-z0-9_]*|<->|->|[<>!]=|==|[-+*/^()=<>,:;&|~]")
_RELATIONS: dict[str, Relation] = {"=": "=", "==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = frozenset(["and", "or", "not", "forall", "exists", "true", "false", "from"])
_KINDS = frozenset(get_args(Kind))


def parse_statement(line: str) -> Statement:
    """Read one line.

    Raises:
        StatementError: it is none.

    >>> parse_statement("have s1: y = 48 / 2 from h1").cites
    ('h1',)
    >>> parse_statement("so y is 24")
    Traceback (most recent call last):
    ...
    rewardkit.verifiers.statements.StatementError: a statement begins with fact, define, have or show
    """
    parser = _Parser(line)
    kind = parser.take()
    if kind not in _KINDS:
        raise StatementError("a statement begins with fact, define, have or show")
    name = ""
    if kind == "define":
        name = parser.peek()
    elif parser.peek(1) == ":":
        name = parser.name()
        parser.take()
    elif parser.peek() == ":":
        parser.take()
    formula = parser.formula()
    if kind == "define" and not (isinstance(formula, Comparison) and formula.relation == "=" and _is_name(formula)):
        raise StatementError("a definition is a new name, an equals sign and a term")
    cites = parser.citations()
    parser.end()
    return Statement(kind, name, formula, cites)  # type: ignore[arg-type]


def parse_formula(text: str) -> Formula:
    """Read one formula.

    Raises:
        StatementError: it is none.

    >>> parse_formula("x = 1 or x = 2").connective
    'or'
    """
    parser = _Parser(text)
    formula = parser.formula()
    parser.end()
    return formula


def parse_sequent(text: str) -> tuple[tuple[Formula, ...], Formula]:
    """Read premises and goal, ``x = 48; y = x / 2 |- y = 24``; the inverse of
    `rewardkit.verifiers.plain.print_sequent`.

    Raises:
        StatementError: it is none.
    """
    before, turnstile, goal = text.partition("|-")
    if not turnstile:
        raise StatementError("a sequent has premises, |- and a goal")
    return tuple(parse_formula(part) for part in before.split(";") if part.strip()), parse_formula(goal)


def _is_name(formula: Comparison) -> bool:
    return isinstance(formula.left, Variable)


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise StatementError(f"a statement has at most {MAX_CHARACTERS} characters")
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.bound: list[str] = []

    def peek(self, ahead: int = 0) -> str:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, *tokens: str) -> bool:
        if self.peek() in tokens:
            self.at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise StatementError(f"'{token}' is wanted where {_shown(self.peek())} stands")

    def end(self) -> None:
        if self.accept("."):
            return
        if self.at < len(self.tokens):
            raise StatementError(f"{_shown(self.peek())} is left over")

    def name(self) -> str:
        token = self.take()
        if not token[:1].isalpha() or token in _WORDS or len(token) > 64:
            raise StatementError(f"{_shown(token)} is no name")
        return token

    def citations(self) -> tuple[str, ...]:
        if not self.accept("from"):
            return ()
        names = [self.name()]
        while self.accept(",", "and"):
            names.append(self.name())
        return tuple(dict.fromkeys(names))

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise StatementError(f"brackets, signs and arrows are nested more than {MAX_DEPTH} deep")

    # -- formulas, from the loosest binding to the tightest

    def formula(self) -> Formula:
        self.deeper()
        left = self.disjunction()
        if self.accept("->"):
            left = Connected("implies", left, self.formula())
        elif self.accept("<->"):
            left = Connected("iff", left, self.formula())
        self.depth -= 1
        return left

    def disjunction(self) -> Formula:
        left = self.conjunction()
        while self.accept("or", "|"):
            left = Connected("or", left, self.conjunction())
        return left

    def conjunction(self) -> Formula:
        left = self.negation()
        while self.accept("and", "&"):
            left = Connected("and", left, self.negation())
        return left

    def negation(self) -> Formula:
        if self.accept("not", "~"):
            self.deeper()
            body = self.negation()
            self.depth -= 1
            return Not(body)
        if self.peek() in ("forall", "exists"):
            return self.quantified()
        return self.atom()

    def quantified(self) -> Formula:
        quantifier: Literal["forall", "exists"] = "forall" if self.take() == "forall" else "exists"
        variable = Variable(self.name(), "object")
        self.expect(":")
        self.bound.append(variable.name)
        body = self.formula()
        self.bound.pop()
        return Quantified(quantifier, variable, body)

    def atom(self) -> Formula:
        token = self.peek()
        if token in ("true", "false"):
            self.at += 1
            return Truth(token == "true")
        if token[:1].isupper() and self._is_predicate():
            return self.predicate()
        if token == "(":
            inner = self.bracketed()
            if inner is not None:
                return inner
        return self.chain()

    def _is_predicate(self) -> bool:
        """A name in capitals is a predicate before a bracket or where no term goes on, else a number's name."""
        after = self.peek(1)
        return after == "(" or (after not in _RELATIONS and after not in ("+", "-", "*", "/", "^"))

    def predicate(self) -> Formula:
        name = self.name()
        arguments: list[Variable] = []
        if self.accept("("):
            arguments.append(Variable(self.name(), "object"))
            while self.accept(","):
                arguments.append(Variable(self.name(), "object"))
            self.expect(")")
        return Predicate(name, tuple(arguments))

    def bracketed(self) -> Formula | None:
        """A formula in brackets; None where the bracket opens a term."""
        if not self._holds_formula():
            return None
        self.take()
        inner = self.formula()
        self.expect(")")
        return inner

    def _holds_formula(self) -> bool:
        depth = 0
        for i in range(self.at, len(self.tokens)):
            token = self.tokens[i]
            depth += (token == "(") - (token == ")")
            if depth == 0:
                after = self.peek(i + 1 - self.at)
                return after not in _RELATIONS and after not in ("+", "-", "*", "/", "^")
        return False

    def chain(self) -> Formula:
        """``a = b < c`` says both a = b and b < c."""
        left = self.term()
        found: Formula | None = None
        while self.peek() in _RELATIONS:
            relation = _RELATIONS[self.take()]
            right = self.term()
            link = Comparison(relation, left, right)
            found = link if found is None else Connected("and", found, link)
            left = right
        if found is None:
            raise StatementError(f"a relation is wanted where {_shown(self.peek())} stands")
        return found

    # -- terms

    def term(self) -> Term:
        self.deeper()
        left = self.product()
        while self.peek() in ("+", "-"):
            sign: Literal["+", "-"] = "+" if self.take() == "+" else "-"
            left = Operation(sign, (left, self.product()))
        self.depth -= 1
        return left

    def product(self) -> Term:
        left = self.signed()
        while self.peek() in ("*", "/"):
            sign: Literal["*", "/"] = "*" if self.take() == "*" else "/"
            left = Operation(sign, (left, self.signed()))
        return left

    def signed(self) -> Term:
        if self.accept("-"):
            self.deeper()
            body = self.signed()
            self.depth -= 1
            return Number(-body.value) if isinstance(body, Number) else Operation("neg", (body,))
        return self.power()

    def power(self) -> Term:
        base = self.primary()
        if not self.accept("^"):
            return base
        self.deeper()
        exponent = self.signed()
        self.depth -= 1
        return Operation("^", (base, exponent))

    def primary(self) -> Term:
        token = self.peek()
        if token[:1].isdigit() or token[:1] == ".":
            self.at += 1
            if len(token) > MAX_DIGITS:
                raise StatementError(f"a number has more than {MAX_DIGITS} digits")
            return Number(Fraction(token))
        if self.accept("("):
            inner = self.term()
            self.expect(")")
            return inner
        name = self.name()
        if name in ("abs", "sqrt") and self.accept("("):
            inner = self.term()
            self.expect(")")
            return Operation("abs" if name == "abs" else "sqrt", (inner,))
        if name in self.bound:
            return Variable(name, "object")
        return Variable(name, "int" if name.startswith("int_") else "real")


def _tokens(text: str) -> list[str]:
    tokens = []
    at = 0
    text = text.strip().removesuffix(".")
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise StatementError(f"{_shown(text[at])} cannot be read")
        tokens.append(match[0])
        at = match.end()
    return tokens


def _shown(token: str) -> str:
    return ascii(token[:20]) if token else "the end"
