"""Math-Shepherd's and OpenRLHF's rows: one text in which a mark (``ки``) stands after each step.

Math-Shepherd (Wang et al., arXiv 2312.08935): ``input`` holds the question, then ``Step 1: ... ки`` lines; ``label`` is
the same text with ``+`` or ``-`` in place of each mark; ``task`` names the data set. Its labels are hard estimates:
could some continuation from here reach the answer (``value``). OpenRLHF: ``input`` alike, and ``value``, a list with a
``+``, ``-`` or a number from 0 to 1 for each mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.formats.labels import hard, known_prefix, with_labels
from rewardkit.text.extract import extract_answer
from rewardkit.types import Meaning, Problem, Trace

Row = Mapping[str, Any]
MARK = "ки"
SIGNS = {"+": 1.0, "-": 0.0}


def is_math_shepherd(row: Row) -> bool:
    """Whether a row has Math-Shepherd's columns."""
    return isinstance(row.get("label"), str) and MARK in str(row.get("input", ""))


def is_openrlhf(row: Row) -> bool:
    """Whether a row has the columns of OpenRLHF's process data."""
    return isinstance(row.get("value"), list) and MARK in str(row.get("input", ""))


def from_math_shepherd(row: Row, source: str = "math-shepherd", meaning: Meaning = "value") -> LabelledTrace:
    """One trace of a row.

    Raises:
        DataError: the two texts do not fit each other.

    >>> row = {"input": "1+1? Step 1: 1+1 = 2 ки\\nStep 2: so 3 ки", "task": "GSM8K"}
    >>> row["label"] = "1+1? Step 1: 1+1 = 2 +\\nStep 2: so 3 -"
    >>> read = from_math_shepherd(row)
    >>> read.trace.problem.text, [label.p_correct for label in read.labels]
    ('1+1?', [1.0, 0.0])
    >>> to_math_shepherd(read, "math-shepherd") == row
    True
    """
    text, marked = row["input"], row["label"]
    values: list[float] = []
    place = 0
    for piece in text.split(MARK)[:-1]:
        place += len(piece)
        if marked[place - len(piece) : place] != piece or marked[place : place + 1] not in SIGNS:
            raise DataError(f"label is not input with + or - in place of mark {len(values) + 1}")
        values.append(SIGNS[marked[place]])
        place += 1
    return _trace(text, values, source, meaning, {"task": row["task"]} if "task" in row else {})


def to_math_shepherd(row: LabelledTrace, source: str = "math-shepherd") -> dict[str, Any]:
    """A row: the steps up to the first without a label, each named ``Step N:`` where it is not yet.

    Raises:
        DataError: the first step has no label, or a step holds the mark.
    """
    values = known_prefix(row, source)
    label = _joined(row.trace, ["+" if hard(v) else "-" for v in values])
    return {"input": _joined(row.trace, [MARK] * len(values)), "task": row.trace.meta.get("task", ""), "label": label}


def from_openrlhf(row: Row, source: str = "openrlhf", meaning: Meaning = "value") -> LabelledTrace:
    """One trace of a row; numbers in ``value`` are soft labels.

    Raises:
        DataError: there are not as many values as marks, or one is neither a sign nor a number from 0 to 1.

    >>> read = from_openrlhf({"input": "1+1? Step 1: 1+1 = 2 ки\\nStep 2: so 3 ки", "value": ["+", 0.25]})
    >>> [label.p_correct for label in read.labels]
    [1.0, 0.25]
    """
    values, marks = row["value"], row["input"].count(MARK)
    if len(values) != marks:
        raise DataError(f"value holds {len(values)} labels for {marks} marks")
    return _trace(row["input"], [SIGNS.get(v, v) if isinstance(v, str) else v for v in values], source, meaning, {})


def to_openrlhf(row: LabelledTrace, source: str = "openrlhf") -> dict[str, Any]:
    """A row: the steps up to the first without a label; ``+`` and ``-`` where all labels are hard, else numbers.

    Raises:
        DataError: the first step has no label, or a step holds the mark.
    """
    values = known_prefix(row, source)
    is_hard = all(v in SIGNS.values() for v in values)
    shown: list[Any] = ["+" if hard(v) else "-" for v in values] if is_hard else values
    return {"input": _joined(row.trace, [MARK] * len(values)), "value": shown}


def _trace(text: str, values: Sequence[Any], source: str, meaning: Meaning, meta: Mapping[str, Any]) -> LabelledTrace:
    *pieces, rest = text.split(MARK)
    question, found, first = pieces[0].partition("Step 1:")
    if not found or not question.strip() or rest.strip():
        raise DataError("input must be a question, then 'Step 1: ... ки', and nothing behind the last mark")
    steps = [("Step 1:" + first).strip(), *(piece.strip() for piece in pieces[1:])]
    trace = Trace.create(Problem.create(question.strip()), steps, extract_answer("\n".join(steps)), meta=meta)
    return with_labels(trace, values, source, meaning)


def _joined(trace: Trace, marks: Sequence[str]) -> str:
    texts = [step.text.strip() for step in trace.steps[: len(marks)]]
    if any(MARK in text for text in texts) or MARK in trace.problem.text:
        raise DataError(f"trace {trace.id} holds the mark {MARK} in its text")
    named = [text if text.startswith(f"Step {i}:") else f"Step {i}: {text}" for i, text in enumerate(texts, 1)]
    lines = "\n".join(f"{text} {mark}" for text, mark in zip(named, marks, strict=True))
    return f"{trace.problem.text} {lines}"
