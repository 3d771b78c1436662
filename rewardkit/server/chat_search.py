"""Search behind the chat API: what `rewardkit serve` is told of it, its model names, and one search in a thread.

    best-of-8:MODEL  majority-8:MODEL  weighted-8:MODEL  prm-as-orm-8:MODEL      whole responses
    beam-4x4:MODEL   dvts-4x4:MODEL    greedy-8:MODEL    guided-greedy-8:MODEL   step by step

MODEL is the generator's name; without it the configured one is meant. ``4x4`` are 4 responses (of dvts: trees) kept,
each with 4 continuations in every round. The search itself is `rewardkit.search`; the scores are the service's own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError, DataError, RewardKitError, ServerError
from rewardkit.generate import Generation, GenerationRequest, Generator, GeneratorConfig, load_generator
from rewardkit.models.spec import RewardModelSpec
from rewardkit.search.sampling import SamplePlan, SampleResult, search_samples
from rewardkit.search.steps import load_steps
from rewardkit.search.stepwise import SearchPlan, SearchResult, search_steps
from rewardkit.server.errors import ApiError
from rewardkit.server.schema import rewards_request
from rewardkit.server.service import RewardService
from rewardkit.types import Problem, StepScores, Trace

_log = logging.getLogger("rewardkit.server")

SEARCH_VARIABLE = "REWARDKIT_SEARCH"
"""Carries a `SearchServing` as JSON into vLLM's process; never a key."""
WHOLE = {"best-of": "best_of_n", "majority": "majority", "weighted": "weighted_vote", "prm-as-orm": "best_of_n"}
GREEDY = {"greedy": "greedy", "guided-greedy": "guided_greedy"}
WIDE = ("beam", "dvts")
_NAME = re.compile(r"([a-z-]{1,20})-([0-9]{1,4})(?:x([0-9]{1,4}))?(?::(.{1,256}))?", re.DOTALL)


class SearchServing(Config):
    """Search behind ``/v1/chat/completions``.

    Attributes:
        generator: writes the responses: ``kind: openai`` with ``endpoint.url``, whose key is in the environment
            variable ``endpoint.key_variable``; or ``transformers`` in this process, for a demo. Nothing is cached.
        name: what requests call the generator; None takes its ``model``.
        max_n: responses of one search at most.
        concurrent: searches at a time; more get 429.
        seconds: of one search; then 504.
        rounds: steps of a response at most, step by step.
        separator: between steps, step by step.
    """

    generator: GeneratorConfig
    name: str | None = None
    max_n: int = Field(default=64, ge=1, le=1024)
    concurrent: int = Field(default=8, ge=1)
    seconds: float = Field(default=300.0, gt=0)
    rounds: int = Field(default=40, ge=1)
    separator: str = Field(default="\n\n", min_length=1)

    @property
    def served_name(self) -> str:
        """The name that stands behind the colon."""
        return self.name or self.generator.model

    def generator_with(self, sampling: dict[str, Any], body: dict[str, Any]) -> GeneratorConfig:
        """The generator of one request: what users wrote is not kept, and a client does not wait for five attempts."""
        given = self.generator.endpoint
        retries = given.retries if "retries" in given.model_fields_set else 1
        changes = {"cache": False, "retries": retries, "timeout": min(given.timeout, self.seconds)}
        endpoint = given.model_copy(update={**changes, "body": {**given.body, **body}})
        return self.generator.model_copy(update={**sampling, "endpoint": endpoint})


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a model name asks for.

    Attributes:
        name: ``best-of``, ``beam``, ...
        n: responses in all.
        width: continuations of each that is kept, step by step; 0 for whole responses.
    """

    name: str
    n: int
    width: int = 0


def read_strategy(model: str, config: SearchServing) -> Strategy:
    """The strategy that a model name asks for.

    Raises:
        ApiError: 404 for a name that is none, 400 for one that asks for too much.

    >>> read_strategy("beam-4x2:gen", SearchServing(generator=GeneratorConfig(model="gen")))
    Strategy(name='beam', n=8, width=2)
    """
    match = _NAME.fullmatch(model)
    name, first, second, generator = match.groups() if match else ("", "0", None, None)
    wide = name in WIDE
    if (
        name not in {*WHOLE, *GREEDY, *WIDE}
        or wide != (second is not None)
        or generator not in (None, config.served_name)
    ):
        example = f"best-of-8:{config.served_name}"
        raise ApiError(
            404,
            f"there is no search model '{model[:80]}'; use {example} (or majority-8, weighted-8, prm-as-orm-8, "
            "greedy-8, guided-greedy-8, beam-4x4, dvts-4x4)",
            param="model",
            code="model_not_found",
        )
    width = int(second or 1) if name not in WHOLE else 0
    n = int(first) * (width if wide else 1)
    if not 1 <= n <= config.max_n:
        raise ApiError(400, f"'{model[:80]}' asks for {n} responses; 1 to {config.max_n} are allowed", param="model")
    return Strategy(name, n, width)


@dataclass
class Job:
    """One search: what is asked, and what was spent.

    Attributes:
        strategy: from the model name.
        messages: the question.
        generator: with this request's sampling.
        seed: of the samples.
        reward_model: the served name that scores; None takes the first.
        reducer: from step scores to one; None takes the model's own.
        gone: set where nobody waits any more; the search then stops before its next batch.
    """

    strategy: Strategy
    messages: list[dict[str, Any]]
    generator: GeneratorConfig
    seed: int
    reward_model: str | None = None
    reducer: str | None = None
    gone: threading.Event = field(default_factory=threading.Event)
    prompt_tokens: int = 0
    finish: dict[str, str] = field(default_factory=dict)


class ChatSearch:
    """The searches of one server.

    Args:
        config: see `SearchServing`.

    Raises:
        ConfigError: the generator cannot be used.
    """

    def __init__(self, config: SearchServing) -> None:
        self.config = config
        if config.generator.kind == "replay":
            raise ConfigError(
                "search.generator.kind=replay has no answers to new questions; use openai or transformers"
            )
        made = load_generator(config.generator_with({}, {}))  # now, so that what is wrong with it is told at the start
        self._shared = made if config.generator.kind != "openai" else None
        self._turn = threading.Lock()
        self._running = 0

    @property
    def in_process(self) -> bool:
        """Whether the generator is loaded here, with its sampling fixed."""
        return self._shared is not None

    async def run(self, job: Job, service: RewardService) -> SampleResult | SearchResult:
        """Search in a thread of its own.

        Raises:
            ApiError: 429 where too many searches run, 504 after `seconds`, and what `_failed` says.
        """
        if self._running >= self.config.concurrent:
            raise ApiError(429, f"{self._running} searches are running already; try again", retry_after=5)
        loop = asyncio.get_running_loop()
        model = ServiceRewardModel(service, loop, job)
        self._running += 1
        # A slot is free when the thread has ended, which may be after the client has left.
        work = asyncio.ensure_future(asyncio.to_thread(self._search, job, model))
        work.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self.config.seconds):
                return await asyncio.shield(work)
        except TimeoutError:
            raise ApiError(504, f"the search was not done within {self.config.seconds:g} s; ask for fewer") from None
        finally:
            job.gone.set()

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._running -= 1
        if not work.cancelled():
            work.exception()  # read, so that nothing is written to the log where nobody waits for it

    def _search(self, job: Job, model: ServiceRewardModel) -> SampleResult | SearchResult:
        problem = Problem.create(job.messages)
        try:
            result = (
                self._whole(job, model, problem) if job.strategy.name in WHOLE else self._steps(job, model, problem)
            )
        except RewardKitError as error:
            raise self._failed(str(error)) from None
        candidates = result.choice.candidates
        if not result.choice.text and all(c.reason.startswith("error") or not c.text for c in candidates):
            raise self._failed(next((c.reason for c in candidates if c.reason), "nothing was written"))
        return result

    def _whole(self, job: Job, model: ServiceRewardModel, problem: Problem) -> SampleResult:
        split = "whole" if job.strategy.name == "prm-as-orm" else "auto"
        method = WHOLE[job.strategy.name]
        plan = SamplePlan(method, job.strategy.n, reducer=job.reducer, split=split, seed=job.seed)  # type: ignore[arg-type]
        (result,) = search_samples([problem], self._generator(job.generator, job), plan, model=model)
        return result

    def _steps(self, job: Job, model: ServiceRewardModel, problem: Problem) -> SearchResult:
        strategy = job.strategy
        kind = GREEDY.get(strategy.name, strategy.name)
        plan = SearchPlan(kind, strategy.n, strategy.width, self.config.rounds, reducer=job.reducer)
        steps = load_steps(
            job.generator,
            separator=self.config.separator,
            seed=job.seed,
            load=lambda config: self._generator(config, job),
        )
        (result,) = search_steps([problem], steps, model, plan)
        return result

    def _generator(self, config: GeneratorConfig, job: Job) -> Generator:
        return _Watched(self._shared or load_generator(config), job, self._turn if self._shared else None)

    def _failed(self, reason: str) -> ApiError:
        """What a client is told of a generator that failed: not its address, nor its words, which may hold a key."""
        _log.warning("search: the generator failed: %s", _without_key(reason, self.config.generator))
        if refused := re.search(r"answered (400|413|422)", reason):
            why = "it is too long, or has a parameter that it does not take"
            return ApiError(400, f"the generator refused this request ({refused[1]}): {why}")
        if "no answer within" in reason:
            return ApiError(504, "the generator did not answer in time", code="generator_timeout")
        if "cannot be reached" in reason:
            message = "the generator behind this server cannot be reached; try again"
            return ApiError(503, message, code="generator_unavailable", retry_after=5)
        return ApiError(
            502, "the generator behind this server gave no answer; its log says why", code="generator_error"
        )


class ServiceRewardModel:
    """The service of this process as a `RewardModel`, for a thread beside its event loop.

    Args:
        service: that scores.
        loop: that it runs on.
        job: whose `reward_model` is asked, and whose `gone` ends it.

    Raises:
        ApiError: there is no such model.
    """

    def __init__(self, service: RewardService, loop: asyncio.AbstractEventLoop, job: Job) -> None:
        listed = {entry["id"]: entry for entry in service.models()["data"]}
        self.name = job.reward_model or next(iter(listed))
        if self.name not in listed:
            known = ", ".join(listed)
            message = f"there is no reward model '{self.name[:80]}'; served: {known}"
            raise ApiError(404, message, param="search.reward_model", code="model_not_found")
        self.spec = RewardModelSpec.model_validate(listed[self.name]["rewardkit"]["spec"])
        self._service, self._loop, self._job = service, loop, job

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        """See `RewardModel.score`.

        Raises:
            DataError: one of them cannot be scored.
        """
        _still_wanted(self._job)
        items = [_item(trace) for trace in traces]
        asked = self._service.rewards(rewards_request({"model": self.name, "input": items, "on_error": "fail"}))
        try:
            data = asyncio.run_coroutine_threadsafe(asked, self._loop).result()["data"]
        except ApiError as error:
            if error.status == 400:
                raise DataError(error.message) from None
            raise
        key = "step_scores" if self.spec.scores_steps else "score"
        rows = [datum[key] if self.spec.scores_steps else [datum[key]] for datum in data]
        return [StepScores(trace.id, tuple(row)) for trace, row in zip(traces, rows, strict=True)]


class _Watched:
    """A generator that counts for a job, and stops where nobody waits for it."""

    def __init__(self, generator: Generator, job: Job, turn: threading.Lock | None) -> None:
        self._generator, self._job, self._turn = generator, job, turn

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        _still_wanted(self._job)
        if self._turn is None:
            answers = self._generator.generate(requests)
        else:
            with self._turn:  # one model in this process, one batch at a time
                answers = self._generator.generate(requests)
        self._job.prompt_tokens += sum(answer.prompt_tokens for answer in answers)
        self._job.finish.update({answer.text: answer.finish_reason for answer in answers})
        return answers


def search_of_environment() -> ChatSearch | None:
    """What `SEARCH_VARIABLE` says; None where it is not set.

    Raises:
        ConfigError: the generator cannot be used.
    """
    given = os.environ.get(SEARCH_VARIABLE)
    return ChatSearch(SearchServing.model_validate_json(given)) if given else None


def _still_wanted(job: Job) -> None:
    if job.gone.is_set():
        raise ServerError("nobody waits for this search any more")


def _item(trace: Trace) -> dict[str, Any]:
    assert not isinstance(trace.problem.prompt, str)
    return {"messages": [dict(m) for m in trace.problem.prompt], "steps": [step.text for step in trace.steps]}


def _without_key(text: str, config: GeneratorConfig) -> str:
    key = os.environ.get(config.endpoint.key_variable)
    return text.replace(key, "***") if key else text
