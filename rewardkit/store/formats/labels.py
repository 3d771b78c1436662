"""What the formats share: labels from a list of values, and the values of one source's labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.types import Meaning, StepLabel, Trace


def with_labels(trace: Trace, values: Sequence[float | None], source: str, meaning: Meaning) -> LabelledTrace:
    """A trace with one label for each of its first steps; None is no label.

    Raises:
        DataError: more values than steps, or one outside [0, 1].
    """
    if len(values) > len(trace.steps):
        raise DataError(f"{len(values)} labels for {len(trace.steps)} steps")
    try:
        labels = [
            StepLabel(trace.id, step, float(value), source, meaning)
            for step, value in enumerate(values)
            if value is not None
        ]
    except (TypeError, ValueError) as error:
        raise DataError(f"a label is not a number from 0 to 1: {error}") from None
    return LabelledTrace(trace, tuple(labels))


def step_values(row: LabelledTrace, source: str) -> list[float | None]:
    """One source's labels, one a step; None where it has none or abstained."""
    found = {label.step: label.p_correct for label in row.labels if label.source == source}
    return [found.get(step) for step in range(len(row.trace.steps))]


def known_prefix(row: LabelledTrace, source: str) -> list[float]:
    """The labels of the steps up to the first that has none: what a format without abstentions can say.

    Raises:
        DataError: the first step has no label.
    """
    values: list[float] = []
    for value in step_values(row, source):
        if value is None:
            break
        values.append(value)
    if not values:
        raise DataError(f"trace {row.trace.id}: its first step has no label of '{source}'")
    return values


def hard(value: float) -> bool:
    """A label as right or wrong."""
    return value >= 0.5


def texts(value: Any, name: str) -> list[str]:
    """A column that must be a list of texts, at least one.

    Raises:
        DataError: it is not.
    """
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise DataError(f"{name} must be a list of texts, at least one")
    if not any(item.strip() for item in value):
        raise DataError(f"{name} hold no text")
    return value
