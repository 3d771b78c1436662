"""The grammar of terms for `rewardkit.text.algebra`: tokens into `verifiers.formula` terms, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from rewardkit.verifiers.formula import Number, Operation, Operator, Term, Variable

MAX_DEPTH = 20  # of brackets, roots and powers
MAX_DIGITS = 40
MAX_EXPONENT = 12
_FUNCTION_NAMES = frozenset("fgh")


def words(text: str) -> frozenset[str]:
    """The words of a text, for the tables of this grammar.

    >>> sorted(words("so then"))
    ['so', 'then']
    """
    return frozenset(text.split())


class Unread(Exception):
    """The tokens are no term of this grammar, or they have two readings; the message says why."""


class Token(NamedTuple):
    """Its kind (num, var, op, rel, open, close, func, bar, word, break, edge, bad), normal form and place."""

    kind: str
    text: str
    start: int
    end: int


def read_term(tokens: Sequence[Token]) -> Term:
    """Read all `tokens` as one term.

    Raises:
        Unread: they are none, or ambiguous.

    >>> read_term([Token("num", "2", 0, 1), Token("var", "x", 1, 2)]).operator
    '*'
    """
    parser = _Parser(tokens)
    term = parser.sum()
    if parser.at != len(tokens):
        raise Unread(f"'{tokens[parser.at].text[:20]}' cannot be read")
    return term


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def _kind(self, ahead: int = 0) -> str:
        i = self.at + ahead
        return self.tokens[i].kind if i < len(self.tokens) else ""

    def _text(self, ahead: int = 0) -> str:
        i = self.at + ahead
        return self.tokens[i].text if i < len(self.tokens) else ""

    def _is(self, kind: str, text: str) -> bool:
        return self._kind() == kind and self._text() == text

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unread("nested too deep")

    def sum(self) -> Term:
        self._enter()
        term = self._product()
        while self._kind() == "op" and self._text() in ("+", "-"):
            sign: Operator = "+" if self._text() == "+" else "-"
            self.at += 1
            term = Operation(sign, (term, self._product()))
        self.depth -= 1
        return term

    def _product(self) -> Term:
        term = self._juxtaposed()
        divided = False
        while self._kind() == "op" and self._text() in ("*", "/"):
            sign: Operator = "*" if self._text() == "*" else "/"
            if divided and sign == "/":
                raise Unread("two slashes have two readings")
            self.at += 1
            start = self.at
            factor = self._juxtaposed()
            if sign == "/" and isinstance(factor, Operation) and factor.operator == "*" and self._bare(start):
                raise Unread("'1/2x' has two readings")
            divided = sign == "/"
            term = Operation(sign, (term, factor))
        return term

    def _bare(self, start: int) -> bool:
        """Whether what was read since `start` is more than one group in brackets."""
        depth = 0
        for i in range(start, self.at):
            kind = self.tokens[i].kind
            depth += (kind == "open") - (kind == "close")
            if depth == 0 and i + 1 < self.at:
                return True
        return False

    def _juxtaposed(self) -> Term:
        term = self._signed()
        while self._starts_factor():
            before = self.tokens[self.at - 1]
            if before.kind == "num" and self._is("func", "frac"):
                raise Unread("a mixed number or a product")
            if before.kind == "num" and self._kind() == "open" and self._text() == "{":
                raise Unread("a brace out of place")
            if before.kind == "var" and self._kind() == "open":
                self._check_call(before)
            term = Operation("*", (term, self._power()))
        return term

    def _starts_factor(self) -> bool:
        kind = self._kind()
        return kind in ("var", "func") or (kind == "open") or (kind == "bar" and not self.bars and self.at > 0)

    def _check_call(self, name: Token) -> None:
        """Refuse what may be a function's value: f(x), P(3), y(t)."""
        single = self._kind(2) == "close" and self._kind(1) in ("var", "num")
        if single or name.text[0] in _FUNCTION_NAMES or name.text[:1].isupper():
            raise Unread(f"'{name.text[:20]}(...)' may be a function")

    def _signed(self) -> Term:
        signs = 0
        minus = False
        while self._kind() == "op" and self._text() in ("+", "-") and signs < 2:
            minus ^= self._text() == "-"
            signs += 1
            self.at += 1
        term = self._power()
        return Operation("neg", (term,)) if minus else term

    def _power(self) -> Term:
        base = self._atom()
        if not self._is("op", "^"):
            return base
        self.at += 1
        exponent = self._exponent()
        if self._is("op", "^"):
            raise Unread("a tower of powers")
        if exponent == Fraction(1, 2):
            return Operation("sqrt", (base,))
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or not exponent:
            raise Unread("a power that is not checked")
        if exponent < 0:
            power = Operation("^", (base, Number(-exponent)))
            return Operation("/", (Number(Fraction(1)), power))
        return Operation("^", (base, Number(exponent)))

    def _exponent(self) -> Fraction:
        start = self.at
        braced = self._kind() == "open"
        self.at += braced
        minus = self._is("op", "-")
        self.at += minus
        value = self._digits()
        if braced and self._is("op", "/"):
            self.at += 1
            below = self._digits()
            value = value / below if below else value
        if braced:
            if self._kind() != "close":
                raise Unread("a power that is not checked")
            self.at += 1
        if not braced and self.at - start > 1:
            raise Unread("a power that is not checked")
        return -value if minus else value

    def _digits(self) -> Fraction:
        if self._kind() != "num" or len(self._text()) > MAX_DIGITS:
            raise Unread("a power that is not checked")
        self.at += 1
        return Fraction(self.tokens[self.at - 1].text)

    def _atom(self) -> Term:
        kind = self._kind()
        if kind == "num":
            return self._number()
        if kind == "var":
            return self._variable()
        if kind == "func":
            return self._function()
        if kind == "open":
            return self._group()
        if kind == "bar":
            return self._absolute()
        raise Unread(f"'{self._text()[:20]}' cannot be read" if kind else "a term is missing")

    def _number(self) -> Term:
        value = self._digits()
        if self._kind() == "num":
            raise Unread("two numbers stand side by side")
        return Number(value)

    def _variable(self) -> Term:
        name = self._text()
        self.at += 1
        if name in ("i", "e"):
            raise Unread(f"'{name}' may be a constant")
        if self._is("op", "_"):
            self.at += 1
            name = f"{name}_{self._subscript()}"
        if len(name) > 60:
            raise Unread("a name is too long")
        if self._kind() == "num":
            raise Unread("a number behind a variable")
        return Variable(name)

    def _subscript(self) -> str:
        braced = self._kind() == "open"
        self.at += braced
        parts: list[str] = []
        while self._kind() in ("num", "var") and len(parts) < 6:
            parts.append(self._text())
            self.at += 1
            if not braced:
                break
        if not parts or (braced and self._kind() != "close") or not "".join(parts).isalnum():
            raise Unread("a subscript that is not read")
        self.at += braced
        return "_".join(parts)[:40]

    def _function(self) -> Term:
        name = self._text()
        self.at += 1
        if name == "sqrt":
            if self._is("open", "["):
                raise Unread("a root that is not a square root")
            return Operation("sqrt", (self._argument(),))
        return Operation("/", (self._argument(), self._argument()))

    def _argument(self) -> Term:
        if self._kind() == "open":
            return self._group()
        if self._kind() == "num" and len(self._text()) == 1:
            return self._number()
        raise Unread("an argument is missing")

    def _group(self) -> Term:
        mark = self._text()
        self.at += 1
        bars, self.bars = self.bars, 0
        term = self.sum()
        self.bars = bars
        if not self._is("close", mark):
            raise Unread("a bracket is not closed")
        self.at += 1
        return term

    def _absolute(self) -> Term:
        self.at += 1
        self.bars += 1
        self._enter()
        term = self.sum()
        self.depth -= 1
        self.bars -= 1
        if self._kind() != "bar":
            raise Unread("a bar is not closed")
        self.at += 1
        return Operation("abs", (term,))
