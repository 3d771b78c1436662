"""Problems that ask for the value of one expression ("Compute (-5 + 9 * -4 - 0)."), and what is checked against it.

A problem is understood only if every word around its one expression is a known one, so that nothing ("the last digit
of", "rounded") can change what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from rewardkit.labelers._claims import settle
from rewardkit.labelers._expressions import HAS_DIVISION, HAS_FRACTION, HAS_PERCENT, HAS_POWER, Operand, read_operand
from rewardkit.labelers._names import Names
from rewardkit.labelers._tokens import WORD, Token, tokenize
from rewardkit.labelers._values import Unreadable
from rewardkit.labelers._verdicts import MAX_EVIDENCE, Check, equal, written
from rewardkit.labelers._words import AROUND_ASKING, ASKING

MAX_PROBLEM = 2_000  # characters
MAX_ANSWER = 100

_RUN = re.compile(r"[-−+*/×÷·^()\[\]0-9.,\s]*+")
_DIGIT = re.compile(r"[0-9]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][a-z]+)*")
_SIGNS = re.compile(r"\\(times|cdot|div)\b")
_PLAIN = {"times": "×", "cdot": "·", "div": "÷"}
_MARKS = re.compile(r"[\s:.,?!=*`$]*+")


class Asked(NamedTuple):
    """The expression that a problem asks for: its source and its exact value."""

    source: str
    operand: Operand


def asked(problem: str) -> Asked | None:
    """The expression whose value is asked for; None where the problem asks for anything else, or beyond doubt for none.

    >>> asked("Compute (-5 + 9 * -4 - 0).").operand.value
    -41
    >>> asked("What is the last digit of 12 * 7?"), asked("Tim has 3 + 4 cats. How many is that?")
    (None, None)
    """
    digit = _DIGIT.search(problem) if len(problem) <= MAX_PROBLEM else None
    if digit is None:
        return None
    if "\\" in problem:
        problem = _SIGNS.sub(lambda sign: _PLAIN[sign[1]], problem)
        digit = _DIGIT.search(problem) or digit
    start = digit.start()
    while start and _RUN.fullmatch(problem, start - 1, start):
        start -= 1
    run = _RUN.match(problem, start)
    assert run is not None
    before, after = problem[:start], problem[run.end() :]
    if _DIGIT.search(after) or not _only_asks(before, after):
        return None
    source = run[0].strip(" \t\n.,*")
    try:
        operand = _read(settle(tokenize(source)))
    except Unreadable:
        return None
    return Asked(source, operand) if operand.calculation and not operand.readings and not operand.inexact else None


def _only_asks(before: str, after: str) -> bool:
    words = _WORD.findall(f"{before} {after}".lower())
    marks = _WORD.sub("", before) + _WORD.sub("", after)
    asks = not ASKING.isdisjoint(words) or marks.rstrip("$*`? \t\n").endswith("=")
    return asks and _MARKS.fullmatch(marks) is not None and AROUND_ASKING.issuperset(words)


def check_answer(problem: Asked, answer: str) -> Check:
    """Whether a final answer is the value of what was asked.

    >>> question = asked("What is 12 * 7?")
    >>> check_answer(question, "84").holds, check_answer(question, "85")
    (True, Check(holds=False, evidence='12 * 7 is 84, not 85'))
    """
    try:
        given = _read(settle(tokenize(answer[:MAX_ANSWER])))
    except Unreadable as error:
        return Check(None, str(error))
    holds = equal(problem.operand, given, about=False)
    if holds:
        return Check(True, f"{problem.source} = {answer}")
    if given.parts & HAS_PERCENT or given.numbers != 1 or _may_be_rounded(problem.operand, given):
        return Check(None, "it may be rounded, or in another form")
    return Check(False, f"{problem.source} is {written(problem.operand.value)}, not {answer}"[:MAX_EVIDENCE])


def check_rewriting(problem: Asked, text: str, names: Names) -> Check | None:
    """Whether a step that writes the expression with names, '"A * B", where A = ...', keeps its value; None for others.

    Args:
        problem: what is asked.
        text: the step.
        names: what names stand for, this step included.
    """
    found = _REWRITTEN.search(text)
    if found is None:
        return None
    tokens = names.replace(settle(tokenize(found[1])))
    try:
        written_so = _read(tokens)
    except Unreadable:
        return None
    if not names.used or written_so.readings:
        return None
    if written_so.value == problem.operand.value:
        return Check(True, f"{found[1]} = {problem.source}{names.cited(0, len(text))}"[:MAX_EVIDENCE])
    values = f"{written(written_so.value)}, but {problem.source} is {written(problem.operand.value)}"
    return Check(False, f"{found[1]} is {values}{names.cited(0, len(text))}"[:MAX_EVIDENCE])


_REWRITTEN = re.compile(
    r"(?:re)?written as[ :]{1,3}[\"'“`$(]{0,2}([A-Z()][A-Z *+()/×·−-]{0,60}[A-Z)])[\"'”`$)]{0,2},? where ",
    re.IGNORECASE,
)


def _may_be_rounded(exact: Operand, given: Operand) -> bool:
    """Whether rounding on the way may explain the answer: only a division needs it, and may be one of whole numbers."""
    off = exact.value - given.value
    if not exact.parts & (HAS_DIVISION | HAS_FRACTION | HAS_POWER):
        return given.decimals > 0 and -1 < off * 10**given.decimals < 1
    return Fraction(exact.value).denominator > 1 and off * off * 200**2 <= max(exact.value**2, 200**2)


def _read(tokens: Sequence[Token]) -> Operand:
    operand = read_operand(tokens, 0, len(tokens))
    if any(token.kind != WORD for token in tokens[operand.stop :]):
        raise Unreadable("more than a number")
    return operand
