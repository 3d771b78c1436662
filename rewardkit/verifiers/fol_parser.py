"""Formulas of first-order logic from text, in two notations that may be mixed.

- FLD and FLDx2: ``{A}``, ``{F}{a}``, ``(x): {F}x -> {G}x``, ``(Ex): ({F}x & {G}x)``, with ``& v ¬ ->``.
- Plain ASCII or Unicode: ``forall x. P(x) -> Q(x)``, ``∀x (P(x) → ¬Q(x))``, ``exists``, ``∃``, and for the connectives
  ``~ ! ¬ not``, ``& && ∧ and``, ``| || ∨ or``, ``⊕ ^ xor``, ``-> → => ⇒``, ``<-> ↔ <=> ⇔``; ``a = b`` and ``a ≠ b``.

From tightest to loosest: negation and quantifiers; and; or; xor; implies (to the right: ``A -> B -> C`` is
``A -> (B -> C)``); iff. A quantifier with ``.``, ``:`` or ``,`` reaches to the end of the formula or bracket
(``forall x. P(x) -> Q(x)``); without one it takes what follows directly (``∀x P(x) → Q(a)`` is ``(∀x P(x)) → Q(a)``).

What could be misread is refused: a variable outside of its quantifier (``P(x)`` alone), function terms, one leftover
token. Size and depth are bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Connective,
    Formula,
    Not,
    Predicate,
    Quantified,
    Truth,
    Variable,
)

MAX_CHARS = 4000
MAX_TOKENS = 400
MAX_DEPTH = 40


class FormulaError(ValueError):
    """A text that is no formula of the grammar; the message says where and why."""


_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<fld>\{[^\W_]\w{0,40}\})"
    r"|\(\s?(?P<universal>[^\W\dEA_]\w{0,20})\s?\)\s?:"
    r"|\(\s?(?P<existential>E\s?[^\W\d_]\w{0,20})\s?\)\s?:"
    r"|(?P<word>\d[\d.:%]{0,20}\d(?!\w)|[^\W_][\w'’-]{0,80}(?<![-'’]))"
    r"|(?P<op><->|<=>|<-->|->|-->|=>|!=|&&|\|\||#T#|#F#|[↔⇔≡→⇒⟶∧∨⊕¬∀∃⊤⊥≠&|^~!=(){}.,:;\[\]])"
    r")"
)

_SYMBOLS = {
    **dict.fromkeys(("&", "&&", "∧", "and"), "and"),
    **dict.fromkeys(("|", "||", "∨", "or", "v"), "or"),
    **dict.fromkeys(("⊕", "^", "xor"), "xor"),
    **dict.fromkeys(("->", "-->", "=>", "→", "⇒", "⟶", "implies"), "implies"),
    **dict.fromkeys(("<->", "<-->", "<=>", "↔", "⇔", "≡", "iff"), "iff"),
    **dict.fromkeys(("~", "!", "¬", "not"), "not"),
    **dict.fromkeys(("∀", "forall"), "forall"),
    **dict.fromkeys(("∃", "exists"), "exists"),
}
_LEVELS = {"iff": 1, "implies": 2, "xor": 3, "or": 4, "and": 5}
_QUANTIFIERS = ("forall", "exists")
_TRUTHS = {"⊤": True, "⊥": False, "#T#": True, "#F#": False, "true": True, "false": False}
_VARIABLE = re.compile(r"[s-z]\d{0,2}")

Token = tuple[str, str, int, int]  # kind, text, start, end


@lru_cache(maxsize=1 << 15)
def parse_formula(text: str) -> Formula:
    """The formula that a text states.

    Raises:
        FormulaError: it is none, or larger than the bounds.

    >>> parse_formula("{A} -> {B} -> {A}") == parse_formula("A → (B → A)")
    True
    >>> parse_formula("(x): {F}x -> {G}x") == parse_formula("forall x. F(x) -> G(x)")
    True
    >>> parse_formula("F(x) -> G(x)")
    Traceback (most recent call last):
    ...
    rewardkit.verifiers.fol_parser.FormulaError: variable 'x' stands outside of its quantifier
    """
    parser = _Parser(_tokens(text))
    formula = parser.formula(1, 0)
    parser.finish()
    return formula


def _tokens(text: str) -> list[Token]:
    if len(text) > MAX_CHARS:
        raise FormulaError(f"longer than {MAX_CHARS} characters")
    text = text.strip().removesuffix(".")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise FormulaError(f"cannot read {text[at : at + 12].strip()!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind], match.start(kind), match.end()))
        at = match.end()
        if len(tokens) > MAX_TOKENS:
            raise FormulaError(f"more than {MAX_TOKENS} tokens")
    return tokens


class _Parser:
    """Precedence climbing; the depth of recursion is counted and bounded."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = [*tokens, ("end", "", 0, 0)]
        self._at = 0
        self._bound: list[str] = []
        self._ever_bound: set[str] = set()
        self._free: set[str] = set()

    def formula(self, level: int, depth: int) -> Formula:
        """A formula whose connectives bind at least as tightly as `level`."""
        if depth > MAX_DEPTH:
            raise FormulaError(f"nested more than {MAX_DEPTH} deep")
        left = self._unary(depth)
        while True:
            connective = self._connective()
            found = _LEVELS.get(connective, 0)
            if found < level:
                return left
            self._at += 1
            right = self.formula(found if connective == "implies" else found + 1, depth + 1)
            left = _connect(connective, left, right)

    def finish(self) -> None:
        if self._kind() != "end":
            self._fail("unexpected")
        mixed = sorted(self._free & self._ever_bound)
        if mixed:
            raise FormulaError(f"variable '{mixed[0]}' stands outside of its quantifier")

    def _unary(self, depth: int) -> Formula:
        negations = 0
        while self._symbol() == "not" and not self._is_predicate():
            self._at += 1
            negations += 1
        formula = self._atom(depth)
        if negations > MAX_DEPTH:
            raise FormulaError(f"nested more than {MAX_DEPTH} deep")
        for _ in range(negations):
            formula = Not(formula)
        return formula

    def _atom(self, depth: int) -> Formula:
        kind, text, _, _ = self._tokens[self._at]
        if kind in ("universal", "existential"):
            self._at += 1
            name = text if kind == "universal" else text[1:].strip()
            return self._quantified("forall" if kind == "universal" else "exists", [name], True, depth)
        if self._symbol() in _QUANTIFIERS and not self._is_predicate():
            return self._quantifier(depth)
        if text in ("(", "["):
            return self._bracket(text, depth)
        if text in _TRUTHS:
            self._at += 1
            return Truth(_TRUTHS[text])
        if kind == "fld":
            return self._fld()
        if kind != "word":
            self._fail("unexpected")
        return self._plain()

    def _bracket(self, opened: str, depth: int) -> Formula:
        self._at += 1
        if self._symbol() in _QUANTIFIERS and self._closes_after_names():
            formula = self._quantifier(depth)
        else:
            formula = self.formula(1, depth + 1)
            self._expect(")" if opened == "(" else "]")
        return formula

    def _closes_after_names(self) -> bool:
        """Whether ``∀x`` and then ``)`` follows: a quantifier in brackets, as in ``(∀x)(P(x))``."""
        at = self._at + 1
        while self._tokens[at][0] == "word":
            at += 1
        return at > self._at + 1 and self._tokens[at][1] == ")"

    def _quantifier(self, depth: int) -> Formula:
        quantifier = self._symbol()
        self._at += 1
        names: list[str] = []
        while self._kind() == "word" and not (names and self._is_predicate()):
            if names and _identifier(self._text()) not in names and not _VARIABLE.fullmatch(self._text()):
                break  # ∀x Happy: the second word is a proposition
            names.append(self._text())
            self._at += 1
        wide = self._text() in (".", ":", ",")
        if not names or not (wide or all(len(name) <= 3 for name in names)):  # "exists birds fly" is English
            self._fail("expected a variable before")
        if wide or self._text() == ")":
            self._at += 1
        return self._quantified(quantifier, names, wide, depth)

    def _quantified(self, quantifier: str, names: list[str], wide: bool, depth: int) -> Formula:
        known = [_identifier(name) for name in names]
        self._bound += known
        self._ever_bound |= set(known)
        if depth + len(known) > MAX_DEPTH:
            raise FormulaError(f"nested more than {MAX_DEPTH} deep")
        body = self.formula(1, depth + len(known)) if wide else self._unary(depth + len(known))
        del self._bound[len(self._bound) - len(known) :]
        for name in reversed(known):
            kind = "forall" if quantifier == "forall" else "exists"
            body = Quantified(kind, Variable(name, "object"), body)  # type: ignore[arg-type]
        return body

    def _fld(self) -> Formula:
        _, text, _, end = self._tokens[self._at]
        self._at += 1
        arguments: list[Variable] = []
        while True:
            kind, argument, start, stop = self._tokens[self._at]
            joined = start == end and kind in ("fld", "word")
            if not joined or (argument == "v" and "v" not in self._bound):
                break
            arguments.append(self._name(argument.strip("{}"), constant=kind == "fld"))
            end = stop
            self._at += 1
        return Predicate(_identifier(text.strip("{}")), tuple(arguments))

    def _plain(self) -> Formula:
        name = self._text()
        if self._is_predicate():
            self._at += 2
            arguments = [self._argument()]
            while self._text() == ",":
                self._at += 1
                arguments.append(self._argument())
            self._expect(")")
            return Predicate(_identifier(name), tuple(arguments))
        self._at += 1
        if self._text() in ("=", "≠", "!="):
            equal = self._text() == "="
            self._at += 1
            return Comparison("=" if equal else "!=", self._name(name), self._argument())
        if _identifier(name) in self._bound:
            raise FormulaError(f"variable '{name}' stands where a statement is wanted")
        return Predicate(_identifier(name))

    def _argument(self) -> Variable:
        if self._kind() not in ("word", "fld"):
            self._fail("expected a name before")
        if self._is_predicate():
            self._fail("function terms are not supported:")
        name = self._name(self._text().strip("{}"), constant=self._kind() == "fld")
        self._at += 1
        return name

    def _name(self, text: str, constant: bool = False) -> Variable:
        name = _identifier(text)
        if name not in self._bound:
            if _VARIABLE.fullmatch(text) and not constant:
                raise FormulaError(f"variable '{text}' stands outside of its quantifier")
            self._free.add(name)
        return Variable(name, "object")

    def _is_predicate(self) -> bool:
        """Whether a word and then an opening bracket follow (an operator in letters is none: ``not (A)``)."""
        kind, text, _, end = self._tokens[self._at]
        following = self._tokens[self._at + 1] if kind == "word" else ("", "", 0, 0)
        return following[1] == "(" and (text.lower() not in _SYMBOLS or (text == "v" and following[2] == end))

    def _connective(self) -> str:
        kind, text, _, _ = self._tokens[self._at]
        return _SYMBOLS.get(text, "") if kind in ("word", "op") else ""

    def _symbol(self) -> str:
        kind, text, _, _ = self._tokens[self._at]
        return _SYMBOLS.get(text.lower(), "") if kind in ("word", "op") and text != "v" else ""

    def _kind(self) -> str:
        return self._tokens[self._at][0]

    def _text(self) -> str:
        return self._tokens[self._at][1]

    def _expect(self, text: str) -> None:
        if self._text() != text:
            self._fail(f"expected '{text}' before")
        self._at += 1

    def _fail(self, what: str) -> NoReturn:
        text = self._text()
        raise FormulaError(f"{what} {text[:20]!r}" if text else f"{what} the end")


def _connect(connective: str, left: Formula, right: Formula) -> Formula:
    if connective == "xor":
        return Not(Connected("iff", left, right))
    known: dict[str, Connective] = {"and": "and", "or": "or", "implies": "implies", "iff": "iff"}
    return Connected(known[connective], left, right)


@lru_cache(maxsize=1 << 14)
def _identifier(text: str) -> str:
    """A name of letters, digits and underscores: what else it holds is written as its code point.

    >>> _identifier("göteborg"), _identifier("34")
    ('g_u00f6teborg', 'n_34')
    """
    made = "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"_u{ord(c):04x}" for c in text)
    made = made if made[:1].isalpha() else f"n_{made}"
    if len(made) > 64:
        raise FormulaError(f"a name is longer than 64 characters: {text[:20]!r}")
    return made
