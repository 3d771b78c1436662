"""What the routes answer, as models: for the OpenAPI description. A test holds every answer against them.

Fields that a request asks for are optional here; an answer may have further ones.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorDetail(_Answer):
    """What went wrong.

    Attributes:
        message: one sentence that says what to do.
        type: ``invalid_request_error``, ``rate_limit_error`` or ``server_error``.
        param: the field of the request, such as ``input[3].steps``.
        code: a word for programs.
    """

    message: str = Field(min_length=1)
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(_Answer):
    """OpenAI's error body."""

    error: ErrorDetail


class CachedTokens(_Answer):
    """Of the tokens, those that the prefix cache held."""

    cached_tokens: int = Field(ge=0)


class Usage(_Answer):
    """Tokens of the scored inputs."""

    prompt_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    prompt_tokens_details: CachedTokens


class GivenStep(_Answer):
    """A step; with its place in the response where the server split."""

    text: str
    start: int | None = None
    end: int | None = None


class Reward(_Answer):
    """The scores of one response."""

    index: int = Field(ge=0)
    object: Literal["reward"]
    score: float
    step_scores: list[float] | None = None
    logits: list[list[float]] | None = None
    raw: list[float] | None = None
    positions: list[int] | None = None
    steps: list[GivenStep] | None = None
    token_ids: list[int] | None = None
    token_rewards: list[float] | None = None


class RewardError(_Answer):
    """A response that could not be scored, beside others that were."""

    index: int = Field(ge=0)
    object: Literal["reward.error"]
    error: ErrorDetail


class RewardsAnswer(_Answer):
    """Of ``POST /v1/rewards``."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Reward | RewardError] = Field(min_length=1)
    usage: Usage


class GraderMetadata(_Answer):
    """How a grade came about."""

    name: str
    type: str
    errors: dict[str, Any]
    execution_time: float
    scores: dict[str, float | None]
    token_usage: int | None
    sampled_model_name: str | None


class GraderRunAnswer(_Answer):
    """OpenAI's; `reward` is null where nobody can tell."""

    reward: float | None
    metadata: GraderMetadata
    sub_rewards: dict[str, float | None]
    model_grader_token_usage_per_model: dict[str, Any]


class GraderValidateAnswer(_Answer):
    """The grader, as it was read."""

    grader: dict[str, Any]


class GroupRewards(_Answer):
    """OpenRLHF's."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, Any]


class PairScore(_Answer):
    """The score of one response to its question."""

    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(_Answer):
    """vLLM's, of ``POST /v1/score``."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[PairScore]
    usage: Usage


class Document(_Answer):
    """A response."""

    text: str


class Ranked(_Answer):
    """One response and its score."""

    index: int
    document: Document
    relevance_score: float


class RerankAnswer(_Answer):
    """The responses, the best first."""

    id: str
    model: str
    usage: Usage
    results: list[Ranked]


class ModelEntry(_Answer):
    """A served name, and what a client of rewards must know of it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(_Answer):
    """OpenAI's list."""

    object: Literal["list"]
    data: list[ModelEntry]


class ReadyAnswer(_Answer):
    """A request would be answered now."""

    status: Literal["ready"]


class ChatAnswer(_Answer):
    """OpenAI's chat completion; what the search did stands in ``rewardkit``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]] = Field(min_length=1)
    usage: dict[str, Any]
