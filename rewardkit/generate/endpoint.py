"""How an OpenAI-compatible endpoint is reached, how hard it is pressed, and what it may cost."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rewardkit.config import Config


class Price(Config):
    """What a million tokens cost, in any one currency; 0 where nothing is paid."""

    prompt: float = Field(default=0.0, ge=0.0)
    completion: float = Field(default=0.0, ge=0.0)


class EndpointConfig(Config):
    """Where the endpoint is and how it is used: nothing here changes what a model writes, but for `body`.

    Attributes:
        url: such as ``https://api.openai.com/v1`` or ``http://localhost:8000/v1``; None is ``$OPENAI_BASE_URL``.
        key_variable: the environment variable that holds the key; a key never stands in a recipe.
        concurrency: requests under way at a time.
        retries: further attempts after a 429, a 5xx, a time-out or a lost connection, each after a longer wait.
        timeout: seconds for one attempt, all of it.
        max_tokens: of the whole run, prompts and completions together; then the run stops, and can go on with more.
        price: for the cost in the manifest.
        any_model: take answers of a model of another name (a deployment with a name of its own).
        seed: send each request's seed; for endpoints that refuse it, false.
        body: further keys of the request, such as ``{top_k: 40}`` for vLLM.
        cache: keep every answer in a cache that all runs share, and never ask the same twice.
    """

    url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=16, ge=1, le=1000)
    retries: int = Field(default=5, ge=0, le=20)
    timeout: float = Field(default=120.0, gt=0.0)
    max_tokens: int | None = Field(default=None, ge=1)
    price: Price = Price()
    any_model: bool = False
    seed: bool = True
    body: dict[str, Any] = Field(default_factory=dict)
    cache: bool = True
