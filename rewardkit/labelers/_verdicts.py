"""Whether a claim holds: both sides as exact values, other readings of the notation, and the doubts of prose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice, product
from typing import NamedTuple

from rewardkit.labelers._claims import MAX_SIDE, Claim, Side
from rewardkit.labelers._expressions import (
    HAS_PERCENT,
    HAS_SUM,
    Operand,
    read_operand,
)
from rewardkit.labelers._tokens import OP, OPEN, REL, WORD, Token
from rewardkit.labelers._units import check_units, has_units
from rewardkit.labelers._values import Unreadable, Value
from rewardkit.labelers._words import (
    COMPARISONS,
    DOUBTS,
    HYPOTHESES,
    INTRODUCTIONS,
    LABELS,
    LARGE_UNITS,
    MODIFIERS,
    MULTIPLES,
    PROSE,
    ROUNDING,
    SAME_UNITS,
    UNIT_KINDS,
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

    def __init__(self, text: str) -> None:
        self.text = text
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
        if holds and has_units(claim) and _mixes_units(claim.tokens[claim.left.start : claim.right.end]):
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
        source = self.text[claim.tokens[claim.left.start].start : claim.tokens[claim.right.end - 1].end]
        shown = " ".join(source.split())[: MAX_EVIDENCE - 30]
        if holds:
            return Check(True, shown)
        if holds is None or self.doubted or self.rounded or claim.left.prose:
            return without if without and holds is None else Check(None, reason)
        return Check(False, f"{shown} is false with these units")

    def _doubt(self, claim: Claim, left: Operand, right: Operand) -> str:
        """Why a claim that does not hold is not called false; "" where there is no doubt."""
        tokens = claim.tokens
        if _is_definition(claim, left, right):
            return DEFINITION
        if _mixes_units([*tokens[claim.left.start : claim.left.end], *tokens[claim.right.start : right.last + 3]]):
            return UNITS_DIFFER
        words = {t.text for t in tokens[max(0, claim.left.start - MAX_SIDE) : claim.right.end] if t.kind == WORD}
        if words & HYPOTHESES or self.doubted or self._is_question(tokens[-1].end):
            return "it may not be asserted as true"
        if claim.left.prose and _depends_on_prose(claim, left, right):
            return "the words before it may belong to it"
        if _cut_number(self.text, tokens[claim.left.start].start):
            return "its first number may go on before it"
        if claim.left.bullet and _holds_with_minus(left, right):
            return "the dash before it may be a minus"
        return self._doubt_of_size(claim, left, right)

    def _is_question(self, end: int) -> bool:
        return self.text[end : end + 8].lstrip().startswith("?")

    def _doubt_of_size(self, claim: Claim, left: Operand, right: Operand) -> str:
        """Doubts that come from how far the two values lie apart."""
        a, b = left.value, right.value
        if -1 < a - b < 1:
            behind = claim.tokens[right.stop : right.stop + 1]
            if self.rounded or (behind and behind[0].text == "and"):
                return "it may be rounded, or go on"
        if a == -b and not _shows_signs(claim):
            return "the sign may stand in words"
        if _is_shifted(a, b) and self.large_units:
            return "the units may differ"
        return ""


def _size(value: Value) -> Value:
    return -value if value < 0 else value


def _is_shifted(a: Value, b: Value) -> bool:
    """Whether two values differ by a power of ten, as sums in two units do."""
    return a != 0 and any(a == b * power or b == a * power for power in (10**2, 10**3, 10**6, 10**9))


def _asserts(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether there is something to calculate, and the sentence cannot be about something else."""
    if claim.left.carried:
        return left.calculation and not right.calculation
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
        return _equal(left, right, relation == "~")
    a, b = left.value, right.value
    return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "!=": a != b}[relation]


def _equal(left: Operand, right: Operand, about: bool) -> bool | None:
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
    off = _size(exact - shown)
    if operand.decimals >= 8 and off * 10**8 <= _size(exact):
        return True  # a floating-point number was copied
    off *= 10**decimals  # in units of the last digit
    return off * 2 <= 1 or (off < 1 and _size(shown) < _size(exact)) or (operand.inexact and off < 2)


def _may_be_rounding(left: Operand, right: Operand, about: bool) -> bool:
    """Whether two different values may differ by rounding alone, here or in the numbers that went in."""
    off = _size(left.value - right.value)
    size = max(_size(left.value), _size(right.value))
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


def _depends_on_prose(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether words before the left side change it: "half of 5 + 3", "day 1 * 2", "weeks 3-4"."""
    tokens = claim.tokens
    start = claim.left.start
    if tokens[start - 1].text.rstrip("s") in LABELS or any(
        t.text in MODIFIERS for t in tokens[max(0, start - 4) : start]
    ):
        return True
    for i in range(start - 1, max(-1, start - MAX_SIDE), -1):
        if tokens[i].kind == REL:
            break
        if tokens[i].kind == OP:
            return True
    return right.calculation and left.last == start + 2 and left.parts == HAS_SUM


def _cut_number(text: str, start: int) -> bool:
    """Whether what stands before `start` looks like the head of the same number, "14, 400"."""
    head = text[max(0, start - 3) : start].rstrip()
    return head[-1:] == "," and head[-2:-1].isdigit() and text[start : start + 3].isdigit()


def _is_definition(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether the left side merely names what the right side counts: "1/4 = 20 students", "2 weeks = 14 days"."""
    if left.calculation:
        return False
    if claim.left.prose or left.last + 1 < claim.left.end:
        return True
    if right.calculation:
        return bool(left.parts or right.parts & HAS_PERCENT)
    return right.last + 1 < claim.right.end or not -1 < right.value < 1


def _shows_signs(claim: Claim) -> bool:
    """Whether a number of the claim is written with a minus of its own, "-41 * -3", so that signs are minded."""
    for side in (claim.left, claim.right):
        for i in range(side.start, side.end - 1):
            before = claim.tokens[i - 1].kind if i > side.start else OP
            if claim.tokens[i].kind == OP and claim.tokens[i].text == "-" and before in (OP, OPEN):
                return True
    return False


def _mixes_units(tokens: Sequence[Token]) -> bool:
    """Whether two units of one kind, or a word such as "dozen", stand in a claim: then its numbers need not add up."""
    seen: dict[str, set[str]] = {}
    for token in tokens:
        if token.text in MULTIPLES:
            return True
        kind = UNIT_KINDS.get(token.text)
        if kind is not None:
            seen.setdefault(kind, set()).add(SAME_UNITS.get(token.text, token.text.rstrip("s")))
    return any(len(units) > 1 for units in seen.values())


def _holds_with_minus(left: Operand, right: Operand) -> bool:
    """Whether the claim holds where the list mark before it is taken for a minus."""
    first = left.first
    return left.value - 2 * first == right.value or -left.value == right.value


def _evidence(claim: Claim, left: Operand, right: Operand, text: str, holds: bool) -> str:
    a = _shown(claim.tokens, claim.left.start, left.last, text)
    b = _shown(claim.tokens, claim.right.start, right.last, text)
    relation = {"~": "≈", "is": "="}.get(claim.relation, claim.relation)
    if holds or relation not in ("=", "≈"):
        line = f"{a} {relation} {b}" + ("" if holds else " is false")
    elif not left.calculation and right.calculation:
        line = f"{b} is {_number(right.value)}, not {a}"
    else:
        line = f"{a} is {_number(left.value)}, not {b}"
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


def _number(value: Value) -> str:
    """A value for a person: whole, as a short decimal, or as a fraction."""
    exact = Fraction(value)
    if exact.denominator == 1 or abs(exact) >= 10**12:
        return str(exact)
    if (exact * 10**6).denominator == 1:
        return f"{float(exact):.6f}".rstrip("0")
    return f"{exact} (about {float(exact):.6g})"
