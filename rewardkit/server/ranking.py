"""``/v1/score``, ``/v1/rerank`` and ``/get_reward``: the score of whole responses, in the shapes of vLLM and OpenRLHF.

Where vLLM hosts a model that it scores itself, its own ``/v1/score`` and ``/v1/rerank`` answer.
"""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from rewardkit.errors import DataError
from rewardkit.rewards.openrlhf import SPECIAL_TOKENS, RemoteRewards, RewardRequest, response_of
from rewardkit.server.errors import ApiError
from rewardkit.server.schema import MAX_RESPONSES, Text, rewards_request
from rewardkit.server.service import RewardService

_Texts = Text | list[Text]


class _Body(BaseModel):
    # vLLM's own routes ignore fields that they do not know; clients of those send several.
    model_config = ConfigDict(extra="ignore", frozen=True)

    model: Text | None = None


class ScoreRequest(_Body):
    """vLLM's: one question for all responses, or one for each."""

    queries: _Texts = Field(validation_alias=AliasChoices("queries", "text_1", "data_1"))
    documents: _Texts = Field(validation_alias=AliasChoices("documents", "items", "text_2", "data_2"))

    @model_validator(mode="after")
    def _of_one_length(self) -> ScoreRequest:
        if len(self.pairs) > MAX_RESPONSES or not self.pairs:
            raise ValueError(f"give 1 to {MAX_RESPONSES} responses")
        return self

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Question and response.

        Raises:
            ValueError: the lists differ in length.
        """
        documents = [self.documents] if isinstance(self.documents, str) else self.documents
        queries = [self.queries] if isinstance(self.queries, str) else self.queries
        if len(queries) == 1:
            queries = queries * len(documents)
        if len(queries) != len(documents):
            raise ValueError(f"there are {len(queries)} queries for {len(documents)} documents; give one, or as many")
        return list(zip(queries, documents, strict=True))


class RerankRequest(_Body):
    """Jina's and Cohere's: the responses to one question, the best first."""

    query: Text
    documents: list[Text] = Field(min_length=1, max_length=MAX_RESPONSES)
    top_n: int | None = Field(None, ge=0)


async def score(service: RewardService, body: ScoreRequest) -> dict[str, Any]:
    """The answer of ``/v1/score``, one score a pair."""
    answer = await _answer(service, body.model, body.pairs)
    data = [{"index": i, "object": "score", "score": d["score"]} for i, d in enumerate(answer["data"])]
    return {**answer, "id": f"score-{uuid.uuid4().hex}", "data": data}


async def rerank(service: RewardService, body: RerankRequest) -> dict[str, Any]:
    """The answer of ``/v1/rerank``: indices into the documents, the best first (of equals the earlier)."""
    answer = await _answer(service, body.model, [(body.query, text) for text in body.documents])
    results = [
        {"index": i, "document": {"text": body.documents[i]}, "relevance_score": d["score"]}
        for i, d in enumerate(answer["data"])
    ]
    results.sort(key=lambda r: -r["relevance_score"])
    kept = results[: body.top_n] if body.top_n else results
    return {"id": f"rerank-{uuid.uuid4().hex}", "model": answer["model"], "usage": answer["usage"], "results": kept}


async def group_reward(groups: RemoteRewards, body: RewardRequest) -> dict[str, Any]:
    """OpenRLHF's answer by the reward of the whole group; it waits for the group's other samples.

    Raises:
        ApiError: too many groups are open.
    """
    try:
        return await groups.answer(body)
    except DataError as error:
        raise ApiError(503, str(error), retry_after=5) from error


async def get_reward(service: RewardService, body: RewardRequest) -> dict[str, Any]:
    """OpenRLHF's answer by the served model: the prompt is the question, what follows it in the query the response.

    Raises:
        ApiError: the lists differ in length, or the model cannot score one of them: there is no made-up reward.
    """
    if len(body.query) != len(body.prompts):
        raise ApiError(400, f"there are {len(body.query)} queries for {len(body.prompts)} prompts", param="prompts")
    pairs = [(p, response_of(q, p, SPECIAL_TOKENS)) for q, p in zip(body.query, body.prompts, strict=True)]
    answer = await _answer(service, None, pairs)
    rewards = [d["score"] for d in answer["data"]]
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


async def _answer(service: RewardService, model: str | None, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    items = [{"prompt": question, "response": response} for question, response in pairs]
    return await service.rewards(rewards_request({"model": model, "input": items, "on_error": "fail"}))
