"""Cut a response into steps without losing a character.

Rules: ``lines``; ``blank-lines`` (paragraphs); ``headers`` (lines such as ``Step 2:``, ``**Step 2**``, ``### Step 2``);
``sentences`` (line breaks end a sentence too); ``whole`` (the response is one step); and ``auto``, which takes the
first of headers, blank-lines, lines and sentences that finds two steps (two headers).

Fenced code, LaTeX environments and display math stay whole under every rule. A step owns the white space behind it, and
the first step also what stands before it, so the steps' texts join to the response. Every pass is linear in its length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from rewardkit.errors import ConfigError

SplitRule = Literal["auto", "headers", "blank-lines", "lines", "sentences", "whole"]


@dataclass(frozen=True, slots=True)
class StepSpan:
    """One step and where it stands: ``response[start:end] == text``."""

    text: str
    start: int
    end: int


def split_steps(response: str, by: SplitRule = "auto") -> list[StepSpan]:
    """Cut a response into steps.

    Every step holds visible text, unless the whole response is white space, and each cut lies behind white space, so
    that `Trace.response` gives the original back. An empty response has no steps.

    Args:
        response: the text of a model.
        by: the rule, see the head of this module.

    Raises:
        ConfigError: no such rule.

    >>> [s.text for s in split_steps("She has 3.5 kg. Half is 1.75 kg.\\n\\n#### 1.75")]
    ['She has 3.5 kg. Half is 1.75 kg.\\n\\n', '#### 1.75']
    >>> [(s.start, s.text) for s in split_steps("Step 1: add\\n1+1\\nStep 2: stop", by="headers")]
    [(0, 'Step 1: add\\n1+1\\n'), (16, 'Step 2: stop')]
    """
    if by not in get_args(SplitRule):
        raise ConfigError(f"no way to split steps by '{by}'; there are {', '.join(get_args(SplitRule))}")
    if not response:
        return []
    whole = _whole_ranges(response)
    cuts: list[int] = []
    for rule in _RULES if by == "auto" else [by]:
        cuts = list(_outside(whole, _RULES[rule](response)))
        if len(cuts) >= (2 if rule == "headers" and not _starts_with_header(response) else 1):
            break
    edges = [0, *cuts, len(response)]
    return [StepSpan(response[a:b], a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _outside(whole: list[tuple[int, int]], cuts: Iterator[int]) -> Iterator[int]:
    """The cuts that lie inside no range; both are sorted."""
    ranges = iter(whole)
    start, end = next(ranges, (0, 0))
    for cut in cuts:
        while cut >= end > 0:
            start, end = next(ranges, (0, 0))
        if not start < cut < end:
            yield cut


# --- the rules: each yields, in order, where a step after the first begins ---


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each line with visible text; the end lies behind the line break."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if not text[start:end].isspace():
            yield start, end
        start = end


def _line_cuts(text: str) -> Iterator[int]:
    starts = (start for start, _ in _lines(text))
    next(starts, None)
    return starts


def _blank_line_cuts(text: str) -> Iterator[int]:
    before = None
    for start, end in _lines(text):
        if before is not None and start > before:
            yield start
        before = end


_HEADER = re.compile(
    r"[ \t>]{0,8}(?:#{1,6}[ \t]{0,4}(?:\*\*|__)?|\*\*|__)[ \t]?step[ \t]{1,4}\d{1,4}\b"
    r"|[ \t>]{0,8}step[ \t]{1,4}\d{1,4}(?:[ \t]{0,4}[:.)\u2013\u2014-]|[ \t\r]{0,8}$)",
    re.IGNORECASE | re.MULTILINE,
)


def _header_cuts(text: str) -> Iterator[int]:
    visible_before = False
    for start, _ in _lines(text):
        if visible_before and _HEADER.match(text, start):
            yield start
        visible_before = True


def _starts_with_header(text: str) -> bool:
    return any(_HEADER.match(text, start) for start, _ in itertools.islice(_lines(text), 1))


_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f][\"'\u201d\u2019)\]*_$}]*\s+(?=\S)")
_NO_END = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "gen", "gov", "rev", "hon", "capt", "lt", "col", "sgt")
    + ("e.g", "i.e", "eg", "ie", "vs", "cf", "fig", "figs", "eq", "eqs", "approx", "ca", "resp", "al")
)
_LIST_MARK = re.compile(
    r"[\s>#*_(-]*(?:(?:step|case|part|option|problem)\s+)?(?:\d{1,3}|[a-z]|[ivx]{1,4})", re.IGNORECASE
)
_MARK_LENGTH = 24


def _sentence_cuts(text: str) -> Iterator[int]:
    for number, (start, end) in enumerate(_lines(text)):
        if number > 0:
            yield start
        for match in _SENTENCE_END.finditer(text, start, end):
            if match.end() < end and _ends_sentence(text, start, match):
                yield match.end()


def _ends_sentence(text: str, line: int, match: re.Match[str]) -> bool:
    follows = text[match.end()]
    if follows.islower() or follows in ",;:.!?)]}=+/<>^":
        return False
    if text[match.start()] != ".":
        return True
    if match.start() - line <= _MARK_LENGTH and _LIST_MARK.fullmatch(text, line, match.start()):
        return False
    word = text[max(line, match.start() - 8) : match.start()].split()
    last = word[-1].lstrip("(\"'\u201c").lower() if word else ""
    return last not in _NO_END and not (last in ("no", "nos") and follows.isdigit())


_RULES: dict[str, Callable[[str], Iterator[int]]] = {
    "headers": _header_cuts,
    "blank-lines": _blank_line_cuts,
    "lines": _line_cuts,
    "sentences": _sentence_cuts,
    "whole": lambda text: iter(()),
}


# --- what stays whole ---


def _whole_ranges(text: str) -> list[tuple[int, int]]:
    """Sorted, disjoint ranges that no cut may enter: fenced code, and LaTeX outside of it."""
    fences = list(_fences(text))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(fences + list(_latex_blocks(text, fences))):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


_FENCE = re.compile(r"[ \t>]{0,12}(`{3,}|~{3,})([^\n]*)")


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Fenced code as CommonMark has it; a fence that never closes holds all the rest."""
    opened: tuple[int, str] | None = None
    for start, end in _lines(text):
        match = _FENCE.match(text, start, end)
        if match is None:
            continue
        mark, rest = match.groups()
        if opened is None:
            if mark[0] == "~" or "`" not in rest:
                opened = (start, mark)
        elif mark.startswith(opened[1]) and not rest.strip():
            yield opened[0], end
            opened = None
    if opened is not None:
        yield opened[0], len(text)


_LATEX = re.compile(r"\\\\|\\\$|\\(begin|end)\{([^{}\n]{1,40})\}|\\[\[\]()]|\$\$|\n[ \t]*\n")
_CLOSES = {"\\]": "\\[", "\\)": "\\("}


def _latex_blocks(text: str, fences: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Matched environments, ``\\[..\\]``, ``\\(..\\)`` and ``$$..$$``; an opening without its end protects nothing."""
    environments: list[tuple[str, int]] = []
    open_names: dict[str, int] = {}
    opened: dict[str, int] = {}
    for position in _outside(fences, (m.start() for m in _LATEX.finditer(text))):
        match = _LATEX.match(text, position)
        assert match is not None
        mark, name = match[0], match[2]
        if match[1] == "begin":
            environments.append((name, position))
            open_names[name] = open_names.get(name, 0) + 1
        elif match[1] == "end" and open_names.get(name, 0):
            yield _close_environment(environments, open_names, name), match.end()
        elif mark in ("\\[", "\\("):
            opened[mark] = position
        elif mark in _CLOSES and _CLOSES[mark] in opened:
            yield opened.pop(_CLOSES[mark]), match.end()
        elif mark == "$$":
            if mark in opened:
                yield opened.pop(mark), match.end()
            else:
                opened[mark] = position
        elif mark[0] == "\n":  # TeX allows no blank line in these two
            opened.pop("$$", None)
            opened.pop("\\(", None)


def _close_environment(environments: list[tuple[str, int]], open_names: dict[str, int], name: str) -> int:
    """Drop what was opened last down to `name` and return where that began."""
    while True:
        last, start = environments.pop()
        open_names[last] -= 1
        if last == name:
            return start
