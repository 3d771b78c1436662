"""Equations and inequalities in a text (prose, Markdown, LaTeX), read into the closed tree of `verifiers.formula`.

Our own lexer and grammar: numbers, variables, implicit products (``2x``, ``3(x + 1)``), ``\\frac``, ``\\sqrt``, whole
powers, absolute values, chains such as ``a = b < c``. What has two readings (``1/2x``, ``\\pm``, ``f(x)``) or is not
known is not read: a statement is taken whole or not at all. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rewardkit.text._terms import Token, Unread, read_term
from rewardkit.verifiers.formula import Comparison, Connected, Formula, Relation, Term

__all__ = ["Statement", "find_statements"]

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
    """

    terms: tuple[Term, ...]
    relations: tuple[Relation, ...]
    words: tuple[str, ...]
    text: str
    exact: bool = True
    alternative: bool = False
    after: str = ""

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


_TOKEN = re.compile(
    r"""(?P<space>[^\S\n]+)
      | (?P<newline>\n\s*)
      | (?P<env>\\(?:begin|end)\s?\{[A-Za-z]{1,20}\*?\})
      | (?P<num>(?:[0-9]{1,3}(?:(?:,\\!|,|\{,\})[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<word>[A-Za-z]+(?:['’][A-Za-z]+)?)
      | (?P<command>\\[A-Za-z]+|\\.)
      | (?P<mark>\$\$|\*\*|<=|>=|!=|==|[-=]+>)
      | (?P<char>.)""",
    re.VERBOSE | re.DOTALL,
)
_RELATIONS: dict[str, str] = {"=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "≤": "<=", "≥": ">="}
_RELATIONS |= {"!=": "!=", "≠": "!=", "≈": "~", r"\approx": "~", r"\le": "<=", r"\leq": "<=", r"\leqslant": "<="}
_RELATIONS |= {r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=", r"\ne": "!=", r"\neq": "!=", r"\lt": "<", r"\gt": ">"}
_OPERATORS = {"+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "⋅": "*", "/": "/", "÷": "/"}
_OPERATORS |= {r"\times": "*", r"\cdot": "*", r"\div": "/", "^": "^", "_": "_"}
_FUNCTIONS = {r"\frac": "frac", r"\dfrac": "frac", r"\tfrac": "frac", r"\sqrt": "sqrt", "√": "sqrt"}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi omega pi varphi ell Delta".split()
)
_SILENT = frozenset(
    r"\, \; \: \! \  \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \displaystyle \textstyle".split(" ")
)
_WRAPPERS = frozenset(r"\text \textbf \textit \textrm \mbox \emph".split())
_TRANSPARENT = frozenset(r"\boxed \fbox \mathbf \mathit \underline \cancel".split())
_BREAKS = frozenset(
    r"\quad \qquad \implies \Rightarrow \Longrightarrow \rightarrow \to \iff \therefore \because \Leftrightarrow".split()
)
_LETTER_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp gcd lcm mod max min det deg arcsin arctan".split())


def find_statements(text: str) -> list[Statement]:
    """The chains of relations in a text that can be read whole, in order.

    Raises: nothing, on any text.

    >>> [s.text for s in find_statements("Since 2x + 3 = 7, we get \\\\(x = \\\\frac{4}{2}\\\\).")]
    ['2x + 3 = 7', 'x = \\\\frac{4}{2}']
    >>> find_statements("1/2x = 3 or sin x = 0")
    []
    """
    return list(_Reader(text).statements())


class _Reader:
    """One pass: tokens into segments between breaks, each segment into a statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[str] = []
        self.carried: Term | None = None  # the last term before a line that begins with "="
        self.joined = False  # "or" alone stands between this segment and the statement before

    def statements(self) -> Iterator[Statement]:
        segment: list[Token] = []
        lead = ""
        tokens = list(settle(tokenize(self.text)))
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
        if token.kind == "word":
            self.joined = self.joined and token.text in ("or", "and")
            if len(self.words) < MAX_WORDS:
                self.words.append(token.text)
        elif token.text in (".", "\n"):
            self.words.clear()
            self.joined = False
        elif token.text not in (";", "edge", "row"):
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
        return Statement(terms, kept, tuple(self.words), source, exact, alternative, after)  # type: ignore[arg-type]


# A statement may stand directly behind these words; behind any other one ("half of x = 3") it is not read.
_INTRODUCTIONS = frozenset(
    """so then and that because since thus hence therefore now know means get gets have has gives give yields find see
    or finally if when let suppose assume where obtain equation is are becomes into for to implies as with since using
    set setting consider inequality which need want at case following when us know expression both denote substitute
    substituting put plug plugging solve solving simplify simplifying simplified expand expanding factor factoring
    rewrite rewritten combine combining satisfies satisfying satisfy compute evaluate calculate given graph""".split()
)
# A statement that goes on with one of these words says something else: "x = 3 more than y".
_CHANGES = frozenset("more less times percent of dozen hundred thousand million mod modulo minus plus squared".split())


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
    while depth > 0 and segment and segment[-1].kind == "open":
        segment = segment[:-1]
        depth -= 1
    while depth > 0 and segment and segment[0].kind == "open" and lowest == 0:
        segment = segment[1:]
        depth -= 1
    while segment and segment[-1].kind == "op" and segment[-1].text == "*":
        segment = segment[:-1]  # the end of Markdown's *emphasis*
    return segment


def settle(tokens: list[Token]) -> Iterator[Token]:
    """Drop the edges of formulas that touch a relation or an operator; the others become breaks."""
    for i, token in enumerate(tokens):
        if token.kind != "edge":
            yield token
            continue
        before = tokens[i - 1].kind if i else "break"
        after = tokens[i + 1].kind if i + 1 < len(tokens) else "break"
        if before not in ("rel", "op") and after not in ("rel", "op"):
            yield token._replace(kind="break", text="edge")


def tokenize(text: str) -> list[Token]:
    """Cut a text into tokens, a break at its end."""
    return _Lexer(text).run()


class _Brace(NamedTuple):
    shown: bool
    wrapper: bool


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.math = False
        self.prose = 0  # depth of \text{...}
        self.braces: list[_Brace] = []
        self.pending = ""  # a wrapper whose brace comes next
        self.dollars = _dollar_pairs(text)

    def run(self) -> list[Token]:
        for match in _TOKEN.finditer(self.text):
            kind = match.lastgroup
            word = match[0]
            start, end = match.span()
            if kind == "space":
                continue
            if kind == "newline":
                if not self.math or self.prose:
                    self._add("break", "\n" if "\n" in word[1:] else "row", start, end)
            elif kind == "num":
                plain = "".join(c for c in word if c.isdigit() or c == ".")
                self._add("num", plain, start, end)
            elif kind == "word":
                self._word(word, start, end)
            elif kind == "char" or kind == "mark":
                self._character(word, start, end)
            else:
                self._command(word, start, end, kind == "env")
        self._add("break", ".", len(self.text), len(self.text))
        return self.tokens

    def _add(self, kind: str, text: str, start: int, end: int) -> None:
        self.tokens.append(Token(kind, text, start, end))

    def _word(self, word: str, start: int, end: int) -> None:
        glued = bool(self.tokens) and self.tokens[-1].end == start and self.tokens[-1].kind == "num"
        if self.math and not self.prose:
            if word.isupper():
                self._add("var", word[:60], start, end)
            else:
                for i, letter in enumerate(word[:12]):
                    self._add("var" if letter.isalpha() else "bad", letter, start + i, start + i + 1)
                if len(word) > 3:
                    self._add("bad", word[:20], start, end)
        elif word.lower() == "sqrt" and self.text[end : end + 1] == "(":
            self._add("func", "sqrt", start, end)
        elif len(word) == 1 and not self._is_article(word, end):
            self._add("var", word, start, end)
        elif glued or word in _LETTER_FUNCTIONS:
            self._add("bad", word[:20], start, end)
        else:
            self._add("word", word.lower()[:20], start, end)

    def _is_article(self, letter: str, end: int) -> bool:
        after = self.text[end : end + 3]
        return letter in "aAI" and after[:1] == " " and after[1:3].isalpha() and len(after) == 3

    def _character(self, char: str, start: int, end: int) -> None:
        if char in _RELATIONS:
            self._add("rel", _RELATIONS[char], start, end)
        elif char in "-–*+" and self._begins_line() and self.text[end : end + 1].isspace():
            self._add("break", "\n", start, end)  # an item of a list
        elif char in _OPERATORS:
            self._add("op", _OPERATORS[char], start, end)
        elif char in "([":
            self._add("open", char, start, end)
        elif char in ")]":
            self._add("close", "(" if char == ")" else "[", start, end)
        elif char in "{}":
            self._brace(char, start, end)
        elif char in ("$", "$$"):
            self._dollar(start, end)
        elif char == "|":
            self._add("bar", "|", start, end)
        elif char == "." and self.text.startswith("\\", end) and self.text[end + 1 : end + 2].isalpha():
            self._add("bad", char, start, end)  # 7.\overline{7}
        elif char in ",;:!?." or char in "→⇒∴、，。•":
            self._add("break", "." if char in ".!?。" else ";", start, end)
        elif char == "&":
            return
        elif char == "**" or char in "#`~\"'“”":
            if self.text[start - 1 : start].isalnum() and char == "'":
                self._add("bad", char, start, end)  # f'(x)
        elif char.endswith(">"):
            self._add("break", ";", start, end)
        elif char == "√":
            self._add("func", "sqrt", start, end)
        elif char in "²³":
            self._add("op", "^", start, start)
            self._add("num", "2" if char == "²" else "3", start, end)
        else:
            self._add("bad", char, start, end)

    def _begins_line(self) -> bool:
        """Whether a new line of prose begins here."""
        return not self.math and (not self.tokens or self.tokens[-1].text in ("row", "\n"))

    def _brace(self, char: str, start: int, end: int) -> None:
        if char == "{":
            wrapper, self.pending = self.pending, ""
            self.braces.append(_Brace(not wrapper, wrapper in _WRAPPERS))
            if wrapper in _WRAPPERS:
                self.prose += 1
            elif not wrapper:
                self._add("open", "{", start, end)
        elif not self.braces:
            self._add("bad", char, start, end)
        else:
            brace = self.braces.pop()
            self.prose -= brace.wrapper
            if brace.shown:
                self._add("close", "{", start, end)

    def _dollar(self, start: int, end: int) -> None:
        if end - start == 2 or start in self.dollars:
            self._edge(start, end, not self.math)

    def _edge(self, start: int, end: int, math: bool) -> None:
        self.math = math
        self.braces.clear()
        self.prose = 0
        self._add("edge", "", start, end)

    def _command(self, word: str, start: int, end: int, env: bool) -> None:
        name = word[1:]
        if word in (r"\(", r"\["):
            self._edge(start, end, True)
        elif word in (r"\)", r"\]"):
            self._edge(start, end, False)
        elif env:
            known = any(e in word for e in ("align", "equation", "gather", "split"))
            self.math = known and r"\begin" in word or self.math and "ed}" in word
            self._add("edge" if known else "bad", "", start, end)
        elif word in _RELATIONS:
            self._add("rel", _RELATIONS[word], start, end)
        elif word in _OPERATORS:
            self._add("op", _OPERATORS[word], start, end)
        elif word in _FUNCTIONS:
            self._add("func", _FUNCTIONS[word], start, end)
        elif name in _GREEK:
            self._add("var", name, start, end)
        elif word in _WRAPPERS or word in _TRANSPARENT:
            self.pending = word
        elif word == r"\\":
            self._add("break", "row", start, end)
        elif word in _BREAKS:
            self._add("break", ";", start, end)
        elif word not in _SILENT:
            self._add("bad", word[:20], start, end)


def _dollar_pairs(text: str) -> frozenset[int]:
    """Where a ``$`` is the edge of a formula; elsewhere it is currency."""
    edges: set[int] = set()
    if r"\(" in text or r"\[" in text:
        return frozenset()
    opened = -1
    for match in re.finditer(r"(?<![\\$])\$(?!\$)", text):
        at = match.start()
        inside = text[opened + 1 : at]
        if opened >= 0 and len(inside) < 400 and _is_formula(inside):
            edges |= {opened, at}
            opened = -1
        else:
            opened = at
    return frozenset(edges)


_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")


def _is_formula(inside: str) -> bool:
    if not inside or inside[0].isspace() and inside[-1].isspace() or inside.count("\n") > 1:
        return False
    return "\\" in inside or not _PROSE.search(inside)
