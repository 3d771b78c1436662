"""Our routes inside vLLM's own API server, as an endpoint plugin. With `vllm_implicit` all that imports vLLM.

`rewardkit serve` starts vLLM with ``VLLM_PLUGINS=rewardkit``; vLLM then calls `endpoint_plugin`, `attach_router` and
`init_state` (https://docs.vllm.ai/en/stable/design/endpoint_plugins). The engine is asked for the raw logits of every
token (pooling of kind ALL), and we pick the step positions from token ids: STEP pooling would return a score for a
separator inside the question too, and switches the prefix cache and chunked prefill off. An outcome model gives its
one row of logits, an implicit model the log-ratio of every response token. The prefix cache is read, which vLLM does
not do by itself for such requests; what a model said of tokens in it is in the `RowMemo`.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.models import model_class
from rewardkit.models.implicit import sums_at
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server import logs
from rewardkit.server.adapters import ByAdapter, adapter_app, adapter_specs
from rewardkit.server.errors import ApiError
from rewardkit.server.host import AGAIN, Host, HostSettings
from rewardkit.server.keys import KEY_VARIABLE
from rewardkit.server.kinds import pooling_task
from rewardkit.server.memo import Keys, RowMemo
from rewardkit.server.routes import install
from rewardkit.server.scorer import StepLogits, require_known_ids
from rewardkit.server.service import RewardService
from rewardkit.text.encode import EncodedResponse, EncodedSteps

if TYPE_CHECKING:
    from argparse import Namespace

    from fastapi import FastAPI
    from starlette.datastructures import State

TRIAL = EncodedResponse((0, 0), (1,), 1)
"""The shortest input of any kind."""
CONCURRENT = 256
"""Inputs that the engine holds at once; the others wait here, where a request that is given up costs nothing."""


class RewardKitPlugin:
    """vLLM's `EndpointPlugin` protocol."""

    name = "rewardkit"
    required_tasks = ("token_classify", "classify")

    def attach_router(self, app: FastAPI) -> None:
        """Add the routes, and the guard in front of all routes of the app, vLLM's own included."""
        given = [*(getattr(app.state.args, "api_key", None) or []), os.environ.get("VLLM_API_KEY", "")]
        settings = HostSettings.read(os.environ)
        if settings.logs == "text":
            logs.configure("text", ["rewardkit"])
        app.add_middleware(ByAdapter)  # added before the guard, so that it stands behind it
        install(app, keys=[key for key in [os.environ.get(KEY_VARIABLE, ""), *given] if key], limits=settings.limits)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Load the spec and the tokenizer of the served folder.

        Raises:
            ConfigError: the served folder is no reward model.
        """
        settings = HostSettings.read(os.environ)
        base = VllmScorer(engine_client, args)
        state.rewardkit = RewardService(base, settings.limits)
        folders = {module.name: Path(module.path) for module in getattr(args, "lora_modules", None) or ()}
        specs = adapter_specs(folders, base.spec)
        state.rewardkit_adapters = {
            name: adapter_app(
                RewardService(base.adapted(name, number, folder, specs[name]), settings.limits),
                state.rewardkit_traffic,
            )
            for number, (name, folder) in enumerate(folders.items(), start=1)
        }
        self._host = Host(engine_client, state, settings)
        self._host.start()


def endpoint_plugin() -> RewardKitPlugin:
    """What the entry point of the group ``vllm.endpoint_plugins`` names."""
    return RewardKitPlugin()


class VllmScorer:
    """The production backend: vLLM's engine in this process's API server.

    Args:
        engine: vLLM's ``EngineClient``.
        args: of the API server: the model folder and the served names.

    Raises:
        ConfigError: the served folder is no reward model.
    """

    backend = "vllm"

    def __init__(self, engine: Any, args: Any) -> None:
        from transformers import AutoTokenizer

        self.engine = engine
        self.spec = RewardModelSpec.load(args.model)
        model_class(self.spec.kind).check_spec(self.spec)
        self._task = pooling_task(Path(args.model), self.spec)
        # A tokenizer of our own: vLLM's is shared by its threads, and encoding changes a tokenizer's state.
        self.tokenizer: Any = AutoTokenizer.from_pretrained(args.tokenizer or args.model)
        self.names: Sequence[str] = tuple(args.served_model_name or [args.model])
        self.max_length = min(self.spec.max_length, int(engine.model_config.max_model_len))
        self.dtype = str(engine.model_config.dtype).removeprefix("torch.")
        self.memo = _memo(engine.vllm_config.cache_config, self.spec)
        self._reset_engine_cache = engine.reset_prefix_cache
        engine.reset_prefix_cache = self._reset_prefix_cache
        self._lora: Any = None
        self._tried = False
        self._slots = asyncio.Semaphore(CONCURRENT)

    def adapted(self, name: str, number: int, folder: Path, spec: RewardModelSpec) -> VllmScorer:
        """The same engine through one of its LoRA adapters.

        Args:
            name: that it is served under.
            number: of the adapter in ``--lora-modules``, from 1.
            folder: that holds it.
            spec: of its folder.
        """
        from vllm.lora.request import LoRARequest

        scorer = copy(self)
        scorer.names, scorer.spec = (name,), spec
        scorer.max_length = min(spec.max_length, self.max_length)
        scorer._lora = LoRARequest(name, number, str(folder))
        scorer.memo = _memo(self.engine.vllm_config.cache_config, spec)
        scorer._reset_engine_cache = self.engine.reset_prefix_cache
        self.engine.reset_prefix_cache = scorer._reset_prefix_cache
        return scorer

    async def logits(self, batch: Sequence[EncodedSteps]) -> list[StepLogits]:
        """See `Scorer.logits`; the engine batches what arrives together."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(item)) for item in batch]
        except ExceptionGroup as failed:
            raise self._translate(failed.exceptions[0]) from failed
        return [task.result() for task in tasks]

    async def ready(self) -> bool:
        """See `Scorer.ready`. The first call scores two tokens: some engines start well and die at the first input."""
        if not self._tried and not self.engine.errored:
            await self.logits([TRIAL])
            self._tried = True
        return not self.engine.errored

    async def _one(self, item: EncodedSteps) -> StepLogits:
        if self.spec.kind == "outcome":
            values, cached = await self._pool(item, read_cache=True)
            return StepLogits(values.reshape(-1, values.shape[-1])[-1:], cached)
        start, memo = self._start(item), self.memo
        keys = memo.keys(item.input_ids, start or item.first, seed=start)
        for read_cache in (True, False):
            given, cached = await self._pool(item, read_cache)
            rows = self._whole(item, given, cached, memo, keys)
            if rows is not None:
                memo.keep(keys, rows)
                return self._at_steps(item, rows, cached)
        raise ApiError(503, "the engine gave other rows than there are tokens", retry_after=5)

    async def _pool(self, item: EncodedSteps, read_cache: bool) -> tuple[np.ndarray, int]:
        """What the engine gives, and how many tokens of its prefix cache it did not compute."""
        from vllm.inputs import TokensPrompt
        from vllm.pooling_params import PoolingParams

        require_known_ids(item, self.engine.model_config.get_vocab_size())  # the engine would die of others
        prompt = TokensPrompt(prompt_token_ids=list(item.input_ids))
        start = {"start": item.start} if isinstance(item, EncodedResponse) else None
        params = PoolingParams(
            task=self._task, use_activation=False, skip_reading_prefix_cache=not read_cache, extra_kwargs=start
        )
        output = None
        async with self._slots:
            async for given in self.engine.encode(
                prompt, params, f"rewards-{uuid.uuid4().hex}", lora_request=self._lora
            ):
                output = given
        if output is None or not output.finished:
            raise ApiError(503, "the engine gave no answer", retry_after=5)
        return output.outputs.data.float().numpy(), output.num_cached_tokens or 0

    async def _reset_prefix_cache(self, *args: Any, **options: Any) -> Any:
        """In place of the engine's own, which is called where weights were changed: what they gave is forgotten too.

        What is in flight goes on with the memo that it began with.
        """
        self.memo = self.memo.emptied()
        return await self._reset_engine_cache(*args, **options)

    def _whole(
        self, item: EncodedSteps, given: np.ndarray, cached: int, memo: RowMemo, keys: Keys
    ) -> np.ndarray | None:
        """The row of every token that is needed, shape (tokens, labels), the others' NaN.

        None where the cache held tokens whose rows are not known here (scored by another route, or at this moment by
        another request), or where a request was interrupted and gave some rows twice.
        """
        start = self._start(item)
        begin = max(start, cached)
        if len(given) != len(item) - begin:
            return None
        rows = np.full((len(item), given[0].size if len(given) else 1), np.nan, np.float32)
        memo.fill(rows, keys, cached)
        fresh = given.reshape(len(given), -1)
        known = ~np.isnan(fresh).any(axis=1)
        rows[begin:][known] = fresh[known]
        needed = rows[start:] if start else item.read(rows)
        return None if np.isnan(needed).any() else rows

    def _at_steps(self, item: EncodedSteps, rows: np.ndarray, cached: int) -> StepLogits:
        if isinstance(item, EncodedResponse) and (start := self._start(item)):
            assert self.spec.beta is not None
            rewards = self.spec.beta * rows[start:, 0]
            return StepLogits(sums_at(item, rewards)[:, None], cached, rewards)
        return StepLogits(item.read(rows), cached)

    def _start(self, item: EncodedSteps) -> int:
        """Where the response starts of which every token counts; 0 where only the steps' positions do."""
        return item.start if self.spec.kind == "implicit" and isinstance(item, EncodedResponse) else 0

    def _translate(self, error: Exception) -> Exception:
        """vLLM's errors as ours; what is unknown stays as it is."""
        from vllm.exceptions import VLLMClientError

        if self.engine.errored:
            return AGAIN  # as the host and the port say from now on
        return ApiError(400, str(error)) if isinstance(error, VLLMClientError) else error


def _memo(cache: Any, spec: RewardModelSpec) -> RowMemo:
    """As many blocks as the engine's cache has; one of its own where the engine does not say."""
    return RowMemo(int(cache.block_size), int(cache.num_gpu_blocks or 65536), shift=int(spec.kind == "implicit"))
