"""Batched sampling with vLLM in this process: continuous batching, and shared prompts are read once (prefix cache)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.generate.base import FinishReason, Generation, GenerationRequest, GeneratorConfig, unseen
from rewardkit.models.embedded import resolve_model
from rewardkit.text.encode import encode_turns

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine ends with this process, however that ends
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Set where the user has not set them."""

_ON_CPU = {"enforce_eager": True, "block_size": 32, "enable_chunked_prefill": False}
"""No compilation; the default block of 128 tokens would seldom cache a prompt; and where a prompt is read in parts,
vLLM 0.32 rewinds the generator of a seeded request, which fails on the CPU ("CPU Generator does not use offset")."""


class VllmGenerator:
    """Samples from a causal language model in vLLM, on the GPU or, with the package vllm-cpu, on the CPU.

    Each request is seeded by its own seed. In float32 its text does not depend on what else is in the batch; in a
    shorter float it may, by rounding, and so may the second of two equal batches, of which the cache knows the prompts.

    Args:
        config: model, sampling and dtype; ``engine`` is passed on to vLLM.

    Raises:
        ConfigError: vLLM is not installed, has no such device, or cannot load the model.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                "generator.kind=vllm needs vLLM: pip install 'rewardkit[vllm]' (NVIDIA GPU) or 'rewardkit[cpu]', "
                "or use generator.kind=transformers"
            )
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if "OMP_NUM_THREADS" in os.environ:  # which vLLM would pass over, to take every core
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        self.config = config
        self._llm = _load(config)
        self._tokenizer = self._llm.get_tokenizer()
        self._longest = int(self._llm.model_config.max_model_len) - 1

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Sample one response a request; a prompt that the model cannot hold gets an error instead."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        prompts = [encode_turns(self._tokenizer, request.messages) for request in requests]
        blind = [unseen(request, self.config.model) for request in requests]
        fitting = [i for i, ids in enumerate(prompts) if len(ids) <= self._longest and blind[i] is None]
        sampling = [
            SamplingParams(
                temperature=self.config.temperature,
                top_p=self.config.top_p,
                max_tokens=self.config.max_new_tokens,
                seed=requests[i].seed,
                logprobs=self.config.logprobs or None,
                detokenize=False,  # its detokenizer drops a character that the end cuts in two
            )
            for i in fitting
        ]
        made: list[Any] = []
        if fitting:
            inputs = [TokensPrompt(prompt_token_ids=prompts[i]) for i in fitting]
            made = self._llm.generate(inputs, sampling, use_tqdm=False)
        answers = dict(zip(fitting, made, strict=True))
        return [
            blind[i] or self._finish(request, len(prompts[i]), answers.get(i)) for i, request in enumerate(requests)
        ]

    def close(self) -> None:
        """End the engine and free its memory."""
        self._llm.llm_engine.engine_core.shutdown()

    def _finish(self, request: GenerationRequest, length: int, answer: Any) -> Generation:
        if answer is None:
            reason = f"the prompt is {length} tokens, and the model holds {self._longest}"
            return Generation(request.id, "", "error", 0, self.config.model, reason)
        output = answer.outputs[0]
        finish: FinishReason = "length" if output.finish_reason == "length" else "stop"
        # The end token counts among the ids of a response that stopped, and is not part of its text.
        ids = output.token_ids[:-1] if finish == "stop" else output.token_ids
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        return Generation(
            request.id,
            text,
            finish,
            len(ids),
            self.config.model,
            prompt_tokens=length,
            logprobs=self._logprobs(ids, output.logprobs or ()),
            cached_prompt_tokens=answer.num_cached_tokens,
        )

    def _logprobs(self, ids: Sequence[int], rows: Sequence[Any]) -> tuple[tuple[str, dict[str, float]], ...]:
        """The log-probabilities of each token, the tokens written so that they join to the text."""
        if not rows:
            return ()
        starts = [self._tokenizer.decode(ids[:n], skip_special_tokens=True) for n in range(len(ids) + 1)]
        own = [after[len(before) :] for before, after in pairwise(starts)]
        # A row begins with the sampled token, which so wins where two are written alike (parts of a character).
        return tuple(
            (token, {token if i == id else self._tokenizer.decode([i]): row[i].logprob for i in reversed(row)})
            for id, token, row in zip(ids, own, rows, strict=False)  # the end token's row is left over
        )


def _load(config: GeneratorConfig) -> Any:
    from vllm import LLM
    from vllm.platforms import current_platform

    device = str(current_platform.device_type)
    if config.device not in ("auto", device):
        raise ConfigError(f"generator.device={config.device}, but this build of vLLM runs on: {device}")
    dtype = config.dtype if config.dtype != "auto" else ("float32" if device == "cpu" else "bfloat16")
    options = {
        "enable_prefix_caching": True,
        "max_num_seqs": min(config.batch_size, 256),
        "disable_log_stats": True,
        **(_ON_CPU if device == "cpu" else {}),
        **config.engine,
    }
    try:
        return LLM(model=resolve_model(config.model), dtype=dtype, **options)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"generator.model={config.model} cannot be loaded by vLLM: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
