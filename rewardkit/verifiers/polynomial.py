"""Exact identity checks: terms as quotients of polynomials over the rationals, square roots of numbers included.

Two terms are identical if their cross products are equal as polynomials; that holds wherever no denominator is 0.
Sizes are bounded, so that no term can make it run long. Roots and absolute values of variables are taken as unknowns of
their own: what is found equal is equal, what is not found equal may still be.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewardkit.verifiers.formula import Number, Operation, Term, Variable

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]

MAX_TERMS = 300
MAX_DEGREE = 40
MAX_BITS = 1024
MAX_RADICAND = 10**8


class Unbounded(Exception):
    """The term is too large, or undefined (a division by zero); the message says which."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """``top / bottom``.

    Attributes:
        top: numerator.
        bottom: denominator, never the zero polynomial.
        opaque: a root or an absolute value stands in it as an unknown of its own.
    """

    top: Polynomial
    bottom: Polynomial
    opaque: bool = False

    @property
    def names(self) -> set[str]:
        """The variables that occur in it, radicals left out."""
        return {name for poly in (self.top, self.bottom) for mono in poly for name, _ in mono if name[0] != "√"}


def quotient(term: Term) -> Quotient:
    """A term as a quotient of polynomials.

    Raises:
        Unbounded: it is too large, or divides by zero.

    >>> x = Variable("x")
    >>> quotient(Operation("^", (Operation("+", (x, Number(Fraction(1)))), Number(Fraction(2))))).top
    {(('x', 2),): Fraction(1, 1), (('x', 1),): Fraction(2, 1), (): Fraction(1, 1)}
    """
    return _Reader().read(term)


def identical(left: Term, right: Term) -> bool | None:
    """Whether two terms are equal wherever both are defined; None where that cannot be told.

    >>> x, one = Variable("x"), Number(Fraction(1))
    >>> identical(Operation("/", (Operation("*", (x, x)), x)), x)
    True
    >>> identical(x, one)
    False
    """
    reader = _Reader()
    try:
        a, b = reader.read(left), reader.read(right)
        if _subtract(_multiply(a.top, b.bottom), _multiply(b.top, a.bottom)):
            return None if a.opaque or b.opaque else False
    except Unbounded:
        return None
    return True


def difference(left: Term, right: Term) -> Polynomial | None:
    """The polynomial that is zero where the terms are equal (and no denominator is 0); None where there is none."""
    reader = _Reader()
    try:
        a, b = reader.read(left), reader.read(right)
        if a.opaque or b.opaque:
            return None
        return _subtract(_multiply(a.top, b.bottom), _multiply(b.top, a.bottom))
    except Unbounded:
        return None


def coefficients(poly: Polynomial) -> tuple[str, list[Fraction]] | None:
    """The variable and the coefficients (constant first) of a polynomial in one variable without radicals, else None.

    >>> coefficients({(("x", 1),): Fraction(2), (): Fraction(3)})
    ('x', [Fraction(3, 1), Fraction(2, 1)])
    """
    names = {name for mono in poly for name, _ in mono}
    if len(names) != 1 or next(iter(names))[0] in "√#":
        return None
    degree = max((mono[0][1] for mono in poly if mono), default=0)
    found = [Fraction(0)] * (degree + 1)
    for mono, factor in poly.items():
        found[mono[0][1] if mono else 0] = factor
    return next(iter(names)), found


def at(coefficients_: list[Fraction], x: Fraction) -> Fraction:
    """The value of a polynomial, constant coefficient first.

    >>> at([Fraction(3), Fraction(2)], Fraction(5))
    Fraction(13, 1)
    """
    total = Fraction(0)
    for c in reversed(coefficients_):
        total = total * x + c
    return total


def common_factor(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    """The greatest common divisor of two polynomials, constant coefficient first; of length 1 where they share no root.

    >>> len(common_factor([Fraction(-4), Fraction(0), Fraction(1)], [Fraction(-2), Fraction(1)]))  # x^2 - 4, x - 2
    2
    """
    while any(b):
        rest = a
        while len(rest) >= len(b):
            factor, shift = rest[-1] / b[-1], len(rest) - len(b)
            rest = [c - (factor * b[i - shift] if i >= shift else 0) for i, c in enumerate(rest)][:-1]
        while rest and not rest[-1]:
            rest = rest[:-1]
        a, b = b, rest
    return a


def has_real_root(coefficients_: list[Fraction]) -> bool:
    """Whether a polynomial surely has a real root; False where that is not plain.

    >>> has_real_root([Fraction(1), Fraction(0), Fraction(1)])
    False
    """
    degree = len(coefficients_) - 1
    if degree == 2:
        c, b, a = coefficients_
        return b * b - 4 * a * c >= 0
    return degree % 2 == 1 or coefficients_[0] * coefficients_[-1] < 0


class _Reader:
    """Reads terms; equal roots become the same unknown for one reader."""

    def __init__(self) -> None:
        self.unknowns: dict[object, str] = {}
        self.depth = 0

    def read(self, term: Term) -> Quotient:
        self.depth += 1
        if self.depth > 150:
            raise Unbounded("nested too deep")
        found = self._read(term)
        self.depth -= 1
        return found

    def _read(self, term: Term) -> Quotient:
        one: Polynomial = {(): Fraction(1)}
        if isinstance(term, Number):
            return Quotient({(): term.value} if term.value else {}, one)
        if isinstance(term, Variable):
            return Quotient({((term.name, 1),): Fraction(1)}, one)
        if term.operator == "^":
            return self._power(term)
        parts = [self.read(argument) for argument in term.arguments]
        opaque = any(p.opaque for p in parts)
        if term.operator == "neg":
            return Quotient(_subtract({}, parts[0].top), parts[0].bottom, opaque)
        if term.operator in ("abs", "sqrt"):
            return self._root(term, parts[0])
        return _combined(term.operator, parts[0], parts[1], opaque)

    def _power(self, term: Operation) -> Quotient:
        exponent = term.arguments[1]
        if not isinstance(exponent, Number) or exponent.value.denominator != 1 or not 0 <= exponent.value <= MAX_DEGREE:
            raise Unbounded("a power that is not checked")
        base = self.read(term.arguments[0])
        top: Polynomial = {(): Fraction(1)}
        bottom: Polynomial = {(): Fraction(1)}
        for _ in range(int(exponent.value)):
            top, bottom = _multiply(top, base.top), _multiply(bottom, base.bottom)
        return Quotient(top, bottom, base.opaque)

    def _root(self, term: Operation, inner: Quotient) -> Quotient:
        constant = not (inner.top.keys() | inner.bottom.keys()) - {()}
        if constant:
            value = inner.top.get((), Fraction(0)) / inner.bottom[()]
            if term.operator == "abs":
                return Quotient({(): abs(value)} if value else {}, {(): Fraction(1)}, inner.opaque)
            if value < 0:
                raise Unbounded("a root of a negative number")
            return Quotient(_radical(value), {(): Fraction(1)}, inner.opaque)
        key = (term.operator, frozenset(inner.top.items()), frozenset(inner.bottom.items()))
        name = self.unknowns.setdefault(key, f"#{len(self.unknowns)}")
        return Quotient({((name, 1),): Fraction(1)}, {(): Fraction(1)}, True)


def _combined(operator: str, a: Quotient, b: Quotient, opaque: bool) -> Quotient:
    if operator == "*":
        return Quotient(_multiply(a.top, b.top), _multiply(a.bottom, b.bottom), opaque)
    if operator == "/":
        if not b.top:
            raise Unbounded("division by zero")
        return Quotient(_multiply(a.top, b.bottom), _multiply(a.bottom, b.top), opaque)
    left, right = (a.top, b.top) if a.bottom == b.bottom else (_multiply(a.top, b.bottom), _multiply(b.top, a.bottom))
    bottom = a.bottom if a.bottom == b.bottom else _multiply(a.bottom, b.bottom)
    return Quotient(_subtract(left, right, 1 if operator == "+" else -1), bottom, opaque)


def _radical(value: Fraction) -> Polynomial:
    """The square root of a number: a rational times one ``√p`` for each prime p that is left."""
    rest = value.numerator * value.denominator
    if rest > MAX_RADICAND:
        raise Unbounded("a root that is not checked")
    if rest == 0:
        return {}
    outside, names = Fraction(1, value.denominator), []
    prime = 2
    while prime * prime <= rest:
        count = 0
        while rest % prime == 0:
            rest //= prime
            count += 1
        outside *= prime ** (count // 2)
        names += [f"√{prime}"] * (count % 2)
        prime += 1
    if rest > 1:
        names.append(f"√{rest}")
    return {tuple((name, 1) for name in sorted(names)): outside}


def _subtract(a: Polynomial, b: Polynomial, sign: int = -1) -> Polynomial:
    out = dict(a)
    for mono, factor in b.items():
        total = out.get(mono, Fraction(0)) + sign * factor
        if total:
            out[mono] = total
        else:
            out.pop(mono, None)
    return out


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > MAX_TERMS * 4:
        raise Unbounded("too many terms")
    out: Polynomial = {}
    for left, p in a.items():
        for right, q in b.items():
            mono, factor = _product(left, right)
            total = out.get(mono, Fraction(0)) + p * q * factor
            if max(total.numerator.bit_length(), total.denominator.bit_length()) > MAX_BITS:
                raise Unbounded("a number is too large")
            if total:
                out[mono] = total
            else:
                out.pop(mono, None)
    return out


def _product(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, and the number that ``√p * √p = p`` leaves."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    if sum(powers.values()) > MAX_DEGREE:
        raise Unbounded("the degree is too high")
    factor = 1
    for name in [n for n, p in powers.items() if n[0] == "√" and p > 1]:
        factor *= int(name[1:]) ** (powers[name] // 2)
        powers[name] %= 2
    return tuple(sorted((n, p) for n, p in powers.items() if p)), factor
