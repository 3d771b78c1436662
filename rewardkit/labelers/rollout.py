"""The `rollout` labeler: a step is worth the chance that a continuation from it ends right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.generate import Generation, GenerationRequest, GeneratorConfig
from rewardkit.generate.begun import continuing, has_ended
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.images import image_fault
from rewardkit.labelers.answer import AnswerLabeler
from rewardkit.labelers.asker import Asker
from rewardkit.labelers.estimators import Ask, Estimate, Outcome, Plan, Steps, adaptive, math_shepherd, run_plans
from rewardkit.labelers.omegaprm import omegaprm
from rewardkit.text.extract import extract_answer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Meaning, Problem, Step, StepLabel, Trace, content_id


class RolloutOptions(Config):
    """How steps are valued; see `rewardkit.labelers.estimators`.

    Attributes:
        generator: continues the responses: ``transformers``, ``vllm``, or ``openai`` for an endpoint of vLLM's kind.
        prompt: how a problem is put.
        split: cuts a continuation into steps.
        method: ``adaptive``, ``math_shepherd`` or ``omegaprm``.
        n: continuations a step of ``math_shepherd``, rollouts a state of ``omegaprm``.
        soft: of these two: the share that is right, not whether one is.
        searches: of ``omegaprm``.
        rollouts: of ``omegaprm``, in all.
        low, high, alpha, beta, limit, heals: of ``adaptive``.
        own: of ``adaptive``: the traces are unselected samples of the generator's own model.
        round: continuations of one prefix that ``adaptive`` asks for at a time.
        unit: traces that are labelled side by side, so that their continuations make up large batches.
        seed: of the sampling.
    """

    generator: GeneratorConfig
    prompt: PromptConfig = PromptConfig()
    split: SplitRule = "lines"
    method: Literal["adaptive", "math_shepherd", "omegaprm"] = "adaptive"
    n: int = Field(default=16, ge=1)
    soft: bool = False
    searches: int = Field(default=1, ge=1)
    rollouts: int = Field(default=200, ge=1)
    low: float = 0.001
    high: float = 0.15
    alpha: float = 0.05
    beta: float = 0.01
    limit: int = Field(default=64, ge=1)
    heals: bool = False
    own: bool = False
    round: int = Field(default=4, ge=1)
    unit: int = Field(default=64, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fit(self) -> RolloutOptions:
        if self.generator.kind == "replay":
            raise ValueError("recorded responses cannot be continued; use a generator of another kind")
        if self.soft and self.method == "adaptive":
            raise ValueError("soft=true is of math_shepherd and omegaprm; adaptive gives hard labels")
        return self

    def plan(self, steps: Steps, outcome: bool | None) -> Plan:
        """The plan for one trace, see `rewardkit.labelers.estimators`."""
        if self.method == "math_shepherd":
            return math_shepherd(steps, n=self.n, soft=self.soft, outcome=outcome)
        if self.method == "omegaprm":
            return omegaprm(
                steps, k=self.n, searches=self.searches, rollouts=self.rollouts, outcome=outcome, soft=self.soft
            )
        return adaptive(
            steps, outcome=outcome, own=self.own, low=self.low, high=self.high, alpha=self.alpha, beta=self.beta,
            limit=self.limit, batch=self.round, heals=self.heals,
        )  # fmt: skip


class RolloutLabeler:
    """Labels each step by continuing the response behind it and holding the final answers against the reference.

    A continuation that stops without an answer is wrong; one that is cut, gets an error or cannot be compared does not
    count. Without a reference, or without one continuation that counts, the label is None. What was sampled for a
    prefix serves every trace of the unit that begins so. The prefix is the beginning of the assistant's turn and a
    longer one begins with a shorter, so that a server's prefix cache is read.

    Args:
        options: see `RolloutOptions`.
        asker: to ask through, with the generator as `continuing` gives it in its first place; None makes one.

    Raises:
        ConfigError: the rates of the test are no use.
    """

    Options = RolloutOptions
    name = "rollout"
    meaning: Meaning = "value"

    def __init__(self, options: RolloutOptions, asker: Asker | None = None) -> None:
        self.options = options
        self.unit = options.unit
        options.plan((), None)  # refuses rates that are no use
        self.asker = asker or Asker([continuing(options.generator)])
        self._answers = AnswerLabeler()

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """One label for every step."""
        silent = {trace.id: _cannot_ask(trace.problem) for trace in traces}
        known = [trace for trace in traces if not silent[trace.id]]
        rollouts = _Rollouts(self, known)
        made = run_plans(
            [self.options.plan(_texts(trace), self.verdict(trace, trace.response, _stopped(trace))) for trace in known],
            rollouts.answer,
        )
        labels = [label for trace, one in zip(known, made, strict=True) for label in self._labels(trace, one)]
        for trace in traces:
            if silent[trace.id]:
                labels += self._labels(trace, [Estimate(None, note=silent[trace.id])] * len(trace.steps))
        return labels

    def close(self) -> None:
        """End the generator."""
        self.asker.close()

    def verdict(self, trace: Trace, response: str, stopped: bool) -> bool | None:
        """Whether a response to a trace's problem ends right; None where nobody can say."""
        if extract_answer(response) is None:
            return False if stopped else None
        [label] = self._answers.label(replace(trace, steps=(Step(response),), answer=None))
        return None if label.p_correct is None else label.p_correct == 1.0

    def _labels(self, trace: Trace, made: Sequence[Estimate]) -> list[StepLabel]:
        return [
            StepLabel(trace.id, i, one.value, self.name, self.meaning, _evidence(one)) for i, one in enumerate(made)
        ]


def _cannot_ask(problem: Problem) -> str:
    return image_fault(problem) if problem.answer else "no reference answer"


class _Rollouts:
    """The continuations of one unit: each prefix of a problem has one growing list that all its traces read from."""

    def __init__(self, labeler: RolloutLabeler, traces: Sequence[Trace]) -> None:
        self._labeler, self._traces = labeler, traces
        self._outcomes: dict[tuple[str, str], list[Outcome]] = {}
        self._read: dict[tuple[int, str], int] = {}

    def answer(self, asks: list[tuple[int, Ask]]) -> list[list[Outcome]]:
        """The outcomes of a round; only what no list holds yet is generated."""
        wanted: dict[tuple[str, str], tuple[Trace, int]] = {}
        spans = []
        for number, ask in asks:
            trace, text = self._traces[number], "".join(ask.prefix)
            start = self._read.get((number, text), 0)
            self._read[number, text] = stop = start + ask.n
            key = trace.problem.id, text
            spans.append((key, start, stop))
            wanted[key] = trace, max(stop, wanted.get(key, (trace, 0))[1])
        self._generate(wanted)
        return [self._outcomes[key][start:stop] for key, start, stop in spans]

    def _generate(self, wanted: dict[tuple[str, str], tuple[Trace, int]]) -> None:
        missing = []
        for key, (trace, count) in sorted(wanted.items(), key=lambda item: item[0]):  # equal prefixes side by side
            for sample in range(len(self._outcomes.setdefault(key, [])), count):
                missing.append((key, trace, self._request(trace, key[1], sample)))
        answers = self._labeler.asker.ask([request for *_, request in missing]) if missing else []
        for (key, trace, _), answer in zip(missing, answers, strict=True):
            self._outcomes[key].append(self._outcome(trace, key[1], answer))

    def _request(self, trace: Trace, text: str, sample: int) -> GenerationRequest:
        options = self._labeler.options
        messages = build_messages(trace.problem, options.prompt)
        if text:
            messages = (*messages, {"role": "assistant", "content": text})
        id = content_id("rollout", trace.problem.id, text, sample, options.seed)
        return GenerationRequest(id, trace.problem, sample, messages, int(id[:8], 16) >> 1)

    def _outcome(self, trace: Trace, text: str, answer: Generation) -> Outcome:
        ended = bool(text) and has_ended(answer)
        if answer.finish_reason == "error" and not ended:
            return Outcome(None)
        steps = tuple(span.text for span in split_steps(answer.text, by=self._labeler.options.split))
        stopped = ended or answer.finish_reason == "stop"
        return Outcome(self._labeler.verdict(trace, text + answer.text, stopped), steps, answer.tokens)


def _texts(trace: Trace) -> Steps:
    """The texts of the steps with what stands between them, so that they join to the response."""
    texts: list[str] = []
    for length in range(1, len(trace.steps) + 1):
        text = replace(trace, steps=trace.steps[:length]).response
        texts.append(text[sum(map(len, texts)) :])
    # White space that joins two steps belongs behind the first: a prefix ends where its step does.
    for i in range(1, len(texts)):
        if texts[i].startswith("\n") and not trace.steps[i].text.startswith("\n"):
            texts[i - 1], texts[i] = texts[i - 1] + "\n", texts[i][1:]
    return tuple(texts)


def _stopped(trace: Trace) -> bool:
    return trace.meta.get("finish_reason") == "stop"


def _evidence(one: Estimate) -> str:
    counts = f"{one.right} of {one.tried} continuations right" if one.tried else ""
    return "; ".join(part for part in (counts, one.note) if part)
