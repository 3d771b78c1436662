"""A reward model that another process or machine serves: the client of ``POST /v1/rewards``."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from pydantic import ValidationError

from rewardkit.errors import ConfigError, ServerError
from rewardkit.models.activation import raw_values
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, StepScores, Trace

_RETRIED = frozenset({429, 502, 503, 504})
_BATCH_CHARACTERS = 1_000_000
"""JSON takes at most six bytes a character, eight a token id; the service takes 8 MiB."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class TokenSteps:
    """A response as the ids that a policy read and wrote; see docs/serve.md for what they must be.

    Attributes:
        id: that its scores come back with.
        prompt: all that stands before the response.
        steps: the ids of each step.
    """

    id: str
    prompt: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]


class RemoteRewardModel:
    """Scores traces through a scoring service; a `RewardModel` like a local one.

    Args:
        url: of the service, with or without ``/v1``.
        api_key: its bearer key; None takes the variable REWARDKIT_API_KEY (of several with commas between, the first).
        model: the served name; None takes the first that the service lists.
        timeout: seconds for one request.
        batch: responses in one request.
        retries: how often a request is sent again that met 429, 502, 503, 504 or no answer; scoring has no side
            effects, so sending it again is safe.
        transport: in place of the network, for tests.

    Raises:
        ServerError: the service cannot be reached, refuses the key, or is not RewardKit's.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = 120.0,
        *,
        batch: int = 64,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self._batch = batch
        self._retries = retries
        key = api_key or os.environ.get("REWARDKIT_API_KEY", "").partition(",")[0].strip()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            # A proxy of the environment must not stand between this machine and itself.
            trust_env=urlsplit(self.url).hostname not in _LOOPBACK,
            transport=transport,
        )
        self.model, self.spec = self._about(model)

    def score(self, traces: Sequence[Trace | TokenSteps]) -> list[StepScores]:
        """Score every step of every trace, in the order given; a trace may also be the token ids of a policy.

        Raises:
            ServerError: the service refused or failed, or gave another number of scores than there are steps.
        """
        return [scores for part in self._batches(traces) for scores in self._score_batch(part)]

    async def score_async(self, traces: Sequence[Trace | TokenSteps], *, concurrency: int = 8) -> list[StepScores]:
        """The same without blocking the event loop, up to `concurrency` requests at once over shared connections.

        A call that is cancelled sends no further request; those under way end by themselves.

        Raises:
            ServerError: as `score`.
        """
        slots = asyncio.Semaphore(concurrency)

        async def one(part: Sequence[Trace | TokenSteps]) -> list[StepScores]:
            async with slots:
                return await asyncio.to_thread(self._score_batch, part)

        tasks = [asyncio.ensure_future(one(part)) for part in self._batches(traces)]
        try:
            return [scores for batch in await asyncio.gather(*tasks) for scores in batch]
        finally:
            for task in tasks:
                task.cancel()

    def follow(
        self, problem: Problem, pieces: Iterable[str], *, split_by: SplitRule = "blank-lines"
    ) -> Iterator[tuple[int, str, float]]:
        """Score a response while it is written: for guided decoding, stop reading `pieces` at a bad step.

        A step is scored when the next one has begun, the last one when the pieces end. Each request carries the
        finished steps; the service reads what it has seen of them from its cache.

        Args:
            problem: what is answered.
            pieces: the response as it comes, such as the deltas of a streamed completion.
            split_by: how steps are told apart.

        Yields:
            A step's number, text and score. Where later text moves the end of an earlier step (a code fence that was
            closed), it comes again.

        Raises:
            ConfigError: an outcome model has no step scores.
            ServerError: as `score`.
        """
        if not self.spec.scores_steps:
            raise ConfigError("an outcome model scores whole responses, not steps")
        text = ""
        scored: list[str] = []
        for piece in itertools.chain(pieces, [None]):
            text += piece or ""
            steps = [span.text for span in split_steps(text, by=split_by)]
            finished = steps if piece is None else steps[:-1]
            same = next((i for i, (a, b) in enumerate(zip(scored, finished, strict=False)) if a != b), len(scored))
            if not text.strip() or len(finished) <= same:
                continue
            (scores,) = self.score([Trace.create(problem, finished)])
            scored = finished
            yield from ((i, finished[i], scores.scores[i]) for i in range(same, len(finished)))

    def _score_batch(self, traces: Sequence[Trace | TokenSteps]) -> list[StepScores]:
        body = {"model": self.model, "input": [_item(t) for t in traces], "return": ["logits"]}
        # In ASCII: half a surrogate pair has no UTF-8, and is then refused as the fault of its trace.
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        return list(
            self._scores(traces, self._request("POST", "/rewards", content=content, headers=headers).get("data"))
        )

    def _batches(self, traces: Sequence[Trace | TokenSteps]) -> Iterator[Sequence[Trace | TokenSteps]]:
        """Runs of traces that fit in one request, by number and by size."""
        start = size = 0
        for end, trace in enumerate(traces):
            length = _size(trace)
            if end > start and (end - start == self._batch or size + length > _BATCH_CHARACTERS):
                yield traces[start:end]
                start, size = end, 0
            size += length
        if start < len(traces):
            yield traces[start:]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> RemoteRewardModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _about(self, model: str | None) -> tuple[str, RewardModelSpec]:
        data = self._request("GET", "/models").get("data")
        listed = {str(m.get("id")): m for m in data if isinstance(m, dict)} if isinstance(data, list) else {}
        name = model or next(iter(listed), "")
        if name not in listed:
            raise ServerError(
                f"{self.url} serves no model '{name}'; it serves: {', '.join(listed) or 'none'}", status=404
            )
        try:
            return name, RewardModelSpec.model_validate(listed[name]["rewardkit"]["spec"])
        except (KeyError, TypeError, ValidationError):
            raise ServerError(
                f"{self.url} serves '{name}' without RewardKit; start it with `rewardkit serve`"
            ) from None

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The parsed answer, sent again where that may help."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._client.request(method, self.url + path, **options)
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise ServerError(f"no answer from {self.url}: {error or type(error).__name__}") from error
                _pause(attempt, None)
                continue
            if response.status_code not in _RETRIED or last:
                return self._parse(response)
            _pause(attempt, response.headers.get("retry-after"))
        raise AssertionError("unreachable")

    def _parse(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.status_code == 200 and isinstance(body, dict):
            return body
        error = body.get("error") if isinstance(body, dict) else None
        detail = error if isinstance(error, dict) else {"message": error or response.reason_phrase or "no JSON"}
        message = f"{self.url} answered {response.status_code}: {detail.get('message')}"
        raise ServerError(message, status=response.status_code, code=_text(detail.get("code")))

    def _scores(self, traces: Sequence[Trace | TokenSteps], data: Any) -> Iterator[StepScores]:
        if not isinstance(data, list) or len(data) != len(traces):
            got = len(data) if isinstance(data, list) else "no list of"
            raise ServerError(f"{self.url} gave {got} results for {len(traces)} responses")
        for trace, datum in zip(traces, data, strict=True):
            if isinstance(datum, dict) and isinstance(fault := datum.get("error"), dict):
                message = f"{self.url} could not score {trace.id}: {fault.get('message')}"
                raise ServerError(message, status=400, code=_text(fault.get("code")))
            try:
                given = datum["step_scores"] if self.spec.scores_steps else [datum["score"]]
                scores = tuple(float(s) for s in given)
                # numpy reads null as NaN.
                raw = tuple(raw_values(np.asarray_chkfinite(datum["logits"], dtype=np.float64), self.spec))
            except (KeyError, IndexError, TypeError, ValueError):
                raise ServerError(f"{self.url} gave no scores and logits for {trace.id}") from None
            count = len(trace.steps) if self.spec.scores_steps else 1
            if not len(scores) == len(raw) == count:
                raise ServerError(f"{self.url} gave {len(scores)} scores for {trace.id}, which has {count}")
            yield StepScores(trace.id, scores, raw)


def _size(trace: Trace | TokenSteps) -> int:
    """In characters, or in token ids."""
    if isinstance(trace, TokenSteps):
        return len(trace.prompt) + sum(map(len, trace.steps))
    return len(trace.problem.text) + sum(len(step.text) for step in trace.steps)


def _item(trace: Trace | TokenSteps) -> Mapping[str, Any]:
    if isinstance(trace, TokenSteps):
        return {"prompt_token_ids": trace.prompt, "step_token_ids": trace.steps}
    prompt = trace.problem.prompt
    question = {"prompt": prompt} if isinstance(prompt, str) else {"messages": [dict(m) for m in prompt]}
    return {**question, "steps": [step.text for step in trace.steps]}


def _pause(attempt: int, retry_after: str | None) -> None:
    """As long as the service asks, or twice as long each time, up to half a minute; spread, so that clients part."""
    asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.25 * 2**attempt
    time.sleep(min(asked, 30.0) * random.uniform(0.8, 1.2))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
