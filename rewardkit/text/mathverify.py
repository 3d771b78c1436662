"""The child's side of `AnswerChecker`: compare two formulas with math-verify. Runs only inside a `LimitedWorker`.

Only math-verify's LaTeX parser is used: its parser of plain expressions ends in sympy's ``parse_expr``, which evaluates
text. Its own time limits are off, since they need signals and the worker's limit holds in C code too.
"""

from __future__ import annotations

import re
from typing import Any


def prepare() -> None:
    """Import the slow parts, and bar every way by which sympy could evaluate text (`Number("8")` is one)."""
    import logging

    import sympy.parsing.sympy_parser as sympy_parser  # type: ignore[import-untyped]
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    sympy_parser.eval_expr = _refuse
    sympy_parser.parse_expr = _number_only
    verify(parse("$1$", parsing_timeout=None), parse("$1$", parsing_timeout=None), timeout_seconds=None)


def compare(first: str, second: str) -> bool | None:
    """Whether two LaTeX formulas are equal; None where either cannot be parsed.

    math-verify is not symmetric, so the two are equal if they are either way round.
    """
    from math_verify import verify

    a, b = _parse(first), _parse(second)
    if not a or not b:
        return None
    return bool(verify(a, b, timeout_seconds=None) or verify(b, a, timeout_seconds=None))


def _parse(formula: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    found: list[Any] = parse(
        f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )
    return found


def _number_only(text: str, *_: object, **__: object) -> Any:
    import sympy

    if re.fullmatch(r"\d+", text):
        return sympy.Integer(int(text))
    if re.fullmatch(r"\d*\.\d+|\d+\.", text):
        return sympy.Float(text)
    return _refuse()


def _refuse(*_: object) -> None:
    raise ValueError("text is never evaluated")
