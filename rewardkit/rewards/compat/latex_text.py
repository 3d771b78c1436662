"""LaTeX as plain text, for PRM800K's grader: ``\\frac{1}{2}`` becomes ``1/2`` and ``\\sqrt{3}`` becomes ``√(3)``.

The answers of pylatexenc 2 (`latex_to_text`) on what answers hold: fractions, roots, symbols, text, matrices. Unknown
macros vanish, and the numerator of a fraction gets no brackets (``\\frac{a+b}{c}`` gives ``a+b/c``), as there.
"""

from __future__ import annotations

import re

from rewardkit.rewards.compat.tables import LATEX_MATRICES, LATEX_NAMES, LATEX_SYMBOLS

MAX_DEPTH = 100

_CHARACTERS = {"\\": "\n", "!": "", ",": " ", ";": " ", ":": " ", " ": " ", "\n": " "}
_LIGATURES = {"---": "\u2014", "--": "\u2013", "''": "\u201d", "``": "\u201c"}
_BOARD = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))
_MACRO = re.compile(r"\\([^\W\d_]+|.)\s*", re.DOTALL)


def to_text(latex: str) -> str:
    r"""The text of a formula.

    Raises:
        ValueError: an argument or the end of an environment is missing, or braces are nested too deep.

    >>> to_text(r"\left(\frac{\sqrt{3}}{2}, \infty\right)"), to_text(r"x^{2} \text{ cm}")
    ('(√(3)/2, ∞)', 'x^2  cm')
    """
    return _Reader(latex).until(None)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.matrices = 0

    def until(self, closing: str | None) -> str:
        """The text up to the closing mark, or to the end."""
        parts: list[str] = []
        while self.at < len(self.text) and not (closing and self.text.startswith(closing, self.at)):
            parts.append(self.piece())
        self.at += len(closing or "")
        return "".join(parts)

    def piece(self) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        made = self.macro() if self.text[self.at] == "\\" else self.character()
        self.depth -= 1
        return made

    def character(self) -> str:
        for mark, dash in _LIGATURES.items():
            if self.text.startswith(mark, self.at):
                self.at += len(mark)
                return dash
        character = self.text[self.at]
        self.at += 1
        if character == "{":
            return self.until("}")
        return "" if character in "}$" or (character == "&" and not self.matrices) else character

    def macro(self) -> str:
        match = _MACRO.match(self.text, self.at)
        if match is None:
            self.at += 1
            return ""
        name = match[1]
        self.at = match.end() if name.isalpha() else self.at + 2
        if name in ("frac", "nicefrac"):
            return f"{self.argument()}/{self.argument()}"
        if name == "sqrt":
            return self.root()
        if name == "begin":
            return self.environment()
        if name == "end":
            self.argument()
            return ""
        return self.plain(name)

    def plain(self, name: str) -> str:
        if name == "mbox":
            self.argument()
            return ""
        if name in ("mathbf", "mathbb"):
            return "".join(_styled(c, name) for c in self.argument())
        if name in ("quad", "qquad"):
            return "  "
        if not name.isalpha():
            return _CHARACTERS.get(name, name if name in "%$#&_{}" else "")
        return name if name in LATEX_NAMES else LATEX_SYMBOLS.get(name, "")

    def argument(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        if self.at >= len(self.text):
            raise ValueError("an argument is missing")
        return self.piece()

    def root(self) -> str:
        if self.text.startswith("[", self.at):
            self.at = self.text.find("]", self.at) + 1 or len(self.text)
        return f"√({self.argument()})"

    def environment(self) -> str:
        name = self.argument()
        if self.at >= len(self.text):
            raise ValueError(f"{name} holds nothing")
        if name not in LATEX_MATRICES:
            return ""
        if name == "array":
            self.argument()
        self.matrices += 1
        rows = self.until(f"\\end{{{name}}}").replace("&", " ").replace("\n", "; ")
        self.matrices -= 1
        return f"[ {rows} ]"


def _styled(character: str, style: str) -> str:
    """A letter or digit in bold or double-struck."""
    if style == "mathbb" and character in _BOARD:
        return _BOARD[character]
    upper, lower, digit = (0x1D400, 0x1D41A, 0x1D7CE) if style == "mathbf" else (0x1D538, 0x1D552, 0x1D7D8)
    for first, last, base in (("A", "Z", upper), ("a", "z", lower), ("0", "9", digit)):
        if first <= character <= last:
            return chr(base + ord(character) - ord(first))
    return character
