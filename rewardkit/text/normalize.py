"""One written form for equal answers, and the exact value of those that are numbers.

A closed grammar reads numbers: ``1,000``, ``$18``, ``50%``, ``-1 1/2``, ``\\frac{3}{4}``, ``1.2e3``, ``18 dollars``.
Nothing is evaluated. Units and currency are dropped, not compared: data sets rarely write them in the reference.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

MAX_LENGTH = 2000
"""Characters of the longest answer that is looked into; a longer one equals only its own copy."""


def normalize_answer(answer: str) -> str:
    """The canonical written form of an answer; two answers with the same form are equal.

    A number becomes a reduced fraction, words lose their case, a formula its spaces and spelling variants. An answer
    that holds nothing gives "".

    >>> [normalize_answer(a) for a in ["$1,000.00", "50%", "\\\\dfrac12", "18 eggs.", "(C)", "\\\\text{East}"]]
    ['1000', '1/2', '1/2', '18', 'c', 'east']
    >>> normalize_answer("$\\\\left( 3, \\\\dfrac{\\\\pi}{2} \\\\right)$.")
    '(3,\\\\frac{\\\\pi}{2})'
    """
    text = tidy(answer)
    number = _value(text)
    if number is not None:
        return str(number)
    return text.casefold() if is_words(text) else _SPACES.sub("", text)


def parse_number(answer: str) -> Fraction | None:
    """The exact value of an answer that is a number, else None. A percentage is its fraction: ``50%`` is 1/2.

    >>> parse_number("1,234.5"), parse_number("two"), parse_number("1/0"), parse_number("5 x 3")
    (Fraction(2469, 2), None, None, None)
    """
    return _value(tidy(answer))


def without_units(answer: str) -> str:
    """The answer, tidied, and where it is a number without currency and units.

    >>> without_units("\\\\$1,200.50 per day."), without_units("50 percent"), without_units("x + 1 apples")
    ('1,200.50', '50%', 'x + 1 apples')
    """
    text = tidy(answer)
    match = _NUMBER.fullmatch(text)
    if match is None or _value(text) is None:
        return text
    sign = "-" if "-" in (match["sign"] + match["sign2"]) else ""
    return sign + match["body"].strip() + ("%" if match["percent"] else "") + (match["scale"] or "")


def tidy(answer: str) -> str:
    """Drop what surrounds an answer (math marks, emphasis, full stops, spacing commands) and unify its spelling.

    >>> tidy("**$\\\\tfrac{1}2$.**"), tidy("\\\\boxed{5.4 \\\\text{ cents}}"), tidy("\\\\$32,\\\\!348")
    ('\\\\frac{1}{2}', '5.4 cents', '32,348')
    """
    text = answer.strip()
    return text if len(text) > MAX_LENGTH else _tidy(text)


@functools.lru_cache(maxsize=4096)
def _tidy(text: str) -> str:
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    before = None
    while text != before:
        before = text
        text = " ".join(_unwrap(text.strip().rstrip(".,;:").lstrip("=:").strip()).split())
    return _SHORT_FRACTION.sub(_long_fraction, text)


def is_words(text: str) -> bool:
    """Whether a tidied answer is plain words (``east``, ``no solution``) or one letter, and no formula.

    >>> [is_words(t) for t in ("no solution", "x", "xy", "x + 1", "18")]
    [True, True, False, False, False]
    """
    return bool(_WORDS.fullmatch(text)) and (len(text) == 1 or text.casefold() == "no" or bool(_LONG_WORD.search(text)))


_WORDS = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+){0,11}")
_LONG_WORD = re.compile(r"[^\W\d_]{3}")
_SPACES = re.compile(r"(?<!\d) +| +(?!\d)")

_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\(?:left|right|displaystyle|bigl|bigr|big|Big|\$)(?![a-zA-Z])|\\! ?", ""),
        (r"\$(?=\S)([^$]*[^\s$])\$(?!\d)", r" \1 "),
        (r"(?<=\d)(?:\\,|\\ |[~\u00a0\u2009\u202f])(?=\d{3}(?!\d))", ","),
        (r"(?<!\\)\\[,;:> ]|\\q?quad(?![a-zA-Z])|[~\u00a0\u2009\u202f]", " "),
        (r"\{,\}", ","),
        (r"\\(?=[%#&])", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\^ ?(?:\\circ|\{ ?\\circ ?\})|\\degree|\u00b0", ""),
        (r"\\(?:times|ast)(?![a-zA-Z])|[\u00d7\u22c5\u00b7]", r"\\cdot "),
        (r"(?<=\d) [xX] (?=\d)", r" \\cdot "),
        (r"[\u2212\u2013]", "-"),
        (r"\\leq(?![a-zA-Z])|\u2264", r"\\le "),
        (r"\\geq(?![a-zA-Z])|\u2265", r"\\ge "),
        (r"\u03c0", r"\\pi "),
        (r"\u221e", r"\\infty "),
        (r"\u222a", r"\\cup "),
        (r"\u00b2", "^2"),
        (r"\u00b3", "^3"),
        (r"([\^_])\{(\w)\}", r"\1\2"),
        (r"(?<=[\d}])\s*\\(?:text|mbox|mathrm)\{\s*[a-zA-Z]\s*\}", ""),
        (r"\\(?:text|mbox|textbf|textit|mathrm|mathbf|operatorname)\{([^{}]*)\}", r" \1 "),
    ]
]

_SHORT_FRACTION = re.compile(r"\\frac ?(?:\{([^{}]*)\}|(\d)) ?(?:\{([^{}]*)\}|(\d))")


def _long_fraction(match: re.Match[str]) -> str:
    above, above_digit, below, below_digit = match.groups()
    return f"\\frac{{{(above_digit or above).strip()}}}{{{(below_digit or below).strip()}}}"


_WRAPS = [
    *(("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("\\boxed{", "}"), ("\\fbox{", "}")),
    *(("**", "**"), ("__", "__"), ("*", "*"), ("`", "`"), ('"', '"'), ("\u201c", "\u201d")),
]
_CHOICE = re.compile(r"\(([A-Za-z])\)")


def _unwrap(text: str) -> str:
    """Take off one pair of marks around the whole, or the brackets of a choice letter."""
    for opening, closing in _WRAPS:
        if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening + closing):
            inner = text[len(opening) : len(text) - len(closing)]
            if _is_one_piece(inner, opening, closing):
                return inner
    choice = _CHOICE.fullmatch(text)
    return choice[1] if choice else text


def _is_one_piece(inner: str, opening: str, closing: str) -> bool:
    """Whether the marks around `inner` belong together, unlike those of ``$a$ or $b$``."""
    if closing != "}":
        return opening not in inner and closing not in inner
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", inner):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


# --- numbers ---

_DIGITS = r"(?:(?:\d{1,3}(?:,\d{3}){1,20}(?!\d)|\d{1,3}(?: \d{3}){1,20}(?!\d)|\d{1,200})(?:\.\d{0,200})?|\.\d{1,200})"
_BODY = (
    rf"(?:(?P<whole>\d{{1,30}})(?: and | |-)?\\frac\{{(?P<a1>\d{{1,30}})\}}\{{(?P<b1>\d{{1,30}})\}}"
    rf"|(?P<whole2>\d{{1,30}})(?: and | )(?P<a2>\d{{1,30}})/(?P<b2>\d{{1,30}})"
    rf"|\\frac\{{(?P<a3> ?-? ?{_DIGITS})\}}\{{(?P<b3> ?-? ?{_DIGITS})\}}"
    rf"|(?P<a4>{_DIGITS}) ?/ ?(?P<b4>{_DIGITS})"
    rf"|(?P<decimal>{_DIGITS})(?:[eE](?P<exp>[+-]?\d{{1,3}})| ?\\cdot ?10\^\{{?(?P<exp2>-?\d{{1,3}})\}}?)?)"
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NOT_UNITS = (
    r"and|or|pi|sqrt|sin|cos|tan|log|ln|mod|plus|minus|times|over|divided|by|factorial|squared|cubed|dozens?|half|halves"
    r"|thirds?|quarters?|more|less|to|" + "|".join(_SCALES)
)
_UNIT = rf"(?!(?:{_NOT_UNITS})\b)[^\W\d_]{{2,30}}\.?"
_NUMBER = re.compile(
    r"(?P<sign>[+-]?) ?(?:US ?\$|USD|EUR|Rs\.?|[$\u20ac\u00a3\u00a5\u20b9])? ?(?P<sign2>[+-]?) ?"
    rf"(?P<body>{_BODY})(?P<percent> ?(?:%|percent\b|per cent\b))?(?P<scale> (?:{'|'.join(_SCALES)})\b)?"
    rf"(?: ?{_UNIT}(?:(?: | ?/ ?|-){_UNIT}){{0,15}}(?: ?/ ?[a-zA-Z])?(?: ?\^[23])?"
    r"| [mgshlLCF](?: ?/ ?[a-z]{1,3})?(?: ?\^[23])?|[\u20ac\u00a3])?",
)


def _value(text: str) -> Fraction | None:
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    value = _body_value(match) if match and not (match["sign"] and match["sign2"]) else None
    if match is None or value is None:
        return None
    if "-" in (match["sign"] + match["sign2"]):
        value = -value
    if match["percent"]:
        value /= 100
    return value * _SCALES[match["scale"].strip()] if match["scale"] else value


def _body_value(match: re.Match[str]) -> Fraction | None:
    if match["decimal"]:
        return _decimal(match["decimal"]) * Fraction(10) ** int(match["exp"] or match["exp2"] or 0)
    whole = match["whole"] or match["whole2"] or "0"
    above, below = (
        _decimal(next(match[f"{name}{i}"] for i in range(1, 5) if match[f"{name}{i}"] is not None)) for name in "ab"
    )
    return int(whole) + above / below if below else None


def _decimal(digits: str) -> Fraction:
    return Fraction(re.sub("[, ]", "", digits))
