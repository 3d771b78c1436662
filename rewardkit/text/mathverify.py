"""The child's side of `AnswerChecker`: compare two formulas with math-verify. Runs only inside a `LimitedWorker`.

Only math-verify's LaTeX parser is used: its parser of plain expressions ends in sympy's ``parse_expr``, which evaluates
text. Its own time limits are off, since they need signals and the worker's limit holds in C code too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_RELATION = re.compile(r"[=<>]|\\(?:[lg]t|[lg]e|neq?|in)(?![a-zA-Z])")


class _NotDecided(BaseException):
    """Passes through math-verify's ``except Exception``, which would turn any failure into "not equal"."""


def prepare() -> None:
    """Import the slow parts, and bar every way by which sympy could evaluate text (`Number("8")` is one)."""
    import logging

    import sympy.parsing.sympy_parser as sympy_parser  # type: ignore[import-untyped]
    from math_verify import grader

    logging.disable(logging.CRITICAL)
    grader.simplify = _or_not_decided(grader.simplify)
    compare("(x+1)^2", "x^2+2x+1")
    sympy_parser.eval_expr = _refuse
    sympy_parser.parse_expr = _number_or_name


def compare(first: str, second: str) -> bool | None:
    """Whether two LaTeX formulas are equal; None where either cannot be parsed or simplified.

    math-verify is not symmetric where one is an equation or an inequality, so these are tried both ways round.
    """
    from math_verify import verify

    a, b = _parse(first), _parse(second)
    if not a or not b:
        return None
    try:
        equal = verify(a, b, timeout_seconds=None)
        if not equal and (_RELATION.search(first) or _RELATION.search(second)):
            equal = verify(b, a, timeout_seconds=None)
        return bool(equal)
    except _NotDecided:
        return None


def _parse(formula: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    found: list[Any] = parse(
        f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )
    return found


def _or_not_decided(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (MemoryError, RecursionError):
            raise _NotDecided from None

    return call


def _number_or_name(text: str, *_: object, **__: object) -> Any:
    """What sympy itself asks `parse_expr` for: a number of the formula, or a name in one of its own modules."""
    import sympy

    if re.fullmatch(r"\d+", text):
        return sympy.Integer(int(text))
    if re.fullmatch(r"\d*\.\d+|\d+\.", text):
        return sympy.Float(text)
    if re.fullmatch(r"[A-Za-z_]\w*", text):
        return sympy.Symbol(text)
    return _refuse()


def _refuse(*_: object) -> None:
    raise ValueError("text is never evaluated")
