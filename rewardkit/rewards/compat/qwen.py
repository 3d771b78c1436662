"""TTRL's answer: Qwen2.5-Math's parser (the last number of a text, if need be) and its normalisation.

Odd, and kept: units go even where they are the answer (``\\boxed{b}`` keeps its letter, ``\\boxed{c}`` alone too, but
``5 c`` becomes 5), number words anywhere replace the whole answer (``one apple`` is 1), a percent sign vanishes, and
for multiple choice the article "a" of an upper-cased text is the choice A.
"""

from __future__ import annotations

import re

from rewardkit.rewards.compat.prm800k import MAX_LENGTH, long_fractions, slash_fraction, without_name
from rewardkit.rewards.compat.tables import DIGITS, NUMBER_WORDS, SCALES, UNITS

_NUMBER = re.compile(r"-?\d*\.?\d+")
_CHOICE = re.compile(r"\b[ABCD]\b")


def extract(text: str, task: str = "math") -> str:
    r"""The answer that TTRL votes with; "" where there is none.

    Args:
        text: the whole response.
        task: ``math``, or ``gpqa`` for a letter from A to D.

    >>> extract(r"so \boxed{1/2}"), extract("It is 5, or 6."), extract("The answer is 7 apples."), extract("none")
    ('\\frac{1}{2}', '6', '7', '')
    >>> extract("(B)", "gpqa"), extract("a guess", "gpqa")
    ('B', 'A')
    """
    text = text.replace("\u043a\u0438", "")
    if task == "gpqa":
        return _choice(text)
    found = re.sub(r"\n\s*", "", _find(text))
    found = found.removeprefix(":").removesuffix(".").removesuffix("/")
    return found if len(found) > MAX_LENGTH else strip(found)


def _find(text: str) -> str:
    if "final answer is $" in text and "$. I hope" in text:
        return text.split("final answer is $", 1)[1].split("$. I hope", 1)[0].strip()
    if "boxed" in text:
        return _last_box(text.split("boxed")[-1])
    if "he answer is" in text:
        return text.split("he answer is")[-1].strip()
    if "final answer is" in text:
        return text.split("final answer is")[-1].strip()
    if "\u7b54\u6848\u662f" in text:
        return text.split("\u7b54\u6848\u662f")[1].strip().split("\n\n")[0].strip()
    numbers = _NUMBER.findall(text.replace(",", ""))
    return numbers[-1] if numbers else ""


def _last_box(rest: str) -> str:
    """What stands behind the last "boxed": up to its closing brace, or to the end if it is not closed."""
    if not rest.startswith("{"):
        return rest.split("$")[0].strip()
    depth = 1
    for place, character in enumerate(rest[1:], 1):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:place]
    return rest[1:]


def _choice(text: str) -> str:
    text = text.strip("\n").rstrip(".").rstrip("/").strip(" ").lstrip(":")
    letters = _CHOICE.findall(text.upper())
    return letters[-1] if letters else text.strip().strip(".").rstrip(".").rstrip("/")


def strip(answer: str) -> str:
    r"""Qwen2.5-Math's normal form of an answer.

    >>> strip("12 apples"), strip(r"\dfrac12"), strip("x=5.0"), strip("twenty-five"), strip(r"\text{East}")
    ('12', '\\frac{1}{2}', '5', '25', 'East')
    """
    text = answer.strip().replace("\n", "").rstrip(".").replace("\\!", "")
    text = _replace(re.sub(r"\\begin\{array\}\{[^}]*\}", r"\\begin{pmatrix}", text), _SPELLINGS)
    text = _without_words(_without_last_text(text))
    text = _number_words(_replace(text, _MARKS))
    text = _replace(re.sub(r"\\text\{(.*?)\}", r"\1", text), _NAMES)
    text = text.replace("infinity", "\\infty")
    text = text if "\\infty" in text else text.replace("inf", "\\infty")
    text = re.sub(
        r"\\mbox\{[^}]*\}", "", text.replace("+\\inity", "\\infty").replace("and", "").replace("\\mathbf", "")
    )
    text = text.replace("j", "i") if "i" not in text else text
    text = re.sub(r"(?<=\d)\.0*$", "", re.sub(r"(?<=\d)\.0*([^\d])", r"\1", text))
    if not text:
        return text
    text = without_name("0" + text if text[0] == "." else text)
    text = re.sub(r"\\sqrt(\w+)", r"\\sqrt{\1}", text).replace(" ", "")
    return slash_fraction(long_fractions(text), roots=True)


_SPELLINGS = (
    *(("\\end{array}", "\\end{pmatrix}"), ("bmatrix", "pmatrix"), ("tfrac", "frac"), ("dfrac", "frac")),
    *(("\\neq", "\\ne"), ("\\leq", "\\le"), ("\\geq", "\\ge"), ("\\left", ""), ("\\right", "")),
    *(("\\{", "{"), ("\\}", "}")),
)
_MARKS = (("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""), ("$", ""), ("\\(", ""), ("\\)", ""))
_NAMES = (
    *((f"{letter}{sign}", "") for sign in ("=", "\\in", "\\to") for letter in "xyz"),
    *(("\\emptyset", "{}"), ("(-\\infty,\\infty)", "\\mathbb{R}"), ("\\%", ""), ("%", "")),
    *((" .", " 0."), ("{.", "{0.")),
)


def _replace(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _without_last_text(text: str) -> str:
    r"""All before the first ``\text{``, where the answer ends with a brace and something stands before."""
    start = text.find("\\text{")
    ends = start >= 0 and text.endswith("}") and len(text) > start + len("\\text{")
    return (text[:start] if ends else text).strip() or text


_UNIT_PATTERNS = [
    (unit.split(" .")[0].strip(), re.compile(rf"(^|\W){unit}($|\W)")) for unit in [*UNITS, *(u + "s" for u in UNITS)]
]


def _without_words(text: str) -> str:
    """Units out, twice over; never all of the answer."""
    if not any(character.isalpha() for character in text):
        return text
    for _ in range(2):
        for part, pattern in _UNIT_PATTERNS:
            if part in text:
                text = pattern.sub(r"\1\2", text) or text
    return text


# --- number words, as the package word2number reads them ---


def _number_words(text: str) -> str:
    try:
        number = _word_number(text.replace("-", " ").lower())
    except (ValueError, IndexError):
        return text
    return text if number is None else str(number)


def _word_number(text: str) -> int | float | None:
    if text.isdigit():
        return int(text)
    words = [word for word in text.split() if word in NUMBER_WORDS or word == "point"]
    if not words or any(words.count(word) > 1 for word in (*SCALES, "point")):
        return None
    point = words.index("point") if "point" in words else len(words)
    decimals = words[point + 1 :]
    total: int | float = _whole_number(words[:point])
    if decimals and all(word in DIGITS for word in decimals):
        total += float("0." + "".join(str(NUMBER_WORDS[word]) for word in decimals))
    return total


def _whole_number(words: list[str]) -> int:
    if len(words) < 2:
        return NUMBER_WORDS[words[0]] if words else 0
    places = [words.index(scale) for scale in SCALES if scale in words]
    if places != sorted(places):
        raise ValueError("thousands stand before millions")
    total, start = 0, 0
    for place in places:
        total += _below_thousand(words[start:place]) * NUMBER_WORDS[words[place]]
        start = place + 1
    if not places:
        return _below_thousand(words)
    inner = [place for place in places if place != len(words) - 1]
    return total + (_below_thousand(words[inner[-1] + 1 :]) if inner else 0)


def _below_thousand(words: list[str]) -> int:
    values = [NUMBER_WORDS[word] for word in words]
    if len(values) == 4:
        return values[0] * values[1] + values[2] + values[3]
    if len(values) == 3:
        return values[0] * values[1] + values[2]
    if len(values) == 2:
        return values[0] * values[1] if 100 in values else values[0] + values[1]
    return values[0]
