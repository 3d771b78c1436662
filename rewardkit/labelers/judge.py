"""The `judge` labeler: models mark each step, or the first error, or the whole solution, in JSON that we read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rewardkit.config import Config
from rewardkit.generate import Generation, GenerationRequest, GeneratorConfig
from rewardkit.generate.begun import continuing
from rewardkit.images import image_fault, with_text
from rewardkit.labelers.asker import Asker
from rewardkit.labelers.verdict_probs import verdict_probabilities
from rewardkit.text.objects import json_objects
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
_LIKELIEST = 10  # tokens in each place, of which a verdict's probability is read


class Verdict(NamedTuple):
    """What one answer says of each step: right or not, and with what probability; None where it leaves one out."""

    marks: Marks
    p: tuple[float | None, ...]
    by_tokens: bool = False


class JudgeOptions(Config):
    """Who judges, and what.

    Attributes:
        judges: the generators; ``samples`` of each says how often it is asked.
        marks: ``steps``, ``first_error`` or ``solution``.
        system: the system message, if any.
        logprobs: ask ``openai`` and ``vllm`` for log-probabilities: where they are given, a verdict counts with the
            probability that its tokens had, not as a plain yes or no. Some endpoints refuse the question.
        begin: how the judge's answer begins, such as ``{"first_error":``, for small models that do not keep to the
            form; the generator must go on with a begun turn, as `rewardkit.labelers.rollout` needs it.
        template: the question, with ``{{ problem }}``, ``{{ solution }}`` (steps numbered from 1), ``{{ form }}`` (the
            JSON wanted) and, if the judge may see it, ``{{ reference }}``.
        unit: traces that are judged in one batch.
        seed: of the sampling.
    """

    judges: tuple[GeneratorConfig, ...] = Field(min_length=1)
    marks: What = "steps"
    logprobs: bool = False
    begin: str = ""
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
    """Labels steps by what judges say of them: the share of verdicts that call a step right, or their mean probability.

    An answer that cannot be had or read, or that marks steps that are not there, is no verdict: it is counted in the
    evidence and says nothing. A step that no verdict speaks of gets None. With ``steps`` and ``first_error`` every step
    has a label (after a judge's first error its verdict is "wrong", as in ProcessBench), with ``solution`` the last.

    Args:
        options: see `JudgeOptions`.
        asker: to ask through, with the generators of `generators` from `first` on; None makes one.
        first: the number of the first judge's generator there.
    """

    Options = JudgeOptions
    name = "judge"

    def __init__(self, options: JudgeOptions, asker: Asker | None = None, first: int = 0) -> None:
        self.options = options
        self.unit = options.unit
        self.meaning: Meaning = MEANINGS[options.marks]
        self.asker = asker or Asker(generators(options))
        self._first = first

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """One label for every step, or for the last one."""
        return [label for trace, said in self.verdicts(traces) for label in self.labels(trace, said)]

    def verdicts(self, traces: Sequence[Trace]) -> list[tuple[Trace, list[Verdict | None]]]:
        """Each trace that has steps, with what every sample of every judge said of it."""
        judged = [trace for trace in traces if trace.steps]
        faults = {trace.id: image_fault(trace.problem) for trace in judged}
        asked = [trace for trace in judged if not faults[trace.id]]
        said: dict[str, list[Verdict | None]] = {trace.id: [] for trace in judged}
        for which, judge in enumerate(self.options.judges):
            requests = [self._request(trace, which, sample) for trace in asked for sample in range(judge.samples)]
            answers = iter(self.asker.ask(requests, self._first + which))
            for trace in asked:
                said[trace.id] += [self._read(trace, next(answers)) for _ in range(judge.samples)]
        return [(trace, said[trace.id]) for trace in judged]

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
        messages: tuple[Message, ...] = ({"role": "user", "content": with_text(trace.problem, text)},)
        if self.options.system is not None:
            messages = ({"role": "system", "content": self.options.system}, *messages)
        if self.options.begin:
            messages = (*messages, {"role": "assistant", "content": self.options.begin})
        id = content_id("judge", trace.id, which, sample, self.options.seed)
        return GenerationRequest(id, trace.problem, sample, messages, int(id[:8], 16) >> 1)

    def _read(self, trace: Trace, answer: Generation) -> Verdict | None:
        if answer.finish_reason == "error":
            return None
        what, begin = self.options.marks, self.options.begin
        text = begin + answer.text
        marks = read_marks(text, what, len(trace.steps))
        if marks is None:
            return None
        sure = None
        if self.options.logprobs:
            tokens = ((begin, {}), *answer.logprobs) if begin and answer.logprobs else answer.logprobs
            sure = verdict_probabilities(text, tokens, what, marks)
        plain = tuple(None if mark is None else float(mark) for mark in marks)
        return Verdict(marks, sure or plain, by_tokens=sure is not None)

    def labels(self, trace: Trace, said: Sequence[Verdict | None]) -> Iterator[StepLabel]:
        """The labels of a trace by what was said of it."""
        verdicts = [verdict for verdict in said if verdict is not None]
        notes = f"; {len(said) - len(verdicts)} without a verdict" if len(verdicts) < len(said) else ""
        by_tokens = sum(verdict.by_tokens for verdict in verdicts)
        if by_tokens:
            notes += f"; {by_tokens} by their log-probabilities"
        for step in range(len(trace.steps)):
            told = [(v.marks[step], v.p[step]) for v in verdicts if v.p[step] is not None]
            if not told and self.options.marks == "solution" and step < len(trace.steps) - 1:
                continue
            right = sum(bool(mark) for mark, _ in told)
            p_correct = min(1.0, math.fsum(p or 0.0 for _, p in told) / len(told)) if told else None
            silent = f"no verdict of {len(said)}" if said else f"not asked: {image_fault(trace.problem)}"
            evidence = f"{right} of {len(told)} verdicts: right{notes}" if told else silent
            yield StepLabel(trace.id, step, p_correct, self.name, self.meaning, evidence)


def generators(options: JudgeOptions) -> tuple[GeneratorConfig, ...]:
    """The judges' generators, told to give log-probabilities and to go on with a begun answer where that is wanted."""
    asked = {"logprobs": _LIKELIEST} if options.logprobs else {}
    judges = [judge.model_copy(update=asked) for judge in options.judges]
    return tuple(continuing(judge) if options.begin else judge for judge in judges)


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
    for *_, value in json_objects(text):
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
