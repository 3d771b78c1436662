"""Other views of local labels: where the first error is, whether a prefix is free of errors, what rests on an error.

Pure functions. A label below 0.5 counts as an error, None as not known. `neutral` names steps that state nothing (a
heading, an empty line): they abstain for want of anything to check, and take nothing from their neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from rewardkit.types import StepLabel

ERROR_BELOW = 0.5


def first_error(labels: Sequence[StepLabel]) -> int | None:
    """The first step that is wrong, None where none is known to be.

    >>> first_error([StepLabel("t", 0, 1.0, "logic", "local"), StepLabel("t", 1, 0.0, "logic", "local")])
    1
    """
    return next((label.step for label in labels if _wrong(label)), None)


def prefix_labels(labels: Sequence[StepLabel], neutral: Collection[int] = ()) -> list[StepLabel]:
    """Labels of meaning ``prefix`` from local ones, in the order of the steps.

    0.0 from the first error on; before it 1.0 as long as every step is right, and None from the first abstention on.
    The source is the local one with ``/prefix`` behind it.

    Args:
        labels: one a step, in order.
        neutral: indices of steps that state nothing.

    >>> local = [StepLabel("t", i, p, "logic", "local") for i, p in enumerate([1.0, None, 1.0, 0.0, 1.0])]
    >>> [label.p_correct for label in prefix_labels(local)]
    [1.0, None, None, 0.0, 0.0]
    """
    state: float | None = 1.0
    made = []
    reason = ""
    for label in labels:
        if _wrong(label):
            state, reason = (0.0, reason) if state == 0.0 else (0.0, f"first error at step {label.step}")
        elif label.p_correct is None and label.step not in neutral and state == 1.0:
            state, reason = None, f"step {label.step} has no label"
        made.append(replace(label, p_correct=state, source=f"{label.source}/prefix", meaning="prefix", evidence=reason))
    return made


def rests_on_error(labels: Sequence[StepLabel], citations: Sequence[Collection[int]]) -> list[bool | None]:
    """For each step whether something that it cites, directly or through others, is wrong.

    The step's own label does not count. None: no error is known, but something that it rests on has no label.

    Args:
        labels: one a step, in order.
        citations: for each step the earlier steps that it cites; others are ignored.

    >>> local = [StepLabel("t", i, p, "logic", "local") for i, p in enumerate([0.0, 1.0, None, 1.0, 1.0])]
    >>> rests_on_error(local, [(), (0,), (), (2,), (1, 3)])
    [False, True, False, None, True]
    """
    found: list[bool | None] = []
    for index, cited in enumerate(citations):
        below = [_fault(labels[i], found[i]) for i in cited if 0 <= i < index]
        found.append(True if True in below else None if None in below else False)
    return found


def _fault(label: StepLabel, below: bool | None) -> bool | None:
    """Whether a step or what it rests on is wrong."""
    if _wrong(label) or below:
        return True
    return None if label.p_correct is None or below is None else False


def _wrong(label: StepLabel) -> bool:
    return label.p_correct is not None and label.p_correct < ERROR_BELOW
