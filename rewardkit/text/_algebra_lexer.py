"""Tokens for `rewardkit.text.algebra`: a text of prose, Markdown and LaTeX in one pass of a plain regular expression.

Inside of formulas letters are variables, outside a lone letter is one and words are words. What is not known becomes
"bad", and whatever holds it is not read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rewardkit.text._terms import Token, words

_TOKEN = re.compile(
    r"""(?P<space>[^\S\n]+)
      | (?P<newline>\n\s*)
      | (?P<env>\\(?:begin|end)\s?\{[A-Za-z]{1,20}\*?\})
      | (?P<num>(?:[0-9]{1,3}(?:(?:,\\!|,|\{,\})[0-9]{3}){1,12}(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<word>[A-Za-z]+(?:['’][A-Za-z]+)?)
      | (?P<command>\\[A-Za-z]+|\\.)
      | (?P<mark>\$\$|\*\*|<=|>=|!=|==|[-=]{1,4}>)
      | (?P<char>.)""",
    re.VERBOSE | re.DOTALL,
)
_RELATIONS: dict[str, str] = {"=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "≤": "<=", "≥": ">="}
_RELATIONS |= {"!=": "!=", "≠": "!=", "≈": "~", r"\approx": "~", r"\le": "<=", r"\leq": "<=", r"\leqslant": "<="}
_RELATIONS |= {r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=", r"\ne": "!=", r"\neq": "!=", r"\lt": "<", r"\gt": ">"}
_OPERATORS = {"+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "·": "*", "⋅": "*", "/": "/", "÷": "/"}
_OPERATORS |= {r"\times": "*", r"\cdot": "*", r"\div": "/", "^": "^", "_": "_"}
_FUNCTIONS = {r"\frac": "frac", r"\dfrac": "frac", r"\tfrac": "frac", r"\sqrt": "sqrt", "√": "sqrt"}
_GREEK = words("alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi omega pi varphi ell Delta")
_SILENT = words(r"\, \; \: \! \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \displaystyle \textstyle") | {
    "\\ "
}
_WRAPPERS = words(r"\text \textbf \textit \textrm \mbox \emph")
_TRANSPARENT = words(r"\boxed \fbox \mathbf \mathit \underline \cancel")
_BREAKS = words(
    r"""\quad \qquad \implies \Rightarrow \Longrightarrow \rightarrow \to \iff \therefore \because
    \Leftrightarrow"""
)
_LETTER_FUNCTIONS = words("sin cos tan cot sec csc log ln exp gcd lcm mod max min det deg arcsin arctan")


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
            self._add("break", "." if char in ".!?。" else "," if char == "," else ";", start, end)
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
    if r"\(" in text:
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
