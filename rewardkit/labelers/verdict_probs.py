"""How sure a judge is of its verdict, from the log-probabilities of the tokens that state it.

Where the tokens do not tell (none given, not the text's, the verdict's value not one token), the answer is None, and a
verdict counts as it was written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from rewardkit.text.objects import json_objects

Logprobs = Sequence[tuple[str, Mapping[str, float]]]
Probabilities = tuple[float | None, ...]

_VALUES = {
    "steps": re.compile(r'"correct"\s{0,8}:\s{0,8}(?=true|false)'),
    "solution": re.compile(r'"correct"\s{0,8}:\s{0,8}(?=true|false)'),
    "first_error": re.compile(r'"first_error"\s{0,8}:\s{0,8}(?=\d)'),
}
_LEAST = 0.5  # of the probability must lie on tokens that are a verdict
_SINGLE = 9  # steps, up to which the number of a step is one digit and so one token


def verdict_probabilities(
    text: str, logprobs: Logprobs, what: str, marks: Sequence[bool | None]
) -> Probabilities | None:
    """The chance of each step to be right as the judge's tokens have it.

    Args:
        text: the judge's answer.
        logprobs: of its tokens, see `rewardkit.generate.Generation`.
        what: the form of the verdict, see `rewardkit.labelers.judge.FORMS`.
        marks: the verdict as `rewardkit.labelers.judge.read_marks` reads it.

    Returns:
        One a step, None where the verdict leaves the step out; None alone where the tokens do not tell.

    >>> logprobs = [('{"correct":', {}), (" true", {" true": -0.105, " false": -2.303}), ("}", {})]
    >>> [round(p, 2) for p in verdict_probabilities('{"correct": true}', logprobs, "solution", (True,))]
    [0.9]
    """
    if not logprobs or "".join(token for token, _ in logprobs) != text:
        return None
    span = next(((start, end) for start, end, _ in reversed(list(json_objects(text)))), None)
    if span is None:
        return None
    places = [match.end() for match in _VALUES[what].finditer(text, *span)]
    choices = [_choices(logprobs, place) for place in places]
    if what == "first_error":
        return _of_first_error(choices[0], len(marks)) if len(choices) == 1 else None
    told = [step for step, mark in enumerate(marks) if mark is not None]
    numbers = _numbers(text, span, what, told)
    if len(choices) != len(told) or numbers is None:
        return None
    found: list[float | None] = [None] * len(marks)
    for step, choice in zip(numbers, choices, strict=True):
        found[step] = _of_truth(choice)
    return tuple(found) if all(found[step] is not None for step in told) else None


def _numbers(text: str, span: tuple[int, int], what: str, told: list[int]) -> list[int] | None:
    """The steps that the values speak of, in the order in which they are written."""
    if what == "solution":
        return told
    written = [int(match[1]) - 1 for match in re.finditer(r'"step"\s{0,8}:\s{0,8}(\d{1,6})', text[slice(*span)])]
    return written if sorted(written) == told else None


def _choices(logprobs: Logprobs, place: int) -> dict[str, float]:
    """The probabilities of what may stand at a place of the text, without what stands before it in the same token."""
    ends = list(accumulate(len(token) for token, _ in logprobs))
    number = next((i for i, end in enumerate(ends) if end > place), None)
    if number is None:
        return {}
    found: dict[str, float] = {}
    for token, value in logprobs[number][1].items():
        if isinstance(value, int | float) and math.isfinite(value):
            name = token.lstrip(' \t\r\n:"')
            found[name] = found.get(name, 0.0) + math.exp(min(float(value), 0.0))
    return found


def _of_truth(choices: Mapping[str, float]) -> float | None:
    mass = {
        word: sum(p for token, p in choices.items() if token and (word.startswith(token) or token.startswith(word)))
        for word in ("true", "false")
    }
    total = mass["true"] + mass["false"]
    return mass["true"] / total if total >= _LEAST else None


def _of_first_error(choices: Mapping[str, float], steps: int) -> Probabilities | None:
    """A prefix is right where there is no error, or the first lies behind it."""
    if steps > _SINGLE:
        return None
    mass = [choices.get(str(number), 0.0) for number in range(steps + 1)]
    if sum(mass) < _LEAST:
        return None
    return tuple((mass[0] + sum(mass[step + 2 :])) / sum(mass) for step in range(steps))
