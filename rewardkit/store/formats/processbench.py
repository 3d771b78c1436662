"""ProcessBench's rows (Zheng et al., arXiv 2412.06559): one number says which step holds the first error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.formats.labels import hard, step_values, texts
from rewardkit.store.problems import problem_from_row
from rewardkit.store.rows import is_missing
from rewardkit.text.extract import extract_answer
from rewardkit.types import StepLabel, Trace

Row = Mapping[str, Any]
SOURCE = "human"
_KEPT = ("id", "final_answer_correct", "label")


def fits(row: Row) -> bool:
    """Whether a row has ``steps`` and the number of the first error."""
    label = _number(row.get("label"))
    return isinstance(row.get("steps"), list) and type(label) in (int, float) and not is_missing(label)


def from_processbench(row: Row, source: str = SOURCE) -> LabelledTrace:
    """One trace of a row, with a ``prefix`` label of every step.

    Raises:
        DataError: the label is no step, or a column is missing.

    >>> row = {"id": "x", "problem": "1+1?", "steps": ["1+1 = 2", "so 3"], "label": 1, "generator": "m"}
    >>> row["final_answer_correct"] = False
    >>> [label.p_correct for label in from_processbench(row).labels]
    [1.0, 0.0]
    >>> to_processbench(from_processbench(row)) == row
    True
    """
    steps = texts(row.get("steps"), "steps")
    problem = problem_from_row(row)
    model = str(row.get("generator") or row.get("model") or "unknown")
    meta = {key: row[key] for key in _KEPT if key in row}
    draft = Trace.create(problem, steps, model=model, meta=meta)
    trace = Trace(draft.id, problem, draft.steps, extract_answer(draft.response), model, draft.meta)
    return LabelledTrace(trace, first_error_labels(trace, _number(row["label"]), source))


def _number(label: Any) -> Any:
    """The number that a label is; pandas makes floats of whole numbers where one is missing.

    >>> _number(2.0), _number("-1"), _number("wrong")
    (2, -1, 'wrong')
    """
    if isinstance(label, float) and label.is_integer():
        return int(label)
    return int(label) if isinstance(label, str) and label.removeprefix("-").isdecimal() else label


def to_processbench(row: LabelledTrace, source: str = SOURCE) -> dict[str, Any]:
    """A row: the first step that is labelled wrong, -1 where every step is labelled right.

    Raises:
        DataError: a step before the first error has no label.
    """
    values = step_values(row, source)
    first = next((i for i, v in enumerate(values) if v is None or not hard(v)), -1)
    if first >= 0 and values[first] is None:
        raise DataError(f"trace {row.trace.id}: step {first} has no label of '{source}', so the first error is unknown")
    trace = row.trace
    return {
        "id": trace.meta.get("id", trace.id),
        "generator": trace.model,
        "problem": trace.problem.text,
        "steps": [step.text for step in trace.steps],
        "final_answer_correct": trace.meta.get("final_answer_correct"),
        "label": first,
    }


def first_error_labels(trace: Trace, first_error: int, source: str = SOURCE) -> tuple[StepLabel, ...]:
    """ProcessBench's one number as a ``prefix`` label of every step.

    Before the first error each prefix is right (1.0); from it on each prefix holds an error (0.0), whatever the later
    steps are by themselves; -1 means that no step is wrong.

    Raises:
        DataError: the number is no step of the trace.
    """
    if type(first_error) is not int or not -1 <= first_error < len(trace.steps):
        raise DataError(f"label {first_error!r} is neither -1 nor one of the {len(trace.steps)} steps (from 0)")
    return tuple(
        StepLabel(
            trace.id,
            i,
            1.0 if first_error < 0 or i < first_error else 0.0,
            source,
            "prefix",
            "first error" if i == first_error else "",
        )
        for i in range(len(trace.steps))
    )
