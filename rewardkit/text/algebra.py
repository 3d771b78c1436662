"""Equations and inequalities in a text (prose, Markdown, LaTeX), read into the closed tree of `verifiers.formula`.

Our own lexer and grammar: numbers, variables, implicit products (``2x``, ``3(x + 1)``), ``\\frac``, ``\\sqrt``, whole
powers, absolute values, chains such as ``a = b < c``. What has two readings (``1/2x``, ``\\pm``, ``f(x)``) or is not
known is not read: a statement is taken whole or not at all. Time is linear in the length of the text, and no text of
more than `MAX_LENGTH` characters is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewardkit.text._algebra_lexer import tokenize
from rewardkit.text._terms import Token, Unread, read_term, words
from rewardkit.verifiers.formula import Comparison, Connected, Formula, Relation, Term

__all__ = ["Statement", "find_statements"]

MAX_LENGTH = 50_000  # characters of a text: some tenths of a second
MAX_TOKENS = 300  # of one statement
MAX_WORDS = 60  # that are remembered of a sentence


@dataclass(frozen=True, slots=True)
class Statement:
    """A chain ``terms[0] relations[0] terms[1] ...`` as it stands in a text.

    Attributes:
        terms: one more than `relations`.
        relations: between them.
        words: of the sentence before it, in lower case, so that "if x = 3" is not taken for an assertion.
        text: the source, white space made single.
        exact: no number with a point and no sign of rounding stands in it.
        alternative: the word "or" joins it to the statement before.
        after: the word right behind it, "" where something else stands there.
        listed: a comma alone stands before it, as between the items of a list.
    """

    terms: tuple[Term, ...]
    relations: tuple[Relation, ...]
    words: tuple[str, ...]
    text: str
    exact: bool = True
    alternative: bool = False
    after: str = ""
    listed: bool = False

    @property
    def links(self) -> tuple[Comparison, ...]:
        """The comparisons of the chain, one a relation."""
        pairs = zip(self.relations, self.terms, self.terms[1:], strict=False)
        return tuple(Comparison(relation, left, right) for relation, left, right in pairs)

    @property
    def formula(self) -> Formula:
        """The links, joined by "and"."""
        whole: Formula = self.links[0]
        for link in self.links[1:]:
            whole = Connected("and", whole, link)
        return whole


def find_statements(text: str) -> list[Statement]:
    """The chains of relations in a text that can be read whole, in order.

    Raises: nothing, on any text.

    >>> [s.text for s in find_statements("Since 2x + 3 = 7, we get \\\\(x = \\\\frac{4}{2}\\\\).")]
    ['2x + 3 = 7', 'x = \\\\frac{4}{2}']
    >>> find_statements("1/2x = 3 or sin x = 0")
    []
    """
    return list(_Reader(text).statements()) if len(text) <= MAX_LENGTH else []


class _Reader:
    """One pass: tokens into segments between breaks, each segment into a statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[str] = []
        self.carried: Term | None = None  # the last term before a line that begins with "="
        self.comma = False  # a comma alone stands between this segment and the one before
        self.joined = False  # "or" alone stands between this segment and the statement before

    def statements(self) -> Iterator[Statement]:
        segment: list[Token] = []
        lead = ""
        tokens = list(_settled(tokenize(self.text)))
        for i, token in enumerate(tokens):
            if token.kind not in ("break", "word"):
                if len(segment) <= MAX_TOKENS:
                    segment.append(token)
                continue
            behind = tokens[i + 1] if token.text == "edge" and i + 1 < len(tokens) else token
            found = self._statement(segment, lead, behind.text if behind.kind == "word" else "")
            if found is not None:
                yield found
            if segment:
                self.joined = found is not None
            segment, lead = [], token.text if token.kind == "word" else ""
            self._pass(token)

    def _pass(self, token: Token) -> None:
        if token.text != "edge":
            self.comma = token.kind == "break" and token.text == ","
        if token.kind == "word":
            self.joined = self.joined and token.text in ("or", "and")
            if len(self.words) < MAX_WORDS:
                self.words.append(token.text)
        elif token.text in (".", "\n"):
            self.words.clear()
            self.joined = False
        elif token.text not in (",", ";", "edge", "row"):
            self.joined = False
        if token.kind == "word" or token.text == ".":
            self.carried = None

    def _statement(self, segment: list[Token], lead: str, after: str) -> Statement | None:
        segment = _trimmed(segment)
        if not segment or len(segment) > MAX_TOKENS or not any(t.kind == "rel" for t in segment):
            return None
        carried, self.carried = self.carried, None
        if lead and lead not in _INTRODUCTIONS or after in _CHANGES:
            return None
        try:
            terms, relations = _chain(segment, carried)
        except Unread:
            return None
        self.carried = terms[-1]
        exact = "~" not in relations and not any(t.kind == "num" and "." in t.text for t in segment)
        source = " ".join(self.text[segment[0].start : segment[-1].end].split())[:200]
        kept = tuple(r for r in relations if r != "~")
        if len(kept) != len(relations):
            return None
        alternative = self.joined and bool(self.words) and self.words[-1] == "or"
        return Statement(terms, kept, tuple(self.words), source, exact, alternative, after, self.comma)  # type: ignore[arg-type]


# A statement may stand directly behind these words; behind any other one ("half of x = 3") it is not read.
_INTRODUCTIONS = words(
    """so then and that because since thus hence therefore now know means get gets have has gives give yields find see
    or finally if when let suppose assume where obtain equation is are becomes into for to implies as with since using
    set setting consider inequality which need want at case following when us know expression both denote substitute
    substituting put plug plugging solve solving simplify simplifying simplified expand expanding factor factoring
    rewrite rewritten combine combining satisfies satisfying satisfy compute evaluate calculate given graph"""
)
# A statement that goes on with one of these words says something else: "x = 3 more than y".
_CHANGES = words("more less times percent of dozen hundred thousand million mod modulo minus plus squared")


def _chain(segment: Sequence[Token], carried: Term | None) -> tuple[tuple[Term, ...], tuple[str, ...]]:
    terms: list[Term] = []
    relations: list[str] = []
    depth = low = 0
    for i, token in enumerate(segment):
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind == "rel":
            if depth:
                raise Unread("a relation stands in brackets")
            if i == 0 and carried is not None:
                terms.append(carried)
            else:
                terms.append(read_term(segment[low:i]))
            relations.append(token.text)
            low = i + 1
    terms.append(read_term(segment[low:]))
    return tuple(terms), tuple(relations)


def _trimmed(segment: list[Token]) -> list[Token]:
    """Without a bracket at either end whose partner lies outside, as in "(since 2x = 10)"."""
    depth = lowest = 0
    for token in segment:
        depth += (token.kind == "open") - (token.kind == "close")
        lowest = min(lowest, depth)
    while lowest < 0 and segment and segment[-1].kind == "close":
        segment = segment[:-1]
        lowest += 1
        depth += 1
    while depth > 0 and len(segment) > 1 and segment[-1].kind == "open" and segment[-2].end < segment[-1].start:
        segment = segment[:-1]
        depth -= 1
    while depth > 0 and segment and segment[0].kind == "open" and lowest == 0:
        segment = segment[1:]
        depth -= 1
    while segment and segment[-1].kind == "op" and segment[-1].text == "*":
        segment = segment[:-1]  # the end of Markdown's *emphasis*
    return segment


def _settled(tokens: list[Token]) -> Iterator[Token]:
    """Drop the edges of formulas that touch a relation or an operator; the others become breaks."""
    for i, token in enumerate(tokens):
        if token.kind != "edge":
            yield token
            continue
        before = tokens[i - 1].kind if i else "break"
        after = tokens[i + 1].kind if i + 1 < len(tokens) else "break"
        if before not in ("rel", "op") and after not in ("rel", "op"):
            yield token._replace(kind="break", text="edge")
