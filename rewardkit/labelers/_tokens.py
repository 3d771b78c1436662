"""Text of a reasoning step (prose, Markdown, LaTeX) as a flat list of tokens for the arithmetic labeler.

What is not understood becomes a `BAD` token, so that whoever reads the tokens abstains there. One pass, one regular
expression without nested repetition that can backtrack: the time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rewardkit.labelers._words import GLUED_UNITS, HYPOTHESES, UNIT_KINDS, WORD_OPERATORS

NUM, OP, FUNC, POSTFIX, WORD, CURRENCY, BAD, REL, OPEN, CLOSE, BREAK = range(11)
STRUCTURE = REL  # this kind and those behind it cut a text into claims


class Token(NamedTuple):
    """One token: its kind, its normal form, and where it stands in the text."""

    kind: int
    text: str
    start: int
    end: int


_new = tuple.__new__  # skips the argument handling of a NamedTuple: half of the time in here

# One alternative a kind of token, tried in this order. Each ends with an empty group, whose number is its kind: so it
# begins with a character or a class, by which `re` passes over the wrong ones at once, which a named group hides.
_PATTERNS = {
    # between two marks or line breaks, a stretch without a sign of calculation or relation: most of all prose
    "clause": r"""[A-Za-z](?:(?<=[.,;:?!][ ].)|(?<=\n.)|(?<=\n[-*][ ].)|(?<![\s\S].))
                  (?:[A-Za-z0-9 '’$]++|[.,](?=[0-9])|(?<=[A-Za-z])-(?=[A-Za-z])|(?<=[ ])\([A-Za-z0-9 .,$]++\))*+
                  (?:[.,;:?](?=\s|\Z)|(?=\n\s{0,9}[A-Za-z0-9]|\Z))""",
    "run": r"[A-Za-z](?<=[ ].)[A-Za-z]++[ ](?:[A-Za-z]{2,}+[ ]|a[ ](?=[A-Za-z0-9]))*+(?:[A-Za-z]{2,}+(?=[.,]))?+",
    "plain": r"[A-Za-z](?<![\w'’)\]].)[A-Za-z]++(?![\w'’-])",
    "figure": r"(?:[1-9][0-9]*+|0)(?:\.[0-9]++)?+(?![0-9]|[,:]\S|\\[,!]|\{,)",
    "sign": r"[-+/()%,=](?![-=>/])",
    "number": r"(?:[0-9]{1,3}(?:(?:,\\!|,|\{,\}|\\,|\\!)[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?",
    "decimal": r"\.[0-9]+",
    "by": r"[xX](?=\s{0,3}(?:[0-9£€$]|\\\$)|\s{1,3}\()",
    "fraction": r"[½⅓⅔¼¾⅕⅛]",
    "super": r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+",
    "word": r"[^\W\d_][\w'’]*(?:-[^\W\d_]+)*",
    "newline": r"\n\s*",
    "degree": r"(?:\^\s?\{?\s?\\circ\b\s?\}?|°)",
    "env": r"\\(?:begin|end)\s?\{[a-z]+\*?\}",
    "shortfrac": r"\\[dtc]?frac\s?[0-9]\s?[0-9]",
    "repeating": r"\.(?=\\(?:overline|dot|bar|ldots|cdots))",
    "command": r"\\(?:[A-Za-z]+|\S)",
    "arrow": r"(?:[-=]{1,3}>|<[-=]{2,3}|[→⇒⟹⇔↔∴—])",
    "mark": r"(?:<<|>>|\$\s{0,3}\$|\*\*|\.\.+|[!<>=:]=|=/=)",
    "char": r"\S",
}
_NAMES = ("", *_PATTERNS)
_RUN, _PLAIN, _FIGURE, _SIGN, _CHAR, _COMMAND, _CLAUSE = map(
    _NAMES.index, ("run", "plain", "figure", "sign", "char", "command", "clause")
)
_TOKEN = re.compile("|".join(f"{pattern}()" for pattern in _PATTERNS.values()), re.VERBOSE)
_TOKEN_OF_CLAUSE = re.compile(_TOKEN.pattern.replace(_PATTERNS["clause"], "(?!)"), re.VERBOSE)
_EQUALS = frozenset(("is", "are", "equals", "equal", "gives"))
_MEASURED = WORD_OPERATORS.keys() | UNIT_KINDS.keys()
_BY = re.compile(r"(?<![A-Za-z])x|x(?![A-Za-z])", re.IGNORECASE)
_Kinds = dict[str, tuple[int, str]]


def _all(names: str, kind: int, text: str) -> _Kinds:
    return dict.fromkeys(names.split(), (kind, text))


_RELATIONS = {"=": "=", "==": "=", "＝": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "≤": "<=", "≥": ">="}
_RELATIONS |= {"≠": "!=", "!=": "!=", "=/=": "!=", "≈": "~", "≃": "~", "⩽": "<=", "⩾": ">="}
_COMMANDS: _Kinds = {
    **_all(r"\times \cdot \ast", OP, "*"),
    **_all(r"\div", OP, "/"),
    **_all(r"\le \leq \leqslant", REL, "<="),
    **_all(r"\ge \geq \geqslant", REL, ">="),
    **_all(r"\ne \neq", REL, "!="),
    **_all(r"\approx \simeq", REL, "~"),
    **_all(r"\lt", REL, "<"),
    **_all(r"\gt", REL, ">"),
    **_all(r"\frac \dfrac \tfrac \cfrac", FUNC, "frac"),
    **_all(r"\sqrt", FUNC, "sqrt"),
    **_all(r"\%", POSTFIX, "%"),
    **_all(r"\$", CURRENCY, "$"),
    **_all(r"\pounds", CURRENCY, "£"),
    **_all(r"\euro", CURRENCY, "€"),
    **_all(r"\\ \[ \] \newline", BREAK, "\n"),
    **_all(
        r"\quad \qquad \implies \Rightarrow \Longrightarrow \rightarrow \to \iff \therefore \because \Leftrightarrow",
        BREAK,
        ";",
    ),
}
_WRAPPERS = frozenset(_all(r"\text \textbf \textit \textrm \mathrm \mathbf \mbox \boxed \fbox \emph \underline", 0, ""))
_SILENT = frozenset(
    _all(r"\( \, \; \: \! \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \displaystyle", 0, "")
)
_OPEN_ENVIRONMENTS = frozenset(_all("align aligned equation gather gathered split multline eqnarray flalign", 0, ""))
_FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}
_CHARACTERS: _Kinds = {
    **_all("+", OP, "+"),
    **_all("- − –", OP, "-"),
    **_all("× · ⋅ ∙ ✕ ∗", OP, "*"),
    **_all("÷ / ⁄ ∕", OP, "/"),
    **_all("^", OP, "^"),
    **{char: (REL, relation) for char, relation in _RELATIONS.items()},
    "(": (OPEN, "("),
    "[": (OPEN, "["),
    ")": (CLOSE, "("),
    "]": (CLOSE, "["),
    "%": (POSTFIX, "%"),
    **{char: (CURRENCY, char) for char in "£€¥₹"},
    **_all(', ; : " “ ” ， ； ： 、', BREAK, ";"),
    "。": (BREAK, "."),
    "&": (BREAK, "\n"),
    "√": (FUNC, "sqrt"),
    **_all("? ？", BREAK, "?"),
    ".": (BREAK, "."),
    "*": (OP, "*"),
    # Currency, or the edge of a formula: either way nothing to calculate with.
    "$": (CURRENCY, "$"),
}
_KNOWN = _CHARACTERS | _COMMANDS
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def tokenize(text: str, start: int = 0) -> list[Token]:
    """Cut `text` from `start` on into tokens. White space, Markdown marks and LaTeX wrappers leave none.

    Raises: nothing, on any text.

    >>> [t.text for t in tokenize(r"so \\frac{1}{2} of $48 = **24** clips")]
    ['so', 'frac', '{', '1', '{', '{', '2', '{', 'of', '$', '48', '=', '24', 'clips']
    """
    return _Lexer(text).run(start)


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.braces: list[bool] = []  # for each open brace: does it show as a token?
        self.wrapping = False  # the next brace belongs to \text, \boxed and the like
        self.by = False  # is there an x that may be a sign of multiplication?

    def run(self, begin: int) -> list[Token]:
        self._read(_TOKEN.finditer(self.text, begin))
        if self.by:
            self._settle_by()
        return self.tokens

    def _read(self, matches: Iterator[re.Match[str]]) -> None:
        append = self.tokens.append
        for match in matches:
            kind = match.lastindex
            start, end = match.span()
            if kind == _RUN:  # of plain words: most of them, so they are made here
                for word in match[0].lower().split():
                    end = start + len(word)
                    append(_new(Token, (WORD, word, start, end)))
                    start = end + 1
            elif kind == _FIGURE:
                append(_new(Token, (NUM, match[0], start, end)))
            elif kind == _PLAIN:
                append(_new(Token, (WORD, match[0].lower(), start, end)))
            elif kind == _SIGN:
                known = _KNOWN[match[0]]
                append(_new(Token, (known[0], known[1], start, end)))
            elif kind == _CHAR or kind == _COMMAND:  # noqa: SIM109
                sign = _KNOWN.get(match[0])
                if sign is not None:
                    append(_new(Token, (sign[0], sign[1], start, end)))
                elif kind == _CHAR:
                    self._character(match[0], start, end)
                elif match[0] not in _SILENT:
                    self._command(match[0], start, end)
            elif kind == _CLAUSE:
                self._clause(match[0], start, end)
            else:
                self._rare(_NAMES[kind or 0], match[0], start, end)

    def _clause(self, clause: str, start: int, end: int) -> None:
        """Stands for its words, where none of them can change what is calculated elsewhere."""
        mark = _KNOWN.get(clause[-1])
        words = (clause[:-1] if mark else clause).lower().split()
        related = not _EQUALS.isdisjoint(words) and (not _MEASURED.isdisjoint(words) or words[-1] in _EQUALS)
        if related or (("x" in clause or "X" in clause) and _BY.search(clause)):
            self._read(_TOKEN_OF_CLAUSE.finditer(self.text, start, end))
            return
        gist = words[0] if len(words) == 1 else "..." if HYPOTHESES.isdisjoint(words) else "if"
        self.tokens.append(_new(Token, (WORD, gist, start, end - 1 if mark else end)))
        if mark:
            self.tokens.append(_new(Token, (*mark, end - 1, end)))

    def _settle_by(self) -> None:
        """Read "3 x 4" as a product, unless x is a variable elsewhere in the text."""
        variable = any(t.kind == BAD and t.text in ("x", "X") for t in self.tokens)
        for i, token in enumerate(self.tokens):
            if token.kind == OP and token.text == "x":
                self.tokens[i] = token._replace(kind=BAD) if variable else token._replace(text="*")

    def _add(self, kind: int, text: str, start: int, end: int) -> None:
        self.tokens.append(_new(Token, (kind, text, start, end)))

    def _word(self, word: str, start: int, end: int) -> None:
        before = self.tokens[-1] if self.tokens else None
        glued = before is not None and before.end == start and before.kind in (NUM, CLOSE) and before.text != "{"
        plain = word.rstrip("²³").replace("-", "").replace("'", "").replace("’", "").isalpha()
        if not plain or (len(word) == 1 and not self._is_lone_word(word, end)):
            # "3x4" and "3 x 4" are settled later, when the neighbours are known.
            self._add(BAD, word, start, end)
        elif glued and word[0] < "\u3040" and word.rstrip("²³") not in GLUED_UNITS:  # Chinese needs no blank
            self._add(BAD, word, start, end)
        else:
            self._add(WORD, word.lower(), start, end)

    def _is_lone_word(self, letter: str, end: int) -> bool:
        """Whether one letter is a word: an article before another word, or a character of Chinese or Japanese."""
        after = self.text[end : end + 2]
        return (letter in "aAI" and after[:1] == " " and after[1:].isalnum()) or letter >= "\u3040"

    def _number(self, word: str, start: int, end: int) -> None:
        plain = word if "," not in word and "\\" not in word else "".join(c for c in word if c.isdigit() or c == ".")
        self._add(NUM, plain, start, end)
        after = self.text[end : end + 2]
        if word[0] == "0" and len(word) > 1 and word[1].isdigit():
            self._add(BAD, word, start, end)  # "0930" is a time or a code
        elif after[:1] in (",", ":") and after[1:].isdigit():
            self._add(BAD, after[0], end, end)  # "3,5", "3:30", "1:2"

    def _character(self, char: str, start: int, end: int) -> None:
        if char == "{":
            self.braces.append(not self.wrapping)
            if not self.wrapping:
                self._add(OPEN, "{", start, end)
            self.wrapping = False
        elif char == "}":
            if not self.braces:
                self._add(BAD, char, start, end)
            elif self.braces.pop():
                self._add(CLOSE, "{", start, end)
        elif char == "!":
            self._exclamation(start, end)
        elif char not in "`#~'’‘":
            self._add(BAD, char, start, end)

    def _exclamation(self, start: int, end: int) -> None:
        rest = self.text[end : end + 12].lstrip()
        factorial = rest[:1] in tuple("+-*/=)}]^<>×÷≈") or rest.startswith(("\\times", "\\cdot", "\\div", "\\app"))
        sure = factorial and bool(self.tokens) and self.tokens[-1].kind in (NUM, CLOSE)
        loose = not self.tokens or self.tokens[-1].kind not in (NUM, CLOSE)
        self._add(POSTFIX if sure else BREAK if loose else BAD, "!", start, end)

    def _fraction(self, numerator: int, denominator: int, start: int, end: int) -> None:
        self._add(FUNC, "frac", start, start)
        for part in (numerator, denominator):
            self._add(OPEN, "{", start, start)
            self._add(NUM, str(part), start, end)
            self._add(CLOSE, "{", end, end)

    def _command(self, name: str, start: int, end: int) -> None:
        if name in _WRAPPERS:
            self.wrapping = True
        elif name == "\\)" and self.text[end : end + 12].lstrip().startswith("\\("):
            self._add(BREAK, "\n", start, end)
        elif name != "\\)":  # else the end of a formula
            self._add(BAD, name, start, end)

    def _rare(self, kind: str, word: str, start: int, end: int) -> None:
        if kind == "word":
            self._word(word, start, end)
        elif kind in ("number", "decimal"):
            self._number(word, start, end)
        elif kind == "newline":
            self._add(BREAK, "\n", start, end)
        elif kind == "by":
            factor = bool(self.tokens) and self.tokens[-1].kind in (NUM, CLOSE, WORD, POSTFIX)
            self._add(OP if factor else BAD, "x", start, end)
            self.by = True
        elif kind == "super":
            self._add(OP, "^", start, start)
            self._add(NUM, word.translate(_SUPERSCRIPT), start, end)
        elif kind == "fraction":
            self._fraction(*_FRACTIONS[word], start, end)
        elif kind == "degree":
            self._add(WORD, "degrees", start, end)
        elif kind == "shortfrac":
            digits = [c for c in word if c.isdigit()]
            self._fraction(int(digits[0]), int(digits[1]), start, end)
        elif kind == "arrow":
            self._add(BREAK, ";", start, end)
        elif kind == "repeating":
            self._add(BAD, ".", start, end)
        elif kind == "env":
            name = word[word.index("{") + 1 : -1].rstrip("*")
            self._add(BREAK if name in _OPEN_ENVIRONMENTS else BAD, "\n", start, end)
        else:
            self._mark(word, start, end)

    def _mark(self, word: str, start: int, end: int) -> None:
        if word == "!=" and self.tokens and self.tokens[-1].kind in (NUM, CLOSE) and self.tokens[-1].end == start:
            self._add(POSTFIX, "!", start, start + 1)  # "3!=6"; unequal is written "3 != 6"
            self._add(REL, "=", start + 1, end)
        elif word in _RELATIONS:
            self._add(REL, _RELATIONS[word], start, end)
        elif word == "<<":
            self._add(OPEN, "<<", start, end)
        elif word == ">>":
            self._add(CLOSE, "<<", start, end)
        elif word == "**":
            if self._is_power(start, end):
                self._add(OP, "^", start, end)
        elif word[0] == "$":
            self._add(BREAK, "\n", start, end)
        elif word[0] == ".":
            self._dots(start, end)
        else:
            self._add(BAD, word, start, end)

    def _dots(self, start: int, end: int) -> None:
        before = self.tokens[-1] if self.tokens else None
        after = self.text[end : end + 1]
        if before is not None and before.kind == NUM and before.end == start and "." in before.text:
            self._add(POSTFIX, "...", start, end)  # 3.363...
        elif before is not None and before.kind != OP and (after == "" or after.isspace()):
            self._add(BREAK, ".", start, end)
        else:
            self._add(BAD, "...", start, end)

    def _is_power(self, start: int, end: int) -> bool:
        """Whether ``**`` raises to a power; else it is Markdown's bold."""
        before, after = self.text[max(0, start - 2) : start], self.text[end : end + 2]
        if before[-1:] == " " and after[:1] == " ":
            before, after = before[:-1], after[1:]
        return before[-1:] in tuple("0123456789)") and after[:1] in tuple("0123456789(")
