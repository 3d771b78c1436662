"""Exact values of arithmetic expressions: a recursive-descent parser that evaluates as it reads, in `Fraction`.

The grammar is closed and bounded (digits, exponents, nesting, size of a value), so that no text can make it run long or
overflow. Where the notation has two readings ("6/2(3)", "50 + 20%"), the parser takes one and says which others exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewardkit.labelers._tokens import BREAK, CLOSE, CURRENCY, FUNC, NUM, OP, OPEN, POSTFIX, WORD, Token
from rewardkit.labelers._values import Unreadable, Value, bounded, divided, factorial, literal, raised, root
from rewardkit.labelers._words import PROSE

MAX_DEPTH = 24  # of brackets

# Readings: each bit changes how one ambiguous notation is read.
PERCENT_AS_UNIT = 1  # 5/20 * 100 = 25%: the sign is a unit, not a hundredth
PERCENT_OF_LEFT = 2  # 50 + 20% = 60
PRODUCT_NOT_MIXED = 4  # 2\frac{1}{2} is 1, not 2 1/2
JUXTAPOSED_FIRST = 8  # 6/2(3) = 1
SECOND_SLASH_FIRST = 16  # 12 / 1/2 = 24
MINUS_FIRST = 32  # -2^2 = 4
GROUP_IS_REMARK = 64  # "= 8 (5 + 3)": the group explains, it does not multiply
OF_IS_REMARK = 128  # "= 15% of $300"

# What an expression is made of.
HAS_SUM, HAS_PRODUCT, HAS_DIVISION, HAS_FRACTION, HAS_PERCENT, HAS_POWER = 1, 2, 4, 8, 16, 32
CALCULATION = HAS_SUM | HAS_PRODUCT | HAS_DIVISION | HAS_POWER


@dataclass(slots=True)
class Operand:
    """A value that was read.

    Attributes:
        value: exact.
        parts: bits ``HAS_...``.
        readings: bits of the readings that the notation leaves open.
        first: the leading number, with which a run-on chain goes on ("5 + 3 = 8 * 2 = 16").
        decimals: the most digits behind the point in any number.
        numbers: how many were read.
        inexact: a number ends in an ellipsis, 3.363...
        stop: index of the first token that was not read.
        last: index of the last token that belongs to the value (not a unit).
    """

    value: Value
    parts: int
    readings: int
    first: Value
    decimals: int
    numbers: int
    inexact: bool
    stop: int
    last: int

    @property
    def calculation(self) -> bool:
        """Whether something is calculated: not in "3", "15%", "2 1/2" or "3/4", but in "48/2"."""
        return bool(self.parts & CALCULATION) or (self.numbers == 2 and not -1 < self.value < 1)


def read_operand(tokens: Sequence[Token], start: int, end: int, reading: int = 0) -> Operand:
    """Read the longest expression of ``tokens[start:end]`` that begins at `start`.

    Raises:
        Unreadable: there is none, or its value is out of bounds.

    >>> from rewardkit.labelers._tokens import tokenize
    >>> tokens = tokenize("3 1/2 hours * $12/hour")
    >>> read_operand(tokens, 0, len(tokens)).value == 42
    True
    """
    return _Parser(tokens, start, end, reading).operand()


class _Parser:
    def __init__(self, tokens: Sequence[Token], start: int, end: int, reading: int) -> None:
        self.tokens = tokens
        self.at = start
        self.end = end
        self.reading = reading
        self.parts = 0
        self.readings = 0
        self.first: Value | None = None
        self.decimals = 0
        self.numbers = 0
        self.inexact = False
        self.percents = 0
        self.depth = 0
        self.last = start

    def operand(self) -> Operand:
        value = self._sum()
        first = value if self.first is None else self.first
        others = self.readings | (PERCENT_AS_UNIT if self.percents and self.percents == self.numbers else 0)
        return Operand(value, self.parts, others, first, self.decimals, self.numbers, self.inexact, self.at, self.last)

    # -- looking ahead

    def _kind(self, ahead: int = 0) -> int:
        i = self.at + ahead
        return self.tokens[i][0] if i < self.end else -1

    def _is(self, kind: int, text: str) -> bool:
        return self.at < self.end and self.tokens[self.at].kind == kind and self.tokens[self.at].text == text

    def _tight(self, i: int) -> bool:
        """Whether token `i` follows the one before without white space."""
        return i < self.end and self.tokens[i - 1].end == self.tokens[i].start

    def _open(self, bit: int) -> bool:
        """Note that the notation may be read differently; True where this parser shall do so."""
        self.readings |= bit
        return bool(self.reading & bit)

    def _group_end(self) -> int:
        """Index behind the bracket that closes the group which opens here."""
        depth = 0
        for i in range(self.at, self.end):
            kind = self.tokens[i].kind
            depth += (kind == OPEN) - (kind == CLOSE)
            if depth == 0:
                return i + 1
        raise Unreadable("a bracket is not closed")

    # -- the grammar

    def _sum(self) -> Value:
        value = self._product()
        while self.at < self.end:
            kind, sign, _, _ = self.tokens[self.at]
            if kind != OP or sign not in "+-":
                break
            minus = sign == "-"
            self.at += 1
            self.parts |= HAS_SUM
            before = self.at
            term = self._product()
            if self._lone_percent(before) and self._open(PERCENT_OF_LEFT):
                term = bounded(value * term)
            value = bounded(value - term if minus else value + term)
        return value

    def _lone_percent(self, before: int) -> bool:
        return self.last == before + 1 and self.tokens[self.last].text == "%"

    def _product(self) -> Value:
        value, rest = self._juxtaposed()
        value = value if rest is None else bounded(value * rest)
        while self.at < self.end:
            at = self.at
            kind, sign, _, _ = self.tokens[at]
            if kind != OP or sign not in ("*", "/", "of"):
                break
            if sign == "of" and self._open(OF_IS_REMARK):
                self.at = self.end
                break
            self.at += 1
            factor, rest = self._juxtaposed()
            if sign != "/":
                self.parts |= HAS_PRODUCT
                value = bounded(value * factor)
            else:
                value = divided(value, self._divisor(at, factor))
                if rest is not None and self._open(JUXTAPOSED_FIRST):
                    value, rest = divided(value, rest), None
            value = value if rest is None else bounded(value * rest)
        return value

    def _divisor(self, slash: int, factor: Value) -> Value:
        """What stands under the slash: in "12 / 1/2" perhaps the fraction."""
        fraction = self._is_fraction(slash)
        self.parts |= HAS_FRACTION if fraction else HAS_DIVISION
        if fraction or not self._is(OP, "/") or not self._open(SECOND_SLASH_FIRST):
            return factor
        self.at += 1
        return divided(factor, self._power())

    def _is_fraction(self, slash: int) -> bool:
        """Whether the slash is written as in 1/2 rather than 1 / 2."""
        around = self.tokens[slash - 1].kind == NUM and self.tokens[slash + 1].kind == NUM
        return around and self._tight(slash) and self._tight(slash + 1)

    def _juxtaposed(self) -> tuple[Value, Value | None]:
        """A factor, and the product of those written behind it without a sign: 3(7), (3)(4), 2 \\sqrt{9}."""
        if self._is_simple():
            return self._number(), None
        value = self._signed()
        rest: Value | None = None
        while self._kind() in (OPEN, FUNC) and self.tokens[self.at].text != "<<":
            if self.tokens[self.at - 1].kind not in (NUM, CLOSE):
                break
            if self._kind() == OPEN and not self._tight(self.at) and self._open(GROUP_IS_REMARK):
                self.at = self._group_end()
                continue
            self.parts |= HAS_PRODUCT
            factor = self._power()
            rest = factor if rest is None else bounded(rest * factor)
        return value, rest

    def _is_simple(self) -> bool:
        """Whether a number stands here by itself, before the next operator or the end: nothing else need be tried."""
        at = self.at
        if at >= self.end or self.tokens[at][0] != NUM:
            return False
        if at + 1 >= self.end:
            return True
        kind, text, _, _ = self.tokens[at + 1]
        # a slash may lead to a unit, "12/hour"
        return kind == OP and (text in "+-*" or (text == "/" and at + 2 < self.end and self.tokens[at + 2][0] == NUM))

    def _signed(self) -> Value:
        signs = 0
        minus = False
        while signs < 2 and self._kind() == OP and self.tokens[self.at].text in "+-":
            if self.tokens[self.at].text == "+" and self.at and self.tokens[self.at - 1].kind in (OP, BREAK):
                raise Unreadable("a plus without a number before it")
            minus ^= self.tokens[self.at].text == "-"
            signs += 1
            self.at += 1
        value = self._power(minus)
        return -value if minus else value

    def _power(self, minus: bool = False) -> Value:
        """``a ^ b``. With `minus` the caller will negate the result, which "-2^2" leaves open."""
        base = self._postfixed()
        if not self._is(OP, "^"):
            return base
        self.at += 1
        self.parts |= HAS_POWER
        negative = self._is(OP, "-")
        self.at += negative
        exponent = self._power()
        flip = minus and self._open(MINUS_FIRST)
        value = raised(-base if flip else base, -exponent if negative else exponent)
        self._units()
        return -value if flip else value

    def _postfixed(self) -> Value:
        value = self._atom()
        while self._kind() == POSTFIX:
            mark = self.tokens[self.at].text
            self.last = self.at
            self.at += 1
            if mark == "%":
                self.parts |= HAS_PERCENT
                self.percents += 1
                if value == 100 or self.reading & PERCENT_AS_UNIT:
                    self.readings |= PERCENT_AS_UNIT
                value = value if self.reading & PERCENT_AS_UNIT else divided(value, 100)
            elif mark == "!":
                self.parts |= HAS_POWER
                value = factorial(value)
            else:
                self.inexact = True
        if not self._is(OP, "^"):
            self._units()
        return value

    def _atom(self) -> Value:
        while self._kind() == CURRENCY:
            self.at += 1
        kind = self._kind()
        if kind == NUM:
            return self._number()
        if kind == FUNC:
            return self._function()
        if kind == OPEN and self.tokens[self.at].text != "<<":
            return self._group()
        if kind == -1:
            raise Unreadable("a number is missing")
        raise Unreadable(f"'{self.tokens[self.at].text[:20]}' cannot be read")

    def _number(self) -> Value:
        text = self.tokens[self.at].text
        value = literal(text)
        self.last = self.at
        self.at += 1
        self.numbers += 1
        if self.first is None:
            self.first = value
        if type(value) is int:
            mixed = self.at < self.end and self.tokens[self.at][0] in (NUM, FUNC)
            return value + self._mixed() if mixed else value
        self.decimals = max(self.decimals, len(text) - text.index(".") - 1)
        return value

    def _mixed(self) -> Value:
        """The fraction of a mixed number, "2 1/2" or ``2\\frac{1}{2}``; 0 where there is none."""
        if self._kind() == NUM and self._kind(1) == OP and self._kind(2) == NUM and not self._tight(self.at):
            if self.tokens[self.at + 1].text == "/" and self._is_fraction(self.at + 1):
                below = literal(self.tokens[self.at + 2].text)
                self.last, self.at = self.at + 2, self.at + 3
                return self._proper(divided(literal(self.tokens[self.at - 3].text), below))
        elif self._kind() == FUNC and self.tokens[self.at].text == "frac" and not self._open(PRODUCT_NOT_MIXED):
            return self._proper(self._function())
        return 0

    def _proper(self, part: Value) -> Value:
        if not 0 < part < 1:
            raise Unreadable("two numbers stand side by side")
        self.parts |= HAS_FRACTION
        return part

    def _group(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("the brackets are nested too deep")
        self.at += 1
        outer, self.end = self.end, self._inner_end()
        value = self._sum()
        if self.at != self.end:
            raise Unreadable("what stands in the brackets cannot be read")
        self.end = outer
        self.last = self.at
        self.at += 1
        self.depth -= 1
        return value

    def _inner_end(self) -> int:
        self.at -= 1
        end = self._group_end() - 1
        self.at += 1
        return end

    def _function(self) -> Value:
        name = self.tokens[self.at].text
        self.at += 1
        if name == "sqrt":
            self.parts |= HAS_POWER
            return root(self._number() if self._kind() == NUM else self._braced())
        start = self.at
        above = self._braced()
        below = self._braced()
        self.parts |= HAS_FRACTION if self.at - start == 6 else HAS_DIVISION  # six tokens: {1}{2}
        return divided(above, below)

    def _braced(self) -> Value:
        if self._kind() != OPEN or self.tokens[self.at].text == "[":
            raise Unreadable("an argument is missing")
        return self._group()

    def _units(self) -> None:
        """Pass over what a number counts: words, "/hour", "cm^2", "(Samantha)", a sign of currency."""
        while self.at < self.end:
            kind, text, _, _ = self.tokens[self.at]
            following = self._kind(1)
            if kind == WORD and text not in PROSE:
                self.at += 1
                if self._is(OP, "^") and self._kind(1) == NUM and self._tight(self.at):
                    self.at += 2
            elif kind == OP and text == "/" and following == WORD and self._tight_unit():
                self.at += 2
            elif kind == OPEN and text == "(" and following == WORD and self._is_remark():
                self.at = self._group_end()
            elif kind == CURRENCY and following not in (NUM, OPEN, FUNC):
                self.at += 1
            else:
                return

    def _is_remark(self) -> bool:
        inside = self.tokens[self.at + 1 : self._group_end() - 1]
        return not self._tight(self.at) and all(t.kind in (WORD, NUM, CURRENCY) for t in inside)

    def _tight_unit(self) -> bool:
        return self._tight(self.at) or self._tight(self.at + 1)
