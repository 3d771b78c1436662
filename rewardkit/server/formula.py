"""The formula of a ``multi`` grader: a closed grammar of numbers, names and functions, never Python.

sum := product (("+" | "-") product)*        product := unary (("*" | "/") unary)*
unary := "-" unary | power                   power := atom ("^" unary)?
atom := NUMBER | NAME | FUNCTION "(" sum ("," sum)* ")" | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewardkit.errors import DataError

MAX_CHARACTERS = 2000
MAX_TOKENS = 300
MAX_DEPTH = 50

_TOKEN = re.compile(r"\s*(?:(\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,4})?)|([A-Za-z_]\w{0,200})|(\*\*|[-+*/^(),]))")
_FUNCTIONS: dict[str, tuple[Callable[..., float], int | None]] = {
    "min": (min, None),
    "max": (max, None),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": math.pow,
}

Tree = float | str | tuple[str, tuple["Tree", ...]]
"""A number, a name, or an operator or function with what it takes."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula.

    Attributes:
        tree: see `Tree`.
        names: the variables in it.
    """

    tree: Tree
    names: frozenset[str]

    def value(self, variables: Mapping[str, float]) -> float:
        """The value; all of `names` must be given.

        Raises:
            DataError: it has no finite value there.
        """
        try:
            found = _evaluate(self.tree, variables)
        except (ArithmeticError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise DataError("the formula has no finite value for these scores")
        return found


def parse_formula(text: str) -> Formula:
    """Parse a formula such as ``0.8 * right + 0.2 * min(style, 1)``.

    Numbers, names, ``+ - * / ^`` and `min`, `max`, `abs`, `floor`, `ceil`, `exp`, `sqrt`, `log`, as OpenAI's has them.

    Raises:
        DataError: it is no such formula.

    >>> parse_formula("0.5 * a + 2 ^ -1 * max(b, 0)").value({"a": 1.0, "b": 0.5})
    0.75
    >>> parse_formula("__import__('os')")
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: the formula cannot be read at ''os')'
    """
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"the formula is longer than {MAX_CHARACTERS} characters")
    parser = _Parser(_tokens(text))
    tree = parser.sum(0)
    if parser.peek:
        raise DataError(f"the formula cannot be read at '{parser.peek}'")
    return Formula(tree, frozenset(parser.names))


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise DataError(f"the formula cannot be read at '{text[position : position + 20].strip()}'")
        token = match[1] or match[2] or match[3]
        found.append("^" if token == "**" else token)
        position = match.end()
    if len(found) > MAX_TOKENS:
        raise DataError(f"the formula has more than {MAX_TOKENS} numbers, names and operators")
    return found


class _Parser:
    """Recursive descent, no deeper than `MAX_DEPTH`."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.names: set[str] = set()

    @property
    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek
        self.position += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise DataError(f"the formula lacks a '{token}'")

    def sum(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise DataError(f"the formula is nested more than {MAX_DEPTH} deep")
        tree = self.product(depth)
        while self.peek in ("+", "-"):
            tree = (self.take(), (tree, self.product(depth)))
        return tree

    def product(self, depth: int) -> Tree:
        tree = self.unary(depth)
        while self.peek in ("*", "/"):
            tree = (self.take(), (tree, self.unary(depth)))
        return tree

    def unary(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise DataError(f"the formula is nested more than {MAX_DEPTH} deep")
        if self.peek == "-":
            self.take()
            return ("-", (0.0, self.unary(depth + 1)))
        base = self.atom(depth)
        if self.peek != "^":
            return base
        return (self.take(), (base, self.unary(depth + 1)))

    def atom(self, depth: int) -> Tree:
        token = self.take()
        if token == "(":
            tree = self.sum(depth + 1)
            self.expect(")")
            return tree
        if token[:1].isdigit():
            return float(token)
        if not token or not (token[0].isalpha() or token[0] == "_"):
            raise DataError(f"the formula cannot be read at '{token}'" if token else "the formula ends too early")
        if self.peek == "(":
            return self.call(token, depth)
        self.names.add(token)
        return token

    def call(self, name: str, depth: int) -> Tree:
        if name not in _FUNCTIONS:
            raise DataError(f"the formula has no function '{name}'; it may use {', '.join(_FUNCTIONS)}")
        self.expect("(")
        arguments = [self.sum(depth + 1)]
        while self.peek == ",":
            self.take()
            arguments.append(self.sum(depth + 1))
        self.expect(")")
        takes = _FUNCTIONS[name][1]
        if takes is not None and len(arguments) != takes:
            raise DataError(f"'{name}' takes {takes} value in a formula")
        return (name, tuple(arguments))


def _evaluate(tree: Tree, variables: Mapping[str, float]) -> float:
    if isinstance(tree, float):
        return tree
    if isinstance(tree, str):
        return variables[tree]
    operator, arguments = tree
    values = [_evaluate(a, variables) for a in arguments]
    if operator in _BINARY:
        return _BINARY[operator](values[0], values[1])
    function = _FUNCTIONS[operator][0]
    return float(function(values) if function in (min, max) else function(*values))
