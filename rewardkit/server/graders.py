"""OpenAI's grader call, with our reward model and our verifiers in place of a judge."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rewardkit.errors import DataError, RewardKitError, VerifierError
from rewardkit.server import metrics
from rewardkit.server.errors import ApiError
from rewardkit.server.formula import parse_formula
from rewardkit.server.grader_schema import (
    Grader,
    GraderMessage,
    GraderRunRequest,
    LabelModelGrader,
    MultiGrader,
    PythonGrader,
    ScoreModelGrader,
    Single,
    StringCheckGrader,
    TextSimilarityGrader,
)
from rewardkit.server.schema import MAX_STEPS, rewards_request
from rewardkit.server.service import RewardService
from rewardkit.server.similarity import check_metric, similarity
from rewardkit.server.template import parse_template, render
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

VERIFIERS = {"rewardkit/arithmetic": "arithmetic", "rewardkit/math-answer": "answer", "rewardkit/z3": "logic"}
"""Model names, and the labelers behind them."""
MAX_WAITING = 256

_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "neq": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}
_ERRORS = (
    "formula_parse_error", "invalid_variable_error", "model_grader_parse_error", "model_grader_refusal_error",
    "model_grader_server_error", "other_error", "python_grader_runtime_error", "python_grader_server_error",
    "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Grade:
    """A score, None where the grader abstains, and the tokens that the model read."""

    score: float | None
    tokens: int = 0
    model: str | None = None


class Graders:
    """Runs graders.

    Args:
        service: scores for the served names.
    """

    def __init__(self, service: RewardService) -> None:
        self.service = service
        self._waiting = 0
        # One thread: the checkers keep worker processes of their own, with limits on time and memory.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rewardkit-grade")

    def validate(self, grader: Grader) -> None:
        """Raise unless the grader could run here.

        Raises:
            ApiError: its first fault.
        """
        for where, single in _singles(grader):
            self._check(where, single)
        if isinstance(grader, MultiGrader):
            with _blamed("grader.calculate_output"):
                unknown = parse_formula(grader.calculate_output).names - grader.graders.keys()
                if unknown:
                    raise DataError(f"the formula names '{min(unknown)}', and there is no such grader")

    async def run(self, request: GraderRunRequest) -> dict[str, Any]:
        """The answer of ``/run``.

        Raises:
            ApiError: what is wrong with the grader or the sample.
        """
        self.validate(request.grader)
        start = time.perf_counter()
        values = {"sample": _sample(request.model_sample), "item": request.item}
        grades: dict[str, _Grade] = {}
        for where, single in _singles(request.grader):
            with _blamed(where):
                grades[where] = await self._grade(single, values)
                if grades[where].score is None:
                    metrics.ABSTENTIONS.labels(grades[where].model or single.type).inc()
        return _answer(request, grades, time.perf_counter() - start)

    def _check(self, where: str, grader: Single) -> None:
        """What can be known of one grader before it runs."""
        if isinstance(grader, PythonGrader):
            message = "python graders run code of the request; this server has no sandbox for it, and refuses them"
            raise ApiError(400, message, param=where, code="python_grader_refused")
        with _blamed(where):
            for template in _templates(grader):
                parse_template(template)
            if isinstance(grader, TextSimilarityGrader):
                check_metric(grader.evaluation_metric)
        if isinstance(grader, ScoreModelGrader | LabelModelGrader):
            known = [*self.service.scorer.names, *VERIFIERS]
            if grader.model not in known:
                message = f"there is no model '{grader.model}' here; served: {', '.join(known)}"
                raise ApiError(404, message, param=f"{where}.model", code="model_not_found")

    async def _grade(self, grader: Single, values: Mapping[str, Any]) -> _Grade:
        if isinstance(grader, StringCheckGrader):
            text, reference = render(grader.input, values), render(grader.reference, values)
            return _Grade(float(_CHECKS[grader.operation](text, reference)))
        if isinstance(grader, TextSimilarityGrader):
            text, reference = render(grader.input, values), render(grader.reference, values)
            return _Grade(await self._in_thread(similarity, grader.evaluation_metric, text, reference))
        assert isinstance(grader, ScoreModelGrader | LabelModelGrader)
        messages: list[tuple[str, str]] = [(m.role, render(m.text, values)) for m in grader.input]
        response = values["sample"]["output_text"]
        if messages[-1][0] == "assistant":
            response = messages.pop()[1]
        if grader.model in VERIFIERS:
            grade = _Grade(await self._in_thread(_verify, grader.model, messages, response), 0, grader.model)
        else:
            grade = await self._by_model(grader.model, messages, response)
        return _scaled(grader, grade)

    async def _by_model(self, model: str, messages: list[tuple[str, str]], response: str) -> _Grade:
        """The served model's score of the response; the messages before it are the question."""
        if not messages:
            raise DataError("the input holds the response alone; give the question as a message before it")
        question = [{"role": "system" if role == "developer" else role, "content": text} for role, text in messages]
        body = {"model": model, "input": [{"messages": question, "response": response}]}
        answer = await self.service.rewards(rewards_request(body))
        return _Grade(float(answer["data"][0]["score"]), int(answer["usage"]["total_tokens"]), model)

    async def _in_thread(self, function: Callable[..., float | None], *arguments: Any) -> float | None:
        if self._waiting >= MAX_WAITING:
            raise ApiError(429, f"{self._waiting} graders are waiting already; try again", retry_after=2)
        self._waiting += 1
        try:
            call = functools.partial(function, *arguments)
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        finally:
            self._waiting -= 1


@contextlib.contextmanager
def _blamed(where: str) -> Iterator[None]:
    """Faults of the caller inside the block as a 400 that names where."""
    try:
        yield
    except VerifierError as error:
        raise ApiError(503, f"{where}: {error}", param=where) from error
    except RewardKitError as error:
        raise ApiError(400, f"{where}: {error}", param=where) from error


def _singles(grader: Grader) -> list[tuple[str, Single]]:
    if isinstance(grader, MultiGrader):
        return [(f"grader.graders.{name}", single) for name, single in grader.graders.items()]
    return [("grader", grader)]


def _templates(grader: Single) -> list[str]:
    if isinstance(grader, StringCheckGrader | TextSimilarityGrader):
        return [grader.input, grader.reference]
    messages: list[GraderMessage] = [] if isinstance(grader, PythonGrader) else grader.input
    return [m.text for m in messages]


def _sample(text: str) -> dict[str, Any]:
    sample: dict[str, Any] = {"output_text": text}
    with contextlib.suppress(ValueError, RecursionError):
        sample["output_json"] = json.loads(text)
    return sample


def _verify(model: str, messages: list[tuple[str, str]], response: str) -> float | None:
    """A verifier's verdict on a whole response: wrong if any step is, right if one that could be checked is; else None.

    The user's messages are the problem, the developer's (or system's) the reference answer.
    """
    from rewardkit.labelers import load_labeler

    problem = "\n".join(text for role, text in messages if role in ("user", "assistant"))
    reference = "\n".join(text for role, text in messages if role in ("developer", "system"))
    if model == "rewardkit/math-answer" and not reference.strip():
        raise DataError("rewardkit/math-answer needs the reference answer, as a message of the developer")
    # A deduction has one inference a line.
    steps = [span.text for span in split_steps(response, by="lines" if model == "rewardkit/z3" else "auto")]
    if len(steps) > MAX_STEPS:
        raise DataError(f"the response splits into {len(steps)} steps, and at most {MAX_STEPS} are taken")
    trace = Trace.create(Problem.create(problem, reference or None), steps)
    labels = load_labeler(VERIFIERS[model]).label(trace)
    return min((label.p_correct for label in labels if label.p_correct is not None), default=None)


def _scaled(grader: ScoreModelGrader | LabelModelGrader, grade: _Grade) -> _Grade:
    if grade.score is None:
        return grade
    if isinstance(grader, LabelModelGrader):
        return _Grade(float(grade.score >= 0.5), grade.tokens, grade.model)
    if grader.range is None:
        return grade
    if not 0.0 <= grade.score <= 1.0:
        raise DataError(f"the model's scores are not bound to 0 to 1 ({grade.score:g}), so no range can be given")
    low, high = grader.range
    return _Grade(low + grade.score * (high - low), grade.tokens, grade.model)


def _answer(request: GraderRunRequest, grades: Mapping[str, _Grade], seconds: float) -> dict[str, Any]:
    """OpenAI's answer; a reward that nobody can tell is null, and flagged."""
    grader = request.grader
    scores = {where.rpartition(".")[2]: grade.score for where, grade in grades.items()}
    if isinstance(grader, MultiGrader):
        reward = _combined(grader, scores, request.abstain)
    else:
        reward = next(iter(scores.values()))
        scores = {grader.name: reward}
    usage: dict[str, int] = {}
    for grade in grades.values():
        if grade.model is not None:
            usage[grade.model] = usage.get(grade.model, 0) + grade.tokens
    errors: dict[str, Any] = dict.fromkeys(_ERRORS, False)
    errors["unresponsive_reward_error"] = any(g.score is None for g in grades.values())
    details = ("model_grader_server_error", "python_grader_runtime_error")
    errors |= {f"{name}_details": None for name in details} | {"python_grader_server_error_type": None}
    return {
        "reward": request.abstain if reward is None else reward,
        "metadata": {
            "name": grader.name,
            "type": grader.type,
            "errors": errors,
            "execution_time": seconds,
            "scores": scores,
            "token_usage": sum(usage.values()) if usage else None,
            "sampled_model_name": None,
        },
        "sub_rewards": scores if isinstance(grader, MultiGrader) else {},
        "model_grader_token_usage_per_model": usage,
    }


def _combined(grader: MultiGrader, scores: Mapping[str, float | None], abstain: float | None) -> float | None:
    """The formula's value; None where a score that it needs is unknown."""
    formula = parse_formula(grader.calculate_output)
    filled = {name: abstain if score is None else score for name, score in scores.items()}
    known = {name: score for name, score in filled.items() if score is not None and math.isfinite(score)}
    if not formula.names <= known.keys():
        return None
    with _blamed("grader.calculate_output"):
        return formula.value(known)
