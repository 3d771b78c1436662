"""Claims between quantities with units: "60 mi/h * 30 min = 30 mi", "1 hour = 60 minutes". Factors come from Pint.

Only units of our own table are looked up, by name; Pint never reads a text. Where Pint is not installed, nothing is
decided. A false conversion is not called false ("1 day = 8 hours" may be a working day); a false product is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from rewardkit.labelers._claims import Claim
from rewardkit.labelers._tokens import BAD, NUM, OP, WORD, Token
from rewardkit.labelers._values import Unreadable, bounded, divided, literal

# From names of units in Pint to words. Left out: ounces, pounds, tons (several kinds), months, years (several lengths).
_WORDS = """second:second,seconds,sec,secs,s minute:minute,minutes,min,mins hour:hour,hours,hr,hrs,h day:day,days
    week:week,weeks inch:inch,inches foot:foot,feet,ft yard:yard,yards,yd,yds mile:mile,miles,mi
    millimeter:mm,millimeter,millimeters centimeter:cm,centimeter,centimeters,centimetre,centimetres
    meter:m,meter,meters,metre,metres kilometer:km,kilometer,kilometers,kilometre,kilometres milligram:mg,milligrams
    gram:g,gram,grams kilogram:kg,kilogram,kilograms milliliter:ml,mL,milliliter,milliliters,millilitre,millilitres
    liter:L,l,liter,liters,litre,litres cup:cup,cups pint:pint,pints quart:quart,quarts gallon:gallon,gallons"""
UNITS = {word: pair.partition(":")[0] for pair in _WORDS.split() for word in pair.partition(":")[2].split(",")}
_NAMED = frozenset(UNITS)

Dimension = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in base units.

    Attributes:
        value: exact.
        dimension: powers of base dimensions, () for a plain number.
        factors: how many quantities with a unit were multiplied or divided.
        bare: a number without a unit is a factor of it.
        parts: dimensions of the factors.
    """

    value: Fraction
    dimension: Dimension
    factors: int = 1
    bare: bool = False
    parts: frozenset[Dimension] = frozenset()


def has_units(claim: Claim) -> bool:
    """Whether units of the table stand on both sides of a claim."""
    return claim.relation in ("=", "is") and not any(
        _NAMED.isdisjoint([t[1] for t in claim.tokens[side.start : side.end]]) for side in (claim.left, claim.right)
    )


def check_units(claim: Claim, numbers_hold: bool = False) -> bool | None:
    """Whether a claim between quantities holds; None where that cannot be told.

    Args:
        claim: any claim.
        numbers_hold: it holds without its units. Then units of another kind are sloppy ("10 hours * 60 minutes = 600
            minutes"), but a wrong factor between units of one kind is wrong.

    >>> from rewardkit.labelers._claims import find_claims
    >>> [check_units(claim) for claim in find_claims("60 mi/h * 30 min = 30 mi and 1 hour = 60 minutes")]
    [True, True]
    """
    if _registry() is None:
        return None
    try:
        left = _Reader(claim.tokens, claim.left.start, claim.left.end).quantity(whole=True)
        right = _Reader(claim.tokens, claim.right.start, claim.right.end).quantity(whole=False)
    except Unreadable:
        return None
    if not left.dimension or not right.dimension:
        return None
    if left.dimension == right.dimension and left.value == right.value:
        return True
    sure = left.factors >= 2 and not left.bare and not right.bare
    far = abs(left.value - right.value) * 50 > max(abs(left.value), abs(right.value))
    if left.dimension != right.dimension:
        far = not numbers_hold and right.dimension not in left.parts
    return False if sure and far else None


@cache
def _unit(name: str) -> Quantity:
    """One of a unit of Pint, in base units."""
    base = (1 * getattr(_registry(), name)).to_base_units()
    powers = sorted((str(k), int(v)) for k, v in dict(base.dimensionality).items())
    return Quantity(Fraction(base.magnitude), tuple(powers))


@cache
def _registry() -> Any:
    """Pint's units with exact factors; None where Pint is not installed."""
    try:
        import pint
    except ImportError:
        return None
    return pint.UnitRegistry(non_int_type=Fraction)


class _Reader:
    """Sums of products of numbers with units, as in "60 miles/hour * 2 hours"."""

    def __init__(self, tokens: Sequence[Token], start: int, end: int) -> None:
        self.tokens = tokens
        self.at = start
        self.end = end

    def quantity(self, *, whole: bool) -> Quantity:
        total = self._product()
        while self._is("+") or self._is("-"):
            sign = 1 if self.tokens[self.at].text == "+" else -1
            self.at += 1
            term = self._product()
            if term.dimension != total.dimension:
                raise Unreadable("the units differ")
            total = Quantity(Fraction(bounded(total.value + sign * term.value)), total.dimension, 0, True)
        rest = self.tokens[self.at : self.end]
        if rest and (whole or rest[0].kind != WORD):
            raise Unreadable("more than a quantity")
        return total

    def _is(self, text: str) -> bool:
        return self.at < self.end and self.tokens[self.at].kind == OP and self.tokens[self.at].text == text

    def _product(self) -> Quantity:
        total = self._factor()
        while self._is("*") or self._is("/"):
            divide = self._is("/")
            self.at += 1
            factor = self._factor()
            value = divided(total.value, factor.value) if divide else bounded(total.value * factor.value)
            power = -1 if divide else 1
            known = total.factors * bool(total.dimension) + bool(factor.dimension)
            bare = total.bare or factor.bare
            dimension = _combined(total.dimension, factor.dimension, power)
            parts = total.parts | {total.dimension, factor.dimension}
            total = Quantity(Fraction(value), dimension, known, bare, parts)
        return total

    def _factor(self) -> Quantity:
        if self.at >= self.end or self.tokens[self.at].kind != NUM:
            raise Unreadable("a number is missing")
        value = Fraction(literal(self.tokens[self.at].text))
        self.at += 1
        unit = self._unit()
        if unit is None:
            return Quantity(value, (), 0, True)
        value, dimension = value * unit.value, unit.dimension
        while self._is("/") or (self.at < self.end and self.tokens[self.at].text == "per"):
            self.at += 1
            below = self._unit()
            if below is None:
                self.at -= 1
                break
            value, dimension = value / below.value, _combined(dimension, below.dimension, -1)
        return Quantity(Fraction(bounded(value)), dimension)

    def _unit(self) -> Quantity | None:
        if self.at < self.end and self.tokens[self.at].kind in (WORD, BAD) and self.tokens[self.at].text in UNITS:
            self.at += 1
            return _unit(UNITS[self.tokens[self.at - 1].text])
        return None


def _combined(a: Dimension, b: Dimension, power: int) -> Dimension:
    powers = dict(a)
    for name, exponent in b:
        powers[name] = powers.get(name, 0) + power * exponent
    return tuple(sorted((name, exponent) for name, exponent in powers.items() if exponent))
