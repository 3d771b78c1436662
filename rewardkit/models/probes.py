"""A few responses on which two forms of one model are compared: short and long, right and wrong."""

from __future__ import annotations

from rewardkit.types import Problem, Trace

_RESPONSES = (
    ("What is 48/2 + 1?", ("48/2 = 24", "24 + 1 = 25", "The answer is 25.")),
    ("What is 48/2 + 1?", ("48/2 = 26", "26 + 1 = 27", "The answer is 27.")),
    ("What is 48/2 + 1?", ("25",)),
    (
        "A baker sells 48 loaves in the morning and half as many in the afternoon. How many in all?",
        (
            "In the afternoon the baker sells 48 / 2 = 24 loaves.",
            "In all that is 48 + 24 = 72.",
            "So the answer is 72.",
        ),
    ),
    (
        "A baker sells 48 loaves in the morning and half as many in the afternoon. How many in all?",
        ("Half as many means 48 * 2 = 96 loaves.", "48 + 96 = 144.", "So the answer is 144."),
    ),
    (
        "If all cats sleep and Tom is a cat, does Tom sleep?",
        ("All cats sleep.", "Tom is a cat.", "Hence Tom sleeps.", "The answer is yes."),
    ),
    ("Solve x^2 = 9 for x > 0.", ("x is 3 or -3.", "Since x > 0, x = 3.")),
    ("Solve x^2 = 9 for x > 0.", ("Taking roots gives x = 9 / 2 = 4.5.", "So x = 4.5.")),
)


def probe_traces() -> list[Trace]:
    """Eight responses to four problems.

    >>> len(probe_traces())
    8
    """
    return [Trace.create(Problem.create(problem), list(steps)) for problem, steps in _RESPONSES]
