"""Exact arithmetic with bounds: no number, power or factorial of a text can grow until it costs time or memory."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

Value = int | Fraction

MAX_BITS = 2048
MAX_DIGITS = 60
MAX_FACTORIAL = 100
_SMALL = 1 << 64


class Unreadable(Exception):
    """The tokens are no expression of this grammar, or its value is out of bounds; the message says why."""


@lru_cache(4096)
def literal(text: str) -> Value:
    """The value of digits with or without a point."""
    if len(text) > MAX_DIGITS:
        raise Unreadable("a number has too many digits")
    return Fraction(text) if "." in text else int(text)


def bounded(value: Value) -> Value:
    """The value itself, where it is not too large."""
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise Unreadable("a number is too large")
    return value


def divided(above: Value, below: Value) -> Value:
    """``above / below``, as an int where it comes out even."""
    if below == 0:
        raise Unreadable("division by zero")
    if isinstance(above, int) and isinstance(below, int) and above % below == 0:
        return above // below
    return bounded(Fraction(above) / below)


def raised(base: Value, exponent: Value) -> Value:
    """``base ** exponent`` for whole exponents."""
    if exponent.denominator != 1:
        raise Unreadable("a root that is not checked")
    power = exponent.numerator
    if max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(power) > MAX_BITS:
        raise Unreadable("a power is too large")
    if power < 0:
        return divided(1, base**-power)
    return base**power


def factorial(value: Value) -> Value:
    """``value!`` for whole numbers up to `MAX_FACTORIAL`."""
    if value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise Unreadable("a factorial is too large or of no whole number")
    return math.factorial(value.numerator)


def root(value: Value) -> Value:
    """The square root, where it is a fraction."""
    if value < 0:
        raise Unreadable("a root of a negative number")
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if above * above != value.numerator or below * below != value.denominator:
        raise Unreadable("a root that is no fraction")
    return divided(above, below)
