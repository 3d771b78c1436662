"""Formulas and sequents as text in the syntax of `rewardkit.verifiers.statements`, with few brackets."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

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

MAX_PLACES = 15


def print_sequent(premises: Sequence[Formula], goal: Formula) -> str:
    """Premises and goal on one line.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> print_sequent([parse_formula("x=48")], parse_formula("x/2=24"))
    'x = 48 |- x / 2 = 24'
    """
    return f"{'; '.join(print_formula(p) for p in premises)} |- {print_formula(goal)}".strip()


def print_formula(formula: Formula) -> str:
    """A formula in this syntax, with few brackets.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> print_formula(parse_formula("(x + 1) * 2 = 6 and not (x = 3 or x = 4)"))
    '(x + 1) * 2 = 6 and not (x = 3 or x = 4)'
    """
    return _printed(formula)[0]


# Binding strengths of what is printed: a part that binds more loosely than its place wants gets brackets.
_IMPLIES, _OR, _AND, _ATOM, _SUM, _PRODUCT, _SIGN, _POWER, _PRIMARY = range(9)


def _printed(node: Formula | Term) -> tuple[str, int]:
    """The text of a node and how strongly it binds."""
    match node:
        case Number():
            return _number(node.value)
        case Variable():
            return node.name, _PRIMARY
        case Operation():
            return _operation(node)
        case Comparison():
            return f"{_part(node.left, _SUM)} {node.relation} {_part(node.right, _SUM)}", _ATOM
        case Predicate():
            arguments = ", ".join(a.name for a in node.arguments)
            return (f"{node.name}({arguments})" if arguments else node.name), _ATOM
        case Truth():
            return ("true" if node.value else "false"), _ATOM
        case Not():
            inner, binding = _printed(node.body)
            simple = isinstance(node.body, Predicate | Truth | Not)
            return (f"not {inner}" if simple else f"not ({inner})"), _ATOM
        case Quantified():
            return f"{node.quantifier} {node.variable.name}: {_printed(node.body)[0]}", _IMPLIES
        case Connected():
            return _connected(node)


def _connected(node: Connected) -> tuple[str, int]:
    own, word = {"and": (_AND, "and"), "or": (_OR, "or"), "implies": (_IMPLIES, "->"), "iff": (_IMPLIES, "<->")}[
        node.connective
    ]
    right = own if own == _IMPLIES else own + 1
    left = _OR if own == _IMPLIES else own
    return f"{_part(node.left, left)} {word} {_part(node.right, right)}", own


def _operation(node: Operation) -> tuple[str, int]:
    if node.operator in ("abs", "sqrt"):
        return f"{node.operator}({_printed(node.arguments[0])[0]})", _PRIMARY
    if node.operator == "neg":
        return f"-{_part(node.arguments[0], _POWER)}", _SIGN
    left, right = node.arguments
    if node.operator == "^":
        return f"{_part(left, _PRIMARY)} ^ {_part(right, _SIGN)}", _POWER
    own = _SUM if node.operator in "+-" else _PRODUCT
    return f"{_part(left, own)} {node.operator} {_part(right, own + 1)}", own


def _part(node: Formula | Term, wanted: int) -> str:
    text, binding = _printed(node)
    return text if binding >= wanted else f"({text})"


def _number(value: Fraction) -> tuple[str, int]:
    """A decimal where there is one within the bounds of the parser, else a quotient."""
    binding = _SIGN if value < 0 else _PRIMARY
    if value.denominator == 1:
        return str(value), binding
    places = next((n for n in range(1, MAX_PLACES) if 10**n % value.denominator == 0), 0)
    if not places:
        return f"{value.numerator} / {value.denominator}", _PRODUCT
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}", binding
