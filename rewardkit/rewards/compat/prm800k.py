"""PRM800K's grader (Lightman et al. 2023), which TTRL and mathruler use: two normal forms, then a difference of zero.

Odd, and kept: the vote of TTRL and MM-UPT compares strings while the reward compares by this grader; ``0.5`` equals
``1/2`` but ``0.25`` does not equal ``1/4`` unless the difference is zero; unreduced fractions differ.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import re

from rewardkit.rewards.compat.latex_text import to_text
from rewardkit.rewards.compat.tables import GRADER_UNITS
from rewardkit.worker import LimitedWorker, WorkerError

MAX_LENGTH = 10_000
"""Characters; a longer answer equals only its own copy (the authors have no limit)."""


def grade(given: str, truth: str) -> bool:
    r"""Whether an answer counts as the truth. Not symmetric, as theirs.

    Raises:
        VerifierError: the process that subtracts formulas cannot be started.

    >>> grade("0.5", r"\frac{1}{2}"), grade(r"\frac12", "1/2"), grade("2/4", "1/2"), grade("(1,2)", "[1,2]")
    (True, True, False, False)
    """
    if max(len(given), len(truth)) > MAX_LENGTH:
        return given == truth
    if mathd(truth) == mathd(given):
        return True
    wanted, found = normal(truth), normal(given)
    if wanted == found:
        return True
    if not found:
        return False
    parts, others = _elements(wanted), _elements(found)
    if len(parts) > 1 and (wanted[0], wanted[-1]) != (found[0], found[-1]):
        return False
    return len(parts) == len(others) and all(map(_same_element, parts, others))


def mathd(answer: str) -> str:
    r"""The first normal form: Hendrycks' MATH.

    >>> mathd(r"k = \dfrac34"), mathd(r"\text{7 cm}"), mathd("0.5")
    ('\\frac{3}{4}', '7cm', '\\frac{1}{2}')
    """
    text = _text_inside(answer.strip()).strip()
    try:
        return _mathd(text)
    except ValueError:
        return text


def _mathd(text: str) -> str:
    for old, new in _MATHD:
        text = text.replace(old, new)
    if "\\text{ " in text:
        text, _ = text.split("\\text{ ")  # more than one: given up, see `mathd`
    for old, new in (("\\%", ""), ("%", ""), (" .", " 0."), ("{.", "{0.")):
        text = text.replace(old, new)
    if not text:
        return text
    text = without_name("0" + text if text[0] == "." else text)
    text = long_fractions(_long_roots(text).replace(" ", ""), strict=True)
    return "\\frac{1}{2}" if text == "0.5" else slash_fraction(text)


_MATHD = (
    *(("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", "")),
    *(("^{\\circ}", ""), ("^\\circ", ""), ("\\$", "")),
)


def without_name(text: str) -> str:
    """``x = 5`` as `` 5``: what follows the one equals sign behind at most two characters.

    >>> without_name("k=5"), without_name("area=5")
    ('5', 'area=5')
    """
    left, sign, right = text.partition("=")
    return right if sign and "=" not in right and len(left) <= 2 else text


def long_fractions(text: str, *, strict: bool = False) -> str:
    r"""``\frac12`` and ``\frac1{72}`` with braces. A fraction cut short leaves all as it was.

    Raises:
        ValueError: only if `strict`: nothing at all follows a ``\frac``.

    >>> long_fractions(r"\frac12+\frac1{72}"), long_fractions(r"\frac1")
    ('\\frac{1}{2}+\\frac{1}{72}', '\\frac1')
    """
    head, *pieces = text.split("\\frac")
    made = [head]
    for piece in pieces:
        if strict and not piece:
            raise ValueError("a fraction without parts")
        if piece.startswith("{"):
            made.append(piece)
        elif len(piece) < 2:
            return text
        elif piece[1] == "{":
            made.append(f"{{{piece[0]}}}{piece[1:]}")
        else:
            made.append(f"{{{piece[0]}}}{{{piece[1]}}}{piece[2:]}")
    return "\\frac".join(made)


def slash_fraction(text: str, *, roots: bool = False) -> str:
    r"""``1/2`` as ``\frac{1}{2}`` where the whole is two integers, or with `roots` also parts that hold a root.

    >>> slash_fraction("1/2"), slash_fraction("x/2"), slash_fraction(r"\sqrt{2}/2", roots=True)
    ('\\frac{1}{2}', 'x/2', '\\frac{\\sqrt{2}}{2}')
    """
    parts = text.split("/")
    if len(parts) != 2:
        return text
    try:
        same = all((roots and "sqrt" in part) or str(int(part)) == part for part in parts)
    except ValueError:
        return text
    return f"\\frac{{{parts[0]}}}{{{parts[1]}}}" if same else text


def _long_roots(text: str) -> str:
    head, *pieces = text.split("\\sqrt")
    if "" in pieces:
        raise ValueError("a root of nothing")
    return "\\sqrt".join([head, *(p if p[0] == "{" else f"{{{p[0]}}}{p[1:]}" for p in pieces)])


def _text_inside(text: str) -> str:
    r"""``\text{..}`` around the whole taken off."""
    body = text[:-1] if text.endswith("\n") else text
    whole = body.startswith("\\text{") and body.endswith("}") and len(body) > 7 and "\n" not in body
    return body[6:-1] if whole else text


_UNIT_PATTERNS = [re.compile(rf"{unit}(?:es)?s? *(?:\^[0-9]+)?") for unit in GRADER_UNITS]
_NORMAL = (
    *(("\\%", "%"), ("\\$", "$"), ("$", ""), ("%", ""), (" or ", " , "), (" and ", " , ")),
    *(("million", "*10^6"), ("billion", "*10^9"), ("trillion", "*10^12")),
)
_GLYPHS = str.maketrans({"√": "sqrt", "π": "pi", "∞": "inf", "∪": "U", "·": "*", "×": "*"})


def normal(answer: str) -> str:
    r"""The second normal form: units, words for millions and LaTeX resolved, lower case, no spaces.

    >>> normal(r"3\frac{1}{2} \text{ hours}"), normal("1,234 cm^2"), normal("(-\\infty, 3]")
    ('3+1/2', '1234', '(-inf,3]')
    """
    text = _text_inside(answer)
    for old, new in _NORMAL:
        text = text.replace(old, new)
    for pattern in _UNIT_PATTERNS:
        text = pattern.sub("", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text[:1] == "{" and text[-1] == "}":
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    if (number := _whole(text)) is not None:
        text = str(round(number))
    if "\\" in text:
        text = _as_text(text)
    text = re.sub(r"([0-9]) +([0-9])", r"\1+\2", re.sub(r"- *", "-", text))
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    number = _whole(_without_commas(text))
    return str(int(float(text.replace(",", "")))) if number is not None else text


def _as_text(latex: str) -> str:
    for old, new in (("\\tfrac", "\\frac"), ("\\dfrac", "\\frac"), ("\\frac", " \\frac")):
        latex = latex.replace(old, new)
    with contextlib.suppress(ValueError):
        return to_text(latex).translate(_GLYPHS).strip()
    return latex


def _whole(text: str) -> float | None:
    """The value of a number that is whole to 1e-7, else None."""
    try:
        value = float(text)
        return value if abs(value - round(value)) <= 1e-7 else None
    except (ValueError, OverflowError):
        return None


_COMMA = re.compile(r"(\d),(\d\d\d)($|\D)")


def _without_commas(text: str) -> str:
    before = None
    while text != before:
        before, text = text, _COMMA.sub(r"\1\2\3", text)
    return text


def _elements(text: str) -> list[str]:
    """The parts of a tuple or interval, or the whole."""
    text = _without_commas(text)
    if len(text) > 2 and text[0] in "()[]" and text[-1] in "()[]" and not set(text[1:-1]) & set("()[]"):
        return [part.strip() for part in text[1:-1].split(",")]
    return [text] if text else []


_FRACTION = re.compile(r"^-?[0-9]+.?/0*[1-9][0-9]*.?$")


def _same_element(wanted: str, found: str) -> bool:
    if _FRACTION.search(wanted) and _FRACTION.search(found):
        return wanted == found
    if (_whole(_without_commas(wanted)) is None) != (_whole(_without_commas(found)) is None):
        return False
    return _may_subtract(f"({wanted})-({found})") and _difference_is_zero(wanted, found)


_BAD = re.compile(r"\^[{(]|\^[0-9]+\^|\^[0-9][0-9]+")


def _may_subtract(expression: str) -> bool:
    letters = {c for c in expression.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    return len(letters) <= 2 and not _BAD.search(expression)


@functools.lru_cache(maxsize=10_000)
def _difference_is_zero(wanted: str, found: str) -> bool:
    try:
        return bool(_worker().call(wanted, found))
    except WorkerError:
        return False


@functools.cache
def _worker() -> LimitedWorker:
    worker = LimitedWorker(
        "rewardkit.rewards.compat.difference:is_zero", setup="rewardkit.rewards.compat.difference:prepare", seconds=5.0
    )
    atexit.register(worker.close)
    return worker
