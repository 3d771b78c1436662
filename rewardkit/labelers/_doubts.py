"""What may be meant by a claim that does not hold as it is written: reasons to doubt, each tested by itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, takewhile

from rewardkit.labelers._claims import MAX_SIDE, Claim
from rewardkit.labelers._expressions import HAS_PERCENT, HAS_SUM, Operand
from rewardkit.labelers._tokens import CURRENCY, NUM, OP, OPEN, REL, WORD, Token
from rewardkit.labelers._values import Value
from rewardkit.labelers._words import LABELS, MODIFIERS, MULTIPLES, SAME_UNITS, UNIT_KINDS

_MEASURES = MULTIPLES | UNIT_KINDS.keys()


def ends_chain(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether two whole numbers alone end a chain of equations, "5 + 3 = 8 = 9"."""
    tokens, start = claim.tokens, claim.left.start
    alone = left.last + 1 == claim.left.end and right.last + 1 == claim.right.end and claim.relation == "="
    plain = left.numbers == right.numbers == 1 and not left.parts | right.parts and not left.decimals | right.decimals
    if not alone or not plain or start < 3 or tokens[start - 1].text != "=" or is_shifted(left.value, right.value):
        return False
    if any(t.kind == CURRENCY for t in tokens[start : claim.right.end]):
        return False
    before = reversed(tokens[max(0, start - MAX_SIDE) : start - 1])
    return any(t.kind == OP for t in takewhile(lambda t: t.kind != REL, before))


def depends_on_prose(claim: Claim, left: Operand, right: Operand) -> bool:
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
        if tokens[i].kind == OP and not _is_hyphen(tokens, i):
            return True
    return right.calculation and left.last == start + 2 and left.parts == HAS_SUM


def _is_hyphen(tokens: Sequence[Token], i: int) -> bool:
    """Whether the minus joins a number to a word, "a 24-hour shift"."""
    after = tokens[i + 1]
    return tokens[i].text == "-" and tokens[i - 1].end == tokens[i].start and after.kind == WORD


def cut_number(text: str, start: int) -> bool:
    """Whether what stands before `start` looks like the head of the same number or sum, "14, 400", ".8 + . 84"."""
    head = text[max(0, start - 5) : start].rstrip()
    if head[-1:] == "." and head[:-1].rstrip()[-1:] in ("+", "-", "*", "/", "="):
        return True
    return head[-1:] == "," and head[-2:-1].isdigit() and text[start : start + 3].isdigit()


def needs_no_rounding(left: Operand, right: Operand) -> bool:
    """Whether the exact value of whole numbers can be written with the decimals that are shown: "192 / 4 = 48.33"."""
    exact = right.numbers == 1 and right.decimals > 0 and not left.decimals and not (left.inexact or right.inexact)
    return exact and Fraction(left.value * 10**right.decimals).denominator == 1


def goes_on(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether the right side repeats the beginning of the left, "2 + 3 + 4 = 2 + 3 = 5", to work it out from there."""
    if not left.parts == right.parts == HAS_SUM:
        return False
    sides = claim.tokens[claim.left.start : claim.left.end], claim.tokens[claim.right.start : right.last + 1]
    head, again = ([t.text for t in side if t.kind not in (WORD, CURRENCY)] for side in sides)
    return head[: len(again)] == again


def is_definition(claim: Claim, left: Operand, right: Operand) -> bool:
    """Whether the left side merely names what the right side counts: "1/4 = 20 students", "2 weeks = 14 days"."""
    if left.calculation or ends_chain(claim, left, right):
        return False
    if claim.left.prose or left.last + 1 < claim.left.end:
        return True
    if right.calculation:
        return bool(left.parts or right.parts & HAS_PERCENT)
    return right.last + 1 < claim.right.end or not -1 < right.value < 1


def shows_signs(claim: Claim) -> bool:
    """Whether a number of the claim is written with a minus of its own, "-41 * -3", so that signs are minded."""
    for side in (claim.left, claim.right):
        for i in range(side.start, side.end - 1):
            before = claim.tokens[i - 1].kind if i > side.start else OP
            if claim.tokens[i].kind == OP and claim.tokens[i].text == "-" and before in (OP, OPEN):
                return True
    return False


def mixes_units(tokens: Sequence[Token]) -> bool:
    """Whether two units of one kind, or a word such as "dozen", stand in a claim: then its numbers need not add up."""
    seen: dict[str, set[str]] = {}
    if _MEASURES.isdisjoint([token.text for token in tokens]):
        return False
    for token in tokens:
        if token.text in MULTIPLES:
            return True
        kind = UNIT_KINDS.get(token.text)
        if kind is not None:
            seen.setdefault(kind, set()).add(SAME_UNITS.get(token.text, token.text.rstrip("s")))
    return any(len(units) > 1 for units in seen.values())


def counts_unlike_things(claim: Claim, right: Operand) -> bool:
    """Whether what is added differs in kind from the sum: "3 pencils + 1 pen = 124 cents", "2 chairs + 1 desk = 90"."""
    left = claim.tokens[claim.left.start : claim.left.end]
    things = [after.text for t, after in pairwise(left) if t.kind == NUM and after.kind == WORD]
    if len(things) < 2 or len(set(things)) != sum(t.kind == NUM for t in left):
        return False
    if any(t.kind == CURRENCY or t.text in UNIT_KINDS or t.text in MULTIPLES for t in left):
        return False
    given = claim.tokens[claim.right.start : claim.right.end]
    counted = right.last + 1 < claim.right.end and claim.tokens[right.last + 1].kind == WORD
    return not counted or any(t.kind == CURRENCY or t.text in UNIT_KINDS for t in given)


def holds_with_minus(left: Operand, right: Operand) -> bool:
    """Whether the claim holds where the list mark before it is taken for a minus."""
    first = left.first
    return left.value - 2 * first == right.value or -left.value == right.value


def size_of(value: Value) -> Value:
    return -value if value < 0 else value


def is_shifted(a: Value, b: Value) -> bool:
    """Whether two values differ by a power of ten, as sums in two units do."""
    small, large = (a, b) if size_of(a) < size_of(b) else (b, a)
    if not small or size_of(large) < 100 * size_of(small):
        return False
    return any(large == small * power for power in (10**2, 10**3, 10**6, 10**9))
