"""verl 0.9: a score function for rewards of single samples, and a reward manager for rewards of groups.

Single samples: ``reward.custom_reward_function.path=pkg://rewardkit.rewards.verl``, ``.name=compute_score`` and
``.reward_kwargs.reward=outcome``. Groups:

    reward.reward_manager.source=importlib
    reward.reward_manager.module.path=pkg://rewardkit.rewards.verl
    reward.reward_manager.name=GroupRewardManager
    +reward.reward_kwargs={reward: ttrl, seconds: 120}

verl rewards one sample at a time in random workers, so the samples of a prompt (one ``uid``) meet in a named Ray
actor, or in this process where Ray is not running. Nothing blocks a worker: a group that does not become whole in time
gets the fallback. Validation samples (``extra_info["split"]`` other than "train") are scored alone, by the outcome
reward. verl <= 0.6.1 re-orders batches and passes no ``uid`` on: not supported.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.rewards import load_reward
from rewardkit.rewards.base import Group, Reward
from rewardkit.rewards.rendezvous import Rendezvous, Verdict, of_texts


class _PlainBase:
    """What verl's own base class sets, for where verl is not installed."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any) -> None:
        self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score


def _base() -> Any:
    """verl's base class of reward managers. verl is no dependency: it is there when verl itself loads this module."""
    try:
        return importlib.import_module("verl.experimental.reward_loop.reward_manager.base").RewardManagerBase
    except ImportError:
        return _PlainBase


GROUP_STATS = ("majority_share", "entropy", "answered", "tie", "label_accuracy", "whole", "abstained")
"""What every sample reports; verl wants the same keys of all, so what a group does not know is -1."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward: str = "outcome",
    fallback: float = 0.0,
    **options: Any,
) -> dict[str, float]:
    """verl's score of one sample: ``score`` (the fallback where the reward abstains), ``acc`` and ``abstained``.

    Args:
        data_source: not looked at.
        solution_str: the completion.
        ground_truth: the reference answer.
        extra_info: ReasonRank's lists, if that is the reward.
        reward: a reward that needs no group: outcome or reasonrank.
        fallback: where it abstains.
        options: of the reward. (verl adds ``reward_router_address`` and ``reward_model_tokenizer``: passed over.)

    Raises:
        ConfigError: the reward needs a group, or has no such option.

    >>> compute_score("gsm8k", "so\\n#### 18", "18")
    {'score': 1.0, 'acc': 1.0, 'abstained': 0.0}
    """
    if reward not in ("outcome", "reasonrank"):
        raise ConfigError(f"reward '{reward}' needs whole groups: use GroupRewardManager of this module")
    kept = {k: v for k, v in options.items() if k not in ("reward_router_address", "reward_model_tokenizer")}
    reference = None if ground_truth is None else str(ground_truth)
    group = Group.create("sample", [solution_str], reference=reference, meta=extra_info or {})
    value = load_reward(reward, **kept)(group).rewards[0]
    score = fallback if value is None else value
    return {"score": score, "acc": float(score > 0), "abstained": float(value is None)}


class GroupRewardManager(_base()):  # type: ignore[misc]
    """verl's reward manager for group rewards. verl makes it; its settings are ``config.reward.reward_kwargs``:
    ``reward`` (a name), ``options`` (of the reward), ``seconds``, ``fallback``, ``size`` (``rollout.n`` by default).
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        settings = dict(config.reward.get("reward_kwargs") or {})
        self._name = str(settings.get("reward", "ttrl"))
        self._size = int(settings.get("size") or config.actor_rollout_ref.rollout.n)
        self._options = dict(settings.get("options") or {})
        self._limits = {"seconds": float(settings.get("seconds", 120)), "fallback": float(settings.get("fallback", 0))}
        _reward(self._name, self._options)  # a wrong one ends the run here, not in a worker's first sample

    async def run_single(self, data: Any) -> dict[str, Any]:
        """verl's call with a DataProto of one sample: its reward, when its group is whole."""
        item = data[-1:][0]
        fields = item.non_tensor_batch
        completion = await asyncio.get_running_loop().run_in_executor(None, functools.partial(self._decode, item))
        reference = (fields.get("reward_model") or {}).get("ground_truth")
        extra = fields.get("extra_info") or {}
        if extra.get("split", "train") != "train":
            score = await asyncio.to_thread(_outcome_alone, completion, reference)
            return {"reward_score": score, "reward_extra_info": dict.fromkeys(GROUP_STATS, -1.0) | {"acc": score}}
        verdict = await self._submit(str(fields["uid"]), completion, reference, extra)
        stats = {name: float(verdict.stats.get(name, -1.0)) for name in GROUP_STATS}
        return {"reward_score": verdict.reward, "reward_extra_info": stats | {"acc": verdict.reward}}

    def _decode(self, item: Any) -> str:
        ids = item.batch["responses"]
        length = int(item.batch["attention_mask"][-ids.shape[-1] :].sum())
        text: str = self.tokenizer.decode(ids[:length], skip_special_tokens=True)
        return text

    async def _submit(self, uid: str, completion: str, reference: Any, extra: Mapping[str, Any]) -> Verdict:
        fields = {"reference": None if reference is None else str(reference), "meta": dict(extra)}
        spec = (self._name, self._size, tuple(sorted(self._limits.items())), tuple(sorted(self._options.items())))
        actor = _actor(spec)
        if actor is None:
            return await _meeting(spec).submit(uid, completion, **fields)
        verdict: Verdict = await actor.submit.remote(uid, completion, fields)
        return verdict


def _reward(name: str, options: Mapping[str, Any]) -> Reward:
    return of_texts(name, given=("reasonrank",), **options)  # its lists are in extra_info


def _outcome_alone(completion: str, reference: Any) -> float:
    return compute_score("", completion, reference)["score"] if reference is not None else 0.0


class Meeting:
    """A `Rendezvous` that a Ray actor can be made of: all its arguments are plain data."""

    def __init__(self, spec: tuple[Any, ...]) -> None:
        name, size, limits, options = spec
        self._rendezvous = Rendezvous(_reward(name, dict(options)), size=size, **dict(limits))

    async def submit(self, uid: str, completion: str, fields: dict[str, Any]) -> Verdict:
        """As `Rendezvous.submit`."""
        return await self._rendezvous.submit(uid, completion, **fields)


_meetings: dict[tuple[Any, ...], Rendezvous] = {}
_actors: dict[tuple[Any, ...], Any] = {}
"""Kept while this process lives: Ray ends an actor with the handle that made it, whoever else waits there."""


def _meeting(spec: tuple[Any, ...]) -> Rendezvous:
    """The meeting of this process's event loop."""
    key = (*spec, id(asyncio.get_running_loop()))
    if key not in _meetings:
        _meetings[key] = Meeting(spec)._rendezvous
    return _meetings[key]


def _actor(spec: tuple[Any, ...]) -> Any:
    """The named Ray actor where all workers meet, or None where Ray is not running."""
    ray: Any = sys.modules.get("ray")  # verl imported it, or there is no cluster to meet in
    if ray is None or not ray.is_initialized():
        return None
    key = (*spec, ray.get_runtime_context().get_job_id())
    if key not in _actors:
        options = {"name": "rewardkit-rendezvous", "get_if_exists": True, "max_concurrency": 10_000, "num_cpus": 0}
        _actors[key] = ray.remote(Meeting).options(**options).remote(spec)
    return _actors[key]
