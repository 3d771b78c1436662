"""Whether a claim holds: both sides as exact values, other readings of the notation, and the doubts of prose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice, product
from typing import NamedTuple

from rewardkit.labelers._claims import MAX_SIDE, Claim, Side
from rewardkit.labelers._doubts import (
    counts_unlike_things,
    cut_number,
    depends_on_prose,
    ends_chain,
    goes_on,
    holds_with_minus,
    is_definition,
    is_shifted,
    mixes_units,
    needs_no_rounding,
    shows_signs,
    size_of,
)
from rewardkit.labelers._expressions import (
    HAS_PERCENT,
    HAS_SUM,
    Operand,
    read_operand,
)
from rewardkit.labelers._tokens import WORD, Token
from rewardkit.labelers._units import check_units, has_units
from rewardkit.labelers._values import Unreadable, Value
from rewardkit.labelers._words import (
    COMPARISONS,
    DOUBTS,
    HYPOTHESES,
    INTRODUCTIONS,
    LARGE_UNITS,
    NEEDS,
    PROSE,
    ROUNDING,
)

MAX_EVIDENCE = 200  # characters
UNITS_DIFFER = "the units differ"
DEFINITION = "what one thing comes to, not a calculation"
MAX_READINGS = 32


class Check(NamedTuple):
    """What came of one claim: True, False or None (not checked), and a line that says so."""

    holds: bool | None
    evidence: str


class Checker:
    """Checks the claims of one text.

    >>> from rewardkit.labelers._claims import find_claims
    >>> text = "10 / 3 = 3.33"
    >>> Checker(text).check(next(find_claims(text)))
    Check(holds=True, evidence='10 / 3 = 3.33')
    """

    def __init__(self, text: str, strict: bool = False) -> None:
        self.text = text
        self.strict = strict
        self._known: dict[str, bool] = {}

    @property
    def doubted(self) -> bool:
        return self._holds("doubted", DOUBTS.found)

    @property
    def rounded(self) -> bool:
        return self._holds("rounded", ROUNDING.found)

    @property
    def large_units(self) -> bool:
        return self._holds("large units", LARGE_UNITS.found)

    def _holds(self, name: str, test: Callable[[str], bool]) -> bool:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = test(self.text)
        return known

    def check(self, claim: Claim, show: bool = True) -> Check:
        """Check one claim; without `show`, one that holds comes without evidence, which takes time to write."""
        try:
            left = _read(claim.tokens, claim.left, whole=True)
            right = _read(claim.tokens, claim.right, whole=False)
        except Unreadable as error:
            return self._with_units(claim, str(error))
        if not _asserts(claim, left, right):
            return self._with_units(claim, "no calculation found")
        holds = _compare(claim.relation, left, right)
        if not holds and _another_reading_holds(claim, left, right):
            holds = True
        if holds and has_units(claim) and mixes_units(claim.tokens[claim.left.start : claim.right.end]):
            return self._with_units(claim, UNITS_DIFFER, Check(True, _evidence(claim, left, right, self.text, True)))
        if holds and not show:
            return Check(True, "")
        doubt = "" if holds else self._doubt(claim, left, right) if holds is False else "it may be rounded"
        if doubt in (UNITS_DIFFER, DEFINITION):
            return self._with_units(claim, doubt)
        return Check(None, doubt) if doubt else Check(holds, _evidence(claim, left, right, self.text, bool(holds)))

    def _with_units(self, claim: Claim, reason: str, without: Check | None = None) -> Check:
        """Decide a claim between quantities with units; `without` is what plain numbers say, None where they cannot."""
        holds = check_units(claim, without is not None) if has_units(claim) else None
        if holds is None:
            return without or Check(None, reason)
        if not holds and (self.doubted or self.rounded or claim.left.prose):
            return Check(None, reason)
        source = self.text[claim.tokens[claim.left.start].start : claim.tokens[claim.right.end - 1].end]
        shown = " ".join(source.split())[: MAX_EVIDENCE - 30]
        return Check(True, shown) if holds else Check(False, f"{shown} is false with these units")

    def _doubt(self, claim: Claim, left: Operand, right: Operand) -> str:
        """Why a claim that does not hold is not called false; "" where there is no doubt."""
        tokens = claim.tokens
        if is_definition(claim, left, right):
            return DEFINITION
        if mixes_units([*tokens[claim.left.start : claim.left.end], *tokens[claim.right.start : right.last + 3]]):
            return UNITS_DIFFER
        if left.parts == HAS_SUM and counts_unlike_things(claim, right):
            return "the words may stand for prices"
        words = [t.text for t in tokens[max(0, claim.left.start - MAX_SIDE) : claim.right.end] if t.kind == WORD]
        if not HYPOTHESES.isdisjoint(words) or self.doubted or self._is_question(tokens[-1].end):
            return "it may not be asserted as true"
        if claim.left.prose and depends_on_prose(claim, left, right):
            return "the words before it may belong to it"
        if cut_number(self.text, tokens[claim.left.start].start):
            return "its first number may go on before it"
        if claim.left.bullet and holds_with_minus(left, right):
            return "the dash before it may be a minus"
        if claim.relation not in ("=", "~", "is") and NEEDS.found(self.text):
            return "it may be what is needed or tried"
        if goes_on(claim, left, right):
            return "it may be worked out piece by piece"
        return self._doubt_of_size(claim, left, right)

    def _is_question(self, end: int) -> bool:
        return self.text[end : end + 8].lstrip().startswith("?")

    def _doubt_of_size(self, claim: Claim, left: Operand, right: Operand) -> str:
        """Doubts that come from how far the two values lie apart."""
        a, b = left.value, right.value
        if -1 < a - b < 1 and not needs_no_rounding(left, right):
            behind = claim.tokens[right.stop : right.stop + 1]
            if self.rounded or (behind and behind[0].text == "and"):
                return "it may be rounded, or go on"
        if a == -b and not self.strict and not shows_signs(claim):
            return "the sign may stand in words"
        if is_shifted(a, b) and self.large_units:
            return "the units may differ"
        return ""


def _asserts(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether there is something to calculate, and the sentence cannot be about something else."""
    if claim.left.carried:
        return left.calculation and not right.calculation
    if ends_chain(claim, left, right):
        return True
    if claim.relation == "is":
        return _is_plain(claim, left, right)
    return left.calculation or right.calculation or bool(left.parts | right.parts)


def _read(tokens: Sequence[Token], side: Side, *, whole: bool, reading: int = 0) -> Operand:
    """Read one side. What is left over behind it must be words, else the side is not understood.

    The right side may go on as prose ("= 8 and the rest - 3"); the left side ends at its relation.
    """
    operand = read_operand(tokens, side.start, side.end, reading)
    rest = tokens[operand.stop : side.end]
    if not rest or all(t.kind == WORD for t in rest):
        return operand
    if not whole and rest[0].kind == WORD and rest[0].text in PROSE:
        return operand
    raise Unreadable(f"'{rest[0].text[:20]}' cannot be read")


def _is_plain(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether "A is B" can only mean A = B: a calculation without words, and a number alone."""
    rest = claim.tokens[right.stop : claim.right.end]
    behind = claim.tokens[right.last + 1 : claim.right.end]
    if claim.left.prose and claim.tokens[claim.left.start - 1].text not in INTRODUCTIONS:
        return False
    compared = any(t.text in COMPARISONS for t in behind)
    wordless = left.stop == claim.left.end and left.last + 1 == claim.left.end
    return left.calculation and wordless and right.numbers == 1 and not compared and all(t.kind == WORD for t in rest)


def _compare(relation: str, left: Operand, right: Operand) -> bool | None:
    """True, False, or None where the values differ by what rounding may explain."""
    if relation in ("=", "is", "~"):
        return equal(left, right, relation == "~")
    a, b = left.value, right.value
    return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "!=": a != b}[relation]


def equal(left: Operand, right: Operand, about: bool) -> bool | None:
    """True, False, or None where the values differ by what rounding may explain; `about` is for "≈"."""
    a, b = left.value, right.value
    if a == b:
        return True
    if right.calculation and right.first == a:
        return True  # a run-on chain: 5 + 3 = 8 * 2 = 16
    if right.numbers == 1 and _is_rounded(a, b, right):
        return True
    if left.numbers == 1 and _is_rounded(b, a, left):
        return True
    return None if _may_be_rounding(left, right, about) else False


def _is_rounded(exact: Value, shown: Value, operand: Operand) -> bool:
    """Whether `shown` is `exact` rounded or cut to the decimals that are shown."""
    decimals = operand.decimals + (2 if operand.parts & HAS_PERCENT else 0)
    if not operand.decimals and not operand.inexact and not (operand.parts & HAS_PERCENT):
        return False
    off = size_of(exact - shown)
    if operand.decimals >= 8 and off * 10**8 <= size_of(exact):
        return True  # a floating-point number was copied
    off *= 10**decimals  # in units of the last digit
    return off * 2 <= 1 or (off < 1 and size_of(shown) < size_of(exact)) or (operand.inexact and off < 2)


def _may_be_rounding(left: Operand, right: Operand, about: bool) -> bool:
    """Whether two different values may differ by rounding alone, here or in the numbers that went in."""
    off = size_of(left.value - right.value)
    size = max(size_of(left.value), size_of(right.value))
    if about:
        return off * 20 <= size or off < 1
    if left.inexact or right.inexact:
        return off * 100 <= size
    for shown, worked in ((left, right), (right, left)):
        if shown.numbers == 1 and not worked.decimals:  # nothing rounded went in
            return bool(shown.decimals) and off * 10**shown.decimals < 1
    if left.parts | right.parts == HAS_SUM and left.decimals == right.decimals:
        return False  # 4.20 + 9.45 = 14.99 has nothing to round
    return off * 200 <= size


def _another_reading_holds(claim: Claim, left: Operand, right: Operand) -> bool:
    if not left.readings and not right.readings:
        return False
    pairs = product(_readings(left.readings), _readings(right.readings))
    for a, b in islice(pairs, 1, MAX_READINGS):
        try:
            one = _read(claim.tokens, claim.left, whole=True, reading=a)
            other = _read(claim.tokens, claim.right, whole=False, reading=b)
        except Unreadable:
            continue
        if _compare(claim.relation, one, other):
            return True
    return False


def _readings(bits: int) -> Iterator[int]:
    """Every subset of `bits`, the empty one first."""
    subset = 0
    while True:
        yield subset
        if subset == bits:
            return
        subset = (subset - bits) & bits


def _evidence(claim: Claim, left: Operand, right: Operand, text: str, holds: bool) -> str:
    a = _shown(claim.tokens, claim.left.start, left.last, text)
    b = _shown(claim.tokens, claim.right.start, right.last, text)
    relation = {"~": "≈", "is": "="}.get(claim.relation, claim.relation)
    if holds or relation not in ("=", "≈") or not left.parts | right.parts:
        line = f"{a} {relation} {b}" + ("" if holds else " is false")
    elif not left.calculation and right.calculation:
        line = f"{b} is {written(right.value)}, not {a}"
    else:
        line = f"{a} is {written(left.value)}, not {b}"
    return " ".join(line.split())[:MAX_EVIDENCE]


def _shown(tokens: Sequence[Token], start: int, last: int, text: str) -> str:
    """The source of tokens ``start`` to ``last``, without what was left out between them, such as ``<<...>>``."""
    low, high = tokens[start].start, tokens[last].end
    if high - low <= 12 and "<" not in text[low:high]:
        return text[low:high]
    parts = []
    at = low
    for token in tokens[start : last + 1]:
        if token.end > at or token.start == token.end == at:
            gap = text[at : token.start]
            parts.append(("" if len(gap) > 12 or "<<" in gap else gap) + text[max(at, token.start) : token.end])
            at = token.end
    return "".join(parts)


def written(value: Value) -> str:
    """A value for a person: whole, as a short decimal, or as a fraction."""
    exact = Fraction(value)
    if exact.denominator == 1 or abs(exact) >= 10**12:
        return str(exact)
    if (exact * 10**6).denominator == 1:
        return f"{float(exact):.6f}".rstrip("0")
    return f"{exact} (about {float(exact):.6g})"
