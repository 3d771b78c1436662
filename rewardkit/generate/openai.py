"""Responses from any OpenAI-compatible endpoint, many under way at a time, each paid for once."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from rewardkit.errors import ConfigError, RewardKitError, ServerError
from rewardkit.generate.answers import AnswerCache, key_of
from rewardkit.generate.base import Generation, GenerationRequest, GeneratorConfig
from rewardkit.models.embedded import cache_folder
from rewardkit.types import Message, message_text

if TYPE_CHECKING:
    import openai

PUBLIC = "https://api.openai.com/v1"


class OpenAIGenerator:
    """Asks ``/chat/completions`` of an endpoint, through the official client, which retries with back-off.

    What was answered is in the cache (`rewardkit.generate.answers`) before anything else is done with it: whatever
    happens then, the same command does not ask for it again. What one request cannot get (a prompt too long, an answer
    without text, no answer after all attempts) is an error of that request, which the run counts; what no request will
    get (a wrong key, a model of another name, the budget) stops the run.

    Args:
        config: ``model`` as the endpoint names it; ``endpoint`` says where it is and what it may cost.

    Raises:
        ConfigError: the package openai is missing, there is no key for OpenAI's own endpoint, or no cache.
    """

    in_driver = True
    """One cache and one budget for the run, whatever machines label."""

    def __init__(self, config: GeneratorConfig) -> None:
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("generator.kind=openai needs the official client: pip install 'openai>=2'")
        self.config = config
        self.limits = config.endpoint
        self.url = (self.limits.url or os.environ.get("OPENAI_BASE_URL") or PUBLIC).rstrip("/")
        self._key = os.environ.get(self.limits.key_variable)
        if not self._key and self.url == PUBLIC:
            raise ConfigError(
                f"set ${self.limits.key_variable} to your key, or generator.endpoint.url to another endpoint"
            )
        self._cache = AnswerCache(cache_folder() / "answers") if self.limits.cache else None
        self.spent = 0
        """Tokens paid for so far; a run that goes on sets it to what it had spent before."""
        self._held = 0  # tokens that requests under way may need at most, by estimate
        self._fits = False  # whether the endpoint has ever answered as it should
        self._stop: RewardKitError | None = None
        self._asked = self._lost = 0  # in this batch: requests, and those that the endpoint is to blame for

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answer a batch.

        Raises:
            ConfigError: wrong key, wrong model, budget reached, or the cache cannot be written; what was under way is
                awaited and kept.
            ServerError: nothing of the batch could be had from the endpoint.
        """
        self._stop, self._asked, self._lost = None, 0, 0
        answers = _run(self._all(requests))
        if self._stop is not None:
            raise self._stop
        failed = [answer.error for answer in answers if answer.finish_reason == "error"]
        # A whole batch lost is an endpoint that is down: the run must not go on and write down nothing but errors.
        if failed and len(failed) == self._asked and (self._lost or not self._fits):
            raise ServerError(f"{self.url} gives no answers: {failed[0]}; the same command goes on from here")
        return answers

    def close(self) -> None:
        """Close the cache."""
        if self._cache is not None:
            self._cache.close()

    async def _all(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        import openai

        gate = asyncio.Semaphore(self.limits.concurrency)
        async with openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self.url,
            timeout=self.limits.timeout,
            max_retries=self.limits.retries,
        ) as client:
            return list(await asyncio.gather(*(self._one(client, gate, request) for request in requests)))

    async def _one(self, client: openai.AsyncOpenAI, gate: asyncio.Semaphore, request: GenerationRequest) -> Generation:
        body = self._body(request)
        key = key_of({"url": self.url, "sample": request.sample, **body})
        known = self._cache.get(key) if self._cache is not None else None
        if known is not None:
            return Generation(**{**known, "id": request.id, "cached": True})
        async with gate:
            need = self._reserve(body)
            if self._stop is not None:
                self._held -= need
                return _error(request, self.config.model, "not asked")
            self._asked += 1
            try:
                generation = _read(await self._ask(client, body), request, self.config)
                self._keep(key, generation, need)
                return generation
            except RewardKitError as error:
                self._stop = self._stop or error
                return _error(request, self.config.model, str(error))
            except _NoAnswer as error:
                self._lost += error.lost
                return _error(request, self.config.model, str(error))
            finally:
                self._held -= need

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "max_tokens": self.config.max_new_tokens,
            "seed": request.seed if self.limits.seed else None,
            "logprobs": True if self.config.logprobs else None,
            "top_logprobs": self.config.logprobs or None,
            **self.limits.body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _reserve(self, body: dict[str, Any]) -> int:
        """Hold back tokens for a request, or stop the run if the budget has none left; how many."""
        # A token is rarely shorter than three bytes; the true number is known once the answer is there.
        need = self.config.max_new_tokens + sum(map(_most_tokens, body["messages"]))
        most = self.limits.max_tokens
        if most is not None and self.spent + self._held + need > most and self._stop is None:
            self._stop = ConfigError(
                f"the budget of {most:,} tokens is used up ({self.spent:,} spent): what was answered is kept; "
                "raise generator.endpoint.max_tokens and run the same command to go on"
            )
        self._held += need
        return need

    def _keep(self, key: str, generation: Generation, need: int) -> None:
        self._fits = True
        used = generation.tokens + generation.prompt_tokens
        self.spent += used or need
        if self._cache is not None:
            kept = ("text", "finish_reason", "tokens", "model", "prompt_tokens", "logprobs")
            self._cache.put(key, {name: value for name in kept if (value := getattr(generation, name)) != ()})

    async def _ask(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> bytes:
        """The body of the answer.

        Raises:
            _NoAnswer: this request gets none.
            ConfigError: none will.
        """
        import openai

        try:
            # The client's limit is one of silence; an endpoint that sends a byte now and then must end too.
            async with asyncio.timeout(self.limits.timeout * (self.limits.retries + 1)):
                rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
                raw = await client.chat.completions.with_raw_response.create(
                    model=body["model"], messages=body["messages"], extra_body=rest
                )
                return bytes(raw.content)
        except (TimeoutError, openai.APITimeoutError):
            raise _NoAnswer(f"no answer within {self.limits.timeout:g} s") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ConfigError(
                f"{self.url} refuses the key in ${self.limits.key_variable} ({error.status_code}): {_said(error)}"
            ) from None
        except openai.NotFoundError as error:
            raise ConfigError(
                f"{self.url} does not know generator.model={self.config.model}, or has no /chat/completions (404): "
                f"{_said(error)}"
            ) from None
        except openai.APIStatusError as error:
            own = error.status_code in (400, 413, 422)
            raise _NoAnswer(f"the endpoint answered {error.status_code}: {_said(error)}", lost=not own) from None
        except openai.OpenAIError as error:
            reason = error.__cause__ or error
            raise _NoAnswer(f"the endpoint cannot be reached: {_said(reason)}") from None


class _NoAnswer(Exception):
    """One request got no answer; the message says why.

    Attributes:
        lost: the endpoint is to blame, not what was asked.
    """

    def __init__(self, message: str, *, lost: bool = True) -> None:
        super().__init__(message)
        self.lost = lost


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Details(BaseModel):
    cached_tokens: int | None = Field(default=None, ge=0)


class _Usage(BaseModel):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    prompt_tokens_details: _Details | None = None


class _Answer(BaseModel):
    model: str | None = None
    choices: list[_Choice]
    usage: _Usage | None = None


def _read(content: bytes, request: GenerationRequest, config: GeneratorConfig) -> Generation:
    """The generation that an answer's body holds.

    Raises:
        _NoAnswer: it holds none.
        ConfigError: it is of another model.
    """
    try:
        answer = _Answer.model_validate_json(content)
    except ValidationError:
        start = " ".join(content[:80].decode("utf-8", "replace").split())
        raise _NoAnswer(f"the endpoint's answer is no chat completion: {start!r}") from None
    if answer.model and not config.endpoint.any_model and not _same_model(config.model, answer.model):
        raise ConfigError(
            f"asked for the model {config.model}, the endpoint answered as {answer.model}; correct generator.model, or "
            "set generator.endpoint.any_model=true if that is the right one"
        )
    if not answer.choices:
        raise _NoAnswer("the endpoint's answer has no choices")
    choice, usage = answer.choices[0], answer.usage or _Usage()
    if not choice.message.content:
        raise _NoAnswer(f"the endpoint's answer holds no text (finish_reason {choice.finish_reason})", lost=False)
    return Generation(
        request.id,
        choice.message.content,
        "length" if choice.finish_reason == "length" else "stop",
        usage.completion_tokens,
        answer.model or config.model,
        prompt_tokens=usage.prompt_tokens,
        logprobs=_logprobs(choice.logprobs),
        cached_prompt_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
    )


class _Likely(BaseModel):
    token: str
    logprob: float


class _Token(_Likely):
    top_logprobs: list[_Likely] = []


class _Logprobs(BaseModel):
    content: list[_Token]


def _logprobs(value: Any) -> tuple[tuple[str, dict[str, float]], ...]:
    """The log-probabilities of an answer, none where they are not in OpenAI's form: the answer is one all the same."""
    try:
        tokens = _Logprobs.model_validate(value).content
    except ValidationError:
        return ()
    return tuple((t.token, {t.token: t.logprob} | {x.token: x.logprob for x in t.top_logprobs}) for t in tokens)


_IMAGE_TOKENS = 1_600  # of one image at the highest resolution, in round figures


def _most_tokens(message: Message) -> int:
    """What a message may cost at most, by estimate; an image does not cost by its bytes.

    >>> _most_tokens({"role": "user", "content": "Is 2 + 2 equal to 5?"})
    18
    """
    content = message.get("content") or ""
    images = 0 if isinstance(content, str) else sum(part.get("type") == "image_url" for part in content)
    frame = {**message, "content": message_text(message)}
    return len(str(frame).encode("utf-8", "replace")) // 3 + 1 + images * _IMAGE_TOKENS


def _same_model(asked: str, answered: str) -> bool:
    """Whether an answer is of the model asked for: of that name, of a dated version, or with another path before it.

    >>> _same_model("gpt-4o", "gpt-4o-2024-08-06"), _same_model("Qwen/Qwen3-8B", "qwen3-8b")
    (True, True)
    >>> _same_model("gpt-4o", "gpt-4"), _same_model("gpt-4o", "gpt-4o-mini")
    (False, False)
    """
    short, full = (name.rpartition("/")[2].lower() for name in (asked, answered))
    rest = full.removeprefix(short) if full.startswith(short) else "other"
    return not rest or (rest[0] in "-@:" and rest[1:2].isdigit())


def _error(request: GenerationRequest, model: str, reason: str) -> Generation:
    return Generation(request.id, "", "error", 0, model, reason)


def _said(error: BaseException) -> str:
    """What an error says, in one short line, without the status that the client puts before it."""
    text = " ".join(str(error).split())
    text = text.removeprefix(f"Error code: {getattr(error, 'status_code', None)}").lstrip(" -")
    return text[:200] or type(error).__name__


def _run(work: Coroutine[Any, Any, list[Generation]]) -> list[Generation]:
    """Run to the end, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
