"""The value of a term at a point: exact where it is a fraction, else a decimal for a person."""

from __future__ import annotations

from fractions import Fraction

from rewardkit.verifiers.formula import Number, Operation, Term, Variable


def value(term: Term, values: dict[str, Fraction]) -> Fraction | None:
    """The exact value of a term; None where it has none, or it is no fraction.

    >>> value(Operation("*", (Number(Fraction(2)), Variable("x"))), {"x": Fraction(3)})
    Fraction(6, 1)
    """
    if isinstance(term, Number):
        return term.value
    if isinstance(term, Variable):
        return values.get(term.name)
    parts = [value(argument, values) for argument in term.arguments]
    if any(p is None for p in parts):
        return None
    return _applied(term.operator, [p for p in parts if p is not None])


def _applied(operator: str, parts: list[Fraction]) -> Fraction | None:
    a, b = parts[0], parts[-1]
    if operator == "/":
        return a / b if b else None
    if operator == "^":
        small = b.denominator == 1 and 0 <= b <= 40 and max(a.numerator.bit_length(), a.denominator.bit_length()) < 200
        return a ** int(b) if small else None
    if operator in ("neg", "abs"):
        return -a if operator == "neg" else abs(a)
    if operator == "sqrt":
        return None
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def decimal(term: Term) -> str:
    """A constant term, roots and all, as a short decimal for a person.

    >>> decimal(Operation("sqrt", (Number(Fraction(2)),)))
    '1.41421'
    """
    try:
        return f"{_float(term):.6g}"
    except (OverflowError, ZeroDivisionError):
        return "a number out of range"


def _float(term: Term) -> float:
    if isinstance(term, Number):
        return float(term.value)
    assert isinstance(term, Operation)
    parts = [_float(argument) for argument in term.arguments]
    if term.operator in ("neg", "abs"):
        return -parts[0] if term.operator == "neg" else abs(parts[0])
    if term.operator == "sqrt":
        return float(abs(parts[0]) ** 0.5)
    exact = {"+": parts[0] + parts[-1], "-": parts[0] - parts[-1], "*": parts[0] * parts[-1]}
    if term.operator in exact:
        return exact[term.operator]
    return parts[0] / parts[1] if term.operator == "/" else float(parts[0] ** parts[1])
