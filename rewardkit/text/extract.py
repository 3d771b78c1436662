"""Find the final answer in a response.

In order of preference: the last complete ``\\boxed{..}``; the last ``#### 72`` line (GSM8K); a last line ``A: 72``
(GSM8K's model solutions); the last "the answer is .." or "Final answer: ..". There is no guess by the last number: a
response that names no answer has none.
"""

from __future__ import annotations

import re

from rewardkit.text.normalize import MAX_LENGTH, parse_number, without_units


def extract_answer(response: str) -> str | None:
    """The final answer of a response, without units, currency, LaTeX wrappers and closing punctuation.

    Text behind a last ``</think>`` is looked at first.

    >>> extract_answer("48 + 24 = 72\\n#### 72"), extract_answer("So the answer is $18.50 per day.")
    ('72', '18.50')
    >>> extract_answer("Hence $\\\\boxed{\\\\frac{1}{2}}$.")
    '\\\\frac{1}{2}'
    >>> extract_answer("I do not know.") is None
    True
    """
    head, mark, tail = response.rpartition("</think>")
    return _find(tail) or (_find(head) if mark else None)


def _find(text: str) -> str | None:
    for finder in (_boxed, _hashes, _a_line, _phrase):
        found = finder(text)
        if found:
            return found
    return None


def _clean(candidate: str) -> str | None:
    return without_units(candidate) or None if len(candidate) <= MAX_LENGTH else None


_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]{1,4}([^\s${}\\]{1,100})")


def _boxed(text: str) -> str | None:
    """The content of the box that closes last, in one pass; ``\\boxed 7`` counts where there is no other."""
    opened: list[int | None] = []
    last: str | None = None
    for brace in _BRACE.finditer(text) if "box" in text else ():
        if brace[0] == "{":
            opened.append(None)
        elif brace[0].endswith("{") and len(brace[0]) > 2:
            opened.append(brace.end())
        elif brace[0] == "}" and opened:
            start = opened.pop()
            if start is not None:
                last = _clean(text[start : brace.start()]) or last
    if last is None:
        bare = _BARE_BOX.findall(text)
        last = _clean(bare[-1]) if bare else None
    return last


_HASHES = re.compile(r"^[ \t]{0,8}####[ \t]{0,8}([^\s#][^\n]{0,500})$", re.MULTILINE)


def _hashes(text: str) -> str | None:
    """The last ``####`` line that holds a number, or the response's last line. Others are Markdown headings."""
    found = [match[1] for match in _HASHES.finditer(text)][-20:]
    for candidate in reversed(found):
        value = _after_equals(candidate)
        if parse_number(value) is not None:
            return _clean(value)
    return _clean(found[-1]) if found and text.rstrip().endswith(found[-1].rstrip()) else None


def _a_line(text: str) -> str | None:
    last = text.rstrip().rpartition("\n")[2].strip()
    return _clean(last[2:]) if last.startswith("A:") else None


_PHRASE = re.compile(
    r"\banswer(?:(?:[ \t]{1,4}[\w']{1,20}){0,6}?[ \t]{1,4}(?:is|are|equals|was|=)(?![\w'])|[*_ \t]{0,6}[:=])",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"(?:in)?correct\b|wrong|not\b|that\b|the\b|given\b|found\b|shown\b|below|as\b|obtained|therefore|an?\b(?= \w)",
    re.IGNORECASE,
)
_LEAD = re.compile(r"[\s:=*_]{0,20}(?:(?:approximately|about|exactly|simply)[ \t])?")
_REST = re.compile(r"[^\n]{1,2000}")


def _phrase(text: str) -> str | None:
    """What follows the last phrase that names an answer; "the answer is correct" names none."""
    for phrase in reversed(list(_PHRASE.finditer(text))):
        rest = _REST.match(text, _skip_lead(text, phrase.end()))
        if rest is None or _NO_ANSWER.match(rest[0]):
            continue
        found = _clean(_after_equals(_first_phrase(rest[0].strip())))
        if found:
            return found
    return None


def _skip_lead(text: str, position: int) -> int:
    lead = _LEAD.match(text, position)
    return lead.end() if lead else position


_MATH = re.compile(r"\$\$([^$]+)\$\$|\$(?=\S)([^$]*[^\s$])\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_STOP = re.compile(
    r"[.;?](?=[\s*_]|$)|,[ ]+(?!and\b|or\b)(?=[a-z]{2})|[ ]\((?=[a-z]{3})|\*\*|[ ](?:because|since|so)[ ]"
)


def _first_phrase(text: str) -> str:
    """The formula that `text` begins with, or all up to the end of the sentence or clause."""
    formula = _MATH.match(text)
    if formula:
        return next(part for part in formula.groups() if part)
    stop = _STOP.search(text)
    return text[: stop.start()] if stop else text


_LEADING_NUMBER = re.compile(r"-?[$\u20ac\u00a3]?-?\d[\d,]{0,30}(?:\.\d{1,30})?%?(?=[ ][A-Za-z]{2})")


def _after_equals(text: str) -> str:
    """``5 * 3 = 15`` answers 15, whatever words follow; ``y = 2x`` stays as it is."""
    value = text.rpartition("=")[2].strip()
    if value == text or parse_number(value) is not None:
        return value
    number = _LEADING_NUMBER.match(value)
    return number[0] if number else text
