"""Going on with a response that is begun: what an endpoint must be told, and what it says where there is no more."""

from __future__ import annotations

from typing import Any

from rewardkit.generate.base import Generation, GeneratorConfig

GOING_ON: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
"""What vLLM and SGLang want to be told to go on with the assistant's turn; OpenAI's own endpoint cannot."""

_ENDED = "holds no text (finish_reason stop)"


def with_body(config: GeneratorConfig, body: dict[str, Any]) -> GeneratorConfig:
    """The config of an endpoint with further keys of the request.

    >>> with_body(GeneratorConfig(kind="openai"), GOING_ON).endpoint.body["continue_final_message"]
    True
    """
    endpoint = config.endpoint.model_copy(update={"body": {**config.endpoint.body, **body}})
    return config.model_copy(update={"endpoint": endpoint})


def continuing(config: GeneratorConfig) -> GeneratorConfig:
    """The config of a generator that is to go on with begun turns, which an endpoint must be told."""
    return with_body(config, GOING_ON) if config.kind == "openai" else config


def has_ended(answer: Generation) -> bool:
    """Whether an answer to a begun response is the error of an endpoint that had nothing to add.

    >>> has_ended(Generation("r", "", "error", 0, "m", "the endpoint's answer holds no text (finish_reason stop)"))
    True
    """
    return answer.finish_reason == "error" and _ENDED in answer.error
