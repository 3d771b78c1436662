"""Text of a reasoning step (prose, Markdown, LaTeX) as a flat list of tokens for the arithmetic labeler.

What is not understood becomes a `BAD` token, so that whoever reads the tokens abstains there. One pass, one regular
expression without nested repetition: the time is linear in the length of the text.
"""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple

from rewardkit.labelers._words import GLUED_UNITS

NUM, OP, REL, OPEN, CLOSE, FUNC, POSTFIX, WORD, CURRENCY, BREAK, BAD = range(11)


class Token(NamedTuple):
    """One token: its kind, its normal form, and where it stands in the text."""

    kind: int
    text: str
    start: int
    end: int


_token = partial(tuple.__new__, Token)  # skips the argument handling of a NamedTuple: half of the time in here

_TOKEN = re.compile(
    r"""(?P<prose>(?<=[.?!:][ \n])[A-Z][a-z]++(?:,?[ ][A-Za-z'’-]{2,}+|,?[ ]a)++[.](?=[ \n]))
      | (?P<run>(?<=[ ])(?:[A-Za-z]{2,}+[ ])++)
      | (?P<plain>(?<=[ ])[A-Za-z]{2,}+(?=[.,]))
      | (?P<by>[xX](?=\s{0,3}(?:[0-9£€$]|\\\$)|\s{1,3}\())
      | (?P<super>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)
      | (?P<fraction>[½⅓⅔¼¾⅕⅛])
      | (?P<word>[^\W\d_][\w'’]*(?:-[^\W\d_]+)*)
      | (?P<num>(?:[0-9]{1,3}(?:(?:,\\!|,|\{,\}|\\,|\\!)[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<newline>\n\s*)
      | (?P<degree>\^\s?\{?\s?\\circ\b\s?\}?|°)
      | (?P<env>\\(?:begin|end)\s?\{[a-z]+\*?\})
      | (?P<shortfrac>\\[dtc]?frac\s?[0-9]\s?[0-9])
      | (?P<command>\\[A-Za-z]+|\\\S)
      | (?P<arrow>[-=]{1,3}>|<[-=]{2,3}|[→⇒⟹⇔↔∴—])
      | (?P<mark><<|>>|\$\s{0,3}\$|\*\*|\.\.+|[!<>=:]=|=/=)
      | (?P<char>\S)""",
    re.VERBOSE,
)
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
    _all(r"\( \) \, \; \: \! \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \displaystyle", 0, "")
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
}
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
        tokens = self.tokens
        append = tokens.append
        for match in _TOKEN.finditer(self.text, begin):
            kind = match.lastgroup
            start, end = match.span()
            if kind == "run":  # of plain words, two of three, so they are made here
                for word in match[0].lower().split():
                    end = start + len(word)
                    append(_token((WORD, word, start, end)))
                    start = end + 1
            elif kind == "prose":  # a sentence of words alone holds nothing to check
                append(_token((WORD, "...", start, end - 1)))
                append(_token((BREAK, ".", end - 1, end)))
            elif kind == "plain":
                append(_token((WORD, match[0].lower(), start, end)))
            elif kind == "word":
                self._word(match[0], start, end)
            elif kind == "num":
                self._number(match[0], start, end)
            elif kind == "char":
                self._character(match[0], start, end)
            elif kind == "newline":
                self._add(BREAK, "\n", start, end)
            elif kind == "command":
                self._command(match[0], start, end)
            else:
                self._rare(str(kind), match[0], start, end)
        if self.by:
            self._settle_by()
        return tokens

    def _settle_by(self) -> None:
        """Read "3 x 4" as a product, unless x is a variable elsewhere in the text."""
        variable = any(t.kind == BAD and t.text in ("x", "X") for t in self.tokens)
        for i, token in enumerate(self.tokens):
            if token.kind == OP and token.text == "x":
                self.tokens[i] = token._replace(kind=BAD) if variable else token._replace(text="*")

    def _add(self, kind: int, text: str, start: int, end: int) -> None:
        self.tokens.append(_token((kind, text, start, end)))

    def _word(self, word: str, start: int, end: int) -> None:
        before = self.tokens[-1] if self.tokens else None
        glued = before is not None and before.end == start and before.kind == NUM
        plain = word.rstrip("²³").replace("-", "").replace("'", "").replace("’", "").isalpha()
        if not plain or (len(word) == 1 and not self._is_lone_word(word, end)):
            # "3x4" and "3 x 4" are settled later, when the neighbours are known.
            self._add(BAD, word, start, end)
        elif glued and word.isascii() and word not in GLUED_UNITS:
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
        known = _CHARACTERS.get(char)
        if known is not None:
            self._add(*known, start, end)
        elif char == "{":
            self.braces.append(not self.wrapping)
            if not self.wrapping:
                self._add(OPEN, "{", start, end)
            self.wrapping = False
        elif char == "}":
            if not self.braces:
                self._add(BAD, char, start, end)
            elif self.braces.pop():
                self._add(CLOSE, "{", start, end)
        elif char in ".!*$":
            self._ambiguous(char, start, end)
        elif char not in "`#~'’‘":
            self._add(BAD, char, start, end)

    def _ambiguous(self, char: str, start: int, end: int) -> None:
        if char == ".":
            repeating = self.text.startswith(("\\overline", "\\dot", "\\bar", "\\ldots", "\\cdots"), end)
            self._add(BAD if repeating else BREAK, ".", start, end)
        elif char == "*":
            self._add(OP, "*", start, end)
        elif char == "$":
            # Currency, or the edge of a formula: either way nothing to calculate with.
            self._add(CURRENCY, "$", start, end)
        else:
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
        known = _COMMANDS.get(name)
        if known is not None:
            self._add(*known, start, end)
        elif name in _WRAPPERS:
            self.wrapping = True
        elif name == "\\)" and self.text[end : end + 12].lstrip().startswith("\\("):
            self._add(BREAK, "\n", start, end)
        elif name not in _SILENT:
            self._add(BAD, name, start, end)

    def _rare(self, kind: str, word: str, start: int, end: int) -> None:
        if kind == "by":
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
