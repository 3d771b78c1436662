"""A calculation that the `arithmetic` labeler found, as a formula: for a solver that is to check it again.

This reads the tokens by a grammar of its own, smaller than the labeler's, so that an error of the one is not one of the
other. Where the notation is more than numbers, units, brackets and the five operations, there is no formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from rewardkit.labelers._claims import Claim
from rewardkit.labelers._tokens import CLOSE, CURRENCY, NUM, OP, OPEN, POSTFIX, WORD, Token
from rewardkit.labelers._values import MAX_DIGITS
from rewardkit.verifiers.formula import Comparison, Number, Operation, Relation, Term

MAX_DEPTH = 30

_RELATIONS: dict[str, Relation] = {"=": "=", "is": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!="}


def claim_formula(claim: Claim, last: int) -> Comparison | None:
    """The formula of a claim, or None where it is not plain.

    Args:
        claim: as `rewardkit.labelers._claims.find_claims` gives it.
        last: the last token of its right side that belongs to the value.

    >>> from rewardkit.labelers._claims import find_claims
    >>> from rewardkit.verifiers.plain import print_formula
    >>> [claim] = find_claims("She pays $3 * (4 + 5) = $27 in all.")
    >>> print_formula(claim_formula(claim, claim.right.start + 1))
    '3 * (4 + 5) = 27'
    """
    relation = _RELATIONS.get(claim.relation)
    if relation is None or claim.left.bullet:
        return None
    try:
        left = _Reader(claim.tokens[claim.left.start : claim.left.end]).whole()
        right = _Reader(claim.tokens[claim.right.start : last + 1]).whole()
    except _NotPlain:
        return None
    return Comparison(relation, left, right)


class _NotPlain(Exception):
    """The tokens hold something that this grammar leaves out."""


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        if any(b.kind == NUM and a.kind in (NUM, POSTFIX) for a, b in zip(tokens, tokens[1:], strict=False)):
            raise _NotPlain
        self.tokens = [token for token in tokens if token.kind != CURRENCY]
        self.at = 0
        self.depth = 0

    def whole(self) -> Term:
        value = self.sum()
        if self.at < len(self.tokens):
            raise _NotPlain
        return value

    def sum(self) -> Term:
        value = self.product()
        while (sign := self.operator("+", "-")) is not None:
            value = Operation("+" if sign == "+" else "-", (value, self.product()))
        return value

    def product(self) -> Term:
        value = self.power()
        while (sign := self.operator("*", "/", "of")) is not None:
            kind: Literal["*", "/"] = "/" if sign == "/" else "*"
            value = Operation(kind, (value, self.power()))
        return value

    def power(self) -> Term:
        value = self.atom()
        if self.operator("^") is not None:
            value = Operation("^", (value, self.atom()))
            if self.operator("^") is not None:
                raise _NotPlain
        return value

    def operator(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == OP and token.text in wanted:
                self.at += 1
                return token.text
        return None

    def atom(self) -> Term:
        if self.at >= len(self.tokens):
            raise _NotPlain
        token = self.tokens[self.at]
        self.at += 1
        value: Term
        if token.kind == NUM and len(token.text) <= MAX_DIGITS and token.text.replace(".", "", 1).isdecimal():
            value = Number(Fraction(token.text))
        elif token.kind == OPEN and token.text == "(":
            value = self.bracket()
        else:
            raise _NotPlain
        return self.unit(value)

    def bracket(self) -> Term:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _NotPlain
        value = self.sum()
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != CLOSE:
            raise _NotPlain
        self.at += 1
        self.depth -= 1
        return value

    def unit(self, value: Term) -> Term:
        """Pass over the words behind a number; a percent sign divides it."""
        if self.at < len(self.tokens) and self.tokens[self.at].kind == POSTFIX:
            if self.tokens[self.at].text != "%":
                raise _NotPlain
            self.at += 1
            value = Operation("/", (value, Number(Fraction(100))))
        while self.at < len(self.tokens) and self.tokens[self.at].kind == WORD:
            self.at += 1
        return value
