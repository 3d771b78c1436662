"""What a generator is: one method that answers a batch of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError
from rewardkit.generate.endpoint import EndpointConfig
from rewardkit.images import images_of
from rewardkit.types import Message, Problem

FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One response wanted.

    Attributes:
        id: of the item, a content hash of the problem and the sample number.
        problem: the problem itself.
        sample: 0-based number among the samples of this problem.
        messages: the chat that the model sees, few-shot examples included.
        seed: for backends that seed each request; made of the run's seed and the id.
    """

    id: str
    problem: Problem
    sample: int
    messages: tuple[Message, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One response.

    Attributes:
        id: of its request.
        text: what the model wrote, white space included, without special tokens.
        finish_reason: ``stop``; ``length`` when it was cut; ``error`` when there is none, see `error`.
        tokens: how many tokens the model made.
        model: its name.
        error: why there is no text.
        prompt_tokens: how many tokens the prompt has, 0 where nobody said.
        cached_prompt_tokens: how many of them the engine's prefix cache held, so that they were not read anew; None
            where nobody said.
        cached: an earlier run or sitting had asked for it: nothing was paid now.
        logprobs: where they were asked for and are given: for each token of the text, the token and the
            log-probabilities of the likeliest tokens in its place, its own among them.
    """

    id: str
    text: str
    finish_reason: FinishReason
    tokens: int
    model: str
    error: str = ""
    prompt_tokens: int = 0
    cached: bool = False
    logprobs: tuple[tuple[str, Mapping[str, float]], ...] = ()
    cached_prompt_tokens: int | None = None


def unseen(request: GenerationRequest, model: str) -> Generation | None:
    """The error of a generator that reads text alone, where a request holds images; None where it holds none.

    >>> request = GenerationRequest("r", Problem.create("2 + 2?"), 0, ({"role": "user", "content": "2 + 2?"},), 0)
    >>> unseen(request, "m") is None
    True
    """
    if not any(images_of(message) for message in request.messages):
        return None
    reason = "this generator reads no images; use kind=vision (a local model) or kind=openai (an endpoint)"
    return Generation(request.id, "", "error", 0, model, reason)


def matched(requests: Sequence[GenerationRequest], answers: Sequence[Generation], kind: str) -> list[Generation]:
    """The answers, seen to be one a request, in order.

    Args:
        requests: as they were asked.
        answers: as the generator gave them.
        kind: of the generator.

    Raises:
        ConfigError: they are not: whose answer is whose cannot be known.
    """
    if [answer.id for answer in answers] != [request.id for request in requests]:
        raise ConfigError(
            f"generator.kind={kind} gave {len(answers)} answers to {len(requests)} requests, or in another order; "
            "generate() must return one Generation a request, with its id"
        )
    return list(answers)


class Generator(Protocol):
    """Answers requests in batches.

    The answers come in the order of the requests, one each. A request that cannot be answered gets a `Generation`
    with ``finish_reason="error"``; a generator raises only when it cannot work at all.
    """

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answer a batch. The same batch again must give the same texts: a resumed run relies on it."""
        ...


class GeneratorConfig(Config):
    """Which generator, and how it samples.

    Attributes:
        kind: a key of `rewardkit.generate.GENERATORS`, or ``path/to/file.py:Class`` (called with this config).
        model: a Hub name, a folder, or an embedded model such as ``smollm2-135m-instruct``.
        source: of ``replay``: a JSON Lines file of recorded generations, ``sample:NAME``, or a dataset folder.
        samples: responses a problem.
        temperature: 0 takes the likeliest token always.
        top_p: nucleus of the distribution that is sampled from.
        max_new_tokens: a response is cut there.
        batch_size: requests a batch; part of what makes a run repeatable.
        dtype: ``auto`` is float32 on a CPU and bfloat16 on a GPU.
        device: ``auto`` is the GPU where there is one.
        logprobs: of so many likeliest tokens in each place, from ``vllm`` and endpoints that give them (`Generation`).
        engine: of ``vllm``: its engine arguments, such as ``{max_model_len: 4096, tensor_parallel_size: 2}``.
        endpoint: of ``openai``: where it is, its limits and prices.
    """

    kind: str = "transformers"
    model: str = "smollm2-135m-instruct"
    source: str | None = None
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.7, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_new_tokens: int = Field(default=512, ge=1)
    batch_size: int = Field(default=16, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    logprobs: int = Field(default=0, ge=0, le=20)
    engine: dict[str, Any] = Field(default_factory=dict)
    endpoint: EndpointConfig = EndpointConfig()
