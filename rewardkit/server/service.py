"""The service itself: items to token ids, token ids to logits, logits to scores, scores to the answer."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rewardkit.errors import DataError, RewardKitError
from rewardkit.models.activation import raw_values, scores_from_logits
from rewardkit.models.encoders import step_encoder
from rewardkit.models.reduce import reduce_scores
from rewardkit.server import metrics, tracing
from rewardkit.server.errors import ApiError, from_fault
from rewardkit.server.schema import MAX_STEPS, BadInput, RewardInput, RewardsRequest
from rewardkit.server.scorer import Scorer, StepLogits
from rewardkit.server.token_ids import check_vocabulary, encode_ids
from rewardkit.server.traffic import Limits
from rewardkit.text.encode import EncodedSteps
from rewardkit.text.split import SplitRule, split_steps


@dataclass(frozen=True, slots=True)
class _Prepared:
    encoded: EncodedSteps
    steps: list[dict[str, Any]]
    was_split: bool


class RewardService:
    """Answers reward requests with a `Scorer`, the same way in every host.

    Args:
        scorer: the backend.
        limits: see `Limits`.
    """

    def __init__(self, scorer: Scorer, limits: Limits | None = None) -> None:
        self.scorer = scorer
        self.limits = limits or Limits()
        self.created = int(time.time())
        self._pending = 0
        metrics.PENDING_LIMIT.set(self.limits.pending)
        # A tokenizer holds state while it encodes, so one thread has it to itself; the event loop stays free.
        self._encode = step_encoder(scorer.tokenizer, scorer.spec)
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="rewardkit-tokenize")

    def models(self) -> dict[str, Any]:
        """The answer of ``GET /v1/models``: OpenAI's list, with what a client of rewards must know."""
        about = {
            "backend": self.scorer.backend,
            "dtype": self.scorer.dtype,
            "max_length": self.scorer.max_length,
            "spec": self.scorer.spec.model_dump(mode="json"),
        }
        common = {"object": "model", "created": self.created, "owned_by": "rewardkit", "rewardkit": about}
        return {"object": "list", "data": [{"id": name, **common} for name in self.scorer.names]}

    async def rewards(self, request: RewardsRequest) -> dict[str, Any]:
        """The answer of ``POST /v1/rewards``.

        Raises:
            ApiError: what is wrong with the request, or with the backend.
        """
        self._check_model(request.model)
        with metrics.SECONDS.time():
            self._enter(len(request.input))
            try:
                return await self._score(request)
            finally:
                self._leave(len(request.input))

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        return await self.scorer.ready()

    async def events(self, request: RewardsRequest) -> AsyncIterator[dict[str, Any]]:
        """``POST /v1/rewards`` with ``stream``: each step's score when it is known, then the whole answer.

        Every response is read up to its first step, then to its second, and so on; the prefix cache keeps that cheap.

        Raises:
            ApiError: what is wrong with the request, before the first event.
        """
        self._check_model(request.model)
        self._enter(len(request.input))
        steps: list[asyncio.Task[StepLogits]] = []
        try:
            prepared, failed = await self._prepare_usable(request)
            queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
            steps = [asyncio.ensure_future(self._by_step(i, p, request, queue)) for i, p in prepared.items()]
            for _ in range(len(steps)):
                while (event := await queue.get()) is not None:
                    yield event
            yield self._compose(request, prepared, failed, await asyncio.gather(*steps))
        finally:
            for task in steps:
                task.cancel()
            self._leave(len(request.input))

    async def _by_step(
        self, index: int, item: _Prepared, request: RewardsRequest, queue: asyncio.Queue[dict[str, Any] | None]
    ) -> StepLogits:
        """Score one response step by step; an event for each into the queue, and None behind the last."""
        cached = None
        try:
            for count, position in enumerate(item.encoded.positions, start=1):
                ids = item.encoded.input_ids[: position + 1]
                part = replace(item.encoded, input_ids=ids, positions=item.encoded.positions[:count])
                (logits,) = await self.scorer.logits([part])
                cached = logits.cached_tokens if cached is None else cached
                datum = self._datum(index, _Prepared(part, item.steps[:count], False), logits, request)
                if "step_scores" in datum:
                    scores = {"score": datum["score"], "step_score": datum["step_scores"][-1]}
                    where = item.steps[count - 1] if item.was_split else {}
                    queue.put_nowait({"index": index, "object": "reward.step", "step": count - 1, **scores, **where})
        finally:
            queue.put_nowait(None)
        return replace(logits, cached_tokens=cached or 0)

    async def _score(self, request: RewardsRequest) -> dict[str, Any]:
        with tracing.span("tokenize", responses=len(request.input)):
            prepared, failed = await self._prepare_usable(request)
        tokens = sum(len(p.encoded) for p in prepared.values())
        with tracing.span("score", responses=len(prepared), tokens=tokens):
            logits = await self.scorer.logits([p.encoded for p in prepared.values()])
        return self._compose(request, prepared, failed, logits)

    def _compose(
        self,
        request: RewardsRequest,
        prepared: Mapping[int, _Prepared],
        failed: Mapping[int, ApiError],
        logits: Sequence[StepLogits],
    ) -> dict[str, Any]:
        """The whole answer, inputs in the order given."""
        data = {i: self._datum(i, p, z, request) for (i, p), z in zip(prepared.items(), logits, strict=True)}
        # Without scores at all, so that whoever does not look for errors meets a missing key and no number.
        data |= {i: {"index": i, "object": "reward.error", **error.body} for i, error in failed.items()}
        metrics.REFUSED.inc(len(failed))
        return self._answer([data[i] for i in sorted(data)], list(prepared.values()), logits)

    async def _prepare_usable(self, request: RewardsRequest) -> tuple[dict[int, _Prepared], dict[int, ApiError]]:
        """As `_prepare_all`, where something is left to score."""
        if "tokens" in request.extras and self.scorer.spec.kind != "implicit":
            raise ApiError(400, "only implicit models give each token a reward; leave 'tokens' out", param="return")
        prepared, failed = await self._prepare_all(request)
        if failed and (request.on_error == "fail" or not prepared):
            raise failed[min(failed)]
        return prepared, failed

    async def _prepare_all(self, request: RewardsRequest) -> tuple[dict[int, _Prepared], dict[int, ApiError]]:
        """The inputs that can be scored and what is wrong with the others, by their place."""
        loop = asyncio.get_running_loop()
        prepared: dict[int, _Prepared] = {}
        failed: dict[int, ApiError] = {}
        for index, item in enumerate(request.input):
            try:
                prepared[index] = await loop.run_in_executor(self._tokenizing, self._prepare, index, item, request)
            except ApiError as error:
                failed[index] = error
        return prepared, failed

    def _prepare(self, index: int, item: RewardInput, request: RewardsRequest) -> _Prepared:
        """Steps and token ids of one item, within the limits."""
        where = f"input[{index}]"
        if isinstance(item, BadInput):
            raise from_fault(item.fault, where)
        try:
            if item.step_token_ids is not None:
                encoded = self._of_ids(item.prompt_token_ids or [], item.step_token_ids)
                steps = self._decoded(item.step_token_ids) if "steps" in request.extras else []
            else:
                steps = _steps(item, request.split_by)
                encoded = self._encode(item.question, [s["text"] for s in steps])
        except (RewardKitError, ValueError, TypeError, KeyError, RuntimeError) as error:
            # A chat template is a program: what a message makes it raise is the caller's to mend.
            raise ApiError(400, f"{where}: {error}", param=where) from error
        self._check_length(where, encoded, "steps" if item.step_token_ids is None else "step_token_ids")
        return _Prepared(encoded, steps, item.response is not None)

    def _of_ids(self, prompt: Sequence[int], steps: Sequence[Sequence[int]]) -> EncodedSteps:
        check_vocabulary(prompt, steps, len(self.scorer.tokenizer))
        return encode_ids(self.scorer.spec, prompt, steps)

    def _decoded(self, steps: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        return [{"text": self.scorer.tokenizer.decode(ids)} for ids in steps]

    def _check_length(self, where: str, encoded: EncodedSteps, field: str) -> None:
        limit = self.scorer.max_length
        if len(encoded) <= limit:
            return
        passed, param = "", where
        if self.scorer.spec.scores_steps:
            step = next(i for i, position in enumerate(encoded.positions) if position >= limit)
            passed, param = f"; the limit is passed in step {step}", f"{where}.{field}[{step}]"
        raise ApiError(
            400,
            f"{where} has {len(encoded)} tokens, and this model takes {limit}{passed}. "
            "Nothing is cut off: send a shorter response",
            param=param,
            code="context_length_exceeded",
        )

    def _datum(self, index: int, item: _Prepared, logits: StepLogits, request: RewardsRequest) -> dict[str, Any]:
        spec = self.scorer.spec
        if not request.calibrated:
            spec = spec.model_copy(update={"temperature": 1.0, "bias": 0.0})
        wanted = len(item.encoded.positions)
        if logits.values.shape[0] != wanted or not np.isfinite(logits.values).all():
            got = f"{int(np.isfinite(logits.values).all(axis=1).sum())} finite scores"
            raise ApiError(500, f"the model gave {got} for the {wanted} wanted of input[{index}]")
        scores = scores_from_logits(logits.values, spec)
        score = reduce_scores(scores, request.aggregate or spec.reducer)
        datum: dict[str, Any] = {"index": index, "object": "reward", "score": score}
        if spec.scores_steps:
            datum["step_scores"] = scores
        if "logits" in request.extras:
            datum["logits"] = [[float(v) for v in row] for row in logits.values]
        if "raw" in request.extras:
            datum["raw"] = raw_values(logits.values, spec)
        if "positions" in request.extras:
            datum["positions"] = list(item.encoded.positions)
        if "tokens" in request.extras and logits.token_rewards is not None:
            datum["token_rewards"] = [float(v) for v in logits.token_rewards]
            datum["token_ids"] = list(item.encoded.input_ids[-len(datum["token_rewards"]) :])
        if "steps" in request.extras or item.was_split:
            datum["steps"] = item.steps
        return datum

    def _answer(
        self, data: list[dict[str, Any]], prepared: Sequence[_Prepared], logits: Sequence[StepLogits]
    ) -> dict[str, Any]:
        tokens = sum(len(p.encoded) for p in prepared)
        cached = sum(z.cached_tokens for z in logits)
        for score in itertools.chain.from_iterable(d.get("step_scores") or [d["score"]] for d in data if "score" in d):
            metrics.SCORES.observe(score)
        metrics.RESPONSES.inc(len(prepared))
        metrics.STEPS.inc(sum(len(d.get("step_scores", ())) for d in data))
        metrics.TOKENS.inc(tokens)
        metrics.CACHED_TOKENS.inc(cached)
        metrics.CACHE_HITS.inc(sum(z.cached_tokens > 0 for z in logits))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "prompt_tokens_details": {"cached_tokens": cached}}
        return {
            "id": f"rewards-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": self.scorer.names[0],
            "data": data,
            "usage": usage,
        }

    def _check_model(self, model: str | None) -> None:
        if model is not None and model not in self.scorer.names:
            served = ", ".join(self.scorer.names)
            raise ApiError(
                404, f"there is no model '{model}' here; served: {served}", param="model", code="model_not_found"
            )

    def _enter(self, responses: int) -> None:
        if responses > self.limits.pending:
            raise ApiError(400, f"send at most {self.limits.pending} responses in one request", param="input")
        if self._pending + responses > self.limits.pending:
            raise ApiError(429, f"{self._pending} responses are waiting already; try again", retry_after=2)
        self._pending += responses
        metrics.PENDING.inc(responses)

    def _leave(self, responses: int) -> None:
        self._pending -= responses
        metrics.PENDING.dec(responses)


def _steps(item: RewardInput, split_by: SplitRule) -> list[dict[str, Any]]:
    """The steps as given, or with their offsets in the whole response that is split here."""
    if item.response is None:
        return [{"text": text} for text in item.steps or []]
    spans = split_steps(item.response, by=split_by)
    if not spans:
        raise DataError("the response is empty")
    if len(spans) > MAX_STEPS:
        raise DataError(f"the response splits into {len(spans)} steps, and at most {MAX_STEPS} are taken")
    return [{"text": span.text, "start": span.start, "end": span.end} for span in spans]
