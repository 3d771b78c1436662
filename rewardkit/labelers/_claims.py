"""Where a text asserts a calculation: pairs of operands around a relation, such as ``48/2`` and ``24`` around ``=``.

A claim is taken only where both sides read as numbers beyond doubt. A variable, an unknown command or an operator next
to a word on either side, and the claim is left out: a missed check costs little, a false alarm costs a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rewardkit.labelers._names import Names
from rewardkit.labelers._tokens import (
    BAD,
    BREAK,
    CLOSE,
    CURRENCY,
    FUNC,
    NUM,
    OP,
    OPEN,
    POSTFIX,
    REL,
    STRUCTURE,
    WORD,
    Token,
    tokenize,
)
from rewardkit.labelers._words import BEFORE_SIGN, FILLERS, FUNCTIONS, INTRODUCTIONS, WORD_OPERATORS

MAX_SIDE = 200  # tokens

_OPERAND_STARTS = (NUM, CURRENCY, FUNC, OPEN)
_OPERAND_ENDS = (NUM, POSTFIX, CLOSE, WORD)


class Side(NamedTuple):
    """Tokens ``start:end`` of a segment, to be read as one operand.

    Attributes:
        prose: words stand before it on the same side of the relation.
        bullet: a dash stands before it that is either a list mark or a minus.
        carried: it stands in the equation before, which defines the same name.
    """

    start: int
    end: int
    prose: bool = False
    bullet: bool = False
    carried: bool = False


class Claim(NamedTuple):
    """``left relation right`` within the tokens of a segment; the relation is one of ``= ~ < > <= >= !=`` or ``is``."""

    tokens: Sequence[Token]
    left: Side
    relation: str
    right: Side


def find_claims(text: str, names: Names | None = None) -> Iterator[Claim]:
    """Yield the claims that a text makes, in the order in which they end.

    Args:
        text: any text.
        names: what names stand for by the texts before it; learns from this one.

    >>> [claim] = find_claims("He has 3 + 4 = 7 cats.")
    >>> [t.text for t in claim.tokens[claim.left.start : claim.left.end]], claim.relation
    (['3', '+', '4'], '=')
    """
    before: Sequence[Token] = ()
    tokens = settle(tokenize(text))
    if names is not None and names.wanted(text):
        tokens = names.replace(tokens)
    for segment, related in _segments(tokens):
        if related:
            if before:
                yield from _carried_claim(before, segment)
            yield from _segment_claims(segment)
            before = segment
        elif before and not all(t.kind == BREAK or t.text in INTRODUCTIONS for t in segment):
            before = ()


RELATION = re.compile(r"[=<>≈≃≠≤≥⩽⩾＝]|\\(?:approx|simeq|leq?|geq?|neq?|lt|gt)")


def _segment_claims(segment: Sequence[Token]) -> Iterator[Claim]:
    begin = 1 if segment[0].kind == BREAK else 0
    left: Side | None = None
    for start, end, relation in _sides(segment, begin):
        chunks = _chunks(segment, start, end)
        if left is not None:
            right = _first_operand(segment, chunks)
            if right is not None:
                yield Claim(segment, left, relation, right)
        left = None
        if chunks and segment[chunks[-1][0]].kind != WORD:
            low, high = chunks[-1]
            bullet = low == begin == 1 and segment[0].text == "bullet"
            left = Side(low, high, len(chunks) > 1, bullet)


def _carried_claim(before: Sequence[Token], segment: Sequence[Token]) -> Iterator[Claim]:
    """A value that is worked out over two equations: "Total = 30 * 10. Total = 300." claims 30 * 10 = 300."""
    if segment[0].text not in (".", "\n", "bullet", "therefore"):
        return
    name, start = _definition(before)
    other, again = _definition(segment)
    if not name or name != other:
        return
    tokens = [*before, *segment]
    first = _chunks(before, start, len(before))
    second = _chunks(segment, again, len(segment))
    if len(first) == 1 and second:
        shift = len(before)
        yield Claim(tokens, Side(*first[0], carried=True), "=", Side(second[0][0] + shift, second[0][1] + shift))


def _definition(segment: Sequence[Token]) -> tuple[list[str], int]:
    """The name that an equation such as "Total = 30 * 10" defines, and where its right side begins."""
    begin = 1 if segment[0].kind == BREAK else 0
    relations = [i for i, t in enumerate(segment) if t.kind == REL]
    if len(relations) != 1 or segment[relations[0]].text != "=" or begin == relations[0]:
        return [], 0
    if len(segment) > MAX_SIDE or segment[begin].kind not in (WORD, BAD):
        return [], 0
    return [t.text for t in segment[begin : relations[0]]], relations[0] + 1


def _first_operand(segment: Sequence[Token], chunks: list[tuple[int, int]]) -> Side | None:
    if not chunks:
        return None
    low, high = chunks[0]
    if segment[low].kind != WORD:
        return Side(low, high)
    if len(chunks) > 1 and all(t.kind == WORD and t.text in FILLERS for t in segment[low:high]):
        return Side(*chunks[1])
    return None


def _chunks(segment: Sequence[Token], start: int, end: int) -> list[tuple[int, int]]:
    """Cut one side of a relation where a number follows a word: "so 3 dogs and | 4 cats so | 3 + 4"."""
    chunks = []
    depth = 0
    low = start
    before = BREAK
    for i in range(start, end):
        kind = segment[i][0]
        if kind != WORD:
            if before == WORD and depth == 0 and _starts_operand(segment, i, end):
                chunks.append((low, i))
                low = i
            if kind >= STRUCTURE:
                depth += (kind == OPEN) - (kind == CLOSE)
        before = kind
    if low < end:
        chunks.append((low, end))
    return chunks


def _starts_operand(segment: Sequence[Token], i: int, end: int) -> bool:
    """Whether a number begins at `i`, which follows a word."""
    kind, text, start, _ = segment[i]
    if kind in (NUM, FUNC):
        return True
    following = segment[i + 1] if i + 1 < end else None
    if following is None:
        return False
    if kind == CURRENCY:
        return following.kind in (NUM, FUNC, OPEN, OP)
    spaced = segment[i - 1].end < start
    if kind == OPEN:
        return spaced and following.kind != WORD  # "Total (in dollars)" is a remark, "gcd(4, 6)" a function
    signed = kind == OP and text == "-" and following.start == segment[i].end and spaced
    return signed and segment[i - 1].text in BEFORE_SIGN


def settle(tokens: list[Token]) -> list[Token]:
    """Settle what needs its neighbours: bullets, "20% of 50", "plus", line breaks around a relation, "is equal to"."""
    out: list[Token] = []
    settled = 0  # what comes before it is in `out`
    for i, token in enumerate(tokens):
        kind, text, _, _ = token
        if kind == NUM or (kind == WORD and text not in _SETTLED_WORDS):
            continue
        if settled < i:
            out += tokens[settled:i]
        settled = i + 1
        if kind == WORD:
            _settle_word(tokens, i, out)
        elif kind == BREAK:
            if text != "\n" or not (out and out[-1].kind == REL):
                out.append(token)
        elif kind == REL:
            _settle_relation(token, out)
        elif kind == OP and text in "*-" and token.end == token.start + 1 and (not out or out[-1].text == "\n"):
            if i + 1 < len(tokens) and tokens[i + 1].start > token.end:
                out.append(token._replace(kind=BREAK, text="bullet" if text == "-" else "\n"))
            elif text == "-":
                out.append(token)
        elif kind == OP and text == "*" and (i + 1 == len(tokens) or tokens[i + 1].kind == BREAK):
            continue  # the end of Markdown's *emphasis*
        else:
            out.append(token)
    return out + tokens[settled:]


_SETTLED_WORDS = frozenset(WORD_OPERATORS) | {"of", "is", "are", "equals", "equal", "gives"} | FUNCTIONS


def _settle_word(tokens: list[Token], i: int, out: list[Token]) -> None:
    token = tokens[i]
    text = token.text
    before = out[-1] if out else None
    after = tokens[i + 1].kind if i + 1 < len(tokens) else BREAK
    if text in FUNCTIONS:
        unit = text in ("min", "sec") and before is not None and before.kind == NUM
        out.append(token if unit else token._replace(kind=BAD))
    elif text == "of":
        share = before is not None and (before.text == "%" or _ends_fraction(out))
        out.append(token._replace(kind=OP) if share and after in _OPERAND_STARTS else token)
    elif text in WORD_OPERATORS:
        with_by = text in ("multiplied", "divided")
        if with_by and after == WORD and tokens[i + 1].text == "by":
            tokens[i + 1] = tokens[i + 1]._replace(kind=OP, text=WORD_OPERATORS[text])
        elif not with_by and before is not None and before.kind in _OPERAND_ENDS and after in _OPERAND_STARTS:
            out.append(token._replace(kind=OP, text=WORD_OPERATORS[text]))
        else:
            out.append(token)
    elif text in ("equals", "equal"):
        if before is not None and before.kind == REL and before.text == "is":
            out.pop()
        out.append(token._replace(kind=REL, text="is"))
        if after == WORD and tokens[i + 1].text == "to":
            tokens[i + 1] = tokens[i + 1]._replace(text="exactly")
    else:
        out.append(token._replace(kind=REL, text="is"))


def _ends_fraction(out: list[Token]) -> bool:
    if len(out) >= 3 and out[-1].kind == NUM and out[-2].text == "/" and out[-3].kind == NUM:
        return True
    return len(out) >= 7 and out[-7].text == "frac"


def _settle_relation(token: Token, out: list[Token]) -> None:
    if token.text == ">" and (not out or out[-1].text == "\n"):
        return  # Markdown's quotation
    while out and out[-1].kind == BREAK and out[-1].text == "\n":
        out.pop()
    if out and out[-1].kind == REL and out[-1].text == "is":
        out.pop()
    out.append(token)


def _pair_brackets(tokens: list[Token]) -> None:
    """Make a bracket without a partner `BAD`, or `BREAK` where it marks an item, "1) ..."."""
    stack: list[int] = []
    for i, token in enumerate(tokens):
        kind = token[0]
        if kind == OPEN:
            stack.append(i)
        elif kind == CLOSE:
            if stack and tokens[stack[-1]].text == token.text:
                stack.pop()
            else:
                item = i < 2 or tokens[i - 2].kind == BREAK
                tokens[i] = token._replace(kind=BREAK if item else BAD)
    for i in stack:
        tokens[i] = tokens[i]._replace(kind=BAD)


def _segments(tokens: list[Token]) -> Iterator[tuple[list[Token], bool]]:
    """The stretches between breaks, outside of brackets and, where one holds a relation, in each of them.

    A bracket that itself holds a relation or a break is a remark, "(since 30/10 = 3)": left out of what is around it.
    A stretch begins with the break before it, where there is one. With each comes whether it holds a relation.
    """
    _pair_brackets(tokens)
    around: list[tuple[list[Token], bool]] = []
    now: list[Token] = []
    related = False
    start = 0  # of what is not in `now` yet
    for i, token in enumerate(tokens):
        kind = token[0]
        if kind < STRUCTURE:
            continue
        if kind == REL:
            related = True
            continue
        now += tokens[start:i]
        start = i
        if kind == OPEN:
            around.append((now, related))
            now, related = [], False
        elif kind == CLOSE:
            group, remark = now, related
            now, related = around.pop()
            if remark:
                yield group[1:] if group[0].kind == OPEN else group, True
            _append_group(now, group, token, remark)
            start = i + 1
        else:
            if now and (related or not around):
                yield now, related
            now, related = [], False
    now += tokens[start:]
    if now:
        yield now, related


def _append_group(now: list[Token], group: list[Token], close: Token, related: bool) -> None:
    whole = group[0].kind == OPEN and not related
    if whole and close.text != "<<" and len(group) < MAX_SIDE:
        now += group
        now.append(close)
    elif close.text == "{" or (not related and now and now[-1].end == group[0].start):
        now.append(close._replace(kind=BAD))


def _sides(segment: Sequence[Token], start: int) -> Iterator[tuple[int, int, str]]:
    """Start and end of each side, and the relation before it ("" for the first)."""
    relation = ""
    for i, token in enumerate(segment):
        if token[0] == REL and i >= start:
            yield start if i - start <= MAX_SIDE else i, i, relation
            start, relation = i + 1, token.text
    yield start, min(len(segment), start + MAX_SIDE), relation
