"""TRL's data set types: stepwise supervision (gone from TRL since 1.14), preference and unpaired preference.

Prompts and completions may be texts or lists of chat messages. Preference and unpaired rows hold whole responses, which
are split into steps; their label is an outcome, a ``value`` label of the last step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.formats.labels import hard, known_prefix, step_values, texts, with_labels
from rewardkit.store.problems import problem_from_row
from rewardkit.text.extract import extract_answer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Meaning, Problem, StepLabel, Trace, message_text

Row = Mapping[str, Any]
SOURCE = "trl"


def is_stepwise(row: Row) -> bool:
    """Whether a row has ``completions`` and ``labels``."""
    return isinstance(row.get("completions"), list) and isinstance(row.get("labels"), list)


def is_preference(row: Row) -> bool:
    """Whether a row has ``chosen`` and ``rejected``."""
    return bool(row.get("chosen")) and bool(row.get("rejected"))


def is_unpaired(row: Row) -> bool:
    """Whether a row has ``completion`` and a ``label`` that is true or false (or 1 or 0)."""
    return bool(row.get("completion")) and not isinstance(row.get("label"), str) and row.get("label") in (0, 1)


def from_trl_stepwise(row: Row, source: str = SOURCE, meaning: Meaning = "prefix") -> LabelledTrace:
    """One trace of a row of stepwise supervision; labels may be bools or, as soft labels, floats.

    Args:
        row: ``prompt, completions, labels``.
        source: of the labels.
        meaning: of the labels: TRL's format does not say it.

    Raises:
        DataError: a column is missing or does not fit the others.

    >>> row = {"prompt": "1+1?", "completions": ["1+1 = 2", "so 3"], "labels": [True, False]}
    >>> [label.p_correct for label in from_trl_stepwise(row).labels]
    [1.0, 0.0]
    """
    steps, labels = texts(row.get("completions"), "completions"), row.get("labels")
    if not isinstance(labels, list) or len(labels) != len(steps):
        raise DataError(f"labels must be a list, one for each of the {len(steps)} completions")
    trace = Trace.create(problem_from_row(row), steps, extract_answer("\n".join(steps)))
    return with_labels(trace, labels, source, meaning)


def to_trl_stepwise(row: LabelledTrace, source: str = SOURCE) -> dict[str, Any]:
    """A row of stepwise supervision: the steps up to the first without a label; bools where all labels are hard.

    Raises:
        DataError: the first step has no label.

    >>> row = {"prompt": "1+1?", "completions": ["1+1 = 2", "so 3"], "labels": [True, False]}
    >>> to_trl_stepwise(from_trl_stepwise(row)) == row
    True
    """
    values = known_prefix(row, source)
    labels: list[Any] = [hard(v) for v in values] if all(v in (0.0, 1.0) for v in values) else values
    steps = [step.text for step in row.trace.steps[: len(values)]]
    return {"prompt": _plain(row.trace.problem.prompt), "completions": steps, "labels": labels}


def from_trl_preference(row: Row, source: str = SOURCE, *, by: SplitRule = "lines") -> list[LabelledTrace]:
    """Two traces of a row: the chosen one, right, and the rejected one, wrong.

    Of whole conversations the prompt is what they share (TRL's implicit prompt), whatever stands in ``prompt``.

    Raises:
        DataError: a column is missing or does not fit the others.

    >>> chosen, rejected = from_trl_preference({"prompt": "1+1?", "chosen": "2", "rejected": "3"})
    >>> chosen.labels[-1].p_correct, rejected.labels[-1].p_correct
    (1.0, 0.0)
    """
    row = explicit_prompt(row)
    if "prompt" not in row:
        raise DataError("a row without a prompt must hold conversations that begin alike")
    problem = problem_from_row(row)
    pairs = ((row.get("chosen"), 1.0), (row.get("rejected"), 0.0))
    return [_outcome(problem, text, value, source, by, i) for i, (text, value) in enumerate(pairs)]


def explicit_prompt(row: Row) -> Row:
    """A row of preference data with what two whole conversations share as its ``prompt``; any other row as it is.

    Raises:
        DataError: they share no first message.

    >>> asked = {"role": "user", "content": "1+1?"}
    >>> chosen, rejected = ([asked, {"role": "assistant", "content": text}] for text in "23")
    >>> explicit_prompt({"prompt": "1+1?", "chosen": chosen, "rejected": rejected})["prompt"] == [asked]
    True
    """
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if not (_whole(chosen) and _whole(rejected)):
        return row
    pairs = zip(chosen, rejected, strict=False)
    prompt = [a for a, b in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    if not prompt:
        raise DataError("chosen and rejected share no first message that could be the prompt")
    return {**row, "prompt": prompt, "chosen": chosen[len(prompt) :], "rejected": rejected[len(prompt) :]}


def _whole(conversation: Any) -> TypeGuard[list[Any]]:
    """Whether messages are a conversation from its beginning, not what the assistant said behind a prompt."""
    first = conversation[0] if isinstance(conversation, list) and conversation else None
    return isinstance(first, Mapping) and first.get("role") != "assistant"


def to_trl_preference(rows: Iterable[LabelledTrace], source: str = SOURCE) -> Iterator[dict[str, Any]]:
    """Every pair of a right and a wrong response to one problem, by the label of the last step.

    >>> row = {"prompt": "1+1?", "chosen": "2", "rejected": "3"}
    >>> list(to_trl_preference(from_trl_preference(row))) == [row]
    True
    """
    problems: dict[str, tuple[list[Trace], list[Trace]]] = {}
    for row in rows:
        value = step_values(row, source)[-1]
        if value is not None:
            problems.setdefault(row.trace.problem.id, ([], []))[hard(value)].append(row.trace)
    for wrong, right in problems.values():
        for good, bad in itertools.product(right, wrong):
            yield {"prompt": _plain(good.problem.prompt), "chosen": good.response, "rejected": bad.response}


def from_trl_unpaired(row: Row, source: str = SOURCE, *, by: SplitRule = "lines") -> LabelledTrace:
    """One trace of a row, right or wrong as a whole.

    >>> from_trl_unpaired({"prompt": "1+1?", "completion": "3", "label": False}).labels[-1].p_correct
    0.0
    """
    return _outcome(problem_from_row(row), row.get("completion"), float(row["label"]), source, by)


def to_trl_unpaired(row: LabelledTrace, source: str = SOURCE) -> dict[str, Any]:
    """A row of unpaired preference, by the label of the last step.

    Raises:
        DataError: the last step has no label.
    """
    value = step_values(row, source)[-1]
    if value is None:
        raise DataError(f"trace {row.trace.id}: its last step has no label of '{source}'")
    return {"prompt": _plain(row.trace.problem.prompt), "completion": row.trace.response, "label": hard(value)}


def _outcome(
    problem: Problem, response: Any, value: float, source: str, by: SplitRule, sample: int = 0
) -> LabelledTrace:
    if isinstance(response, list) and all(isinstance(m, Mapping) for m in response):
        if _whole(response):
            raise DataError("a completion begins with a message that is not the assistant's; it belongs to the prompt")
        response = "\n".join(message_text(m) for m in response)
    if not isinstance(response, str) or not response.strip():
        raise DataError("a completion must be a text or a list of chat messages that is not empty")
    steps = [span.text for span in split_steps(response, by=by)]
    trace = Trace.create(problem, steps, extract_answer(response), sample=sample)
    return LabelledTrace(trace, (StepLabel(trace.id, len(steps) - 1, value, source, "value", "outcome"),))


def _plain(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
