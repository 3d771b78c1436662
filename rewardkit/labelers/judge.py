"""The `judge` labeler: models mark each step, or the first error, or the whole solution, in JSON that we read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rewardkit.config import Config
from rewardkit.generate import Generation, GenerationRequest, GeneratorConfig
from rewardkit.labelers.asker import Asker
from rewardkit.types import Meaning, Message, StepLabel, Trace, content_id

What = Literal["steps", "first_error", "solution"]
Marks = tuple[bool | None, ...]

MEANINGS: dict[What, Meaning] = {"steps": "local", "first_error": "prefix", "solution": "prefix"}
"""A mark of one step speaks of that step; no error up to and including a step, or the last, is a prefix label."""

FORMS: dict[What, str] = {
    "steps": '{"steps": [{"step": 1, "correct": true}, ...]} with one entry for every step',
    "first_error": '{"first_error": N} with the number of the first wrong step, or 0 if there is none',
    "solution": '{"correct": true} or {"correct": false}',
}

TEMPLATE = """Check a solution step by step.

Problem:
{{ problem }}

Solution:
{{ solution }}

Think it through, then end with one JSON object and nothing behind it: {{ form }}."""

_PLACE = re.compile(r"\{\{ ?(problem|solution|reference|form) ?\}\}")
_LONGEST = 50_000  # characters of an answer that are read, from its end
_OBJECTS = 200  # opening braces that are tried


class JudgeOptions(Config):
    """Who judges, and what.

    Attributes:
        judges: the generators; ``samples`` of each says how often it is asked.
        marks: ``steps``, ``first_error`` or ``solution``.
        system: the system message, if any.
        template: the question, with ``{{ problem }}``, ``{{ solution }}`` (steps numbered from 1), ``{{ form }}`` (the
            JSON wanted) and, if the judge may see it, ``{{ reference }}``.
        unit: traces that are judged in one batch.
        seed: of the sampling.
    """

    judges: tuple[GeneratorConfig, ...] = Field(min_length=1)
    marks: What = "steps"
    system: str | None = None
    template: str = TEMPLATE
    unit: int = Field(default=64, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _has_places(self) -> JudgeOptions:
        missing = {"problem", "solution", "form"} - set(_PLACE.findall(self.template))
        if missing:
            raise ValueError(f"the template must hold {{{{ {sorted(missing)[0]} }}}}")
        return self


class JudgeLabeler:
    """Labels steps by what judges say of them: the share of verdicts that call a step right.

    An answer that cannot be had or read, or that marks steps that are not there, is no verdict: it is counted in the
    evidence and says nothing. A step that no verdict speaks of gets None. With ``steps`` and ``first_error`` every step
    has a label (after a judge's first error its verdict is "wrong", as in ProcessBench), with ``solution`` the last.

    Args:
        options: see `JudgeOptions`.
    """

    Options = JudgeOptions
    name = "judge"

    def __init__(self, options: JudgeOptions) -> None:
        self.options = options
        self.unit = options.unit
        self.meaning: Meaning = MEANINGS[options.marks]
        self.asker = Asker(options.judges)

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """One label for every step, or for the last one."""
        judged = [trace for trace in traces if trace.steps]
        said: list[list[Marks | None]] = [[] for _ in judged]
        for which, judge in enumerate(self.options.judges):
            requests = [self._request(trace, which, sample) for trace in judged for sample in range(judge.samples)]
            answers = iter(self.asker.ask(requests, which))
            for trace, marks in zip(judged, said, strict=True):
                marks += [self._read(trace, next(answers)) for _ in range(judge.samples)]
        return [label for trace, marks in zip(judged, said, strict=True) for label in self._labels(trace, marks)]

    def close(self) -> None:
        """End the judges."""
        self.asker.close()

    def _request(self, trace: Trace, which: int, sample: int) -> GenerationRequest:
        texts = {
            "problem": trace.problem.text,
            "solution": "\n".join(f"Step {i}: {step.text.strip()}" for i, step in enumerate(trace.steps, 1)),
            "reference": trace.problem.answer or "unknown",
            "form": FORMS[self.options.marks],
        }
        # One pass: what a model wrote is put in as it is, whatever places it names.
        text = _PLACE.sub(lambda match: texts[match[1]], self.options.template)
        messages: tuple[Message, ...] = ({"role": "user", "content": text},)
        if self.options.system is not None:
            messages = ({"role": "system", "content": self.options.system}, *messages)
        id = content_id("judge", trace.id, which, sample, self.options.seed)
        return GenerationRequest(id, trace.problem, sample, messages, int(id[:8], 16) >> 1)

    def _read(self, trace: Trace, answer: Generation) -> Marks | None:
        if answer.finish_reason == "error":
            return None
        return read_marks(answer.text, self.options.marks, len(trace.steps))

    def _labels(self, trace: Trace, said: Sequence[Marks | None]) -> Iterator[StepLabel]:
        verdicts = [marks for marks in said if marks is not None]
        silent = f"; {len(said) - len(verdicts)} without a verdict" if len(verdicts) < len(said) else ""
        for step in range(len(trace.steps)):
            marks = [m[step] for m in verdicts if m[step] is not None]
            if not marks and self.options.marks == "solution" and step < len(trace.steps) - 1:
                continue
            right = sum(map(bool, marks))
            p_correct = right / len(marks) if marks else None
            evidence = f"{right} of {len(marks)} verdicts: right{silent}" if marks else f"no verdict of {len(said)}"
            yield StepLabel(trace.id, step, p_correct, self.name, self.meaning, evidence)


def read_marks(text: str, what: What, steps: int) -> Marks | None:
    """Read a judge's verdict: the last JSON object of the wanted form in its answer.

    Args:
        text: anything.
        what: the form, see `FORMS`.
        steps: of the solution.

    Returns:
        For each step whether it is right, None where the verdict leaves it out; None alone where there is no verdict.

    >>> read_marks('Step 2 is off. {"first_error": 2}', "first_error", 3)
    (True, False, False)
    >>> read_marks('{"steps": [{"step": 1, "correct": true}, {"step": 2, "correct": false}]}', "steps", 3)
    (True, False, None)
    >>> read_marks("I think it is fine.", "solution", 3), read_marks('{"first_error": 7}', "first_error", 3)
    (None, None)
    """
    found: Marks | None = None
    for value in _objects(text[-_LONGEST:]):
        try:
            marks = _READERS[what](value, steps)
        except ValidationError:
            continue
        found = marks  # an example that the judge repeats stands before its verdict
    return found


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Mark(_Strict):
    step: int
    correct: bool


class _Steps(_Strict):
    steps: list[_Mark]


class _FirstError(_Strict):
    first_error: int


class _Solution(_Strict):
    correct: bool


def _steps(value: Mapping[str, Any], steps: int) -> Marks | None:
    marks = _Steps.model_validate(value).steps
    known = {mark.step: mark.correct for mark in marks}
    if not marks or len(known) < len(marks) or not all(1 <= number <= steps for number in known):
        return None
    return tuple(known.get(number) for number in range(1, steps + 1))


def _first_error(value: Mapping[str, Any], steps: int) -> Marks | None:
    first = _FirstError.model_validate(value).first_error
    if not 0 <= first <= steps:
        return None
    return tuple(first == 0 or number < first for number in range(1, steps + 1))


def _solution(value: Mapping[str, Any], steps: int) -> Marks | None:
    return (*[None] * (steps - 1), _Solution.model_validate(value).correct)


_READERS = {"steps": _steps, "first_error": _first_error, "solution": _solution}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, none that lies in another; at most the last few hundred braces are tried."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in re.finditer(r"\{", text)][-_OBJECTS:]
    end = 0
    for start in starts:
        if start < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        yield value
