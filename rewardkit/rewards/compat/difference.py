"""The child's side of `prm800k.grade`: is one formula minus another zero? Runs only inside a `LimitedWorker`.

The authors give ``(a)-(b)`` to sympy's ``parse_expr``, which evaluates text. Here a closed grammar reads what that
would read: numbers, one-letter names with implicit products (``2xy``), ``pi``, ``sqrt(..)``, ``ln(..)``, powers and
factorials; anything else is not zero, as an error is for them. sympy only ever gets its own objects.
"""

from __future__ import annotations

import re
from typing import Any

MAX_TOKENS = 300
MAX_DEPTH = 30
_LETTERS = re.compile(r"([^\W\d_])|(\d+)")  # of a name that stands for a product: xx^2 is x times x^2
_TOKEN = re.compile(r"(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)(j?)|([^\W\d_][^\W_]*)|(\*\*|[-+*/^()!]))")


def prepare() -> None:
    """Import sympy and warm its simplifier."""
    is_zero("x+x", "2x")


def is_zero(wanted: str, found: str) -> bool:
    """Whether ``(wanted)-(found)`` simplifies to zero; False where either cannot be read.

    >>> is_zero("1/4", "0.25"), is_zero("sqrt(3)/2", "sqrt(0.75)"), is_zero("x(x+1)", "x^2+x"), is_zero("1+", "1")
    (True, False, False, False)
    """
    import sympy  # type: ignore[import-untyped]

    try:
        difference = _Reader(wanted).whole() - _Reader(found).whole()
        return bool(sympy.simplify(difference) == 0)
    except (ValueError, TypeError, ArithmeticError, AttributeError, NotImplementedError, RecursionError):
        return False


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        self.depth = 0
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or len(self.tokens) >= MAX_TOKENS:
                raise ValueError(f"'{text[place : place + 20]}' cannot be read")
            place = match.end()
            if match[3] and match[3] != "pi" and text[place : place + 1] != "(":
                self.tokens += [("name" if a else "number", a or b) for a, b in _LETTERS.findall(match[3])]
            else:
                self.tokens.append(("number" if match[1] else "name" if match[3] else "operator", match[0]))

    def whole(self) -> Any:
        value = self.sum()
        if self.at != len(self.tokens):
            raise ValueError("more than one formula")
        return value

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def sum(self) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        value = self.product()
        while self.peek()[1] in ("+", "-"):
            sign = self.take()[1]
            term = self.product()
            value = value + term if sign == "+" else value - term
        self.depth -= 1
        return value

    def product(self) -> Any:
        value = self.signed()
        while True:
            kind, text = self.peek()
            if text in ("*", "/"):
                self.take()
                factor = self.signed()
                value = value * factor if text == "*" else value / factor
            elif kind in ("number", "name") or text == "(":
                value = value * self.power()
            else:
                return value

    def signed(self) -> Any:
        if self.peek()[1] in ("+", "-"):
            sign = self.take()[1]
            value = self.signed()
            return -value if sign == "-" else value
        return self.power()

    def power(self) -> Any:
        value = self.atom()
        if self.peek()[1] in ("^", "**"):
            self.take()
            return value ** self.signed()
        return value

    def atom(self) -> Any:
        kind, text = self.take()
        if kind == "number":
            value = _number(text)
        elif kind == "name":
            value = self.name(text)
        elif text == "(":
            value = self.sum()
            if self.take()[1] != ")":
                raise ValueError("a bracket is not closed")
        else:
            raise ValueError(f"'{text}' begins nothing")
        return self.factorials(value)

    def factorials(self, value: Any) -> Any:
        import sympy

        while self.peek()[1] == "!":
            self.take()
            value = sympy.factorial(value)
        return value

    def name(self, name: str) -> Any:
        import sympy

        if name == "pi":
            return sympy.pi
        if self.peek()[1] == "(":
            known = {"sqrt": sympy.sqrt, "ln": sympy.log}
            self.take()
            inside = self.sum()
            if self.take()[1] != ")":
                raise ValueError("a bracket is not closed")
            return known.get(name, sympy.Function(name))(inside)
        return sympy.Symbol(name)


def _number(text: str) -> Any:
    import sympy

    if text.endswith("j"):
        return sympy.I * _number(text[:-1])
    return sympy.Integer(int(text)) if text.isdigit() else sympy.Float(text)
