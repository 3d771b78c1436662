"""``POST /v1/chat/completions``: search behind OpenAI's chat API; `rewardkit.server.chat_search` has the model names.

The answer is an ordinary chat completion of the chosen response; every candidate's score stands in the field
``rewardkit``, and `usage` counts the tokens of all candidates. With ``stream`` it comes in chunks once it is chosen.
"""

from __future__ import annotations

import math
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rewardkit.search.sampling import SampleResult
from rewardkit.search.stepwise import SearchResult
from rewardkit.server.chat_search import ChatSearch, Job, read_strategy
from rewardkit.server.errors import ApiError
from rewardkit.server.routes import OpenAIRoute, event_text, service_of, until_disconnected
from rewardkit.server.schema import MAX_STEPS, ChatMessage, ReducerName, Text

_CHUNK = 24
"""Characters of a streamed chunk, about six tokens."""

router = APIRouter(route_class=OpenAIRoute)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchOptions(_Strict):
    """The extension field ``search`` of a request.

    Attributes:
        reward_model: the served name that scores; None takes the first.
        reducer: from step scores to one; None takes the model's own.
        texts: whether the answer has the texts of all candidates.
    """

    reward_model: Text | None = None
    reducer: ReducerName | None = None
    texts: bool = False


class StreamOptions(_Strict):
    """OpenAI's: whether a last chunk has the usage."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """Of OpenAI's request what a search can honour; any other field is refused by name.

    Attributes:
        model: see `rewardkit.server.chat_search`.
        messages: the question.
        search: see `SearchOptions`.
        stream, stream_options: whether the chosen answer comes in chunks.
        temperature, top_p, max_tokens, max_completion_tokens, presence_penalty, frequency_penalty: of each candidate.
        seed: the same again gives the same candidates, where the generator honours it.
        n: one answer is chosen.
        user, metadata: for the caller's own records; unused.
    """

    model: Text = Field(min_length=1, max_length=300)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_STEPS)
    search: SearchOptions = SearchOptions()
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    max_tokens: int | None = Field(None, ge=1, le=2**20)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**20)
    presence_penalty: float | None = Field(None, ge=-2.0, le=2.0)
    frequency_penalty: float | None = Field(None, ge=-2.0, le=2.0)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=1)
    user: Text | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role == "assistant":
            raise ValueError("the last message must not be the assistant's: that is what is searched for")
        return messages

    @property
    def sampling(self) -> dict[str, Any]:
        """What was given, by the names of `GeneratorConfig`."""
        most = self.max_completion_tokens or self.max_tokens
        given = {"temperature": self.temperature, "top_p": self.top_p, "max_new_tokens": most}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def body(self) -> dict[str, Any]:
        """What was given and goes to an endpoint as it is."""
        given = {"presence_penalty": self.presence_penalty, "frequency_penalty": self.frequency_penalty}
        return {name: value for name, value in given.items() if value is not None}


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Search for an answer; the model name says how."""
    search = getattr(request.app.state, "rewardkit_search", None)
    if not isinstance(search, ChatSearch):
        message = "this server has no generator to search with; start it with search.generator.model=..."
        raise ApiError(404, message, param="model", code="model_not_found")
    job = _job(body, search)
    service = service_of(request)
    result = await until_disconnected(request, search.run(job, service))
    completion = _completion(body, job, result)
    if not body.stream:
        return JSONResponse(completion)
    usage = body.stream_options is not None and body.stream_options.include_usage
    return StreamingResponse(_events(completion, usage), media_type="text/event-stream")


def _job(body: ChatRequest, search: ChatSearch) -> Job:
    strategy = read_strategy(body.model, search.config)
    changed = {**body.sampling, **body.body}
    if search.in_process and changed:
        fixed = ", ".join(changed)
        raise ApiError(
            400, f"this server's own generator has its sampling fixed; leave out {fixed}", param=next(iter(changed))
        )
    seed = body.seed if body.seed is not None else secrets.randbits(31)
    messages = [{"role": m.role, "content": m.flat()["content"]} for m in body.messages]
    generator = search.config.generator_with(body.sampling, body.body)
    return Job(strategy, messages, generator, seed, body.search.reward_model, body.search.reducer)


def _completion(body: ChatRequest, job: Job, result: SampleResult | SearchResult) -> dict[str, Any]:
    choice = result.choice
    unfinished = choice.note.startswith("no response was finished") or job.finish.get(choice.text) == "length"
    message = {"role": "assistant", "content": choice.text, "refusal": None}
    usage = {
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": result.tokens,
        "total_tokens": job.prompt_tokens + result.tokens,
    }
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if unfinished else "stop"}
        ],
        "usage": usage,
        "rewardkit": _about(job, result, texts=body.search.texts),
    }


def _about(job: Job, result: SampleResult | SearchResult, *, texts: bool) -> dict[str, Any]:
    """The extension field: how it was chosen, and of what."""
    choice = result.choice
    candidates = []
    for index, candidate in enumerate(choice.candidates):
        row: dict[str, Any] = {"index": index, "answer": candidate.answer, "score": _finite(candidate.score)}
        row |= {"step_scores": [_finite(score) for score in candidate.step_scores], "tokens": candidate.tokens}
        # An endpoint's own words stay on this side: they may hold its key or address.
        failed = candidate.reason.startswith("error")
        row["reason"] = "error: the generator gave no answer" if failed else candidate.reason
        candidates.append(row | ({"text": candidate.text} if texts else {}))
    return {
        "strategy": job.strategy.name,
        "chosen": choice.chosen,
        "score": _finite(choice.candidates[choice.chosen].score),
        "answer": choice.answer,
        "tie": choice.tie,
        "note": choice.note,
        "explored": result.drawn if isinstance(result, SampleResult) else len(result.explored),
        "candidates": candidates,
    }


def _events(completion: dict[str, Any], usage: bool) -> Iterator[str]:
    """Server-sent events as OpenAI sends them; the extension field stands in the last chunk with a choice."""
    head = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    (choice,) = completion["choices"]
    text = choice["message"]["content"]
    pieces = [text[i : i + _CHUNK] for i in range(0, len(text), _CHUNK)]
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    for delta in deltas:
        yield event_text({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    yield event_text({**head, "choices": [last], "rewardkit": completion["rewardkit"]})
    if usage:
        yield event_text({**head, "choices": [], "usage": completion["usage"]})
    yield "data: [DONE]\n\n"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
