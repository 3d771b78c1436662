"""Values that a response gives to names, carried from step to step: "A = 12" makes "A + 3 = 16" a false calculation.

A name is one capital letter, or a word that stands alone before "=". Where it is given another value, or one that is
not whole (and may be rounded), it is forgotten for good: it may stand for something else each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewardkit.labelers._expressions import read_operand
from rewardkit.labelers._tokens import BAD, BREAK, CLOSE, FUNC, NUM, OP, OPEN, POSTFIX, REL, WORD, Token
from rewardkit.labelers._values import Unreadable, Value
from rewardkit.labelers._words import HYPOTHESES, INTRODUCTIONS, PROSE

MAX_NAMES = 50
MAX_SIDE = 200  # tokens
# A lone letter behind another word than these ("the square of A = 9") defines nothing.
_DEFINES = INTRODUCTIONS | frozenset(("where", "let", "let's", "have", "compute", "value", "equation", "is"))

_BEFORE_EQUALS = " \t\n\"'*)\\$"


class Names:
    """What the names of one response stand for.

    >>> from rewardkit.labelers._tokens import tokenize
    >>> names = Names()
    >>> _ = names.replace(tokenize("A = 3 * 4."))
    >>> names.known, "".join(token.text for token in names.replace(tokenize("A + 3 = 16")))
    ({'A': 12}, '(12(+3=16')
    """

    def __init__(self) -> None:
        self.known: dict[str, Value] = {}
        self.used: dict[int, str] = {}  # of the text at hand: where a name stood that was replaced
        self._forgotten: set[str] = set()

    def wanted(self, text: str) -> bool:
        """Whether `text` may use or define a name: most need no second look."""
        if self.known:
            return True
        at = text.find("=")
        while at >= 0:
            if text[max(0, at - 8) : at].rstrip(_BEFORE_EQUALS)[-1:].isalpha():
                return True
            at = text.find("=", at + 1)
        return False

    def replace(self, tokens: list[Token], *, given: bool = False) -> list[Token]:
        """The tokens of the next text, known names replaced by their values in brackets; learns from it on the way.

        Args:
            tokens: of the text.
            given: it is the problem, whose "if A = 5" holds from then on.
        """
        self.used = {}
        relations = [i for i, t in enumerate(tokens) if t[0] == REL]
        if not self.known and not any(i and _is_defined(tokens, i - 1) for i in relations):
            return tokens
        out: list[Token] = []
        supposed = False
        for i, token in enumerate(tokens):
            if token.kind == BREAK:
                supposed = supposed and token.text not in (".", "\n")
            elif token.kind == WORD and token.text in HYPOTHESES:
                supposed = not given
            if token.kind in (BAD, WORD) and _is_name(tokens, i):
                if _is_defined(tokens, i):
                    sure = not supposed and _defines(tokens, i, given)
                    self._learn(token.text, _value(tokens, i + 2) if sure else None)
                elif token.text in self.known and _stands_free(tokens, i):
                    self.used[token.start] = token.text
                    out += _group(self.known[token.text], token)
                    continue
            out.append(token)
        return out

    def cited(self, start: int, end: int) -> str:
        """What the names between two places of the text at hand stand for, as " (A = 12)", "" where there is none."""
        found = dict.fromkeys(name for at, name in self.used.items() if start <= at < end)
        shown = ", ".join(f"{name} = {self.known[name]}" for name in list(found)[:3] if name in self.known)
        return f" ({shown})" if shown else ""

    def _learn(self, name: str, value: Value | None) -> None:
        if name in self._forgotten:
            return
        if value is None or self.known.get(name, value) != value or len(self.known) >= MAX_NAMES:
            self.known.pop(name, None)
            self._forgotten.add(name)
        else:
            self.known[name] = value


def _is_name(tokens: Sequence[Token], i: int) -> bool:
    token = tokens[i]
    if token.kind == BAD:
        return len(token.text) == 1 and "A" <= token.text <= "Z"
    return (i == 0 or tokens[i - 1].kind in (BREAK, REL)) and i + 1 < len(tokens) and tokens[i + 1].kind in (OP, REL)


def _is_defined(tokens: Sequence[Token], i: int) -> bool:
    """Whether the name stands alone before an equals sign, "A = ..."."""
    before = tokens[i - 1].kind if i else BREAK
    defined = i + 2 < len(tokens) and tokens[i + 1].kind == REL and tokens[i + 1].text == "="
    return defined and before in (BREAK, WORD) and tokens[i].kind in (BAD, WORD) and _is_name(tokens, i)


def _defines(tokens: Sequence[Token], i: int, given: bool) -> bool:
    before = tokens[i - 1].text
    return i == 0 or tokens[i - 1].kind == BREAK or before in _DEFINES or (given and before in HYPOTHESES)


def _stands_free(tokens: Sequence[Token], i: int) -> bool:
    """Whether nothing stands beside the name that may change it: a factor, a subscript, an argument."""
    before = tokens[i - 1].kind if i else BREAK
    after = tokens[i + 1].kind if i + 1 < len(tokens) else BREAK
    return before in (BREAK, WORD, OP, REL, OPEN) and after in (BREAK, WORD, OP, REL, CLOSE)


def _value(tokens: Sequence[Token], start: int) -> Value | None:
    """The value that is given: the last one of a chain if all are equal, None where it cannot be told."""
    found: Value | None = None
    while True:
        end = start
        while end < len(tokens) and not _ends_side(tokens[end]) and end - start < MAX_SIDE:
            end += 1
        if start == end or any(t.kind == BAD for t in tokens[start:end]):
            return None
        try:
            operand = read_operand(tokens, start, end)
        except Unreadable:
            return None
        rest = tokens[operand.stop : end]
        plain = not rest or rest[0].kind == WORD and not any(t.kind in (OP, NUM, FUNC) for t in rest)
        exact = not operand.inexact and not operand.readings and not any(t.kind == POSTFIX for t in tokens[start:end])
        if not plain or not exact or (found is not None and operand.value != found):
            return None
        found = operand.value
        if end >= len(tokens) or tokens[end].kind != REL:
            return found if Fraction(found).denominator == 1 else None
        if tokens[end].text != "=":
            return None
        start = end + 1


def _ends_side(token: Token) -> bool:
    return token.kind in (REL, BREAK) or (token.kind == WORD and token.text in PROSE)


def _group(value: Value, at: Token) -> list[Token]:
    """The value in brackets, all in the place of the name."""
    made = [Token(OPEN, "(", at.start, at.start)]
    if value < 0:
        made.append(Token(OP, "-", at.start, at.start))
    return [*made, Token(NUM, str(abs(value)), at.start, at.end), Token(CLOSE, "(", at.end, at.end)]
