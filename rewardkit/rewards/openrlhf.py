"""OpenRLHF 0.11: group rewards behind ``--reward.remote_url http://127.0.0.1:5000/get_reward``.

    uvicorn --factory rewardkit.rewards.openrlhf:app --port 5000     # or: app(RemoteRewards("ttrl", 8))

OpenRLHF posts one sample a request, without a group's id, so samples meet by their exact prompt: the first n of one are
a group, the next n the next (a prompt comes again each epoch). Its client gives up after 180 s and asks again, so a
group is given up before that, and a sample asked for again by a client that went away counts once. Pass ONE address: of
several, OpenRLHF gives all samples to the first. Requests carry no key: keep to the loopback interface.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from rewardkit.errors import ConfigError, RewardKitError
from rewardkit.rewards import load_reward
from rewardkit.rewards.base import Group, Reward
from rewardkit.rewards.rendezvous import Rendezvous, Verdict, of_texts

CLIENT_SECONDS = 180.0
"""OpenRLHF's own limit of a request."""
_POLL = 0.5
SPECIAL_TOKENS = (
    *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>", "</s>"),
    *("<end_of_turn>", "<eos>", "<|end|>", "<|return|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
)
"""Cut from the end of a response before it is rewarded: what ends a turn or pads it in the families of models."""


class RewardRequest(BaseModel):
    """OpenRLHF's request: lists of equal length, in practice of one.

    Attributes:
        query: prompt and response, special tokens kept.
        prompts: the prompt alone.
        labels: the reference answer, where the dataset has one.
    """

    query: list[str] = Field(max_length=1024)
    prompts: list[str] = Field(max_length=1024)
    labels: list[Any] | None = Field(default=None, max_length=1024)


class RemoteRewards:
    """Group rewards for samples that come one at a time.

    Args:
        reward: the name of one that needs no more than texts and the reference, or a function.
        n_samples_per_prompt: as OpenRLHF's ``--rollout.n_samples_per_prompt``; it does not tell the server.
        seconds: a group not whole by then is given up; below the client's 180.
        fallback: the reward where there is none.
        special_tokens: cut from the end of a response before it is rewarded.

    Raises:
        ConfigError: there is no such reward, or the time is not below the client's.

    >>> rewards = RemoteRewards("ttrl", 2)
    >>> async def two():
    ...     body = RewardRequest(query=["1+1? #### 2</s>"], prompts=["1+1? "])
    ...     return await asyncio.gather(rewards.answer(body), rewards.answer(body))
    >>> asyncio.run(two())[0]["rewards"]
    [1.0]
    """

    def __init__(
        self,
        reward: Reward | str,
        n_samples_per_prompt: int,
        *,
        seconds: float = 120.0,
        fallback: float = 0.0,
        special_tokens: tuple[str, ...] = SPECIAL_TOKENS,
    ) -> None:
        if seconds >= CLIENT_SECONDS:
            raise ConfigError(f"seconds is {seconds:g}; OpenRLHF's client gives up after {CLIENT_SECONDS:g}")
        found = of_texts(reward) if isinstance(reward, str) else reward
        self.meeting = Rendezvous(found, size=n_samples_per_prompt, seconds=seconds, fallback=fallback)
        self.special_tokens = special_tokens

    async def answer(self, body: RewardRequest) -> dict[str, Any]:
        """OpenRLHF's answer: ``rewards``, ``scores`` (for its dynamic filtering) and ``extra_logs``.

        Raises:
            DataError: too many groups are open.
            ConfigError: the lists differ in length.
        """
        labels = body.labels or [None] * len(body.query)
        if not len(body.query) == len(body.prompts) == len(labels):
            raise ConfigError(
                f"query, prompts and labels must be of one length; they have {len(body.query)}, {len(body.prompts)} "
                f"and {len(labels)}"
            )
        samples = zip(body.query, body.prompts, labels, strict=True)
        verdicts = await asyncio.gather(*(self._submit(*sample) for sample in samples))
        rewards = [verdict.reward for verdict in verdicts]
        return {"rewards": rewards, "scores": rewards, "extra_logs": _logs(verdicts)}

    async def _submit(self, query: str, prompt: str, label: Any) -> Verdict:
        response = self.response(query, prompt)
        return await self.meeting.submit(prompt, response, prompt=prompt, reference=_reference(label))

    def response(self, query: str, prompt: str) -> str:
        """The response of a query: what follows the prompt, without closing special tokens.

        A prompt that OpenRLHF shortened is not the query's beginning; then the whole query stands for the response.

        >>> RemoteRewards("ttrl", 2).response("a: b</s>", "a: ")
        'b'
        """
        return response_of(query, prompt, self.special_tokens)


def response_of(query: str, prompt: str, special_tokens: Sequence[str] = SPECIAL_TOKENS) -> str:
    """See `RemoteRewards.response`.

    >>> response_of("a: b<|im_end|></s>", "a: ")
    'b'
    """
    text = query.removeprefix(prompt)
    while (token := next((t for t in special_tokens if text.rstrip().endswith(t)), None)) is not None:
        text = text.rstrip().removesuffix(token)
    return text


def router(rewards: RemoteRewards, path: str = "/get_reward") -> APIRouter:
    """The route, for any FastAPI app; ``GET path/stats`` has the counts of groups, late samples and retries."""
    routes = APIRouter()

    async def get_reward(body: RewardRequest, request: Request) -> JSONResponse:
        work = asyncio.ensure_future(rewards.answer(body))
        try:
            while not (await asyncio.wait({work}, timeout=_POLL))[0]:
                if await request.is_disconnected():
                    return JSONResponse({"error": "the client went away"}, status_code=499)
            return JSONResponse(work.result())
        except RewardKitError as error:
            return JSONResponse({"error": str(error)}, status_code=400 if isinstance(error, ConfigError) else 503)
        finally:
            work.cancel()

    async def stats() -> Mapping[str, int]:
        return rewards.meeting.counts

    routes.add_api_route(path, get_reward, methods=["POST"])
    routes.add_api_route(f"{path}/stats", stats, methods=["GET"])
    return routes


def rewards_of_environment() -> RemoteRewards | None:
    """What ``REWARDKIT_REWARD`` and ``REWARDKIT_SAMPLES`` say; None without the latter.

    Raises:
        ConfigError: ``REWARDKIT_SAMPLES`` is no number, or there is no such reward.
    """
    samples = os.environ.get("REWARDKIT_SAMPLES", "")
    if not samples:
        return None
    if not samples.isdigit():
        raise ConfigError(f"REWARDKIT_SAMPLES is '{samples}'; set it to OpenRLHF's n_samples_per_prompt, a number")
    return RemoteRewards(os.environ.get("REWARDKIT_REWARD", "ttrl"), int(samples))


def app(rewards: RemoteRewards | None = None) -> FastAPI:
    """A server of its own. Without an argument the environment says which: ``REWARDKIT_REWARD`` (a name, default ttrl)
    and ``REWARDKIT_SAMPLES`` (n_samples_per_prompt, needed).

    Raises:
        ConfigError: ``REWARDKIT_SAMPLES`` is wanted and is no number.
    """
    rewards = rewards or rewards_of_environment()
    if rewards is None:
        raise ConfigError("set REWARDKIT_SAMPLES to OpenRLHF's n_samples_per_prompt")
    made = FastAPI(title="RewardKit rewards for OpenRLHF", docs_url=None, redoc_url=None)
    made.include_router(router(rewards))
    return made


def reward_func(queries: list[str], prompts: list[str], labels: list[Any]) -> dict[str, Any]:
    """For ``--reward.remote_url path/to/rewardkit/rewards/openrlhf.py``: the outcome reward alone, sample by sample.

    A group reward cannot wait here: OpenRLHF calls this in a few threads, and waiting ones would block each other.

    >>> reward_func(["6*3? #### 18</s>"], ["6*3? "], ["18"])["rewards"]
    [1.0]
    """
    outcome = load_reward("outcome")
    rewards = []
    for query, prompt, label in zip(queries, prompts, labels, strict=True):
        group = Group.create(prompt, [response_of(query, prompt)], reference=_reference(label))
        value = outcome(group).rewards[0]
        rewards.append(0.0 if value is None else value)
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


def _reference(label: Any) -> str | None:
    """The reference answer of a sample; OpenRLHF sends "" where the dataset has none."""
    return None if label in (None, "") else str(label)


def _logs(verdicts: list[Verdict]) -> dict[str, float]:
    """Means over the samples of a request, of the figures that all of them have."""
    names = set.intersection(*(set(v.stats) for v in verdicts)) if verdicts else set()
    return {name: sum(v.stats[name] for v in verdicts) / len(verdicts) for name in sorted(names)}
